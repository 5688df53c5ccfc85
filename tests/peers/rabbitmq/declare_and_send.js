#!/usr/bin/env node
// The first producer of the tutorial: declare_and_send.js URL QUEUE BODY. Declares the queue as not durable, and publishes without
// properties.

const amqp = require('amqplib');

async function main(url, queue, body) {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { durable: false });
  channel.sendToQueue(queue, Buffer.from(body));
  await channel.close();
  await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
