"""Prints the records of a topic as JSON lines: read.py confluent|aiokafka SERVERS TOPIC."""

import asyncio
import base64
import json
import sys

client, servers, topic = sys.argv[1:]


def show(partition, offset, key, value, headers):
    print(
        json.dumps(
            {
                "partition": partition,
                "offset": offset,
                "key": key.decode() if key is not None else None,
                "value": base64.b64encode(value or b"").decode(),
                "headers": {name: text.decode() if text is not None else None for name, text in headers},
            }
        )
    )


def by_confluent():
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "check.crcs": True})
    for partition in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
        consumer.assign([TopicPartition(topic, partition, low)])
        for _ in range(low, high):
            record = consumer.poll(20)
            assert record is not None and record.error() is None, record and record.error()
            show(partition, record.offset(), record.key(), record.value(), record.headers() or [])
    consumer.close()


async def by_aiokafka():
    from aiokafka import AIOKafkaConsumer, TopicPartition

    # An assignment starts at the end of a partition by default, which may happen after the seek below.
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, check_crcs=True, auto_offset_reset="earliest")
    await consumer.start()
    try:
        for partition in sorted((await consumer._client.fetch_all_metadata()).partitions_for_topic(topic)):
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            await consumer.seek_to_beginning(place)
            while await consumer.position(place) < end:
                record = await asyncio.wait_for(consumer.getone(place), 20)
                show(partition, record.offset, record.key, record.value, record.headers)
    finally:
        await consumer.stop()


if client == "confluent":
    by_confluent()
else:
    asyncio.run(by_aiokafka())
