"""An account at an emulator: its clients and its resources."""

import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# Listed before and after, to find what a stack leaves behind. (service, operation, list, name)
LISTS = [
    ("sqs", "list_queues", "QueueUrls", None),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("secretsmanager", "list_secrets", "SecretList", "Name"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("iam", "list_policies", "Policies", "PolicyName"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("apigatewayv2", "get_apis", "Items", "ApiId"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("cloudformation", "describe_stacks", "Stacks", "StackName"),
]
ARGUMENTS = {"list_policies": {"Scope": "Local"}, "list_secrets": {"IncludePlannedDeletion": True}}


class Account:
    def __init__(self, url, absent=()):
        """`absent` are services that the emulator does not have."""
        self.url = url
        self.absent = absent
        self.session = boto3.Session("test", "test", region_name="us-east-1")
        self.clients = {}

    def __call__(self, service):
        if service not in self.clients:
            config = Config(retries={"total_max_attempts": 1}, read_timeout=90, s3={"addressing_style": "path"})
            self.clients[service] = self.session.client(service, endpoint_url=self.url, config=config)
        return self.clients[service]

    def everything(self):
        """Returns every resource as `service list: name`."""
        found = set()
        for service, operation, key, name in LISTS:
            if service in self.absent:
                continue
            listed = getattr(self(service), operation)(**ARGUMENTS.get(operation, {})).get(key, [])
            # A deleted stack is listed for a while.
            listed = [each for each in listed if operation != "describe_stacks" or each["StackStatus"] != "DELETE_COMPLETE"]
            found |= {f"{service} {key}: {each if name is None else each[name]}" for each in listed}
        return found

    def stack(self, name):
        [stack] = self("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return stack

    def status(self, name):
        """Returns the status of a stack, or None if it does not exist."""
        try:
            return self.stack(name)["StackStatus"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            return None

    def outputs(self, name):
        return {each["OutputKey"]: each["OutputValue"] for each in self.stack(name).get("Outputs", [])}

    def resources(self, name):
        """Returns the physical ids by logical id; `Stack/Resource` is a resource of a nested stack."""
        found = {}
        for each in self("cloudformation").describe_stack_resources(StackName=name)["StackResources"]:
            if physical := each.get("PhysicalResourceId"):
                found[each["LogicalResourceId"]] = physical
                if each["ResourceType"] == "AWS::CloudFormation::Stack":
                    found |= {f"{each['LogicalResourceId']}/{inner}": value for inner, value in self.resources(physical).items()}
        return found

    def count(self, queue_url):
        """Returns the number of messages of a queue: visible, in flight and delayed."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        attributes = self("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return sum(int(attributes.get(name, 0)) for name in names)


def eventually(fact, what, seconds=60):
    """Waits until `fact` returns neither None nor False. Returns its result."""
    deadline = time.monotonic() + seconds
    while (answer := fact()) is None or answer is False:
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
    return answer
