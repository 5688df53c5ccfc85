"""The end of a deployment: the stack, what it retains, and SAM's own bucket are deleted."""

from account import eventually

SAM_STACK = "aws-sam-cli-managed-default"


def delete(account, stack, resources):
    """Deletes the stack. `sam delete` rejects the address of a nested template at an emulator as not an S3 URL."""
    account("cloudformation").delete_stack(StackName=stack)
    eventually(lambda: account.status(stack) in (None, "DELETE_COMPLETE", "DELETE_FAILED"), "the stack's deletion")
    if account.status(stack) not in (None, "DELETE_COMPLETE"):
        raise AssertionError(f"the stack is {account.status(stack)}, and was to be deleted")
    delete_what_is_retained(account, resources)


def delete_what_is_retained(account, resources):
    """Deletes the queues and the secret, which the template retains. Some emulators delete them with the stack."""
    sqs, secrets = account("sqs"), account("secretsmanager")
    urls = {value for name, value in resources.items() if name.endswith(("/Queue", "/DeadLetterQueue"))}
    for url in urls & set(sqs.list_queues().get("QueueUrls", [])):
        sqs.delete_queue(QueueUrl=url)
    for each in secrets.list_secrets()["SecretList"]:
        # The Ref of a secret is its name in one emulator and its ARN in the other.
        if resources.get("Secrets") in (each["ARN"], each["Name"]):
            secrets.delete_secret(SecretId=each["ARN"], ForceDeleteWithoutRecovery=True)


def nothing_is_left(account, before):
    """Checks that nothing but SAM's bucket of uploads is left, which SAM shares between stacks, and deletes it."""
    bucket = account.resources(SAM_STACK)["SamCliSourceBucket"]
    left = account.everything() - before - {f"s3 Buckets: {bucket}", f"cloudformation Stacks: {SAM_STACK}"}
    if left:
        raise AssertionError(f"left behind by the stack: {left}")
    s3 = account("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for each in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
    account("cloudformation").delete_stack(StackName=SAM_STACK)
    eventually(lambda: account.everything() == before, "SAM's own stack and bucket to be gone")
