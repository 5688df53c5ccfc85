"""Prints requests that the CloudEvents SDK for Python makes, one a line."""
import base64
import json

from cloudevents.v1.http import CloudEvent, to_binary, to_structured

ATTRIBUTES = {"id": "e-1", "source": "/acme/1", "type": "order.placed", "subject": 'o-1 "x" 100%', "time": "2026-01-02T03:04:05.060Z", "comacmepart": "a b"}
EVENTS = {
    "JSON": CloudEvent({**ATTRIBUTES, "datacontenttype": "application/json"}, {"price": 1.5, "name": 'Tee "é"'}),
    "text": CloudEvent({**ATTRIBUTES, "datacontenttype": "text/plain"}, "Grüße\n"),
}
for data, event in EVENTS.items():
    for mode, make in {"structured": to_structured, "binary": to_binary}.items():
        # Without a marshaller, the SDK writes text in binary mode as JSON.
        is_plain = (data, mode) == ("text", "binary")
        headers, body = make(event, data_marshaller=str.encode) if is_plain else make(event)
        body = body if isinstance(body, bytes) else str(body).encode()
        print(json.dumps({"sdk": "python 2.2.0", "mode": mode, "data": data, "headers": headers, "body": base64.b64encode(body).decode()}))
