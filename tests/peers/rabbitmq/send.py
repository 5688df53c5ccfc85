#!/usr/bin/env python3
"""A producer as everyone writes it first: send.py URL QUEUE BODY. No properties, no confirm."""

import sys

import pika

url, queue, body = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.basic_publish(exchange="", routing_key=queue, body=body)
connection.close()
