// The stack of `cargo local --json` on free ports, and requests to it.

import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { once } from "node:events";
import { createInterface } from "node:readline";

// The functions are compiled for the first start.
const START_MS_MAX = 1_800_000;
const PORTS = ["--port", "0", "--admin-port", "0", "--aws-port", "0"];
const BATCH_ENTRIES = 10;

export class Stack {
  // Starts the command, such as `cargo local`, in the folder and waits until it is ready.
  static async start(command, folder, environment) {
    const stack = new Stack();
    stack.log = [];
    stack.process = spawn(command[0], [...command.slice(1), "--json", ...PORTS], {
      cwd: folder,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const keep = (line) => stack.log.push(line) > 40 && stack.log.shift();
    createInterface({ input: stack.process.stderr }).on("line", keep);
    const started = new Promise((resolve, reject) => {
      createInterface({ input: stack.process.stdout }).on("line", (line) => {
        keep(line);
        const event = JSON.parse(line);
        if (event.event === "started") resolve(event);
      });
      stack.process.once("error", reject);
      stack.process.once("exit", (code) => reject(new Error(`the stack ended with ${code}:\n${stack.log.join("\n")}`)));
      setTimeout(() => reject(new Error(`the stack did not start:\n${stack.log.join("\n")}`)), START_MS_MAX).unref();
    });
    try {
      const { gateway, admin, aws } = await started;
      return Object.assign(stack, { gateway, admin, aws });
    } catch (error) {
      stack.process.kill("SIGINT");
      throw error;
    }
  }

  // Places an order; returns the id of its message.
  async order(orderId, headers = {}) {
    const body = { order_id: orderId, customer_id: `customer-${orderId}`, items: [{ sku: "tea", quantity: 2 }] };
    const answer = await this.post("/orders", body, { "x-api-key": "dev-key", "idempotency-key": orderId, ...headers });
    if (answer.status !== 202) throw new Error(`${orderId} is answered with ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body.id;
  }

  // Sends JSON to the API; returns status and body.
  async post(path, body, headers) {
    const answer = await fetch(this.gateway + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  }

  // Returns the JSON of the admin port.
  async read(path) {
    return (await fetch(this.admin + path)).json();
  }

  // Waits until the messages of this query, as the admin port lists them, satisfy a condition; returns them.
  async until(query, condition, msMax = 20_000) {
    const end = Date.now() + msMax;
    for (;;) {
      const { messages } = await this.read(`/messages?${query}`);
      if (condition(messages)) return messages;
      if (Date.now() > end) throw new Error(`not within ${msMax} ms: ${query} has ${JSON.stringify(messages)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  // Puts events straight on a queue, as fast as SQS takes them. Each has an id of its own.
  async fill(queue, count) {
    const sqs = async (action, input) => {
      const headers = { "content-type": "application/x-amz-json-1.0", "x-amz-target": `AmazonSQS.${action}` };
      const answer = await fetch(this.aws, { method: "POST", headers, body: JSON.stringify(input) });
      if (!answer.ok) throw new Error(`${action}: ${await answer.text()}`);
      return answer.json();
    };
    const { QueueUrl } = await sqs("GetQueueUrl", { QueueName: queue });
    const event = (number) =>
      JSON.stringify({
        specversion: "1.0", id: `filled-${number}`, source: "/filled", type: "order.placed", datacontenttype: "application/json",
        data: { order_id: `filled-${number}` },
      });
    for (let first = 0; first < count; first += BATCH_ENTRIES) {
      const Entries = Array.from({ length: Math.min(BATCH_ENTRIES, count - first) }, (_, index) => ({
        Id: String(index), MessageBody: event(first + index), MessageGroupId: String(first + index),
        MessageDeduplicationId: String(first + index),
      }));
      await sqs("SendMessageBatch", { QueueUrl, Entries });
    }
  }

  async stop() {
    if (this.process.exitCode !== null) return;
    this.process.kill("SIGINT");
    await once(this.process, "exit");
  }
}

// The endpoint that the consumer forwards orders to. It refuses those whose id is `poison`, for ever.
export async function receiver() {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    response.writeHead(body.includes('"poison"') ? 422 : 204).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
