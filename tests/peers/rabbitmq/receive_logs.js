#!/usr/bin/env node
// The tutorial subscriber: receive_logs.js URL EXCHANGE binds a new queue to a fanout exchange, prints that it waits, and prints
// each message as a line of JSON.

const amqp = require('amqplib');

async function main(url, exchange) {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.assertExchange(exchange, 'fanout', { durable: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchange, '');
  await channel.consume(queue, (message) => {
    const { messageId, type, contentType } = message.properties;
    console.log(JSON.stringify({ messageId, type, contentType, body: message.content.toString() }));
  }, { noAck: true });
  console.log(' [*] Waiting for messages');
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
