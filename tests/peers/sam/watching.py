"""Checks alarms and dashboards: every metric exists, changes, and belongs to an existing resource."""

import json
import re
import subprocess

from stack import ROOT

# The metrics in use, by namespace and dimensions.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/rabbitmq-cloudwatch-metrics.html
# https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch-Logs-Monitoring-CloudWatch-Metrics.html
FUNCTION = ["Duration", "Invocations", "Errors", "Throttles", "ConcurrentExecutions"]
METRICS = {
    ("AWS/ApiGateway", "ApiId"): ["Count", "4xx", "5xx", "Latency", "IntegrationLatency", "DataProcessed"],
    # OffsetLag only for functions that read Kafka.
    ("AWS/Lambda", "FunctionName"): [*FUNCTION, "OffsetLag"],
    ("AWS/Lambda", "ExecutedVersion", "FunctionName", "Resource"): FUNCTION,
    ("AWS/SQS", "QueueName"): [
        "ApproximateAgeOfOldestMessage",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesVisible",
        "NumberOfEmptyReceives",
        "NumberOfMessagesDeleted",
        "NumberOfMessagesReceived",
        "NumberOfMessagesSent",
    ],
    ("AWS/Logs", "LogGroupName"): ["IncomingBytes", "IncomingLogEvents"],
    ("AWS/AmazonMQ", "Broker"): [
        "ConnectionCount",
        "MessageCount",
        "MessageReadyCount",
        "MessageUnacknowledgedCount",
        "RabbitMQDiskFree",
        "RabbitMQDiskFreeLimit",
        "RabbitMQMemLimit",
        "RabbitMQMemUsed",
    ],
    # Only with RabbitMQ 3.13.
    ("AWS/AmazonMQ", "Broker", "Queue", "VirtualHost"): ["MessageCount"],
    ("AWS/Kafka", "Cluster Name", "Consumer Group", "Topic"): ["EstimatedMaxTimeLag", "MaxOffsetLag", "SumOffsetLag"],
    # Metrics in the logs of the functions (crates/telemetry).
    ("Sluicegate", "function"): ["accepted", "refused", "enqueue_ms"],
    ("Sluicegate", "code", "function"): ["refused"],
    ("Sluicegate", "function", "queue"): [
        "received",
        "done",
        "duplicate",
        "retried",
        "rejected",
        "undecodable",
        "returned",
        "oldest_ms",
        "handler_ms",
    ],
    # Metric filters of the access log.
    ("Sluicegate", "stack"): ["answers", "answers_429", "answers_5xx"],
}
# The only metrics of a dead-letter queue that change when SQS moves a message there.
MOVES_ON_A_DEAD_LETTER_QUEUE = ["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"]

ALARMS = {
    "template.yaml": ["NewConsumerErrorsAlarm", "NewIngressErrorsAlarm", "ServerErrorsAlarm"],
    "infra/monitoring.yaml": [
        "ConsumerErrorsAlarm",
        "ConsumerThrottlesAlarm",
        "IngressErrorsAlarm",
        "IngressThrottlesAlarm",
        "ServerErrorsAlarm",
        "SlowAlarm",
        "TooManyRequestsAlarm",
    ],
    "infra/queue.yaml": ["UndecodableAlarm"],
}
ALARMS_OF_BROKER = {
    ("infra/queue.yaml", "sqs"): ["AgeAlarm", "DeadLetterAgeAlarm", "DeadLetterAlarm", "SilenceAlarm"],
    ("infra/queue.yaml", "rabbitmq"): ["RejectedAlarm"],
    ("infra/queue.yaml", "kafka"): ["RejectedAlarm", "TimeLagAlarm"],
    ("infra/monitoring.yaml", "kafka"): ["LagAlarm"],
}


def faults(path, broker, stack, parent):
    """Yields the faults of the alarms and dashboards of a stack; `parent` is the stack that nests it, or the stack itself."""
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    expected = sorted(ALARMS.get(path, []) + ALARMS_OF_BROKER.get((path, broker), []))
    if path in ALARMS and sorted(alarms) != expected:
        yield f"{stack.name}: alarms {sorted(alarms)}, expected {expected}"
    for name, alarm in alarms.items():
        place = f"{stack.name}: {name}"
        if len(alarm.get("AlarmActions", [])) != 1:
            yield f"{place} does not have exactly one action"
        if "TreatMissingData" not in alarm or "AlarmDescription" not in alarm:
            yield f"{place} lacks TreatMissingData or AlarmDescription"
        if alarm.get("DatapointsToAlarm", 1) > alarm["EvaluationPeriods"]:
            yield f"{place} can never go off"
        identifiers = {query["Id"] for query in alarm.get("Metrics", [])}
        for query in alarm.get("Metrics", []):
            if "Expression" in query:
                yield from (f"{place}: {each}" for each in unknown(query["Expression"], identifiers))
        for metric, period in metrics(alarm):
            dimensions = {each["Name"]: stack.text(each["Value"]) for each in metric.get("Dimensions", [])}
            yield from (f"{place}: {each}" for each in wrong(metric, dimensions, stack, parent))
            if period * alarm["EvaluationPeriods"] > 86_400:
                yield f"{place} looks back further than a day, which CloudWatch refuses"
            is_dead = any("DeadLetter" in value for value in dimensions.values())
            if is_dead and metric["MetricName"] not in MOVES_ON_A_DEAD_LETTER_QUEUE:
                yield f"{place}: {metric['MetricName']} of a dead-letter queue does not change when SQS moves a message there"
    for name, dashboard in stack.of_type("AWS::CloudWatch::Dashboard").items():
        for each in dashboard_faults(stack, parent, stack.text(dashboard["DashboardBody"])):
            yield f"{stack.name}: {name}: {each}"
    for name, each in stack.of_type("AWS::Logs::MetricFilter").items():
        yield from (f"{stack.name}: {name}: {fault}" for fault in filter_faults(stack, parent, each))


def metrics(alarm):
    """Yields the metrics of an alarm, each with its period in seconds."""
    if "MetricName" in alarm:
        yield alarm, alarm["Period"]
    for query in alarm.get("Metrics", []):
        if "MetricStat" in query:
            yield query["MetricStat"]["Metric"], query["MetricStat"]["Period"]


def wrong(metric, dimensions, stack, parent):
    key = (metric["Namespace"], *sorted(dimensions))
    if metric["MetricName"] not in METRICS.get(key, []):
        yield f"{key} has no metric {metric['MetricName']}"
    for name, text in dimensions.items():
        if not is_there(name, text, stack, parent):
            yield f"{name} is {text}, which is not a dimension of {metric['MetricName']}"
    if key == ("Sluicegate", "stack"):
        filters = [*stack.of_type("AWS::Logs::MetricFilter").values(), *parent.of_type("AWS::Logs::MetricFilter").values()]
        filters = [each["MetricName"] for one in filters for each in one["MetricTransformations"]]
        if metric["MetricName"] not in filters:
            yield f"no filter counts {metric['MetricName']}"


def is_there(dimension, text, stack, parent):
    """Returns whether a dimension names an existing resource of the right kind."""

    def refers(kind, attribute=None):
        name, found = parent.named(text)
        own, found_here = stack.named(text)
        kinds = [parent.resources.get(name, {}).get("Type")] if found == attribute else []
        kinds += [stack.resources.get(own, {}).get("Type")] if found_here == attribute else []
        return kind in kinds

    mappings = stack.of_type("AWS::Lambda::EventSourceMapping").values()
    consumed = [queue for each in mappings for queue in each.get("Queues", [stack.parameters.get("Name")] if "Topics" in each else [])]
    match dimension:
        case "ApiId":
            return refers("AWS::ApiGatewayV2::Api")
        case "FunctionName" | "function":
            return refers("AWS::Lambda::Function")
        case "Resource":
            return re.fullmatch(r"<\w+>:live", text) and f"{text[1:-6]}Aliaslive" in parent.resources
        case "ExecutedVersion":
            name, attribute = parent.named(text)
            return attribute == "Version" and parent.resources.get(name, {}).get("Type") == "AWS::Lambda::Version"
        case "QueueName":
            return refers("AWS::SQS::Queue", "QueueName")
        case "queue":
            return refers("AWS::SQS::Queue", "QueueName") or text in consumed
        case "LogGroupName":
            return refers("AWS::Logs::LogGroup")
        case "stack":
            return text == "<AWS::StackName>"
        case "Broker":
            # The broker has the name of the stack.
            return text in ["<AWS::StackName>", stack.parameters.get("Name")]
        case "Cluster Name":
            return all(f":cluster/{text}/" in stack.text(each["EventSourceArn"]) for each in mappings)
        case "Consumer Group":
            groups = [each["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"] for each in mappings]
            return text in map(stack.text, groups)
        case "Topic":
            return text == stack.parameters["Name"]
        case "Queue":
            return text.removesuffix(".dlq") in consumed
        case "VirtualHost":
            return text == "/"
    return False


def filter_faults(stack, parent, each):
    """Yields the faults of a metric filter, whose fields must be in the log it reads."""
    group = stack.text(each["LogGroupName"])
    stages = parent.of_type("AWS::ApiGatewayV2::Stage").values()
    formats = [parent.text(stage["AccessLogSettings"]["Format"]) for stage in stages]
    if parent.named(group)[0] != "AccessLogs":
        yield f"reads {group}"
    fields = re.findall(r"\$\.(\w+)", json.dumps(each))
    missing = [field for field in fields if not all(field in json.loads(text) for text in formats)]
    if not fields or missing:
        yield f"the access log has no {missing}"


def dashboard_faults(stack, parent, body):
    try:
        widgets = json.loads(body)["widgets"]
    except ValueError as error:
        yield f"is not JSON: {error}"
        return
    if len(widgets) > 500:
        yield "has more than 500 widgets"
    for widget in widgets:
        properties = widget["properties"]
        place = properties["title"]
        if properties["region"] != "<AWS::Region>":
            yield f"{place}: region {properties['region']}"
        entries = properties["metrics"]
        identifiers = {entry[-1]["id"] for entry in entries if isinstance(entry[-1], dict) and "id" in entry[-1]}
        for entry in entries:
            options = entry[-1] if isinstance(entry[-1], dict) else {}
            if "expression" in options:
                yield from (f"{place}: {each}" for each in searched(options["expression"], stack, parent))
                if "SEARCH" not in options["expression"]:
                    yield from (f"{place}: {each}" for each in unknown(options["expression"], identifiers))
                continue
            namespace, metric, *rest = [each for each in entry if isinstance(each, str)]
            dimensions = dict(zip(rest[::2], rest[1::2], strict=True))
            if not {"stat"} & (options.keys() | properties.keys()):
                yield f"{place}: no statistic"
            found = wrong({"Namespace": namespace, "MetricName": metric}, dimensions, stack, parent)
            yield from (f"{place}: {each}" for each in found)


def searched(expression, stack, parent):
    """SEARCH('{namespace,dimensions} MetricName="name" dimension="value"', …) must match existing metrics.

    MetricName=("one" OR "other") has several names; a value without quotes is a word of the dimension's value.
    """
    found = re.search(r"SEARCH\('\{([^}]*)\} MetricName=(\S+|\([^)]*\))((?: (?:NOT )?\w+=\S+)*)', '\w+', \d+\)", expression)
    if not found:
        return [] if "SEARCH" not in expression else [f"cannot read {expression}"]
    key = tuple(found[1].split(","))
    values = dict(re.findall(r" (\w+)=\"([^\"]*)\"", found[3]))
    words = re.findall(r" (\w+)=[^\s\"]", found[3])
    names = re.findall(r"\"(\w+)\"", found[2])
    are_known = names and set(names) <= set(METRICS.get((key[0], *sorted(key[1:])), []))
    are_there = all(is_there(name, text, stack, parent) for name, text in values.items()) and set(words) <= set(key[1:])
    return [] if are_known and are_there else [f"{expression} finds nothing"]


def unknown(expression, identifiers):
    """Returns faults for names in an expression that are neither functions nor other metrics."""
    names = set(re.findall(r"\b[a-z]\w*\b", expression))
    return [f"{expression} has an unknown name {name}" for name in sorted(names - identifiers)]


def unwritten():
    """Yields the project's metrics that no source of a function names."""
    own = {name for key, names in METRICS.items() if key[0] == "Sluicegate" and key[1:] != ("stack",) for name in names}
    for name in sorted(own):
        command = ["grep", "-rqF", f'"{name}"', "--include=*.rs", "crates/telemetry", "crates/batch", "functions"]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            yield f"no function writes the metric {name}"
