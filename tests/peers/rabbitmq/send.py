#!/usr/bin/env python3
"""The tutorial producer: send.py URL QUEUE BODY. Without properties and confirms."""

import sys

import pika

url, queue, body = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.basic_publish(exchange="", routing_key=queue, body=body)
connection.close()
