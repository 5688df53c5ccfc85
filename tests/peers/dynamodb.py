"""Runs the cases of tests/vectors/dynamodb.json on a DynamoDB through boto3, each in a new table.

    python tests/peers/dynamodb.py ENDPOINT_URL [PEER]

A case, or a step of it, may name under `differs` the peers that answer otherwise than DynamoDB, with what they do; it is
skipped for that peer.
"""

import json
import sys
import uuid
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

CASES = Path(__file__).parent.parent / "vectors" / "dynamodb.json"


def main():
    url, peer = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    # Invalid input reaches the service.
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    client = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )
    faults, steps = [], 0
    for case in json.loads(CASES.read_text()):
        if peer in case.get("differs", {}):
            continue
        table, unique = f"suite-{uuid.uuid4()}", str(uuid.uuid4())
        create(client, table)
        for number, step in enumerate(case["steps"], 1):
            if peer in step.get("differs", {}):
                continue
            steps += 1
            fault = check(client, step, table, unique)
            if fault:
                faults.append(f"{case['name']}, step {number} ({step['call']}): {fault}")
        client.delete_table(TableName=table)
    print("\n".join(faults))
    print(f"{steps} steps, {len(faults)} faults")
    sys.exit(1 if faults else 0)


def create(client, table):
    client.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table)
    client.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True}
    )


def check(client, step, table, unique):
    text = json.dumps(step).replace("$TABLE", table).replace("$UNIQUE", unique)
    step = json.loads(text)
    try:
        output = client._make_api_call(step["call"], step["input"])
    except ClientError as error:
        return check_error(step, error)
    if "error" in step:
        return f"expected {step['error']}, got an answer"
    return difference(step["output"], output, "")


def check_error(step, error):
    code, text = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code != step.get("error"):
        return f"expected {step.get('error', 'an answer')}, got {code}: {text}"
    if step.get("says", "") not in text:
        return f"expected {step['says']!r}, got {text!r}"
    if "item" in step and error.response.get("Item", {}) != step["item"]:
        return f"expected {step['item']}, got {error.response.get('Item')}"
    reasons = [reason["Code"] for reason in error.response.get("CancellationReasons", [])]
    if "reasons" in step and reasons != step["reasons"]:
        return f"expected {step['reasons']}, got {reasons}"
    return None


def difference(expected, found, place):
    """Returns where `found` lacks what is expected. `null` is an absent member. Items are compared whole."""
    if not isinstance(expected, dict) or place in ("/Item", "/Attributes"):
        return None if expected == found else f"{place}: expected {expected}, got {found}"
    for name, value in expected.items():
        if value is None and name in found:
            return f"{place}/{name}: expected none, got {found[name]}"
        if value is not None:
            fault = difference(value, found.get(name, {}), f"{place}/{name}")
            if fault:
                return fault
    return None


main()
