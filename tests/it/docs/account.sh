#!/usr/bin/env bash
# account.sh STACK RABBITMQ_URL: creates in LocalStack the resources that the commands of docs read. Prints NAME=VALUE for each
# output and resource of the stack, and for the function, which LocalStack's CloudFormation does not create from inline code.
set -euo pipefail
stack=$1 rabbitmq_url=$2
here=$(dirname "$0")
login='{\"username\":\"guest\",\"password\":\"guest\"}'
aws cloudformation create-stack --stack-name "$stack" --template-body "file://$here/account.yaml" --output text \
    --parameters "ParameterKey=RabbitmqUrl,ParameterValue=$rabbitmq_url" \
    "ParameterKey=RabbitmqLogin,ParameterValue=\"$login\"" >&2
until status=$(aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].StackStatus' --output text) &&
    [[ $status != *IN_PROGRESS ]]; do sleep 0.5; done
[[ $status == CREATE_COMPLETE ]] || { echo "the stack is $status" >&2 && exit 1; }
aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]' --output text |
    tr '\t' '='
aws cloudformation list-stack-resources --stack-name "$stack" --output text \
    --query 'StackResourceSummaries[].[LogicalResourceId,PhysicalResourceId]' | tr '\t' '='

# Two versions; the alias points to the second.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
function=$stack-ingress
for version in 1 2; do
    printf '#!/bin/sh\n# %s\n' "$version" >"$folder/bootstrap"
    (cd "$folder" && chmod +x bootstrap && rm -f code.zip && python -m zipfile -c code.zip bootstrap)
    if ((version == 1)); then
        aws lambda create-function --function-name "$function" --runtime provided.al2023 --handler bootstrap --publish \
            --role arn:aws:iam::000000000000:role/any --zip-file "fileb://$folder/code.zip" >&2
    else
        aws lambda update-function-code --function-name "$function" --publish --zip-file "fileb://$folder/code.zip" >&2
    fi
done
aws lambda create-alias --function-name "$function" --name live --function-version 2 >&2
echo "IngressFunction=$function"
echo "ConsumerFunction=$function"

# Further resources: the mappings of the alias, an alarm in state ALARM, a log line of the ingress.
for queue in orders.fifo webhooks; do
    aws lambda create-event-source-mapping --function-name "$function:live" --no-enabled \
        --event-source-arn "arn:aws:sqs:us-east-1:000000000000:$stack-$queue" >&2
done
aws cloudwatch put-metric-alarm --alarm-name "$stack-OrdersQueue-DeadLetterAlarm" --namespace AWS/SQS --metric-name any \
    --statistic Maximum --period 60 --evaluation-periods 1 --threshold 0 --comparison-operator GreaterThanThreshold
aws cloudwatch set-alarm-state --alarm-name "$stack-OrdersQueue-DeadLetterAlarm" --state-value ALARM --state-reason test
group=/aws/lambda/$stack-ingress
aws logs create-log-stream --log-group-name "$group" --log-stream-name one
aws logs put-log-events --log-group-name "$group" --log-stream-name one --log-events "timestamp=$(date +%s000),message='{
    \"level\":\"INFO\",\"fields\":{\"message\":\"refused\",\"route\":\"POST /orders\",\"status\":401,\"code\":\"credentials_invalid\"}}'" >&2
