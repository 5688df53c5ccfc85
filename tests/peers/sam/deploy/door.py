"""Access to the deployed API: through the emulator's gateway or, without one, by invoking ingress with gateway events."""

import base64
import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

EVENT = Path(__file__).resolve().parents[3] / "events/http-api-v2.json"


class Gateway:
    """HTTP through the gateway. The Host header selects the API, as on AWS."""

    def __init__(self, account, api_url):
        self.address = urlsplit(account.url).netloc
        self.host = urlsplit(api_url).netloc

    def request(self, method, path, headers=(), body=b""):
        """Returns status, headers in lower case, and body."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body, {**dict(headers), "host": self.host})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


class Invocation:
    """Invokes the function with the event of an HTTP API."""

    def __init__(self, account, function):
        self.account = account
        self.function = function

    def request(self, method, path, headers=(), body=b""):
        event = json.loads(EVENT.read_text())
        event["rawPath"] = path
        event["headers"] |= {**dict(headers), "content-length": str(len(body))}
        event["requestContext"]["http"] |= {"method": method, "path": path}
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True} if body else {}
        invoked = self.account("lambda").invoke(FunctionName=self.function, Payload=json.dumps(event))
        payload = invoked["Payload"].read()
        if "FunctionError" in invoked:
            raise AssertionError(f"{method} {path}: ingress failed: {payload.decode()}")
        answer = json.loads(payload)
        body = base64.b64decode(answer["body"]) if answer.get("isBase64Encoded") else (answer.get("body") or "").encode()
        return answer["statusCode"], {name.lower(): value for name, value in answer["headers"].items()}, body
