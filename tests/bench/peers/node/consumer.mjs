// The consumer in JavaScript: Powertools for AWS Lambda, batch processing.
import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch'

const processor = new BatchProcessor(EventType.SQS)

async function handle(record) {
  const envelope = JSON.parse(record.body)
  if (!envelope.id || envelope.type !== 'order.placed' || typeof envelope.data !== 'object') {
    throw new Error('not an order')
  }
}

export const handler = (event, context) => processPartialResponse(event, handle, processor, { context })
