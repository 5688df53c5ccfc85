"""The consumer in Python: Powertools for AWS Lambda, batch processing."""

import json

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

PROCESSOR = BatchProcessor(event_type=EventType.SQS)


def handle(record):
    envelope = json.loads(record.body)
    if not envelope["id"] or envelope["type"] != "order.placed" or not isinstance(envelope["data"], dict):
        raise ValueError("not an order")


def handler(event, context):
    return process_partial_response(event=event, record_handler=handle, processor=PROCESSOR, context=context)
