// A message from sending to deletion with the AWS SDK for JavaScript v2, over AWS Query (before 2023-11) and AWS JSON. Takes
// the package's name and the endpoint's URL. The SDK checks the MD5 of every body and of every attribute, so a wrong digest fails.
const assert = require('node:assert/strict');

const [name, url] = process.argv.slice(2);
const aws = require(require.resolve(name, { paths: [process.env.SLUICEGATE_QUERY_NODE_MODULES] }));
const sqs = new aws.SQS({ endpoint: url, region: 'us-east-1', maxRetries: 0 });

async function main() {
  const attribute = async (queue, name) =>
    (await sqs.getQueueAttributes({ QueueUrl: queue, AttributeNames: [name] }).promise()).Attributes[name];
  const create = async (QueueName, Attributes) => (await sqs.createQueue({ QueueName, Attributes }).promise()).QueueUrl;

  const dead = await create('js-dlq', {});
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: await attribute(dead, 'QueueArn'), maxReceiveCount: 1 });
  const queue = await create('js', { VisibilityTimeout: '0', RedrivePolicy });
  assert.deepEqual((await sqs.listQueues({ QueueNamePrefix: 'js' }).promise()).QueueUrls, [queue, dead]);

  const MessageAttributes = {
    kind: { DataType: 'String', StringValue: 'greeting <&>\r\n' },
    raw: { DataType: 'Binary', BinaryValue: Buffer.from([0, 255]) },
  };
  const MessageBody = '{"price": 1.10}\r\n<&> "é😀"';
  const sent = await sqs.sendMessage({ QueueUrl: queue, MessageBody, MessageAttributes }).promise();
  const receive = async (QueueUrl) => {
    const all = { AttributeNames: ['All'], MessageAttributeNames: ['All'], WaitTimeSeconds: 1 };
    return (await sqs.receiveMessage({ QueueUrl, ...all }).promise()).Messages ?? [];
  };
  const [message] = await receive(queue);
  assert.equal(message.MessageId, sent.MessageId);
  assert.equal(message.Body, MessageBody);
  assert.equal(message.MessageAttributes.kind.StringValue, MessageAttributes.kind.StringValue);
  assert.deepEqual([...message.MessageAttributes.raw.BinaryValue], [0, 255]);
  assert.equal(message.MD5OfMessageAttributes, sent.MD5OfMessageAttributes);
  assert.deepEqual(await receive(queue), [], 'received too often');
  const [letter] = await receive(dead);
  assert.equal(letter.Attributes.DeadLetterQueueSourceArn, await attribute(queue, 'QueueArn'));
  await sqs.changeMessageVisibility({ QueueUrl: dead, ReceiptHandle: letter.ReceiptHandle, VisibilityTimeout: 60 }).promise();
  await sqs.deleteMessage({ QueueUrl: dead, ReceiptHandle: letter.ReceiptHandle }).promise();
  assert.equal(await attribute(dead, 'ApproximateNumberOfMessagesNotVisible'), '0');

  const fifo = await create('js.fifo', { FifoQueue: 'true', ContentBasedDeduplication: 'true' });
  const Entries = [0, 1, 2].map((n) => ({ Id: `${n}`, MessageBody: `body ${n}`, MessageGroupId: 'g' }));
  Entries.push({ Id: 'bad', MessageBody: '\0', MessageGroupId: 'g' });
  const batch = await sqs.sendMessageBatch({ QueueUrl: fifo, Entries }).promise();
  assert.deepEqual([batch.Successful.length, batch.Failed.map((each) => each.Code)], [3, ['InvalidMessageContents']]);
  const messages = (await sqs.receiveMessage({ QueueUrl: fifo, MaxNumberOfMessages: 10 }).promise()).Messages;
  assert.deepEqual(messages.map((each) => each.Body), ['body 0', 'body 1', 'body 2']);
  await sqs.tagQueue({ QueueUrl: fifo, Tags: { stage: 'test' } }).promise();
  assert.deepEqual((await sqs.listQueueTags({ QueueUrl: fifo }).promise()).Tags, { stage: 'test' });

  const fault = await sqs.getQueueUrl({ QueueName: 'nowhere' }).promise().catch((error) => error);
  assert.equal(fault.code, 'AWS.SimpleQueueService.NonExistentQueue');
  const sts = new aws.STS({ endpoint: url, region: 'us-east-1', maxRetries: 0 });
  assert.equal((await sts.getCallerIdentity().promise()).Account, '000000000000');
  for (const each of [queue, dead, fifo]) await sqs.deleteQueue({ QueueUrl: each }).promise();
  console.log(`aws-sdk ${aws.VERSION} speaks ${sqs.api.protocol}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
