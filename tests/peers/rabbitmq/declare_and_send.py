#!/usr/bin/env python3
"""The first producer of the tutorial: declare_and_send.py URL QUEUE BODY. Declares the queue with the defaults, which
make it classic and not durable, and publishes without properties."""

import sys

import pika

url, queue, body = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare(queue=queue)
channel.basic_publish(exchange="", routing_key=queue, body=body)
connection.close()
