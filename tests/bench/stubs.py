"""Stand-ins for what a function talks to on Lambda: the Runtime API, SQS and Secrets Manager; a queue of a real RabbitMQ; and the
events that a function is given.
"""

import base64, hashlib, hmac, json, os, re, ssl, subprocess, sys, tempfile, threading, time, uuid
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

TESTS = Path(__file__).resolve().parents[1]
RABBITMQ_SECRET = "arn:aws:secretsmanager:eu-west-1:1:secret:rabbitmq"
GITHUB_SECRET = "dev-github"
STANDARD_SECRET = base64.b64encode(b"dev-standard-webhooks-24").decode()
API_KEY = "dev-key"
# The variables of every queue of the template, because an ingress with an unbound queue does not start.
QUEUES = re.findall(r"^ +(QUEUE_\w+):", (TESTS.parent / "template.yaml").read_text(), re.MULTILINE)
# More lists of the secret. Without them the first invocation is as tests/bench/instructions.json has it.
MORE_SECRETS = {}
# The user of the broker, as Secrets Manager has it.
BROKER_USER = {}


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Aws(Quiet):
    """SQS, which stores every message, in `server.messages` if that is a list; Secrets Manager; the key set of an issuer; DynamoDB,
    whose writes succeed.
    """

    def do_GET(self):
        self.reply(200, json.dumps(key_set()).encode(), [("content-type", "application/json")])

    def do_POST(self):
        request = json.loads(self.body())
        target = self.headers["x-amz-target"]
        if target == "AmazonSQS.SendMessage":
            answer = self.store(request)
        elif target == "AmazonSQS.SendMessageBatch":
            answer = {"Successful": [{"Id": each["Id"], **self.store(each)} for each in request["Entries"]], "Failed": []}
        elif target.startswith("DynamoDB_"):
            answer = {}
        else:
            key = {"sha256": hashlib.sha256(API_KEY.encode()).hexdigest(), "principal": "dev", "scopes": ["*"]}
            lists = {"github": [GITHUB_SECRET], "api-keys": [key], **MORE_SECRETS}
            secret = BROKER_USER if request["SecretId"] == RABBITMQ_SECRET else lists
            answer = {"ARN": "arn", "Name": "s", "SecretString": json.dumps(secret)}
        self.reply(200, json.dumps(answer).encode(), [("content-type", "application/x-amz-json-1.0")])

    def store(self, message):
        if (messages := getattr(self.server, "messages", None)) is not None:
            messages.append((self.headers.get("authorization", ""), message["MessageBody"]))
        return {"MessageId": "m-1", "MD5OfMessageBody": hashlib.md5(message["MessageBody"].encode()).hexdigest()}


class Runtime(Quiet):
    """The Runtime API of one process. `server.run` has its `event` and how many `events` it is given, and gets its `answers`.

    `server.run["before"](given)` is called each time that the process waits for an event. After the last one, `done` is set
    and the process waits until `over`.
    """

    def do_GET(self):
        run = self.server.run
        run["started"].wait()
        run["before"](run["given"])
        if run["given"] < run["events"]:
            run["given"] += 1
            deadline = ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + run["deadline_ms"]))
            # As on AWS, each invocation has a trace of its own.
            trace = ("Lambda-Runtime-Trace-Id", f"Root=1-69282ffc-{run['given']:024x};Parent=b7ad6b7169203331;Sampled=0")
            return self.reply(200, run["event"], [("Lambda-Runtime-Aws-Request-Id", "r-1"), deadline, trace, *run["headers"]])
        run["done"].set()
        run["over"].wait()

    def do_POST(self):
        self.server.run["answers"].append(self.body())
        self.reply(202)


def serve(handler, context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


def invoke(command, name, settings, event, events, seconds, *, before=lambda process, given: None, deadline_ms=10_000,
           headers=()):
    """Starts `command` as the function `name`, gives it `event` as often as `events` says, and ends it.

    Calls `before(process, given)` each time that it waits for an event. Exits if it does not answer all of them within
    `seconds`. Returns the answers, and the output of the function.
    """
    runtime, port = serve(Runtime)
    runtime.run = run = {each: threading.Event() for each in ("started", "done", "over")}
    env = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}", "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "g", "AWS_LAMBDA_LOG_STREAM_NAME": "s", "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c",
        **{each: f"https://sqs.eu-west-1.amazonaws.com/1/{each}" for each in QUEUES},
        "SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:s", **settings,
    }
    # A file, because a full pipe without a reader would block the function.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        run.update(given=0, event=event, events=events, answers=[], deadline_ms=deadline_ms, headers=headers,
                   before=lambda given: before(process, given))
        try:
            run["started"].set()
            end = time.monotonic() + seconds
            while not (is_done := run["done"].wait(0.1)) and process.poll() is None and time.monotonic() < end:
                pass
            ended = process.poll()
            process.terminate()
            process.wait(30)
            log.seek(0)
            output = log.read().decode(errors="replace")
            if not is_done:
                what = f"no answer within {seconds} s" if ended is None else f"ended with {ended}"
                sys.exit(f"{what}; the output of the function:\n{output[-4000:]}")
            return [json.loads(answer) for answer in run["answers"]], output
        finally:
            process.kill()
            run["over"].set()
            runtime.shutdown()
            runtime.server_close()


def resident_mb(pid):
    """Returns the memory of a process that is in RAM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024 / 1e6


class RabbitmqQueue:
    """A quorum queue on a new virtual host of the broker at this URL."""

    def __init__(self, url):
        self.url, self.vhost = urlsplit(url), f"bench-{uuid.uuid4()}"

    def manage(self, method, path, body=None):
        """Calls the management API of the broker."""
        basic = base64.b64encode(f"{self.url.username}:{self.url.password}".encode()).decode()
        headers = {"content-type": "application/json", "authorization": f"Basic {basic}"}
        address = f"http://{self.url.hostname}:{self.url.port + 10_000}/api/{path}"
        with urlopen(Request(address, json.dumps(body or {}).encode(), headers, method=method)) as answer:
            return answer.read()

    def settings(self, url=None):
        """Returns the settings of an ingress that publishes to the queue, through another URL than the broker's if one is given."""
        return {**{each: "rabbitmq:/messages" for each in QUEUES}, "RABBITMQ_URL": url or f"{self.url.geturl()}/{self.vhost}"}

    def take(self, count):
        """Takes at most so many messages from the queue. Returns their bodies."""
        get = {"count": count, "ackmode": "ack_requeue_false", "encoding": "auto"}
        return [each["payload"] for each in json.loads(self.manage("POST", f"queues/{self.vhost}/messages/get", get))]


@contextmanager
def rabbitmq_queue():
    """Yields a queue of the RabbitMQ of SLUICEGATE_RABBITMQ_URL, and deletes it."""
    if not (url := os.environ.get("SLUICEGATE_RABBITMQ_URL")):
        sys.exit("SLUICEGATE_RABBITMQ_URL is not set: set it to the URL of a RabbitMQ with its management API, as ./tests/run does")
    queue = RabbitmqQueue(url)
    queue.manage("PUT", f"vhosts/{queue.vhost}")
    try:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        queue.manage("PUT", f"permissions/{queue.vhost}/{queue.url.username}", everything)
        queue.manage("PUT", f"queues/{queue.vhost}/messages", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
        yield queue
    finally:
        queue.manage("DELETE", f"vhosts/{queue.vhost}")


def tls(folder):
    """Creates a certificate chain like that of AWS endpoints: RSA 2048 leaf, one intermediate, a root in the bundle.

    Returns the files of the root and of the bundle, and the context of a server on localhost.
    """

    def issue(name, issuer, *extensions):
        signed_by = ["-CA", f"{folder}/{issuer}.pem", "-CAkey", f"{folder}/{issuer}.key"] if issuer else []
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", *signed_by,
             *(word for extension in extensions for word in ("-addext", extension)),
             "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"], check=True, capture_output=True)
        return Path(f"{folder}/{name}.pem")

    root = issue("root", None)
    middle = issue("intermediate", "root", "basicConstraints=CA:TRUE")
    leaf = issue("localhost", "intermediate", "basicConstraints=CA:FALSE", "subjectAltName=DNS:localhost")
    chain = Path(f"{folder}/chain.pem")
    chain.write_text(leaf.read_text() + middle.read_text())
    # A bundle as large as Amazon Linux's, so that reading trust roots takes as long.
    bundle, roots = Path("/etc/ssl/certs/ca-certificates.crt"), Path(f"{folder}/roots.pem")
    roots.write_text((bundle.read_text() if bundle.exists() else "") + root.read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, f"{folder}/localhost.key")
    return root, roots, context


def request(path, headers, body):
    """Returns the event of a POST through an HTTP API."""
    event = json.loads((TESTS / "events/http-api-v2.json").read_text())
    event["rawPath"] = path
    event["requestContext"]["http"].update(method="POST", path=path)
    event["headers"].update({"content-type": "application/json", **headers})
    event["body"] = body
    return json.dumps(event).encode()


def github_event(body=json.dumps({"zen": "Keep it logically awesome.", "pad": "x" * 2000})):
    """Returns a signed GitHub webhook, by default with a body of 2 KB."""
    digest = hmac.new(GITHUB_SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    headers = {"x-github-event": "ping", "x-github-delivery": "d-1", "x-hub-signature-256": f"sha256={digest}"}
    return request("/webhooks/github", headers, body)


def standard_event(body=json.dumps({"type": "invoice.paid", "pad": "x" * 2000})):
    """Returns a signed Standard Webhook with a body of 2 KB, valid for five minutes."""
    stamp = str(int(time.time()))
    digest = hmac.new(base64.b64decode(STANDARD_SECRET), f"w-1.{stamp}.{body}".encode(), hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": "w-1", "webhook-timestamp": stamp, "webhook-signature": signature}
    return request("/webhooks/standard", headers, body)


def order_event():
    """Returns an order of one article with an API key."""
    order = {"order_id": "o-1", "customer_id": "c-1", "items": [{"sku": "tea", "quantity": 2}], "note": "x" * 2000}
    return request("/orders", {"x-api-key": API_KEY, "idempotency-key": "k-1"}, json.dumps(order))


@cache
def issuer_key():
    """Returns the RSA key of an issuer, as PEM."""
    return openssl("genrsa", "2048").encode()


def key_set():
    """Returns the public key of the issuer."""
    modulus = openssl("rsa", "-modulus", "-noout", data=issuer_key()).strip().removeprefix("Modulus=")
    return {"keys": [{"kty": "RSA", "kid": "k-1", "alg": "RS256", "n": base64url(bytes.fromhex(modulus)), "e": "AQAB"}]}


@cache
def token():
    """Returns an access token of the issuer for tests/bench/project, valid for an hour."""
    now = int(time.time())
    claims = {
        "iss": "https://login.example.com/", "aud": "https://api.example.com", "sub": "acme", "scope": "jobs.write",
        "iat": now, "exp": now + 3_600,
    }
    signed = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k-1", "typ": "JWT"}, claims))
    with tempfile.NamedTemporaryFile() as file:
        file.write(issuer_key())
        file.flush()
        signature = openssl("dgst", "-sha256", "-sign", file.name, data=signed.encode(), text=False)
    return f"{signed}.{base64url(signature)}"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, data=None, text=True):
    output = subprocess.run(["openssl", *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout
    return output.decode() if text else output


def job_event():
    """Returns a job of 2 KB with an access token."""
    return request("/jobs", {"authorization": f"Bearer {token()}"}, json.dumps({"job_id": "j-1", "note": "x" * 2000}))


def readings_event(items):
    """Returns a batch of items of 2 KB with an access token."""
    body = [{"job_id": f"j-{number}", "note": "x" * 2000} for number in range(items)]
    return request("/readings", {"authorization": f"Bearer {token()}"}, json.dumps(body))


def batch_event(messages):
    """Returns a batch of orders from a FIFO queue, as ingress enqueues them, each of 2 KB."""
    event = json.loads((TESTS / "events/orders-placed.json").read_text())
    record = event["Records"][0]
    envelope = json.loads(record["body"])
    envelope["data"]["note"] = "x" * 2000
    records = []
    for number in range(messages):
        body = json.dumps(envelope | {"id": f"00000000-0000-4000-8000-{number:012}"})
        records.append(record | {
            "messageId": f"00000000-0000-4000-9000-{number:012}", "body": body,
            "md5OfBody": hashlib.md5(body.encode()).hexdigest(),
        })
    return json.dumps(event | {"Records": records}).encode()


def name_of(binary):
    """Returns the name of a binary in the layout of cargo-lambda: <name>/bootstrap."""
    return Path(binary).parent.name if Path(binary).name == "bootstrap" else Path(binary).name
