// The loop of the Lambda Runtime API, because Lambda's own for Node.js compiles C++ and curl when it is installed.
// usage: runtime.mjs MODULE
import { Agent, request } from 'node:http'

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':')
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const sent = request({ host, port, method, path: `/2018-06-01/runtime/invocation/${path}`, agent, headers }, (answer) => {
      const chunks = []
      answer.on('data', (chunk) => chunks.push(chunk))
      answer.on('end', () => resolve([answer.headers, Buffer.concat(chunks).toString()]))
      answer.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const { handler } = await import(process.argv[2])
for (;;) {
  const [headers, event] = await call('GET', 'next')
  const awsRequestId = headers['lambda-runtime-aws-request-id']
  const remaining = () => Number(headers['lambda-runtime-deadline-ms']) - Date.now()
  const context = { awsRequestId, functionName: process.env.AWS_LAMBDA_FUNCTION_NAME, getRemainingTimeInMillis: remaining }
  await call('POST', `${awsRequestId}/response`, JSON.stringify(await handler(JSON.parse(event), context)))
}
