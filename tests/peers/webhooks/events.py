"""Sends events with the CloudEvents SDK for Python, and reads messages with it, over standard input and output as events.mjs
does."""
import base64
import json
import sys
import urllib.request
from datetime import datetime

from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def made(event):
    data = event["data"]
    attributes = {**event["attributes"], "time": datetime.fromisoformat(event["attributes"]["time"])}
    return CloudEvent(attributes, base64.b64decode(data["base64"]) if "base64" in data else data.get("json", data.get("text")))


def message(mode, events):
    if mode == "structured":
        return http.to_structured_event(events[0])
    if mode == "binary":
        return http.to_binary_event(events[0])
    # The SDK writes the events of a batch, but not the batch.
    body = b"[" + b",".join(JSONFormat().write(event) for event in events) + b"]"
    return http.HTTPMessage({"content-type": "application/cloudevents-batch+json"}, body)


def send(asked):
    sent = message(asked["mode"], [made(event) for event in asked["events"]])
    request = urllib.request.Request(url, sent.body, sent.headers)
    with urllib.request.urlopen(request) as answer:
        return {"wire": base64.b64encode(sent.body).decode(), "answer": json.load(answer)}


def read(body):
    event = http.from_structured_event(http.HTTPMessage({"content-type": JSONFormat.CONTENT_TYPE}, body.encode()))
    attributes, data = dict(event.get_attributes()), event.get_data()
    attributes["time"] = attributes["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(data, bytes):
        return {"attributes": attributes, "data": {"base64": base64.b64encode(data).decode()}}
    return {"attributes": attributes, "data": {"text" if isinstance(data, str) else "json": data}}


asked = json.load(sys.stdin)
url = asked.get("url")
sent = [send(request) for request in asked.get("requests", [])]
print(json.dumps({"sent": sent, "read": [read(body) for body in asked.get("messages", [])]}))
