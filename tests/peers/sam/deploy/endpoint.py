"""The HTTP endpoint of the consumer: records events and refuses those whose subject is in `refused`."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Endpoint:
    """An endpoint on a free loopback port. It answers 204, or 400 for an event whose subject is in `refused`."""

    def __init__(self):
        self.refused = set()
        self.arrived = []
        self.changed = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def wait_for(self, message_id, path, seconds=60):
        """Waits until the event with this id was accepted at this path. Returns the event."""
        return self.wait_until(lambda each: each == (path, message_id, 204), f"{message_id} at {path}", seconds)

    def wait_for_refusal(self, message_id, seconds=60):
        return self.wait_until(lambda each: each[1:] == (message_id, 400), f"{message_id} and its refusal", seconds)

    def wait_until(self, fits, what, seconds):
        def found():
            return next((event for *seen, event in self.arrived if fits(tuple(seen))), None)

        with self.changed:
            if not self.changed.wait_for(lambda: found() is not None, seconds):
                seen = [tuple(each[:3]) for each in self.arrived]
                raise AssertionError(f"waited {seconds} s for {what}; what arrived: {seen}")
            return found()

    def handler(endpoint):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = 400 if event.get("subject") in endpoint.refused else 204
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
                with endpoint.changed:
                    endpoint.arrived.append((self.path, event["id"], status, event))
                    endpoint.changed.notify_all()

            def log_message(self, *_):
                pass

        return Handler
