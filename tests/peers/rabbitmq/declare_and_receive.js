#!/usr/bin/env node
// The first consumer of the tutorial: declare_and_receive.js URL QUEUE. Declares the queue as not durable, says that it waits, and
// prints each body as a line of JSON.

const amqp = require('amqplib');

async function main(url, queue) {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { durable: false });
  await channel.consume(queue, (message) => console.log(JSON.stringify(message.content.toString())), { noAck: true });
  console.log(' [*] Waiting for messages');
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
