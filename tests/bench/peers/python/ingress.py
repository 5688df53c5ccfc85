"""The ingress in Python: boto3, and fastjsonschema, which compiles the schema once."""

import base64, hashlib, hmac, json, os
from pathlib import Path

import boto3
import fastjsonschema

SQS = boto3.client("sqs")
CHECK_ORDER = fastjsonschema.compile(json.loads((Path(__file__).parents[1] / "order.schema.json").read_text()))
API_KEY_SHA256 = os.environ["API_KEY_SHA256"]
GITHUB_SECRET = os.environ["GITHUB_SECRET"].encode()
STANDARD_SECRET = base64.b64decode(os.environ["STANDARD_SECRET"])


def handler(event, context):
    path, headers, body = event["rawPath"], event["headers"], event["body"]
    if path == "/orders":
        digest = hashlib.sha256(headers["x-api-key"].encode()).hexdigest()
        is_authentic = hmac.compare_digest(digest, API_KEY_SHA256)
    elif path == "/webhooks/github":
        digest = hmac.new(GITHUB_SECRET, body.encode(), hashlib.sha256).hexdigest()
        is_authentic = hmac.compare_digest(f"sha256={digest}", headers["x-hub-signature-256"])
    else:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}"
        digest = hmac.new(STANDARD_SECRET, signed.encode(), hashlib.sha256).digest()
        is_authentic = hmac.compare_digest(f"v1,{base64.b64encode(digest).decode()}", headers["webhook-signature"])
    if not is_authentic:
        return answer(401, {"title": "Unauthorized"})
    data, more = json.loads(body), {}
    if path == "/orders":
        try:
            CHECK_ORDER(data)
        except fastjsonschema.JsonSchemaValueException as error:
            return answer(422, {"title": "Unprocessable Content", "detail": error.message})
        queue, kind, key = "QUEUE_ORDERS", "order.placed", headers["idempotency-key"]
        more = {"MessageGroupId": data["customer_id"]}
    elif path == "/webhooks/github":
        queue, kind, key = "QUEUE_WEBHOOKS", f"github.{headers['x-github-event']}", headers["x-github-delivery"]
    else:
        queue, kind, key = "QUEUE_WEBHOOKS", "webhook.received", headers["webhook-id"]
    message_id = hashlib.sha256(f"{path} {key}".encode()).hexdigest()[:32]
    envelope = {
        "specversion": "1.0", "id": message_id, "source": path, "type": kind, "datacontenttype": "application/json",
        "idempotencykey": key, "data": data,
    }
    # boto3 checks the MD5 of the body by default.
    SQS.send_message(QueueUrl=os.environ[queue], MessageBody=json.dumps(envelope), **more)
    return answer(202, {"id": message_id})


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
