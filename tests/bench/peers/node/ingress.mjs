// The ingress in JavaScript: middy, ajv, which compiles the schema once, and the AWS SDK.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs'
import middy from '@middy/core'
import Ajv from 'ajv/dist/2020.js'

// Otherwise the endpoint is the host of the queue's URL, also where AWS_ENDPOINT_URL_SQS is set.
const sqs = new SQSClient({ useQueueUrlAsEndpoint: false })
const checkOrder = new Ajv().compile(JSON.parse(readFileSync(process.env.ORDER_SCHEMA, 'utf8')))
const { API_KEY_SHA256, GITHUB_SECRET } = process.env
const STANDARD_SECRET = Buffer.from(process.env.STANDARD_SECRET, 'base64')

const isEqual = (a, b) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
const answer = (statusCode, body) => ({
  statusCode,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

function isAuthentic({ rawPath, headers, body }) {
  if (rawPath === '/orders') {
    return isEqual(createHash('sha256').update(headers['x-api-key']).digest('hex'), API_KEY_SHA256)
  }
  if (rawPath === '/webhooks/github') {
    const digest = createHmac('sha256', GITHUB_SECRET).update(body).digest('hex')
    return isEqual(`sha256=${digest}`, headers['x-hub-signature-256'])
  }
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
  const digest = createHmac('sha256', STANDARD_SECRET).update(signed).digest('base64')
  return isEqual(`v1,${digest}`, headers['webhook-signature'])
}

const authenticate = {
  before: ({ event }) => (isAuthentic(event) ? undefined : answer(401, { title: 'Unauthorized' })),
}

const validate = {
  before: ({ event }) => {
    event.data = JSON.parse(event.body)
    if (event.rawPath === '/orders' && !checkOrder(event.data)) {
      return answer(422, { title: 'Unprocessable Content' })
    }
  },
}

async function enqueue({ rawPath, headers, data }) {
  const [queue, type, key] = {
    '/orders': ['QUEUE_ORDERS', 'order.placed', headers['idempotency-key']],
    '/webhooks/github': ['QUEUE_WEBHOOKS', `github.${headers['x-github-event']}`, headers['x-github-delivery']],
    '/webhooks/standard': ['QUEUE_WEBHOOKS', 'webhook.received', headers['webhook-id']],
  }[rawPath]
  const id = createHash('sha256').update(`${rawPath} ${key}`).digest('hex').slice(0, 32)
  const envelope = {
    specversion: '1.0', id, source: rawPath, type, datacontenttype: 'application/json', idempotencykey: key, data,
  }
  // The SDK checks the MD5 of the body by default.
  await sqs.send(new SendMessageCommand({
    QueueUrl: process.env[queue],
    MessageBody: JSON.stringify(envelope),
    MessageGroupId: rawPath === '/orders' ? data.customer_id : undefined,
  }))
  return answer(202, { id })
}

export const handler = middy(enqueue).use(authenticate).use(validate)
