//! A small project: one route, two queues, no handler.

use super::Files;

pub(super) const CONTRACT: &str = "\
# The contract.
openapi: 3.1.1
info: { title: t, version: '1' }
tags:
  - name: orders
    description: Orders.

paths:
  /orders:
    post:
      operationId: placeOrder
      tags: [orders]
      security:
        - key: [orders.write]
      requestBody:
        required: true
        content:
          application/json:
            schema: { $ref: '#/components/schemas/Order' }
      responses:
        '202': { $ref: '#/components/responses/Accepted' }
      x-sluicegate:
        queue: orders
        type: order.placed
        # a comment at the end

components:
  securitySchemes:
    key: { type: apiKey, in: header, name: x-api-key, x-secret: api-keys }

  schemas:
    Order: # what was ordered
      type: object
      required: [sku, orderId]
      properties:
        orderId: { type: string, maxLength: 64 }
        sku: { type: string }
        quantity: { type: integer, minimum: 0 }

  responses:
    Accepted: { description: Stored. }
    Forbidden: { description: Not allowed. }
    Unavailable: { description: Later. }
";

pub(super) const TEMPLATE: &str = "\
Parameters:
  Size: { Type: Number, Default: 1 }

Resources:
  Api:
    Type: AWS::Serverless::HttpApi

  IngressFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/ingress
      Runtime: provided.al2023
      Handler: bootstrap
      Environment:
        Variables:
          # where each queue is
          QUEUE_ORDERS: !GetAtt OrdersQueue.Outputs.Target
          SIZE: !Ref Size
      Events:
        PlaceOrder: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /orders } }
        OpenApi: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: GET, Path: /openapi.json } }
        Otherwise: { Type: HttpApi, Properties: { ApiId: !Ref Api } }

  # ---- queues ----

  OrdersQueue:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: infra/queue.yaml
      Parameters: &queue
        Name: orders
        # never more
        Concurrency: 2

  JobsQueue:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: infra/queue.yaml
      Parameters:
        <<: *queue
        Name: jobs
        Fifo: 'true'

  # ---- the rest ----

  Secrets:
    Type: AWS::SecretsManager::Secret
";

const QUEUE: &str = "\
Parameters:
  Name: { Type: String }
  Fifo: { Type: String, Default: 'false' }
  Concurrency: { Type: Number, Default: 2 }
  Stack: { Type: String, Default: s }
  # The other parameters of the shipped infra/queue.yaml.
  IngressRole: { Type: String, Default: '' }
  ConsumerRole: { Type: String, Default: '' }
  ConsumerFunction: { Type: String, Default: '' }
  ConsumerAlias: { Type: String, Default: '' }
  VisibilityTimeout: { Type: Number, Default: 30 }
  AlarmTopicArn: { Type: String, Default: '' }
  Broker: { Type: String, Default: '' }
  RabbitmqBroker: { Type: String, Default: '' }
  RabbitmqSecret: { Type: String, Default: '' }
  RabbitmqVersion: { Type: String, Default: '' }
  KafkaCluster: { Type: String, Default: '' }
  KafkaServers: { Type: String, Default: '' }
  KafkaMechanism: { Type: String, Default: '' }
  KafkaSecret: { Type: String, Default: '' }
  KafkaSubnetIds: { Type: String, Default: '' }
  KafkaSecurityGroupId: { Type: String, Default: '' }
  KafkaPartitions: { Type: Number, Default: 0 }
Conditions:
  IsFifo: !Equals [!Ref Fifo, 'true']
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub ['${Name}${Suffix}', { Suffix: !If [IsFifo, .fifo, ''] }]
      FifoQueue: !If [IsFifo, true, !Ref AWS::NoValue]
Outputs:
  Target: { Value: !Ref Queue }
";

pub(super) const MAIN: &str = "\
//! The consumer.

mod handlers;

/// Returns the handlers by event type.
fn registered() -> ConsumerBuilder {
    Consumer::builder()
}
";

/// Returns the files of the project.
pub(super) fn project() -> Files {
    let files = [
        ("functions/ingress/openapi.yaml", CONTRACT),
        ("functions/consumer/src/main.rs", MAIN),
        ("functions/consumer/src/handlers.rs", "//! The handlers, one file each.\n"),
        ("infra/queue.yaml", QUEUE),
        ("samconfig.toml", "[default.deploy.parameters]\nstack_name = \"a-project-with-a-long-name\"\n"),
        ("template.yaml", TEMPLATE),
    ];
    files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}
