#!/usr/bin/env python3
"""Checks the templates with each broker and every way to deploy.

usage: check.py          compares; run by tests/run, in the environment of requirements.txt
       check.py --write  updates the permissions of each role (permissions-*.txt); review them before a commit

`sam validate --lint` and cfn-lint check each template. Then the SAM translator transforms template.yaml, conditions are
evaluated for each setting (stack.py), and the result is checked: the resources and their settings, the permissions of each
role, that every reference has a target and there is no circular dependency, that a changed parameter reaches the functions,
and that every metric of an alarm or dashboard exists and changes (watching.py). The Rules of infra/broker.yaml are evaluated
for each version and size, those of infra/kafka.yaml for each login. `sam build` runs with a stand-in for cargo-lambda, which records what would be built, and where. AWS
is not called.
"""

import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import watching
from stack import ROOT, Stack, argument, circle, depends, laid_over, nested, queues, read, references

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
TEMPLATES = ["template.yaml", "infra/broker.yaml", "infra/kafka.yaml", "infra/monitoring.yaml", "infra/queue.yaml"]
BROKERS = ["sqs", "rabbitmq", "kafka"]
# The parameters of a cluster on Amazon MSK with the login by role, with a password, and of a cluster elsewhere.
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:AmazonMSK_orders-AbCdEf"
MSK = {
    "KafkaClusterArn": "arn:aws:kafka:us-east-1:123456789012:cluster/orders/0123-abcd-2",
    "KafkaBootstrapServers": "b-1.orders.x.c2.kafka.us-east-1.amazonaws.com:9098,b-2.orders.x.c2.kafka.us-east-1.amazonaws.com:9098",
    "KafkaSubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "KafkaSecurityGroupId": "sg-0123456789abcdef0",
    "KafkaPartitions": 6,
}
WITH_PASSWORD = MSK | {"KafkaSaslMechanism": "SCRAM-SHA-512", "KafkaSecretArn": SECRET, "KafkaPartitions": 0}
ELSEWHERE = WITH_PASSWORD | {"KafkaClusterArn": "", "KafkaSaslMechanism": "PLAIN"}
CANARY = "Canary10Percent5Minutes"
# Without a region, some tools query the network for it.
ENVIRONMENT = os.environ | {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "SAM_CLI_TELEMETRY": "0",
}

faults = []


def main():
    # The tools run beside the checks of this process.
    pool = ThreadPoolExecutor(os.cpu_count())
    tools = [pool.submit(run, *command) for command in lints()]
    tools += [pool.submit(builds_what_the_broker_needs, broker) for broker in BROKERS]
    # Every option on, and every option off.
    full = {broker: with_broker(broker, MSK, Deployment=CANARY, AlarmEmail="a@b") for broker in BROKERS}
    bare = {broker: with_broker(broker, WITH_PASSWORD, Monitoring="no") for broker in BROKERS}
    given = {broker: with_broker(broker, ELSEWHERE, AlarmTopicArn="arn:topic") for broker in BROKERS}
    for broker, stack in [*full.items(), *bare.items(), *given.items()]:
        no_dangling_reference(stack)
        equal(circle(stack), [], f"{stack.name}: circular dependencies")
        functions_are_set_up(stack)
        callers_call_the_alias(stack)
        the_queues_are_those_of_the_contract(stack)
        for queue in queues(stack).values():
            queues_are_set_up(queue)
            mappings_are_set_up(broker, queue)
        logs_are_kept_and_given_up(stack)
        the_api_is_throttled_and_logged(stack)
        nested_stacks_fit(stack)
    for broker in BROKERS:
        roles_may_do_what_is_written(broker, full[broker])
        traffic_shifts_and_goes_back(full[broker], bare[broker])
        what_watches_is_sound(broker, full[broker])
        somebody_is_told(full[broker], bare[broker], given[broker])
        a_changed_parameter_reaches_the_functions(full[broker])
    the_api_is_the_same(full)
    each_broker_has_its_resources(full, bare)
    visibility_is_six_times_any_timeout()
    environments_of_samconfig_fit()
    a_jwt_authorizer_fits()
    settings_of_kafka_publish_a_version(full["kafka"])
    logins_at_kafka_fit()
    for parameters in [{}, {"NatGateway": "yes"}, {"EngineVersion": "3.13"}, {"DeploymentMode": "CLUSTER_MULTI_AZ"}]:
        no_dangling_reference(Stack("infra/broker.yaml", parameters))
    versions_and_sizes_fit()
    faults.extend(watching.unwritten())
    for tool in tools:
        tool.result()
    for each in dict.fromkeys(faults):
        print(each)
    print("templates: " + (f"{len(faults)} faults" if faults else f"valid with Broker={', '.join(BROKERS)}"))
    return 1 if faults else 0


def with_broker(broker, kafka, **parameters):
    """Returns the stack with a broker; `kafka` are the parameters of a cluster, for Broker=kafka."""
    return Stack("template.yaml", {"Broker": broker} | (kafka if broker == "kafka" else {}) | parameters)


def fault(text):
    faults.append(text)


def equal(found, expected, what):
    if found != expected:
        fault(f"{what}: found {found}, expected {expected}")


def run(*command, **environment):
    """Runs a command in the repository. Reports its output as a fault if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT | environment, capture_output=True, text=True)
    if done.returncode != 0:
        fault(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


# ---- lint ----------------------------------------------------------------------------------------------------------------


def lints():
    # cfn-lint checks both sides of every condition; with a given parameter it checks one side more thoroughly.
    yield ["cfn-lint", "--", *TEMPLATES]
    for broker in BROKERS:
        for deployment in ["AllAtOnce", CANARY]:
            yield ["cfn-lint", "--parameters", f"Broker={broker}", f"Deployment={deployment}", "--", "template.yaml"]
    for template in TEMPLATES:
        yield ["sam", "validate", "--lint", "--template-file", template]


def no_dangling_reference(stack):
    known = stack.resources.keys() | stack.parameters.keys()
    for place, body in [*stack.resources.items(), *stack.outputs.items()]:
        for name in depends(body):
            if name not in known and not name.startswith("AWS::"):
                fault(f"{stack.name}: {place} refers to {name}, which does not exist there")


# ---- functions -------------------------------------------------------------------------------------------------------------


def functions_are_set_up(stack):
    groups = stack.of_type("AWS::Logs::LogGroup")
    for name, function in stack.of_type("AWS::Lambda::Function").items():
        place = f"{stack.name}: {name}"
        equal(function["Runtime"], "provided.al2023", f"{place}: runtime")
        equal(function["Architectures"], ["arm64"], f"{place}: architecture")
        equal(function.get("TracingConfig"), {"Mode": stack.parameters["Tracing"]}, f"{place}: tracing")
        logging = function.get("LoggingConfig", {})
        equal(logging.get("LogFormat"), "JSON", f"{place}: log format")
        equal(logging.get("LogGroup", {}).get("Ref") in groups, True, f"{place} has a log group")
        equal(function["MemorySize"] >= 128 and function["Timeout"] > 0, True, f"{place}: memory and timeout")
        alias = stack.of_type("AWS::Lambda::Alias").get(f"{name}Aliaslive", {})
        version, attribute = alias.get("FunctionVersion", {}).get("Fn::GetAtt", [None, None])
        equal((alias.get("FunctionName"), attribute), ({"Ref": name}, "Version"), f"{place}: its alias")
        equal(stack.resources.get(version, {}).get("Type"), "AWS::Lambda::Version", f"{place}: what its alias points to")
    ingress = stack.resources["IngressFunction"]["Properties"]["Timeout"]
    equal(ingress < 30, True, f"{stack.name}: the timeout of ingress is below that of the API")


def callers_call_the_alias(stack):
    aliases = stack.of_type("AWS::Lambda::Alias").keys()
    called = [stack.resources[name]["Properties"]["Parameters"]["ConsumerAlias"] for name in queue_stacks(stack)]
    called += [permission["FunctionName"] for permission in stack.of_type("AWS::Lambda::Permission").values()]
    for each in called:
        equal(each.get("Ref") in aliases, True, f"{stack.name}: {each} is an alias")
    [api] = stack.of_type("AWS::ApiGatewayV2::Api").values()
    for path, methods in api["Body"]["paths"].items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]
            equal("IngressFunctionAliaslive" in stack.text(uri), True, f"{stack.name}: {method} {path} goes to the alias")


# https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
VERSION_DESCRIPTION_MAX = 256
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html
POLICY_DESCRIPTION_MAX = 1000
# An id, and a URL of nearly the greatest length.
POLICY_ID = "ANPA" + "X" * 17
AMQP_URL = f"amqps://b-{'x' * 36}.mq.ap-southeast-2.amazonaws.com:5671"


def a_changed_parameter_reaches_the_functions(stack):
    """A change of these parameters changes the description and so publishes a version, which SAM does not do by itself."""
    for name, body in stack.transformed.items():
        if body["Type"] != "AWS::Lambda::Function" or name not in stack.resources:
            continue
        [version] = [each for each in stack.resources if each.startswith(f"{name}Version")]
        used = {each for each, _ in references(body["Properties"])} & stack.declared.keys()
        described = references(stack.transformed[version]["Properties"]["Description"])
        equal(used - {each for each, _ in described}, set(), f"{stack.name}: parameters that do not publish a version of {name}")
        longest = Stack("template.yaml", stack.given | {each: longest_value(stack.declared[each]) for each in used})
        [version] = [each for each in longest.resources if each.startswith(f"{name}Version")]
        text = longest.text(longest.resources[version]["Properties"]["Description"])
        size = len(text.replace("<RabbitmqStack.Outputs.AmqpUrl>", AMQP_URL).replace("<KafkaStack.Outputs.Revision>", POLICY_ID))
        equal(size <= VERSION_DESCRIPTION_MAX, True, f"{stack.name}: {size} characters in the description of a version of {name}")


def settings_of_kafka_publish_a_version(stack):
    """The id of a policy with every setting of the functions in its description is in the description of their versions.

    CloudFormation replaces the policy, which gets another id, when its description changes.
    """
    inner = nested(stack, "KafkaStack")
    described = {name for name, _ in references(inner.template["Resources"]["Access"]["Properties"]["Description"])}
    revision = inner.template["Outputs"]["Revision"]["Value"]
    equal(revision, {"Fn::GetAtt": ["Access", "PolicyId"]}, f"{inner.name}: what changes with every setting")
    used = {attribute for name, body in stack.transformed.items() if body["Type"] == "AWS::Lambda::Function"
            for reference, attribute in references(body["Properties"]) if reference == "KafkaStack"}
    used = {attribute.removeprefix("Outputs.") for attribute in used}
    equal(used - described, set(), f"{inner.name}: settings that do not publish a version")
    longest = {each: longest_value(stack.declared[f"Kafka{each}"]) for each in described}
    size = len(Stack("infra/kafka.yaml", inner.given | longest).text(inner.template["Resources"]["Access"]["Properties"]["Description"]))
    equal(size <= POLICY_DESCRIPTION_MAX, True, f"{inner.name}: {size} characters in the description of the policy")
    for name in ["IngressFunction", "ConsumerFunction"]:
        [version] = [each for each in stack.resources if each.startswith(f"{name}Version")]
        text = stack.text(stack.resources[version]["Properties"]["Description"])
        equal("<KafkaStack.Outputs.Revision>" in text, True, f"{stack.name}: a version of {name} names the settings")


def longest_value(declared):
    if "MaxLength" in declared:
        return "x" * declared["MaxLength"]
    return max(declared.get("AllowedValues", [declared.get("MaxValue", "sg-0123456789abcdef0")]), key=lambda value: len(str(value)))


def traffic_shifts_and_goes_back(full, bare):
    alarms = {
        "IngressFunction": ["NewIngressErrorsAlarm", "ServerErrorsAlarm"],
        "ConsumerFunction": ["NewConsumerErrorsAlarm"],
    }
    groups = full.of_type("AWS::CodeDeploy::DeploymentGroup")
    equal(sorted(groups), sorted(f"{function}DeploymentGroup" for function in alarms), f"{full.name}: deployment groups")
    for function, names in alarms.items():
        group = groups[f"{function}DeploymentGroup"]
        equal([each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]], names, f"{full.name}: alarms of {function}")
        equal(full.text(group["DeploymentConfigName"]), f"CodeDeployDefault.Lambda{CANARY}", f"{full.name}: the deployment configuration of {function}")
        equal("DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"], True, f"{full.name}: {function} rolls back on an alarm")
        role = function.replace("Function", "DeploymentRole")
        equal(group["ServiceRoleArn"], {"Fn::GetAtt": [role, "Arn"]}, f"{full.name}: the role that deploys {function}")
        policy = full.resources[f"{function}Aliaslive"].get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {})
        equal(policy.get("DeploymentGroupName"), {"Ref": f"{function}DeploymentGroup"}, f"{full.name}: the deployment group of {function}")
    # Without a canary CloudFormation moves the alias itself.
    left = [name for name, body in bare.resources.items() if "CodeDeploy" in body["Type"] or "UpdatePolicy" in body]
    equal(left, [], f"{bare.name}: resources of CodeDeploy")


# ---- queues and mappings -----------------------------------------------------------------------------------------------------


def queue_stacks(stack):
    nested_stacks = stack.of_type("AWS::CloudFormation::Stack")
    return [name for name, each in nested_stacks.items() if each["TemplateURL"] == "infra/queue.yaml"]


def the_queues_are_those_of_the_contract(stack):
    declared = queues(stack)
    equal(len(declared), len(queue_stacks(stack)), f"{stack.name}: names of queues")
    operations = [each for path in read("functions/ingress/openapi.yaml")["paths"].values() for each in path.values()]
    named = {each["x-sluicegate"]["queue"] for each in operations if isinstance(each, dict) and "x-sluicegate" in each}
    equal(set(declared), named, f"{stack.name}: the queues")
    variables = stack.resources["IngressFunction"]["Properties"]["Environment"]["Variables"]
    for name in queue_stacks(stack):
        queue = nested(stack, name).parameters["Name"]
        variable = f"QUEUE_{re.sub('[-.]', '_', queue.upper())}"
        equal(variables.get(variable), {"Fn::GetAtt": [name, "Outputs.Target"]}, f"{stack.name}: {variable}")


def queues_are_set_up(stack):
    queues = stack.of_type("AWS::SQS::Queue")
    sources = {name: queue for name, queue in queues.items() if "RedrivePolicy" in queue}
    dead = {queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0] for queue in sources.values()}
    equal(dead | sources.keys(), set(queues), f"{stack.name}: queues and their dead-letter queues")
    for name, queue in queues.items():
        equal(queue["SqsManagedSseEnabled"], True, f"{stack.name}: {name} is encrypted")
        # High throughput requires both settings.
        if queue.get("FifoQueue"):
            both = queue["DeduplicationScope"], queue["FifoThroughputLimit"]
            equal(both, ("messageGroup", "perMessageGroupId"), f"{stack.name}: throughput of {name}")
    for name, queue in sources.items():
        policy = queue["RedrivePolicy"]
        parked = queues[policy["deadLetterTargetArn"]["Fn::GetAtt"][0]]
        equal(policy["maxReceiveCount"] >= 5, True, f"{stack.name}: {name} is received at least five times")
        equal(queue.get("FifoQueue"), parked.get("FifoQueue"), f"{stack.name}: {name} and its dead-letter queue are of one kind")
        equal(parked["MessageRetentionPeriod"], 1_209_600, f"{stack.name}: dead letters of {name} are kept for 14 days")
        if queue.get("FifoQueue"):
            # Receives while waiting for others count: 10 messages of a batch, 5 receives each, and a reserve. The retention period
            # restarts in the dead-letter queue.
            equal(policy["maxReceiveCount"] >= 60, True, f"{stack.name}: messages of {name} may wait for others")
        else:
            equal(queue["MessageRetentionPeriod"] < 1_209_600, True, f"{stack.name}: {name} has a shorter retention than its dead-letter queue")
        [allowed] = [stack.text(arn) for arn in parked["RedriveAllowPolicy"]["sourceQueueArns"]]
        is_source = allowed.endswith(f":{stack.text(queue['QueueName'])}")
        equal(is_source, True, f"{stack.name}: only {name} may use its dead-letter queue")


def mappings_are_set_up(broker, stack):
    mappings = stack.of_type("AWS::Lambda::EventSourceMapping")
    equal(len(mappings), 1, f"{stack.name}: mappings")
    for name, mapping in mappings.items():
        place = f"{stack.name}: {name}"
        if broker == "sqs":
            queue = mapping["EventSourceArn"]["Fn::GetAtt"][0]
            equal("RedrivePolicy" in stack.of_type("AWS::SQS::Queue")[queue], True, f"{place} reads a queue with a dead-letter queue")
            equal(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"], f"{place}: partial batch responses")
            equal(int(mapping["ScalingConfig"]["MaximumConcurrency"]) >= 2, True, f"{place}: concurrency")
            equal(mapping["MetricsConfig"], {"Metrics": ["EventCount"]}, f"{place}: metrics")
            equal("FilterCriteria" in mapping, False, f"{place} has a filter, which deletes other messages")
        elif broker == "kafka":
            equal(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"], f"{place}: partial batch responses")
            equal(mapping["ProvisionedPollerConfig"]["MinimumPollers"] >= 1, True, f"{place}: provisioned mode, which they need")
            created = {"Fn::Select": [3, {"Fn::Split": ["/", {"Ref": "Topic"}]}]}
            topics = [created] if "Topic" in stack.resources else [stack.parameters["Name"]]
            equal(mapping["Topics"], topics, f"{place}: topics")
            equal("BatchSize" in mapping and "StartingPosition" in mapping, True, f"{place}: batch size and position")
            access = [each["Type"] for each in mapping.get("SourceAccessConfigurations", [])]
            network = ["VPC_SUBNET", "VPC_SUBNET", "VPC_SECURITY_GROUP"]
            login = {"AWS_MSK_IAM": [], "SCRAM-SHA-512": ["SASL_SCRAM_512_AUTH"], "PLAIN": ["BASIC_AUTH"]}
            login = login[stack.parameters["KafkaMechanism"]]
            # Lambda takes the network of a cluster on Amazon MSK from the cluster.
            expected = login if "EventSourceArn" in mapping else login + network
            equal(access, expected, f"{place}: access")
            equal("SelfManagedEventSource" in mapping, "EventSourceArn" not in mapping, f"{place}: one source")
            subnets = [each["URI"]["Fn::Sub"][1]["Id"] for each in mapping.get("SourceAccessConfigurations", []) if each["Type"] == "VPC_SUBNET"]
            equal(subnets, MSK["KafkaSubnetIds"].split(",")[: len(subnets)], f"{place}: subnets")
        else:
            # Queues takes one name; a change of the batching window cannot be undone.
            equal(len(mapping["Queues"]), 1, f"{place}: queues")
            equal("MaximumBatchingWindowInSeconds" in mapping, False, f"{place} sets the batching window")
            access = sorted(each["Type"] for each in mapping["SourceAccessConfigurations"])
            equal(access, ["BASIC_AUTH", "VIRTUAL_HOST"], f"{place}: access")
            equal({"FunctionResponseTypes", "ScalingConfig", "MetricsConfig"} & mapping.keys(), set(), f"{place}: not for MQ")


def visibility_is_six_times_any_timeout():
    for timeout in read("template.yaml")["Parameters"]["ConsumerTimeout"]["AllowedValues"]:
        stack = Stack("template.yaml", {"ConsumerTimeout": timeout})
        equal(stack.resources["ConsumerFunction"]["Properties"]["Timeout"], timeout, "the consumer's timeout")
        for name, queue in queues(stack).items():
            hidden = int(queue.resources["Queue"]["Properties"]["VisibilityTimeout"])
            equal(43_200 >= hidden >= 6 * timeout, True, f"the visibility timeout of {name} is at least six times {timeout} s")


# ---- the API -----------------------------------------------------------------------------------------------------------------

# Required fields of the access log; https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
ACCESS_LOG = {
    "$context.authorizer.error",
    "$context.error.message",
    "$context.identity.sourceIp",
    "$context.identity.userAgent",
    "$context.integration.status",
    "$context.integrationErrorMessage",
    "$context.integrationLatency",
    "$context.requestId",
    "$context.responseLatency",
    "$context.routeKey",
    "$context.status",
}
# https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis-apiid-stages-stagename.html
ACCESS_LOG_FORMAT_MAX = 1024
STACK_NAME_MAX = 128


def the_api_is_throttled_and_logged(stack):
    [stage] = stack.of_type("AWS::ApiGatewayV2::Stage").values()
    [api] = stack.of_type("AWS::ApiGatewayV2::Api").values()
    paths = api["Body"]["paths"].items()
    routes = {path if path == "$default" else f"{method.upper()} {path}" for path, methods in paths for method in methods}
    settings = {"every route": stage["DefaultRouteSettings"], **stage.get("RouteSettings", {})}
    # API Gateway refuses limits of a missing route.
    equal(stage.get("RouteSettings", {}).keys() - routes, set(), f"{stack.name}: limits of routes that do not exist")
    for route, limits in settings.items():
        # A rate or burst omitted from the settings of a route does not inherit the default.
        both = limits.get("ThrottlingRateLimit", 0) > 0 and limits.get("ThrottlingBurstLimit", 0) > 0
        # Metrics by route are charged as custom metrics, and no alarm or dashboard uses them.
        equal((both, limits.get("DetailedMetricsEnabled", False)), (True, False), f"{stack.name}: limits and metrics of {route}")
    log = stage["AccessLogSettings"]
    equal(log["DestinationArn"], {"Fn::GetAtt": ["AccessLogs", "Arn"]}, f"{stack.name}: the log group of the access log")
    text = stack.text(log["Format"])
    size = len(text.replace("<AWS::StackName>", "x" * STACK_NAME_MAX))
    equal(size <= ACCESS_LOG_FORMAT_MAX and "\n" not in text, True, f"{stack.name}: {size} characters of access log")
    said = set(json.loads(text).values())
    equal(ACCESS_LOG - said, set(), f"{stack.name}: missing in the access log")


def the_api_is_the_same(stacks):
    sqs, *others = (stacks[broker] for broker in BROKERS)
    for other in others:
        equal(other.of_type("AWS::ApiGatewayV2::Api"), sqs.of_type("AWS::ApiGatewayV2::Api"), f"the API of {other.name}")
        equal(other.outputs["ApiUrl"], sqs.outputs["ApiUrl"], f"the URL of {other.name}")


def a_jwt_authorizer_fits():
    """infra/jwt-authorizer.yaml, merged into the template, is valid and requires a token on its routes."""
    template, part = read("template.yaml"), read("infra/jwt-authorizer.yaml")
    own = template["Resources"]["IngressFunction"]["Properties"]["Events"]
    [(name, protected)] = part["Resources"]["IngressFunction"]["Properties"]["Events"].items()
    if name not in own:
        # The part names a route of the example. Without it, another route is protected.
        name = next(each for each, event in own.items() if event["Properties"].get("Path", "/openapi.json") != "/openapi.json")
        part["Resources"]["IngressFunction"]["Properties"]["Events"] = {name: protected}
    route, scopes = own[name]["Properties"], protected["Properties"]["Auth"]["AuthorizationScopes"]
    template = laid_over(template, part)
    given = {"JwtIssuer": "https://issuer.example", "JwtAudience": "orders"}
    stack = Stack("template.yaml with infra/jwt-authorizer.yaml", given, template)
    no_dangling_reference(stack)
    [api] = stack.of_type("AWS::ApiGatewayV2::Api").values()
    authorizer = api["Body"]["components"]["securitySchemes"]["Jwt"]["x-amazon-apigateway-authorizer"]
    equal(authorizer["jwtConfiguration"], {"issuer": given["JwtIssuer"], "audience": [given["JwtAudience"]]}, "the authorizer's tokens")
    equal(authorizer["identitySource"], "$request.header.Authorization", "the identity source of the authorizer")
    asked = {
        f"{method.upper()} {path}": operation["security"]
        for path, methods in api["Body"]["paths"].items()
        for method, operation in methods.items()
        if "security" in operation
    }
    equal(asked, {f"{route['Method'].upper()} {route['Path']}": [{"Jwt": scopes}]}, "the routes that require a token")
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "template.json"
        merged.write_text(json.dumps(template))
        run("cfn-lint", "--", merged)


# ---- resources -------------------------------------------------------------------------------------------------------------


def each_broker_has_its_resources(full, bare):
    for broker, stack in full.items():
        functions = stack.of_type("AWS::Lambda::Function")
        equal(sorted(functions), ["ConsumerFunction", "IngressFunction"], f"functions with {broker}")
        for name, function in functions.items():
            equal("VpcConfig" in function, broker != "sqs", f"{name} with {broker} is in a network")
            variables = {each for each in function["Environment"]["Variables"] if each.startswith(("RABBITMQ_", "KAFKA_"))}
            of_consumer = name == "ConsumerFunction"
            expected = {
                "sqs": set(),
                "rabbitmq": {"RABBITMQ_URL", "RABBITMQ_SECRET_ARN"} | ({"RABBITMQ_MAX_RECEIVE_COUNT"} if of_consumer else set()),
                "kafka": {"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SASL_MECHANISM"} | ({"KAFKA_PARTIAL_BATCH_RESPONSE"} if of_consumer else set()),
            }
            equal(variables, expected[broker], f"the broker variables of {name} with {broker}")
        for name, queue in queues(stack).items():
            made = ["DeadLetterQueue", "Queue"] if broker == "sqs" else []
            equal(sorted(queue.of_type("AWS::SQS::Queue")), made, f"queues of {name} with {broker}")
            topics = [queue.text(each["TopicName"]) for each in queue.of_type("AWS::MSK::Topic").values()]
            equal(sorted(topics), [name, f"{name}.dlq"] if broker == "kafka" else [], f"topics of {name} with {broker}")
        brokers = {"sqs": [], "rabbitmq": ["RabbitmqStack"], "kafka": ["KafkaStack"]}[broker]
        for each, others in [(stack, sorted(["MonitoringStack", *brokers])), (bare[broker], brokers)]:
            found = each.of_type("AWS::CloudFormation::Stack").keys() - set(queue_stacks(each))
            equal(sorted(found), others, f"nested stacks of {each.name}")
        equal(len(stack.of_type("AWS::SecretsManager::Secret")), 1, f"secrets with {broker}")
        # None is required.
        stores = stack.of_type("AWS::DynamoDB::Table") | stack.of_type("AWS::S3::Bucket")
        equal(stores, {}, f"tables and buckets with {broker}")
    for name, queue in queues(bare["kafka"]).items():
        equal(queue.of_type("AWS::MSK::Topic"), {}, f"topics of {name} that exist")
    for name, function in bare["kafka"].of_type("AWS::Lambda::Function").items():
        equal("KAFKA_SECRET_ARN" in function["Environment"]["Variables"], True, f"{name} has the secret of its login")


def logs_are_kept_and_given_up(stack):
    for name, group in stack.of_type("AWS::Logs::LogGroup").items():
        equal(group.get("RetentionInDays"), stack.parameters["LogRetentionDays"], f"{stack.name}: retention of {name}")
        prefix = "/aws/vendedlogs/" if name == "AccessLogs" else "/aws/lambda/"
        equal(stack.text(group["LogGroupName"]).startswith(prefix), True, f"{stack.name}: the name of {name}")


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
    """Yields a line for each action on each resource that a role allows or denies, and for each principal that may assume it.

    A queue has the same permissions whatever its name, so one stands for all.
    """
    attached = [example_queue(stack)]
    if "KafkaStack" in stack.resources:
        attached.append(nested(stack, "KafkaStack"))
    for inner in attached:
        for policy in [*inner.of_type("AWS::IAM::Policy").values(), *inner.of_type("AWS::IAM::ManagedPolicy").values()]:
            for role in policy["Roles"]:
                yield from (f"{role.strip('<>')}: {line}" for line in allowed(inner, policy["PolicyDocument"]))
    managed = stack.of_type("AWS::IAM::ManagedPolicy")
    for role, properties in stack.of_type("AWS::IAM::Role").items():
        for statement in properties["AssumeRolePolicyDocument"]["Statement"]:
            yield f"{role}: for {statement['Principal']}"
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        for arn in properties.get("ManagedPolicyArns", []):
            if isinstance(arn, dict) and arn.get("Ref") in managed:
                documents.append(managed[arn["Ref"]]["PolicyDocument"])
            else:
                yield f"{role}: everything in {arn}"
        for document in documents:
            yield from (f"{role}: {line}" for line in allowed(stack, document))


def example_queue(stack):
    properties = stack.resources[queue_stacks(stack)[0]]["Properties"]
    given = {name: argument(stack, value) for name, value in properties["Parameters"].items()}
    return Stack("infra/queue.yaml", given | {"Name": "QUEUE", "Fifo": "true"})


def allowed(stack, document):
    for statement in document["Statement"]:
        for action in several(statement["Action"]):
            for resource in several(statement["Resource"]):
                condition = f" if {statement['Condition']}" if "Condition" in statement else ""
                yield f"{statement['Effect']} {action} on {stack.text(resource)}{condition}"


def several(value):
    return value if isinstance(value, list) else [value]


# ---- nested stacks and alarms --------------------------------------------------------------------------------------------------


def nested_stacks_fit(stack):
    for name in stack.of_type("AWS::CloudFormation::Stack"):
        inner = nested(stack, name)
        place = f"{stack.name}: {name}"
        given = stack.resources[name]["Properties"]["Parameters"].keys()
        equal(given - inner.declared.keys(), set(), f"{place}: unknown parameters")
        needed = {each for each, declared in inner.declared.items() if "Default" not in declared}
        equal(needed - given, set(), f"{place}: missing parameters")
        for each, declared in inner.declared.items():
            value = str(inner.parameters[each])
            if value not in map(str, declared.get("AllowedValues", [value])):
                fault(f"{place}: {each} is {value}")
            if "<" not in value and not re.fullmatch(declared.get("AllowedPattern", ".*"), value):
                fault(f"{place}: {each} is {value}")
        for reference, attribute in references([stack.resources, stack.outputs]):
            if reference == name and attribute and attribute.removeprefix("Outputs.") not in inner.template["Outputs"]:
                fault(f"{place} has no output {attribute}")
        no_dangling_reference(inner)
        equal(circle(inner), [], f"{place}: circular dependencies")
    broker = read("infra/broker.yaml")["Parameters"]
    for ours, theirs in [("EngineVersion", "RabbitmqEngineVersion"), ("InstanceType", "RabbitmqInstanceType")]:
        equal(stack.parameters[theirs], broker[ours]["Default"], f"the default of {theirs}")


def what_watches_is_sound(broker, stack):
    faults.extend(watching.faults("template.yaml", broker, stack, stack))
    for name, properties in stack.of_type("AWS::CloudFormation::Stack").items():
        faults.extend(watching.faults(properties["TemplateURL"], broker, nested(stack, name), stack))


def somebody_is_told(full, bare, given):
    for stack, topics, topic in [(full, 1, "<AlarmTopic>"), (given, 0, "arn:topic"), (bare, 0, "")]:
        equal(len(stack.of_type("AWS::SNS::Topic")), topics, f"{stack.name}: topics")
        subscriptions = [each["Endpoint"] for each in stack.of_type("AWS::SNS::Subscription").values()]
        equal(subscriptions, ["a@b"] if stack is full else [], f"{stack.name}: subscriptions")
        for name in stack.of_type("AWS::CloudFormation::Stack"):
            # It has no alarms.
            if name != "KafkaStack":
                equal(nested(stack, name).parameters["AlarmTopicArn"], topic, f"{stack.name}: the topic of {name}")
        for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
            equal([stack.text(each) for each in alarm.get("AlarmActions", [])], [topic] if topic else [], f"the topic of {name}")


# ---- samconfig.toml ------------------------------------------------------------------------------------------------------------


def environments_of_samconfig_fit():
    environments = tomllib.loads((ROOT / "samconfig.toml").read_text())
    declared = read("template.yaml")["Parameters"]
    equal({"dev", "prod", "rabbitmq", "kafka"} <= environments.keys(), True, "samconfig.toml has dev, prod, rabbitmq and kafka")
    for name, environment in environments.items():
        if name == "version":
            continue
        given = dict(each.split("=", 1) for each in environment["deploy"]["parameters"]["parameter_overrides"])
        built = dict(each.split("=", 1) for each in environment["build"]["parameters"].get("parameter_overrides", []))
        equal(built.get("Broker"), given.get("Broker"), f"samconfig.toml: the broker that {name} is built for")
        for parameter, value in given.items():
            allowed = list(map(str, declared.get(parameter, {}).get("AllowedValues", [value])))
            if parameter not in declared or value not in allowed:
                fault(f"samconfig.toml: {name} has {parameter}={value}")
        stack = Stack("template.yaml", {key: int(value) if value.isdigit() else value for key, value in given.items()})
        no_dangling_reference(stack)
        shifts = name == "prod"
        equal("ServerlessDeploymentApplication" in stack.resources, shifts, f"samconfig.toml: {name} deploys with CodeDeploy")


# ---- Amazon MQ -----------------------------------------------------------------------------------------------------------------


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
        fits = re.fullmatch(pattern, size) is not None and not refusals(stack)
        equal(fits, expected, f"{version} on {size} as {mode} is allowed")


def refusals(stack):
    """Returns what the Rules of a template say against its parameters."""
    rules = [each for each in stack.template["Rules"].values() if "RuleCondition" not in each or stack.holds(each["RuleCondition"])]
    assertions = [assertion for rule in rules for assertion in rule["Assertions"]]
    return [each["AssertDescription"] for each in assertions if not stack.holds(each["Assert"])]


# ---- Kafka ---------------------------------------------------------------------------------------------------------------------


def logins_at_kafka_fit():
    # Each change of a cluster that fits, with a word of the reason against it.
    cases = [
        (MSK, {}, None),
        (WITH_PASSWORD, {}, None),
        (ELSEWHERE, {}, None),
        (ELSEWHERE, {"KafkaSaslMechanism": "SCRAM-SHA-256"}, None),
        (MSK, {"KafkaBootstrapServers": ""}, "KafkaBootstrapServers"),
        (MSK, {"KafkaSubnetIds": ""}, "KafkaSubnetIds"),
        (MSK, {"KafkaSecurityGroupId": ""}, "KafkaSecurityGroupId"),
        (MSK, {"KafkaSecretArn": SECRET}, "without KafkaSecretArn"),
        (WITH_PASSWORD, {"KafkaSecretArn": ""}, "needs KafkaSecretArn"),
        (WITH_PASSWORD, {"KafkaSaslMechanism": "PLAIN"}, "Amazon MSK has"),
        (ELSEWHERE, {"KafkaSaslMechanism": "AWS_MSK_IAM", "KafkaSecretArn": ""}, "needs KafkaClusterArn"),
        (ELSEWHERE, {"KafkaPartitions": 3}, "KafkaPartitions"),
    ]
    for cluster, change, expected in cases:
        found = refusals(nested(with_broker("kafka", cluster | change), "KafkaStack"))
        fits = found == [] if expected is None else len(found) == 1 and expected in found[0]
        equal((found, fits), (found, True), f"Kafka with {cluster['KafkaSaslMechanism'] if 'KafkaSaslMechanism' in cluster else 'a role'} and {change}")
    declared = read("template.yaml")["Parameters"]
    for name, good, bad in [
        ("KafkaClusterArn", MSK["KafkaClusterArn"], "arn:aws:kafka:us-east-1:123456789012:topic/orders/0123/orders"),
        ("KafkaBootstrapServers", MSK["KafkaBootstrapServers"], "b-1.example.com"),
        ("KafkaSecretArn", SECRET, "AmazonMSK_orders"),
        ("KafkaSubnetIds", MSK["KafkaSubnetIds"], "subnet-0123456789abcdef0"),
        ("KafkaSecurityGroupId", MSK["KafkaSecurityGroupId"], "default"),
    ]:
        matches = [re.fullmatch(declared[name]["AllowedPattern"], value) is not None for value in ["", good, bad]]
        equal(matches, [True, True, False], f"values of {name}")


# ---- sam build -------------------------------------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
# Records the folder and the binary, and writes a file where cargo-lambda would.
shift 2
while [ $# -gt 0 ]; do [ "$1" = --bin ] && binary=$2; shift; done
echo "$(basename "$PWD") $binary" >> "$BUILT"
mkdir -p "$CARGO_TARGET_DIR/lambda/$binary"
echo "$binary" > "$CARGO_TARGET_DIR/lambda/$binary/bootstrap"
"""


def builds_what_the_broker_needs(broker):
    expected = {
        "sqs": {"IngressFunction": "ingress", "ConsumerFunction": "consumer"},
        "rabbitmq": {"IngressFunction": "ingress-rabbitmq", "ConsumerFunction": "consumer-rabbitmq"},
        "kafka": {"IngressFunction": "ingress-kafka", "ConsumerFunction": "consumer-kafka"},
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
        where = ["consumer", "ingress"] if broker == "sqs" else [broker, broker]
        equal(built, sorted(f"{place} {binary}" for place, binary in zip(where, sorted(expected.values()))), f"built with {broker}")


if __name__ == "__main__":
    sys.exit(main())
