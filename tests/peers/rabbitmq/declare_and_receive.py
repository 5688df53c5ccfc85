#!/usr/bin/env python3
"""The first consumer of the tutorial: declare_and_receive.py URL QUEUE. Declares the queue with the defaults, says that it
waits, and prints each body as a line of JSON."""

import json
import sys

import pika

url, queue = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare(queue=queue)


def callback(ch, method, properties, body):
    print(json.dumps(body.decode()), flush=True)


channel.basic_consume(queue=queue, on_message_callback=callback, auto_ack=True)
print(" [*] Waiting for messages", flush=True)
channel.start_consuming()
