"""A message from sending to deletion with boto3: standard, FIFO and dead-letter queue. Takes the endpoint's URL.

boto3 checks the MD5 of every body it receives, so a wrong digest fails here too.
"""
import sys

import boto3
from botocore.config import Config

config = Config(region_name="us-east-1", retries={"total_max_attempts": 1})
sqs = boto3.client("sqs", endpoint_url=sys.argv[1], config=config)
resource = boto3.resource("sqs", endpoint_url=sys.argv[1], config=config)


def same(what, observed, expected):
    assert observed == expected, f"{what}: {observed!r}, expected {expected!r}"


def arn(url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


# A standard queue.
dead = sqs.create_queue(QueueName="boto-dlq")["QueueUrl"]
redrive = '{"deadLetterTargetArn": "%s", "maxReceiveCount": "2"}' % arn(dead)
queue = sqs.create_queue(QueueName="boto", Attributes={"VisibilityTimeout": "0", "RedrivePolicy": redrive})["QueueUrl"]
same("the queue by its name", sqs.get_queue_url(QueueName="boto")["QueueUrl"], queue)
same("the list", sorted(sqs.list_queues(QueueNamePrefix="boto")["QueueUrls"]), sorted([queue, dead]))

attribute = {"kind": {"DataType": "String", "StringValue": "greeting"}, "raw": {"DataType": "Binary", "BinaryValue": b"\0\xff"}}
sent = sqs.send_message(QueueUrl=queue, MessageBody='{"price": 1.10}', MessageAttributes=attribute)
message = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], AttributeNames=["All"], WaitTimeSeconds=2)["Messages"][0]
same("the id", message["MessageId"], sent["MessageId"])
same("the body", message["Body"], '{"price": 1.10}')
same("the attributes", message["MessageAttributes"], attribute)
same("their MD5", message["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
same("the receive count", message["Attributes"]["ApproximateReceiveCount"], "1")

# A message received too often moves to the dead-letter queue, and is redriven.
same("the second receive", len(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]), 1)
same("the third", sqs.receive_message(QueueUrl=queue).get("Messages"), None)
letter = sqs.receive_message(QueueUrl=dead, AttributeNames=["All"], WaitTimeSeconds=2, VisibilityTimeout=0)["Messages"][0]
same("its source", letter["Attributes"]["DeadLetterQueueSourceArn"], arn(queue))
sqs.start_message_move_task(SourceArn=arn(dead))
back = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, VisibilityTimeout=30)["Messages"][0]
same("redriven", back["Body"], '{"price": 1.10}')
same("the task", sqs.list_message_move_tasks(SourceArn=arn(dead))["Results"][0]["Status"], "COMPLETED")
sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=back["ReceiptHandle"], VisibilityTimeout=60)
sqs.delete_message(QueueUrl=queue, ReceiptHandle=back["ReceiptHandle"])
counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
same("none left", (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]), ("0", "0"))

# A FIFO queue, through the resource interface.
fifo = resource.create_queue(QueueName="boto.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})
batch = [{"Id": str(n), "MessageBody": f"body {n}", "MessageGroupId": "g"} for n in range(3)]
same("the batch", len(fifo.send_messages(Entries=batch)["Successful"]), 3)
fifo.send_message(MessageBody="body 0", MessageGroupId="g")
messages = fifo.receive_messages(MaxNumberOfMessages=10, WaitTimeSeconds=2)
same("in order, once", [each.body for each in messages], ["body 0", "body 1", "body 2"])
deleted = fifo.delete_messages(Entries=[{"Id": str(n), "ReceiptHandle": each.receipt_handle} for n, each in enumerate(messages)])
same("deleted", len(deleted["Successful"]), 3)

# Errors are the modelled exceptions.
for call, name in [
    (lambda: sqs.get_queue_url(QueueName="nowhere"), "QueueDoesNotExist"),
    (lambda: sqs.send_message(QueueUrl=queue, MessageBody="\0"), "InvalidMessageContents"),
    (lambda: sqs.send_message_batch(QueueUrl=queue, Entries=[]), "EmptyBatchRequest"),
]:
    try:
        call()
    except getattr(sqs.exceptions, name):
        continue
    raise AssertionError(f"no {name}")

fifo.delete()
for url in (queue, dead):
    sqs.delete_queue(QueueUrl=url)
account = boto3.client("sts", endpoint_url=sys.argv[1], config=config).get_caller_identity()["Account"]
same("the account", account, "000000000000")
print("boto3", boto3.__version__, "speaks", sqs.meta.service_model.metadata["protocol"])
