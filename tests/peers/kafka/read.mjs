// Prints the records of a topic as JSON lines: read.mjs NODE_MODULES SERVERS TOPIC COUNT.

import { createRequire } from "node:module";

const [modules, servers, topic, count] = process.argv.slice(2);
const { Kafka, logLevel } = createRequire(`${modules}/`)("kafkajs");
const kafka = new Kafka({ brokers: servers.split(","), logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: "kafkajs-reader" });
let left = Number(count);

await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
await new Promise((resolve) =>
  consumer.run({
    eachMessage: async ({ partition, message }) => {
      const headers = Object.entries(message.headers).map(([name, value]) => [name, value.toString()]);
      console.log(
        JSON.stringify({
          partition,
          offset: Number(message.offset),
          key: message.key?.toString() ?? null,
          value: message.value.toString("base64"),
          headers: Object.fromEntries(headers),
        }),
      );
      if (--left === 0) resolve();
    },
  }),
);
await consumer.disconnect();
