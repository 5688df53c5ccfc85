"""Sends a record of each key with confluent-kafka, by the partitioner of the Java client: send.py SERVERS
TOPIC[:COMPRESSION] KEY..."""

import sys

from confluent_kafka import Producer

servers, topic, *keys = sys.argv[1:]
topic, _, compression = topic.partition(":")
producer = Producer(
    {
        "bootstrap.servers": servers,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": compression or "none",
    }
)
for key in keys:
    producer.produce(topic, key=key, value=b"from confluent-kafka" * 10)
assert producer.flush(20) == 0
