#!/usr/bin/env python3
"""Deploys the template as users do, uses the stack, updates it, and deletes it.

usage: deploy EMULATOR URL BUILD SLUICEGATE

EMULATOR is ministack or localstack, and URL its endpoint; BUILD is the output of `sam build` with Broker=sqs for the architecture
of this machine; SLUICEGATE is the command. The behaviour must be that of AWS. At the end it prints what the emulator does not
support.
"""

import hashlib
import hmac
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cleanup
from account import Account, eventually
from emulator import EMULATORS
from endpoint import Endpoint

# A new name for each run, because the name of a deleted queue cannot be used for a minute.
STACK = f"sluicegate-{uuid.uuid4().hex[:8]}"
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
API_KEY, GITHUB_SECRET = "deploy-key", "deploy-github"
SECRETS = {
    "api-keys": [{"sha256": hashlib.sha256(API_KEY.encode()).hexdigest(), "principal": "deploy", "scopes": ["orders.write"]}],
    "github": [GITHUB_SECRET],
}


def main(name, url, build, sluicegate):
    emulator = EMULATORS[name](Account(url))
    before = emulator.account.everything()
    with Endpoint() as endpoint, tempfile.TemporaryDirectory() as folder:
        stack = Deployment(emulator, endpoint, Path(build), Path(folder))
        try:
            stack.deploy(stack.built, "/first")
            outputs_are_there(stack)
            stack.fill_secret()
            order_is_consumed(stack, "/first")
            refusals_are_problems(stack)
            webhook_is_consumed(stack, "/first")
            poison_is_dead_lettered_and_redriven(stack, "/first", sluicegate)
            if emulator.ENFORCES_ROLES:
                roles_are_enforced(stack)
            update_takes_effect(stack)
            if emulator.ROLLS_BACK:
                failing_update_is_rolled_back(stack)
            stack.delete()
            repaired(emulator.sweep(stack.resources))
        except BaseException:
            stack.abandon()
            raise
    cleanup.nothing_is_left(emulator.account, before)
    say("deleted: nothing is left except SAM's bucket, which is now deleted")
    for each in emulator.NOT_SHOWN:
        say(f"not shown by {name}: {each}")


def say(text):
    print(f"    {text}", flush=True)


def repaired(repairs):
    for each in repairs:
        say(f"repaired by this test: {each}")


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


# ---- sam deploy --------------------------------------------------------------------------------------------------------------


class Deployment:
    """The stack under test, whose consumer forwards to a path of `endpoint`."""

    def __init__(self, emulator, endpoint, built, folder):
        self.emulator = emulator
        self.account = emulator.account
        self.endpoint = endpoint
        self.built = built
        self.folder = folder
        self.resources = {}
        self.parameters = {"Broker": "sqs", "Architecture": ARCHITECTURE, **emulator.PARAMETERS}

    def deploy(self, build, path, fails=False):
        parameters = self.parameters | {"ForwardUrl": self.endpoint.url(path)}
        deployed, output = self.emulator.deploy(STACK, build, parameters)
        if deployed == fails:
            raise AssertionError(f"{'' if deployed else 'not '}deployed: {output}")
        repaired(self.emulator.repair(STACK, parameters))
        self.resources = self.account.resources(STACK)
        self.door = self.emulator.door(STACK)

    def delete(self):
        cleanup.delete(self.account, STACK, self.resources)

    def abandon(self):
        """Deletes what can be deleted after a failure, without hiding the failure."""
        try:
            self.delete()
        except Exception as error:
            say(f"not deleted: {error}")

    def fill_secret(self):
        secret = self.account.outputs(STACK)["SecretArn"]
        self.account("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(SECRETS))

    def functions(self):
        """Returns the code digest and the forward URL of each function."""
        found = {}
        for function in ("IngressFunction", "ConsumerFunction"):
            runs = self.account("lambda").get_function_configuration(
                FunctionName=self.resources[function], Qualifier=self.emulator.QUALIFIER
            )
            found[function] = runs["CodeSha256"], runs["Environment"]["Variables"].get("FORWARD_URL")
        return found

    def changed(self, name, resources=""):
        """Returns a copy of the build with other code of the same behaviour, and with further resources in the template."""
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


# ---- the deployed system -----------------------------------------------------------------------------------------------------


def outputs_are_there(stack):
    outputs = stack.account.outputs(STACK)
    equal(stack.emulator.OUTPUTS - outputs.keys(), set(), "missing outputs")
    say(f"deployed; outputs: {', '.join(sorted(outputs))}")


def order(door, order_id, customer="c-1", key=API_KEY):
    body = {"order_id": order_id, "customer_id": customer, "items": [{"sku": "tea", "quantity": 2}]}
    headers = {"content-type": "application/json", "x-api-key": key, "idempotency-key": f'"{order_id}"'}
    return door.request("POST", "/orders", headers, json.dumps(body).encode())


def github(door, delivery, signature=None):
    body = json.dumps({"zen": "Keep it logically awesome.", "hook_id": 1}).encode()
    signature = signature or f"sha256={hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()}"
    headers = {
        "content-type": "application/json", "x-github-event": "ping", "x-github-delivery": delivery,
        "x-hub-signature-256": signature,
    }  # fmt: skip
    return door.request("POST", "/webhooks/github", headers, body)


def accepted(answer, what):
    status, _, body = answer
    equal(status, 202, f"{what}, answered {body.decode()}")
    return json.loads(body)["id"]


def refused(answer, status, code):
    found, headers, body = answer
    equal(found, status, f"the status of {code}, answered {body.decode()}")
    equal(headers.get("content-type"), "application/problem+json", f"the media type of {code}")
    equal(json.loads(body)["code"], code, f"the code of a {status}")
    return headers


def order_is_consumed(stack, path):
    order_id = f"o-{uuid.uuid4()}"
    message_id = accepted(order(stack.door, order_id), "an order")
    event = stack.endpoint.wait_for(message_id, path)
    equal((event["type"], event["subject"], event["data"]["order_id"]), ("order.placed", order_id, order_id), "the event")
    eventually(lambda: stack.account.count(stack.resources["OrdersQueue/Queue"]) == 0, "an empty queue")
    say(f"an order: 202, and forwarded to {path}")


def refusals_are_problems(stack):
    door, json_type = stack.door, {"content-type": "application/json"}
    signed_in = json_type | {"x-api-key": API_KEY, "idempotency-key": '"o-1"'}
    refused(order(door, "o-1", key="wrong"), 401, "credentials_invalid")
    refused(door.request("POST", "/orders", json_type, b"{}"), 401, "credentials_missing")
    refused(github(door, "d-1", signature="sha256=" + "0" * 64), 401, "credentials_invalid")
    refused(door.request("POST", "/orders", signed_in, b"{}"), 422, "schema_violated")
    refused(door.request("GET", "/nowhere"), 404, "route_unknown")
    headers = refused(door.request("DELETE", "/orders"), 405, "method_not_allowed")
    equal(headers.get("allow"), "POST, OPTIONS", "Allow")
    status, _, body = door.request("GET", "/openapi.json")
    equal((status, json.loads(body)["openapi"]), (200, "3.1.1"), "the contract")
    say("401, 404, 405 and 422 are problems; the contract is served")


def webhook_is_consumed(stack, path):
    message_id = accepted(github(stack.door, str(uuid.uuid4())), "a webhook")
    equal(stack.endpoint.wait_for(message_id, path)["type"], "github.ping", "the event's type")
    say("a webhook signed as GitHub does: 202, and forwarded")


def poison_is_dead_lettered_and_redriven(stack, path, sluicegate):
    dead_letters = stack.resources["OrdersQueue/DeadLetterQueue"]
    poison = f"poison-{uuid.uuid4()}"
    stack.endpoint.refused.add(poison)
    message_id = accepted(order(stack.door, poison, customer="c-2"), "a poison order")
    stack.endpoint.wait_for_refusal(message_id)
    eventually(lambda: stack.account.count(dead_letters) == 1, "the poison message in the dead-letter queue")
    [parked] = stack.account("sqs").receive_message(
        QueueUrl=dead_letters, MessageAttributeNames=["All"], VisibilityTimeout=0, WaitTimeSeconds=10
    )["Messages"]
    reason = parked["MessageAttributes"]["sluicegate-reason"]["StringValue"]
    equal(reason, "the endpoint answered 400", "the reason")
    equal(json.loads(parked["Body"])["id"], message_id, "the dead letter's id")
    order_is_consumed(stack, path)
    stack.endpoint.refused.discard(poison)
    redrive = [sluicegate, "dlq", "redrive", dead_letters, "--endpoint-url", stack.account.url]
    done = subprocess.run(redrive, capture_output=True, text=True, timeout=60)
    equal(done.returncode, 0, f"the exit code of a redrive, which printed {done.stdout}{done.stderr}")
    equal(stack.emulator.REDRIVEN in done.stdout + done.stderr, True, f"the kind of redrive, which printed {done.stdout}{done.stderr}")
    stack.endpoint.wait_for(message_id, path)
    eventually(lambda: stack.account.count(dead_letters) == 0, "an empty dead-letter queue")
    say(f"a poison order: dead-lettered ({reason}), redriven by `sluicegate dlq redrive`, forwarded; the dead-letter queue is empty")


def roles_are_enforced(stack):
    iam, role = stack.account("iam"), stack.resources["IngressRole"]
    statement = {"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="no-sends", PolicyDocument=document)
    refused(order(stack.door, "o-denied"), 503, "queue_unavailable")
    iam.delete_role_policy(RoleName=role, PolicyName="no-sends")
    accepted(order(stack.door, "o-denied"), "an order repeated after sends are allowed again")
    say("roles are enforced: with sends denied to ingress, an order is a 503")


# ---- updates -----------------------------------------------------------------------------------------------------------------

# Fails after both functions are updated, because the role does not exist.
FAILS = """\
  Fails:
    Type: AWS::IAM::Policy
    DependsOn: [IngressFunction, ConsumerFunction]
    Properties:
      PolicyName: fails
      PolicyDocument:
        Version: '2012-10-17'
        Statement: [{ Effect: Deny, Action: '*', Resource: '*' }]
      Roles: [sluicegate-no-such-role]
"""


def update_takes_effect(stack):
    old = stack.functions()
    stack.deploy(stack.changed("second"), "/second")
    new = stack.functions()
    for function, (code, _) in old.items():
        equal(new[function][0] != code, True, f"{function} has new code")
    equal(new["ConsumerFunction"][1], stack.endpoint.url("/second"), "the new forward URL")
    order_is_consumed(stack, "/second")
    say("updated: both functions run other code, and the consumer has the parameter's new value")


def failing_update_is_rolled_back(stack):
    old = stack.functions()
    stack.deploy(stack.changed("third", FAILS), "/third", fails=True)
    equal(stack.account.status(STACK), "UPDATE_ROLLBACK_COMPLETE", "the stack after a failed update")
    equal(stack.functions(), old, "the functions after a failed update")
    order_is_consumed(stack, "/second")
    say("an update that fails is rolled back, and the old functions are unchanged")


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] not in EMULATORS:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except AssertionError as failed:
        sys.exit(str(failed))
