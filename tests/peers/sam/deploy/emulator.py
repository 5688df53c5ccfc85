"""The two emulators, as far as they differ from AWS and from each other."""

import json
import re

from check import Stack
from door import Gateway, Invocation



class Ministack:
    # With AUTH=true, which tests/peers/ministack/start.sh sets.
    ENFORCES_ROLES = True
    NOT_SHOWN = [
        "throttling and the batching window, which it ignores",
        "a partial batch response that names an unknown message, which it takes for success where AWS fails the whole batch",
        "StartMessageMoveTask, which it does not have",
    ]

    def __init__(self, account):
        self.account = account

    def mend(self, stack, parameters):
        """Does what it left undone, and tells what that was."""
        resources = self.account.resources(stack)
        yield from self.secret_is_named_by_its_arn(resources)
        yield from self.numbers_are_numbers(resources)
        yield from self.routes_are_there(resources["HttpApi"], resources, parameters)

    def secret_is_named_by_its_arn(self, resources):
        iam, role, name = self.account("iam"), resources["IngressRole"], resources["Secrets"]
        arn = self.account("secretsmanager").describe_secret(SecretId=name)["ARN"]
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = json.dumps(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
            if f'"{name}"' in document:
                iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=document.replace(f'"{name}"', f'"{arn}"'))
                yield "the Ref of a secret is its name here, so ingress might not read it"

    def numbers_are_numbers(self, resources):
        functions = self.account("lambda")
        for queue in ("Orders", "Webhooks"):
            mapping = resources[f"ConsumerFunction{queue}"]
            scaling = functions.get_event_source_mapping(UUID=mapping)["ScalingConfig"]
            functions.update_event_source_mapping(UUID=mapping, ScalingConfig=scaling)
        yield "the mappings' concurrency, from a parameter, is a text inside, which stops them: set again to what it reads as"

    def routes_are_there(self, api_id, resources, parameters):
        api = self.account("apigatewayv2")
        if api.get_routes(ApiId=api_id)["Items"]:
            return
        body = Stack("template.yaml", parameters).resources["HttpApi"]["Properties"]["Body"]
        made = []
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                integration = operation["x-amazon-apigateway-integration"]
                [function] = re.findall(r"functions/\$\{(\w+)", integration["uri"]["Fn::Sub"])
                target = api.create_integration(
                    ApiId=api_id,
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=self.arn(resources[function]),
                    PayloadFormatVersion=integration["payloadFormatVersion"],
                )["IntegrationId"]
                made.append("$default" if path == "$default" else f"{method.upper()} {path}")
                api.create_route(ApiId=api_id, RouteKey=made[-1], Target=f"integrations/{target}")
        yield f"an API with a Body has no routes here: made {', '.join(sorted(made))}"

    def arn(self, function):
        """Of a function's name, or of an alias, which is called by its ARN."""
        return self.account("lambda").get_function_configuration(FunctionName=function)["FunctionArn"]

    def door(self, stack):
        return Gateway(self.account, self.account.outputs(stack)["ApiUrl"])

    def redrive(self, stack, queue):
        sqs = self.account("sqs")
        resources = self.account.resources(stack)
        [letter] = sqs.receive_message(
            QueueUrl=resources[f"{queue}DeadLetterQueue"], MessageAttributeNames=["All"], AttributeNames=["All"], WaitTimeSeconds=10
        )["Messages"]
        sqs.send_message(
            QueueUrl=resources[f"{queue}Queue"], MessageBody=letter["Body"],
            MessageGroupId=letter["Attributes"]["MessageGroupId"], MessageDeduplicationId=letter["MessageId"],
        )
        sqs.delete_message(QueueUrl=resources[f"{queue}DeadLetterQueue"], ReceiptHandle=letter["ReceiptHandle"])


class Localstack:
    ENFORCES_ROLES = False
    NOT_SHOWN = []

    def __init__(self, account):
        self.account = account
        account.absent = ("apigatewayv2", "codedeploy")

    def mend(self, stack, parameters):
        return []

    def door(self, stack):
        return Invocation(self.account, self.account.resources(stack)["IngressFunction"])

    def redrive(self, stack, queue):
        pass


EMULATORS = {"ministack": Ministack, "localstack": Localstack}
