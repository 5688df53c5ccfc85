"""Receives spans over OTLP/HTTP JSON with the messages of the package opentelemetry-proto.

    python tests/peers/otlp_receiver.py

Prints its URL, then a line of JSON for each span, with the attributes of its resource. A request that is not a strict
ExportTraceServiceRequest is answered 400, and printed as an error.
"""

import base64
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

from google.protobuf.json_format import MessageToJson, Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def with_base64(document):
    """Ids are hexadecimal in OTLP's JSON, and base64 in that of protobuf. Nothing else differs."""
    if isinstance(document, list):
        return [with_base64(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {key: encoded(key, value) if key in IDS else with_base64(value) for key, value in document.items()}


def encoded(key, value):
    raw = bytes.fromhex(value)
    if len(raw) != IDS[key] or value != value.lower():
        raise ValueError(f"{key} is {value}")
    return base64.b64encode(raw).decode()


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def spans(request):
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield {
                    "service": attributes(resource_spans.resource.attributes).get("service.name"),
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "ns": span.end_time_unix_nano - span.start_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "status": Status.StatusCode.Name(span.status.code),
                }


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            if (self.path, self.headers["content-type"]) != ("/v1/traces", "application/json"):
                raise ValueError(f"POST {self.path} of {self.headers['content-type']}")
            request = Parse(json.dumps(with_base64(json.loads(body))), ExportTraceServiceRequest())
            lines, status = list(spans(request)), 200
        except Exception as error:
            lines, status = [{"error": str(error)}], 400
        for line in lines:
            print(json.dumps(line), flush=True)
        answer = MessageToJson(ExportTraceServiceResponse()).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
