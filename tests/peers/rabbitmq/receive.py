#!/usr/bin/env python3
"""The tutorial consumer: receive.py URL QUEUE COUNT prints COUNT messages, each as a line of JSON."""

import json
import sys

import pika

url, queue, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
received = 0


def callback(ch, method, properties, body):
    global received
    message = {"message_id": properties.message_id, "type": properties.type, "content_type": properties.content_type}
    message.update(app_id=properties.app_id, delivery_mode=properties.delivery_mode, headers=properties.headers or {})
    print(json.dumps({**message, "routing_key": method.routing_key, "body": body.decode()}), flush=True)
    ch.basic_ack(delivery_tag=method.delivery_tag)
    received += 1
    if received == count:
        ch.stop_consuming()


channel.basic_consume(queue=queue, on_message_callback=callback)
channel.start_consuming()
connection.close()
