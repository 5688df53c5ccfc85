#!/usr/bin/env python3
"""Deploys a project of `sluicegate new` at ministack as its user does, and sends an event to its own route.

usage: new_project.py URL PROJECT SLUICEGATE

URL is ministack's; PROJECT is the folder of the project, as `sam build` left it; SLUICEGATE is the command.
"""

import json
import platform
import subprocess
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from account import Account, eventually
from cleanup import delete, nothing_is_left
from emulator import Ministack

STACK = f"my-api-{uuid.uuid4().hex[:8]}"
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


def main(url, project, sluicegate):
    project = Path(project).resolve()
    account = Account(url)
    emulator = Ministack(account, project)
    before = account.everything()
    resources = {}
    try:
        resources = deploy(emulator, project)
        invoice_is_handled(emulator, resources, api_key(url, project, sluicegate))
    finally:
        delete(account, STACK, resources)
    nothing_is_left(account, before)


def say(text):
    print(f"    {text}", flush=True)


def deploy(emulator, project):
    parameters = {"Broker": "sqs", "Architecture": ARCHITECTURE, **emulator.PARAMETERS}
    deployed, output = emulator.deploy(STACK, project / ".aws-sam/build", parameters)
    if not deployed:
        raise AssertionError(f"not deployed: {output}")
    for each in emulator.repair(STACK, parameters):
        say(f"repaired by this test: {each}")
    resources = emulator.account.resources(STACK)
    say(f"deployed: {len(resources)} resources")
    return resources


def api_key(url, project, sluicegate):
    """Stores an API key as docs/deploy.md says, and returns it."""
    command = [sluicegate, "secrets", "put", "api-keys", "--principal", "test", "--stack", STACK, "--endpoint-url", url]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"secrets put: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def invoice_is_handled(emulator, resources, key):
    headers = {"content-type": "application/json", "x-api-key": key, "idempotency-key": '"i-1"'}
    status, _, body = emulator.door(STACK).request("POST", "/invoices", headers, json.dumps({"id": "i-1"}).encode())
    if status != 202:
        raise AssertionError(f"an invoice: {status} {body.decode()}")
    message_id = json.loads(body)["id"]
    account = emulator.account
    queues = [resources[f"InvoicesQueue/{name}"] for name in ("Queue", "DeadLetterQueue")]
    eventually(lambda: sum(map(account.count, queues)) == 0, "empty queues of invoices")
    try:
        eventually(lambda: any(message_id in each and "handled" in each for each in lines(account)), "the handler's line", 20)
    except AssertionError as error:
        raise AssertionError(f"{error}; logged is {lines(account)[-10:]}") from None
    say("an invoice: 202, and its handler logged it")


def lines(account):
    events = account("logs").filter_log_events(logGroupName=f"/aws/lambda/{STACK}-consumer").get("events", [])
    return [each["message"] for each in events]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except AssertionError as failed:
        sys.exit(str(failed))
