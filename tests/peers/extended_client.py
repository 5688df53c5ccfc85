"""Sends and receives one message with the SQS Extended Client for Python.

    extended_client.py send|receive ENDPOINT QUEUE_URL BUCKET

`send` sends standard input through S3, whatever its size. `receive` writes the body of a message to standard output and
deletes it.
"""

import sys

import boto3
import sqs_extended_client  # noqa: F401  It adds the attributes to boto3's client.

command, endpoint, queue_url, bucket = sys.argv[1:]
session = boto3.session.Session("test", "test", region_name="us-east-1")
sqs = session.client("sqs", endpoint_url=endpoint)
sqs.s3_client = session.client("s3", endpoint_url=endpoint)
sqs.large_payload_support = bucket
sqs.always_through_s3 = command == "send"

if command == "send":
    sqs.send_message(QueueUrl=queue_url, MessageBody=sys.stdin.buffer.read().decode())
else:
    received = sqs.receive_message(QueueUrl=queue_url, MessageAttributeNames=["All"], WaitTimeSeconds=5)
    (message,) = received["Messages"]
    attributes = message.get("MessageAttributes", {})
    assert "ExtendedPayloadSize" not in attributes, attributes
    sys.stdout.buffer.write(message["Body"].encode())
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
