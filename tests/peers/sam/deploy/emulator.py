"""The two emulators, with their differences from AWS and from each other."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from account import eventually
from check import ROOT, Stack, references
from door import Gateway, Invocation


class Emulator:
    def __init__(self, account, project=ROOT):
        """`project` has the template and samconfig.toml."""
        self.account = account
        self.project = project

    def sam(self, *arguments):
        """Runs the SAM CLI against the emulator with the settings of the dev stack. Returns its exit code and its last lines."""
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.account.url,
            "SAM_CLI_TELEMETRY": "0",
        }
        config = ["--config-file", self.project / "samconfig.toml", "--config-env", "dev"]
        command = [Path(sys.executable).parent / "sam", *arguments, *config]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line and "Uploading to" not in line]
        return done.returncode, "\n".join(lines[-40:])

    def repair(self, stack, parameters):
        """Completes a deployment where the emulator is incomplete. Returns descriptions of the repairs."""
        return []

    def sweep(self, resources):
        """Removes resources outside the deleted stack. Returns descriptions of the repairs."""
        return []


class Ministack(Emulator):
    # By AUTH=true, which tests/peers/ministack/start.sh sets.
    ENFORCES_ROLES = True
    ROLLS_BACK = True
    # The alias that API and mappings invoke.
    QUALIFIER = "live"
    PARAMETERS = {"Monitoring": "no"}
    # The text that `sluicegate dlq redrive` prints.
    REDRIVEN = "one by one instead, because SQS does not do it here"
    OUTPUTS = {"ApiUrl", "SecretArn"}
    NOT_SHOWN = [
        "throttling and the batching window, which it ignores",
        "a partial batch response with an unknown message, which succeeds here but fails the whole batch on AWS",
        "StartMessageMoveTask and CodeDeploy, which it does not support",
        "alarms and dashboard: it does not support metric math, so the stack has Monitoring=no",
    ]

    def deploy(self, stack, build, parameters):
        """Returns whether the deployment succeeded, and the output."""
        overrides = [f"{name}={value}" for name, value in parameters.items()]
        code, output = self.sam(
            "deploy", "--template-file", build / "template.yaml", "--stack-name", stack, "--parameter-overrides", *overrides
        )
        return code == 0, output

    def repair(self, stack, parameters):
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
                document = document.replace(f'"{name}"', f'"{arn}"')
                iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=document)
                yield "the Ref of a secret is its name here, so ingress might not read it"

    def numbers_are_numbers(self, resources):
        functions = self.account("lambda")
        for mapping in (value for name, value in resources.items() if name.endswith("/Mapping")):
            scaling = functions.get_event_source_mapping(UUID=mapping)["ScalingConfig"]
            functions.update_event_source_mapping(UUID=mapping, ScalingConfig=scaling)
        yield "the concurrency of the mappings is stored as text, which stops them: set again as a number"

    def routes_are_there(self, api_id, resources, parameters):
        api = self.account("apigatewayv2")
        if api.get_routes(ApiId=api_id)["Items"]:
            return
        body = Stack(self.project / "template.yaml", parameters).resources["HttpApi"]["Properties"]["Body"]
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
        yield f"an API with a Body has no routes here: created {', '.join(sorted(made))}"

    def arn(self, function):
        """Returns the ARN of a function or of an alias."""
        return self.account("lambda").get_function_configuration(FunctionName=function)["FunctionArn"]

    def door(self, stack):
        return Gateway(self.account, self.account.outputs(stack)["ApiUrl"])


def is_queue(resource):
    return resource.get("Type") == "AWS::CloudFormation::Stack" and "ConsumerAlias" in resource["Properties"]["Parameters"]


class Localstack(Emulator):
    ENFORCES_ROLES = False
    ROLLS_BACK = False
    QUALIFIER = "$LATEST"
    PARAMETERS = {}
    REDRIVEN = "SQS moves the messages to"
    OUTPUTS = {"SecretArn"}
    NOT_SHOWN = [
        "the API and its routes: API Gateway v2 is missing; ingress was invoked with its events",
        "versions and aliases: it cannot update an alias, so the functions are called without one",
        "rollback: an update with a failed resource counts as complete",
        "permissions of roles, the nested stack of alarms and dashboard, and CodeDeploy",
    ]
    # The resource types of the template that it supports.
    KINDS = [
        "AWS::IAM::Policy", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Logs::LogGroup",
        "AWS::SecretsManager::Secret", "AWS::SNS::Topic",
    ]  # fmt: skip

    def __init__(self, account):
        super().__init__(account)
        account.absent = ("apigatewayv2",)

    def deploy(self, stack, build, parameters):
        """Deploys the transformed template without unsupported resources, because `sam deploy` fails at a Mappings key that is a
        number."""
        with tempfile.NamedTemporaryFile(suffix=".yaml") as packaged:
            template = build / "template.yaml"
            code, output = self.sam("package", "--resolve-s3", "--template-file", template, "--output-template-file", packaged.name)
            if code != 0:
                return False, output
            whole = Stack(packaged.name, parameters)
        kept = {name: body for name, body in whole.resources.items() if body["Type"] in self.KINDS or is_queue(body)}
        gone = whole.resources.keys() - kept.keys()
        outputs = {name: body for name, body in whole.outputs.items() if not gone & {each for each, _ in references(body)}}
        for body in [*kept.values(), *outputs.values()]:
            body.pop("Condition", None)
            if is_queue(body):
                alias = body["Properties"]["Parameters"]["ConsumerAlias"]["Ref"]
                function = whole.resources[alias]["Properties"]["FunctionName"]["Ref"]
                body["Properties"]["Parameters"]["ConsumerAlias"] = {"Fn::GetAtt": [function, "Arn"]}
        # Fn::Sub texts still refer to parameters.
        named = {name: {"Type": "String", "Default": str(value)} for name, value in whole.parameters.items()}
        body = json.dumps({"Parameters": named, "Resources": kept, "Outputs": outputs})
        cloudformation = self.account("cloudformation")
        make = cloudformation.create_stack if self.account.status(stack) is None else cloudformation.update_stack
        make(StackName=stack, TemplateBody=body, Capabilities=["CAPABILITY_IAM"])
        status = eventually(lambda: self.ended(stack), "the stack's deployment", 120)
        return status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), f"{status}, without {', '.join(sorted(gone))}"

    def ended(self, stack):
        status = self.account.status(stack)
        return status if not status.endswith("_IN_PROGRESS") else None

    def sweep(self, resources):
        for function in ("IngressFunction", "ConsumerFunction"):
            self.account("logs").delete_log_group(logGroupName=f"/aws/lambda/{resources[function]}")
        yield "the LogGroup of a function is ignored; the log groups named after the functions were deleted"

    def door(self, stack):
        return Invocation(self.account, self.account.resources(stack)["IngressFunction"])


EMULATORS = {"ministack": Ministack, "localstack": Localstack}
