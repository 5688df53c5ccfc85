#!/usr/bin/env python3
"""Deploys the template as users do, uses what was deployed, updates it, and deletes it.

usage: deploy EMULATOR URL BUILD

EMULATOR is ministack or localstack, and URL where it listens; BUILD is what `sam build` left with Broker=sqs, for this machine's
architecture. Fails unless everything that follows is as on AWS; what the emulator cannot show is said at the end.
"""

import hashlib
import hmac
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from account import Account, eventually
from emulator import EMULATORS
from endpoint import Endpoint

ROOT = Path(__file__).resolve().parents[4]
BIN = Path(sys.executable).parent
STACK = "sluicegate-deploy"
SAM_STACK = "aws-sam-cli-managed-default"
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
API_KEY, GITHUB_SECRET = "deploy-key", "deploy-github"
SECRETS = {
    "api-keys": [{"sha256": hashlib.sha256(API_KEY.encode()).hexdigest(), "principal": "deploy", "scopes": ["orders.write"]}],
    "github": [GITHUB_SECRET],
}


def main(name, url, build):
    emulator = EMULATORS[name](Account(url))
    account = emulator.account
    before = account.everything()
    endpoint = Endpoint()
    with tempfile.TemporaryDirectory() as folder:
        stack = Deployment(emulator, Path(build), Path(folder))
        try:
            stack.deploy(stack.built, {"ForwardUrl": endpoint.url("/first")})
            outputs_are_there(account, emulator)
            account("secretsmanager").put_secret_value(
                SecretId=account.outputs(STACK)["SecretArn"], SecretString=json.dumps(SECRETS)
            )
            door = emulator.door(STACK)
            order_is_consumed(door, endpoint, "/first")
            refusals_are_problems(door)
            webhook_is_consumed(door, endpoint)
            poison_is_parked_and_redriven(emulator, door, endpoint)
            update_is_taken(stack, emulator, endpoint)
            failing_update_leaves_the_old(stack, emulator, endpoint)
        finally:
            stack.delete()
            endpoint.close()
    nothing_is_left(account, before)
    for each in emulator.NOT_SHOWN:
        say(f"not shown by {name}: {each}")


def say(text):
    print(f"    {text}", flush=True)


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


# ---- sam deploy --------------------------------------------------------------------------------------------------------------


class Deployment:
    """The stack under test, deployed and deleted by SAM with the settings of samconfig.toml."""

    def __init__(self, emulator, built, folder):
        self.emulator = emulator
        self.account = account = emulator.account
        self.built = built
        self.folder = folder
        self.parameters = {"Broker": "sqs", "Architecture": ARCHITECTURE, "LogRetentionDays": "7"}
        self.environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": account.url,
            "SAM_CLI_TELEMETRY": "0",
        }

    def sam(self, *arguments):
        command = [BIN / "sam", *arguments, "--config-file", ROOT / "samconfig.toml", "--config-env", "dev"]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def deploy(self, build, parameters, fails=False):
        """The parameters stay for later deployments, unless this one fails as expected."""
        parameters = self.parameters | parameters
        done = self.sam(
            "deploy", "--template-file", build / "template.yaml", "--stack-name", STACK,
            "--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items()),
        )
        if (done.returncode != 0) != fails:
            raise AssertionError(f"sam deploy: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        if not fails:
            self.parameters = parameters
        for each in self.emulator.mend(STACK, self.parameters):
            say(f"mended by this test: {each}")

    def delete(self):
        """Not by `sam delete`, which takes the address of a nested template at an emulator for no S3 URL, and stops."""
        self.account("cloudformation").delete_stack(StackName=STACK)
        eventually(lambda: self.account.status(STACK) in (None, "DELETE_COMPLETE", "DELETE_FAILED"), "the stack's deletion")
        equal(self.account.status(STACK) in (None, "DELETE_COMPLETE"), True, "the stack is deleted")

    def changed(self, name, resources=""):
        """A copy of the build with other code, which does the same, and with further resources in the template."""
        copy = self.folder / name
        shutil.copytree(self.built, copy)
        for bootstrap in copy.glob("*/bootstrap"):
            with bootstrap.open("ab") as file:
                file.write(name.encode())
        template = copy / "template.yaml"
        head, found, tail = template.read_text().partition("\nResources:\n")
        equal(bool(found), True, "the template has Resources")
        template.write_text(head + found + resources + tail)
        return copy


def functions(account):
    """What would run: the code's digest and the forward URL."""
    found = {}
    for logical, physical in account.resources(STACK).items():
        if logical in ("IngressFunction", "ConsumerFunction"):
            function = account("lambda").get_function_configuration(FunctionName=physical)
            found[logical] = function["CodeSha256"], function["Environment"]["Variables"].get("FORWARD_URL")
    return found


# ---- the deployed system -----------------------------------------------------------------------------------------------------


def outputs_are_there(account, emulator):
    outputs = account.outputs(STACK)
    expected = {"ApiUrl", "OrdersDeadLetterQueueUrl", "SecretArn", "WebhooksDeadLetterQueueUrl"}
    missing = expected - outputs.keys()
    equal(missing, set(), "missing outputs")
    say(f"deployed; outputs: {', '.join(sorted(outputs))}")


def order(door, order_id, customer="c-1", **headers):
    body = {"order_id": order_id, "customer_id": customer, "items": [{"sku": "tea", "quantity": 2}]}
    headers = {
        "content-type": "application/json", "x-api-key": API_KEY, "idempotency-key": f'"{order_id}"',
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return door.request("POST", "/orders", headers, json.dumps(body).encode())


def accepted(answer, what):
    status, _, body = answer
    equal(status, 202, f"{what}, answered {body.decode()}")
    return json.loads(body)["id"]


def order_is_consumed(door, endpoint, path):
    order_id = f"o-{uuid.uuid4()}"
    message_id = accepted(order(door, order_id), "an order")
    event = endpoint.wait_for(message_id, path)
    equal((event["type"], event["subject"], event["data"]["order_id"]), ("order.placed", order_id, order_id), "the event")
    say(f"an order: 202, and forwarded to {path}")


def refusals_are_problems(door):
    json_type = {"content-type": "application/json"}
    cases = [
        (order(door, "o-2", x_api_key="wrong"), 401, "credentials_invalid"),
        (door.request("POST", "/orders", json_type, b"{}"), 401, "credentials_missing"),
        (
            door.request("POST", "/orders", {**json_type, "x-api-key": API_KEY, "idempotency-key": '"o-3"'}, b"{}"),
            422, "schema_violated",
        ),
        (door.request("GET", "/nowhere"), 404, "route_unknown"),
        (door.request("DELETE", "/orders"), 405, "method_not_allowed"),
        (github(door, "d-1", signature="sha256=" + "0" * 64), 401, "credentials_invalid"),
    ]
    for (status, headers, body), expected, code in cases:
        equal(status, expected, f"the status of {code}, answered {body.decode()}")
        equal(headers.get("content-type"), "application/problem+json", f"the media type of {code}")
        equal(json.loads(body)["code"], code, f"the code of a {expected}")
        if expected == 405:
            equal(headers.get("allow"), "POST", "Allow")
    status, _, body = door.request("GET", "/openapi.json")
    equal((status, json.loads(body)["openapi"]), (200, "3.1.1"), "the contract")
    say("refused as problems: " + ", ".join(f"{status} {code}" for _, status, code in cases))


def github(door, delivery, signature=None):
    body = json.dumps({"zen": "Keep it logically awesome.", "hook_id": 1}).encode()
    signature = signature or f"sha256={hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()}"
    headers = {
        "content-type": "application/json", "x-github-event": "ping", "x-github-delivery": delivery,
        "x-hub-signature-256": signature,
    }
    return door.request("POST", "/webhooks/github", headers, body)


def webhook_is_consumed(door, endpoint):
    message_id = accepted(github(door, str(uuid.uuid4())), "a webhook")
    equal(endpoint.wait_for(message_id, "/first")["type"], "github.ping", "the event's type")
    say("a webhook that GitHub's key has signed: 202, and forwarded")


def poison_is_parked_and_redriven(emulator, door, endpoint):
    account = emulator.account
    dead_letters = account.outputs(STACK)["OrdersDeadLetterQueueUrl"]
    poison = f"poison-{uuid.uuid4()}"
    endpoint.refused.add(poison)
    message_id = accepted(order(door, poison, customer="c-2"), "a poison order")
    endpoint.wait_for_refusal(message_id)
    eventually(lambda: account.count(dead_letters) == 1, "the poison message in the dead-letter queue")
    [parked] = account("sqs").receive_message(
        QueueUrl=dead_letters, MessageAttributeNames=["All"], VisibilityTimeout=0, WaitTimeSeconds=10
    )["Messages"]
    reason = parked["MessageAttributes"]["sluicegate-reason"]["StringValue"]
    equal(reason, "the endpoint answered 400", "the reason")
    equal(json.loads(parked["Body"])["id"], message_id, "the dead letter's id")
    order_is_consumed(door, endpoint, "/first")
    endpoint.refused.discard(poison)
    emulator.redrive(STACK, "Orders")
    endpoint.wait_for(message_id, "/first")
    eventually(lambda: account.count(dead_letters) == 0, "an empty dead-letter queue")
    say(f"a poison order: in the dead-letter queue ({reason}), redriven, forwarded; the queue is empty")


# ---- its life ----------------------------------------------------------------------------------------------------------------


def update_is_taken(stack, emulator, endpoint):
    old = functions(stack.account)
    stack.deploy(stack.changed("second"), {"ForwardUrl": endpoint.url("/second")})
    new = functions(stack.account)
    for function, (code, _) in old.items():
        equal(new[function][0] != code, True, f"{function} has new code")
    equal(new["ConsumerFunction"][1], endpoint.url("/second"), "the new forward URL")
    order_is_consumed(emulator.door(STACK), endpoint, "/second")
    say("updated: both functions have other code, and the parameter's new value")


# Fails in the middle of an update, with the functions already made new: there is no such archive.
WITHOUT_CODE = """\
  WithoutCode:
    Type: AWS::Lambda::Function
    DependsOn: [IngressFunction, ConsumerFunction]
    Properties:
      Runtime: provided.al2023
      Handler: bootstrap
      Role: !GetAtt IngressRole.Arn
      Code: { S3Bucket: sluicegate-no-such-bucket, S3Key: none.zip }
"""


def failing_update_leaves_the_old(stack, emulator, endpoint):
    old = functions(stack.account)
    stack.deploy(stack.changed("third", WITHOUT_CODE), {"ForwardUrl": endpoint.url("/third")}, fails=True)
    equal(stack.account.stack(STACK)["StackStatus"], "UPDATE_ROLLBACK_COMPLETE", "the stack after a failed update")
    equal(functions(stack.account), old, "the functions after a failed update")
    order_is_consumed(emulator.door(STACK), endpoint, "/second")
    say("an update that fails is rolled back, and the old one goes on")


def nothing_is_left(account, before):
    """But the bucket with what SAM uploaded, which `sam delete` leaves for other stacks."""
    left = account.everything() - before
    bucket = account.resources(SAM_STACK)["SamCliSourceBucket"]
    equal(left - {f"s3 Buckets: {bucket}", f"cloudformation Stacks: {SAM_STACK}"}, set(), "left behind by the stack")
    s3 = account("s3")
    equal(s3.list_objects_v2(Bucket=bucket).get("Contents", []), [], "left in SAM's bucket")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for each in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
    account("cloudformation").delete_stack(StackName=SAM_STACK)
    eventually(lambda: account.everything() == before, "SAM's own stack and bucket to be gone")
    say("deleted: nothing is left; SAM's bucket, which is, was removed")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in EMULATORS:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except AssertionError as failed:
        sys.exit(str(failed))
