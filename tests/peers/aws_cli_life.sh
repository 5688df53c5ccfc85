#!/usr/bin/env bash
# A message from sending to deletion with the AWS CLI: standard, FIFO and dead-letter queue. Takes the endpoint's URL.
set -euo pipefail
url=$1
sqs() { aws --endpoint-url "$url" --output text sqs "$@"; }
same() { [[ $2 == "$3" ]] || { echo "$1: '$2', expected '$3'" >&2; exit 1; }; }
arn() { sqs get-queue-attributes --queue-url "$1" --attribute-names QueueArn --query Attributes.QueueArn; }

dead=$(sqs create-queue --queue-name cli-dlq.fifo --attributes FifoQueue=true)
policy="{\\\"deadLetterTargetArn\\\":\\\"$(arn "$dead")\\\",\\\"maxReceiveCount\\\":1}"
attributes="{\"FifoQueue\":\"true\",\"VisibilityTimeout\":\"0\",\"RedrivePolicy\":\"$policy\"}"
queue=$(sqs create-queue --queue-name cli.fifo --attributes "$attributes")
same "the queue by its name" "$(sqs get-queue-url --queue-name cli.fifo)" "$queue"

send() { sqs send-message --queue-url "$queue" --message-group-id g --message-deduplication-id "$1" --message-body "$2"; }
send 1 '{"price": 1.10}' >/dev/null
send 1 'a duplicate' >/dev/null
receive() { sqs receive-message --queue-url "$1" --wait-time-seconds 2 --attribute-names All --query "Messages[0].$2"; }
same "the body" "$(receive "$queue" Body)" '{"price": 1.10}'
same "once too often" "$(sqs receive-message --queue-url "$queue" --query Messages)" None
same "the dead letter" "$(receive "$dead" Attributes.DeadLetterQueueSourceArn)" "$(arn "$queue")"

plain=$(sqs create-queue --queue-name cli)
sqs send-message-batch --queue-url "$plain" --entries Id=a,MessageBody=one Id=b,MessageBody=two >/dev/null
handle=$(receive "$plain" ReceiptHandle)
sqs change-message-visibility --queue-url "$plain" --receipt-handle "$handle" --visibility-timeout 60
sqs delete-message --queue-url "$plain" --receipt-handle "$handle"
count() { sqs get-queue-attributes --queue-url "$plain" --attribute-names All --query "Attributes.$1"; }
same "one left" "$(count ApproximateNumberOfMessages) $(count ApproximateNumberOfMessagesNotVisible)" "1 0"
sqs tag-queue --queue-url "$plain" --tags stage=test
same "the tag" "$(sqs list-queue-tags --queue-url "$plain" --query Tags.stage)" test
sqs purge-queue --queue-url "$plain"
same "purged" "$(count ApproximateNumberOfMessages)" 0
for each in "$queue" "$dead" "$plain"; do sqs delete-queue --queue-url "$each"; done
same "all are gone" "$(sqs list-queues --queue-name-prefix cli --query 'length(QueueUrls || `[]`)')" 0
account=$(aws --endpoint-url "$url" --output text sts get-caller-identity --query Account)
same "the account" "$account" 000000000000
echo "$(aws --version) works"
