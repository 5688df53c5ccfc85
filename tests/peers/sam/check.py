#!/usr/bin/env python3
"""The templates hold what they promise, with either Broker.

usage: check.py          compares; run by tests/run, in the environment of requirements.txt
       check.py --write  writes what each role may do (permissions-*.txt) anew, to be read before it is committed

`sam validate --lint` and cfn-lint look at each template. Then the SAM translator transforms template.yaml, conditions are
evaluated for each Broker, and what is left is looked at: which resources there are, what each role may do, that nothing refers
to what does not exist. The Rules of infra/broker.yaml are evaluated for each version and size. `sam build` runs with a stand-in
for cargo-lambda, which shows what would be built, and where. Nothing is asked of AWS.
"""

import copy
import difflib
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
TEMPLATES = ["template.yaml", "infra/broker.yaml"]
BROKERS = ["sqs", "rabbitmq"]
# Without a region, some tools ask the network which one they are in.
ENVIRONMENT = os.environ | {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "SAM_CLI_TELEMETRY": "0",
}
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
# The translator complains at its end that nobody took its metrics.
logging.disable(logging.WARNING)

faults = []


def main():
    lint()
    stacks = {broker: Stack("template.yaml", {"Broker": broker}) for broker in BROKERS}
    for broker, stack in stacks.items():
        no_dangling_reference(stack)
        roles_may_do_what_is_written(broker, stack)
    the_api_is_the_same(stacks)
    each_broker_has_its_resources(stacks)
    the_nested_stack_fits(stacks["rabbitmq"])
    for parameters in [{}, {"NatGateway": "yes"}, {"EngineVersion": "3.13"}, {"DeploymentMode": "CLUSTER_MULTI_AZ"}]:
        no_dangling_reference(Stack("infra/broker.yaml", parameters))
    versions_and_sizes_fit()
    for broker in BROKERS:
        builds_what_the_broker_needs(broker)
    for fault in faults:
        print(fault)
    print("templates: " + (f"{len(faults)} faults" if faults else "sound with Broker=sqs and Broker=rabbitmq"))
    return 1 if faults else 0


def fault(text):
    faults.append(text)


def equal(found, expected, what):
    if found != expected:
        fault(f"{what}: found {found}, expected {expected}")


def run(*command, **environment):
    """Runs a command in the repository; its output is a fault if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT | environment, capture_output=True, text=True)
    if done.returncode != 0:
        fault(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


# ---- lint ----------------------------------------------------------------------------------------------------------------


def lint():
    # cfn-lint walks both sides of every condition by itself; with a parameter given, it looks at the one side more closely.
    run("cfn-lint", "--", *TEMPLATES)
    for broker in BROKERS:
        run("cfn-lint", "--parameters", f"Broker={broker}", "--", "template.yaml")
    for template in TEMPLATES:
        run("sam", "validate", "--lint", "--template-file", template)


# ---- the transformed template ----------------------------------------------------------------------------------------------


class Stack:
    """A template as CloudFormation sees it with these parameters: transformed, and only what the conditions leave."""

    def __init__(self, path, parameters):
        template = yaml_parse((ROOT / path).read_text())
        declared = template.get("Parameters", {})
        self.name = f"{path} with {parameters or 'defaults'}"
        self.parameters = {name: value.get("Default") for name, value in declared.items()} | parameters
        self.template = template
        if "Transform" in template:
            template = copy.deepcopy(template)
            for resource in template["Resources"].values():
                # As after `sam package`, unless it has been run.
                code = resource.get("Properties", {}).get("CodeUri")
                if code and not str(code).startswith("s3:"):
                    resource["Properties"]["CodeUri"] = {"Bucket": "bucket", "Key": "key"}
            template = transform(template, self.parameters | {"AWS::Region": "us-east-1"}, NoManagedPolicies())
        self.mappings = template.get("Mappings", {})
        self.conditions = template.get("Conditions", {})
        self.resources = self.section(template["Resources"])
        self.outputs = self.section(template.get("Outputs", {}))

    def section(self, section):
        return {name: self.resolve(body) for name, body in section.items() if self.exists(body)}

    def exists(self, body):
        return "Condition" not in body or self.holds({"Condition": body["Condition"]})

    def of_type(self, kind):
        return {name: body["Properties"] for name, body in self.resources.items() if body["Type"] == kind}

    def holds(self, condition):
        [(function, argument)] = condition.items()
        match function:
            case "Condition":
                return self.holds(self.conditions[argument])
            case "Fn::Equals":
                return self.value(argument[0]) == self.value(argument[1])
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(self.holds(each) for each in argument)
            case "Fn::Or":
                return any(self.holds(each) for each in argument)
            case "Fn::Contains":
                return self.value(argument[1]) in argument[0]
        raise ValueError(f"{function} is not a condition")

    def value(self, value):
        return self.parameters[value["Ref"]] if isinstance(value, dict) else value

    def resolve(self, value):
        """The value with conditions decided and parameters put in; references to resources stay."""
        if isinstance(value, list):
            return [each for each in map(self.resolve, value) if each is not None]
        if not isinstance(value, dict):
            return value
        if list(value) == ["Fn::If"]:
            condition, yes, no = value["Fn::If"]
            return self.resolve(yes if self.holds({"Condition": condition}) else no)
        if list(value) == ["Ref"]:
            return None if value["Ref"] == "AWS::NoValue" else self.parameters.get(value["Ref"], value)
        if list(value) == ["Fn::FindInMap"]:
            # Parameters may be numbers; what a mapping is looked up by is text.
            first, second, third = (str(self.resolve(each)) for each in value["Fn::FindInMap"])
            return self.mappings[first][second][third]
        resolved = {key: self.resolve(each) for key, each in value.items()}
        return {key: each for key, each in resolved.items() if each is not None}


class NoManagedPolicies:
    def load(self):
        return {}


def references(value):
    """The names that a value refers to, with the attribute or None."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "Ref":
                yield each, None
            elif key == "Fn::GetAtt":
                name, attribute = each if isinstance(each, list) else each.split(".", 1)
                yield name, attribute
            elif key == "Fn::Sub":
                text, own = each if isinstance(each, list) else (each, {})
                for name in re.findall(r"\$\{([^!}][^}]*)\}", text):
                    if name not in own:
                        yield name.split(".", 1)[0], (name.split(".", 1) + [None])[1]
                yield from references(own)
            else:
                yield from references(each)


def no_dangling_reference(stack):
    known = stack.resources.keys() | stack.parameters.keys()
    for place, body in [*stack.resources.items(), *stack.outputs.items()]:
        depends = body.get("DependsOn", [])
        named = [*references(body), *((name, None) for name in ([depends] if isinstance(depends, str) else depends))]
        for name, _ in named:
            if name not in known and not name.startswith("AWS::"):
                fault(f"{stack.name}: {place} refers to {name}, which does not exist there")


# ---- what there is ---------------------------------------------------------------------------------------------------------


def the_api_is_the_same(stacks):
    sqs, rabbitmq = stacks["sqs"], stacks["rabbitmq"]
    equal(rabbitmq.of_type("AWS::ApiGatewayV2::Api"), sqs.of_type("AWS::ApiGatewayV2::Api"), "the API of both brokers")
    equal(rabbitmq.outputs["ApiUrl"], sqs.outputs["ApiUrl"], "the URL of both brokers")


def each_broker_has_its_resources(stacks):
    for broker, stack in stacks.items():
        functions = stack.of_type("AWS::Lambda::Function")
        consumer = {"sqs": "ConsumerFunction", "rabbitmq": "RabbitmqConsumerFunction"}[broker]
        equal(sorted(functions), sorted([consumer, "IngressFunction"]), f"functions with {broker}")
        for name, function in functions.items():
            equal("VpcConfig" in function, broker == "rabbitmq", f"{name} with {broker} is in a network")
            variables = set(function["Environment"]["Variables"])
            equal(
                {"RABBITMQ_URL", "RABBITMQ_SECRET_ARN"} <= variables,
                broker == "rabbitmq",
                f"{name} with {broker} knows the broker",
            )
        queues = ["OrdersDeadLetterQueue", "OrdersQueue", "WebhooksDeadLetterQueue", "WebhooksQueue"]
        equal(sorted(stack.of_type("AWS::SQS::Queue")), queues if broker == "sqs" else [], f"queues with {broker}")
        equal(
            list(stack.of_type("AWS::CloudFormation::Stack")),
            ["RabbitmqStack"] if broker == "rabbitmq" else [],
            f"nested stacks with {broker}",
        )
        mappings = stack.of_type("AWS::Lambda::EventSourceMapping")
        equal(len(mappings), 2, f"mappings with {broker}")
        for name, mapping in mappings.items():
            equal(mapping["FunctionName"], {"Ref": consumer}, f"{name} with {broker} goes to")
            partial = mapping.get("FunctionResponseTypes")
            equal(partial, ["ReportBatchItemFailures"] if broker == "sqs" else None, f"{name}: partial batch responses")
            if broker == "rabbitmq":
                # Each Queues takes one name; a change of the window cannot be taken back.
                equal(len(mapping["Queues"]), 1, f"{name}: queues")
                equal("MaximumBatchingWindowInSeconds" in mapping, False, f"{name} sets the batching window")
                access = sorted(each["Type"] for each in mapping["SourceAccessConfigurations"])
                equal(access, ["BASIC_AUTH", "VIRTUAL_HOST"], f"{name}: access")


def roles_may_do_what_is_written(broker, stack):
    path = HERE / f"permissions-{broker}.txt"
    found = "".join(f"{line}\n" for line in sorted(permissions(stack)))
    if sys.argv[1:] == ["--write"]:
        path.write_text(found)
    written = path.read_text() if path.exists() else ""
    if found != written:
        difference = difflib.unified_diff(written.splitlines(), found.splitlines(), path.name, "the template", lineterm="")
        fault("\n".join(["what roles may do has changed (check.py --write):", *difference]))


def permissions(stack):
    """A line for each action on each resource that a role is allowed or denied."""
    managed = stack.of_type("AWS::IAM::ManagedPolicy")
    for role, properties in stack.of_type("AWS::IAM::Role").items():
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        for arn in properties.get("ManagedPolicyArns", []):
            if isinstance(arn, dict) and arn.get("Ref") in managed:
                documents.append(managed[arn["Ref"]]["PolicyDocument"])
            else:
                yield f"{role}: everything in {arn}"
        for statement in (statement for document in documents for statement in document["Statement"]):
            for action in several(statement["Action"]):
                for resource in several(statement["Resource"]):
                    condition = f" if {statement['Condition']}" if "Condition" in statement else ""
                    yield f"{role}: {statement['Effect']} {action} on {spelled(resource)}{condition}"


def several(value):
    return value if isinstance(value, list) else [value]


def spelled(resource):
    named = [name if attribute is None else f"{name}.{attribute}" for name, attribute in references(resource)]
    return ", ".join(named) if named else resource


def the_nested_stack_fits(stack):
    nested = yaml_parse((ROOT / "infra/broker.yaml").read_text())
    given = set(stack.resources["RabbitmqStack"]["Properties"]["Parameters"])
    unknown = given - nested["Parameters"].keys()
    equal(unknown, set(), "parameters infra/broker.yaml does not have")
    for name, attribute in references([stack.resources, stack.outputs]):
        if name == "RabbitmqStack" and attribute:
            output = attribute.removeprefix("Outputs.")
            if output not in nested["Outputs"]:
                fault(f"infra/broker.yaml has no output {output}")
    for ours, theirs in [("EngineVersion", "RabbitmqEngineVersion"), ("InstanceType", "RabbitmqInstanceType")]:
        equal(stack.parameters[theirs], nested["Parameters"][ours]["Default"], f"the default of {theirs}")


def versions_and_sizes_fit():
    cases = [
        ("3.13", "mq.t3.micro", "SINGLE_INSTANCE", True),
        ("3.13", "mq.t3.micro", "CLUSTER_MULTI_AZ", False),
        ("3.13", "mq.m5.large", "CLUSTER_MULTI_AZ", True),
        ("3.13", "mq.m7g.medium", "SINGLE_INSTANCE", True),
        ("4.2", "mq.m7g.medium", "SINGLE_INSTANCE", True),
        ("4.2", "mq.m7g.large", "CLUSTER_MULTI_AZ", True),
        ("4.2", "mq.m5.large", "SINGLE_INSTANCE", False),
        ("4.2", "mq.t3.micro", "SINGLE_INSTANCE", False),
        ("4.3", "mq.m7g.16xlarge", "CLUSTER_MULTI_AZ", True),
        ("4.3", "mq.m5.4xlarge", "CLUSTER_MULTI_AZ", False),
        ("4.3", "mq.t2.micro", "SINGLE_INSTANCE", False),
    ]
    for version, size, mode, expected in cases:
        given = {"EngineVersion": version, "InstanceType": size, "DeploymentMode": mode}
        stack = Stack("infra/broker.yaml", given)
        pattern = stack.template["Parameters"]["InstanceType"]["AllowedPattern"]
        fits = re.fullmatch(pattern, size) is not None
        for rule in stack.template["Rules"].values():
            if stack.holds(rule["RuleCondition"]):
                fits = fits and all(stack.holds(assertion["Assert"]) for assertion in rule["Assertions"])
        equal(fits, expected, f"{version} on {size} as {mode} is allowed")


# ---- sam build -------------------------------------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
# Notes the folder and the binary, and leaves a file where cargo-lambda would.
shift 2
while [ $# -gt 0 ]; do [ "$1" = --bin ] && binary=$2; shift; done
echo "$(basename "$PWD") $binary" >> "$BUILT"
mkdir -p "$CARGO_TARGET_DIR/lambda/$binary"
echo "$binary" > "$CARGO_TARGET_DIR/lambda/$binary/bootstrap"
"""


def builds_what_the_broker_needs(broker):
    expected = {
        "sqs": {"IngressFunction": "ingress", "ConsumerFunction": "consumer"},
        "rabbitmq": {"IngressFunction": "ingress-rabbitmq", "RabbitmqConsumerFunction": "consumer-rabbitmq"},
    }[broker]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        stand_in, built, out = folder / "bin" / "cargo-lambda", folder / "built", folder / "out"
        stand_in.parent.mkdir()
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        environment = {
            "BUILT": str(built),
            "CARGO_TARGET_DIR": str(folder / "target"),
            "PATH": f"{stand_in.parent}{os.pathsep}{ENVIRONMENT['PATH']}",
        }
        command = ["sam", "build", "--build-dir", out, "--cache-dir", folder / "cache"]
        if run(*command, "--parameter-overrides", f"Broker={broker}", **environment).returncode != 0:
            return
        for function, binary in expected.items():
            equal((out / function / "bootstrap").read_text().strip(), binary, f"{function} with {broker} is")
        built = sorted(built.read_text().split("\n"))[1:]
        where = {"sqs": ["consumer", "ingress"], "rabbitmq": ["rabbitmq", "rabbitmq"]}[broker]
        equal(built, sorted(f"{place} {binary}" for place, binary in zip(where, sorted(expected.values()))), f"built with {broker}")


if __name__ == "__main__":
    sys.exit(main())
