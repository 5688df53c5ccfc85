// events.mjs: sends events with the CloudEvents SDK for JavaScript, and reads messages with it. Reads one JSON from standard
// input:
//
//   {"url", "requests": [{"mode": "structured" | "binary" | "batched", "events": [{"attributes", "data"}]}], "messages": ["…"]}
//
// and answers {"sent": [{"wire", "answer"}], "read": [{"attributes", "data"}]}. "wire" is the body of the request in base64.
// "data" is {"json"}, {"text"} or {"base64"}.
//
// Runs in the folder of the installed packages, as sdks.mjs does.

import { readFileSync } from "node:fs";

import { CloudEvent, HTTP, emitterFor, httpTransport } from "cloudevents";

const { url, requests = [], messages = [] } = JSON.parse(readFileSync(0, "utf8"));

const made = ({ attributes, data: { json, text, base64 } }) =>
  new CloudEvent({ ...attributes, data: json ?? text ?? Buffer.from(base64, "base64") });

async function send({ mode, events }) {
  let wire;
  const post = (message, options) => {
    wire = Buffer.from(message.body).toString("base64");
    return httpTransport(url)(message, options);
  };
  // The SDK writes the events of a batch, but has no transport for it.
  const batch = { headers: { "content-type": "application/cloudevents-batch+json" }, body: JSON.stringify(events.map(made)) };
  const answer = mode === "batched" ? await post(batch) : await emitterFor(post, { mode })(made(events[0]));
  return { wire, answer: JSON.parse(answer.body) };
}

function read(body) {
  const event = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body });
  const { data, data_base64, ...attributes } = event;
  if (data_base64 !== undefined) return { attributes, data: { base64: data_base64 } };
  return { attributes, data: typeof data === "string" ? { text: data } : { json: data } };
}

const sent = [];
for (const request of requests) sent.push(await send(request));
console.log(JSON.stringify({ sent, read: messages.map(read) }));
