//! Tests of routes: every scheme, both brokers, FIFO, and every layout of the files.

use sluicegate_contract::Contract;

use super::{Files, Project, changed_lines, check_there_and_back, files, with};

const CONTRACT: &str = "functions/ingress/openapi.yaml";
const TEMPLATE: &str = "template.yaml";

/// What the declaration of a template's first queue names: parts of the shipped template.
const NAMED: &str = "  IngressRole: { Type: AWS::IAM::Role }
  ConsumerRole: { Type: AWS::IAM::Role }
  AlarmTopic: { Type: AWS::SNS::Topic }
  ConsumerFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties: { CodeUri: functions/consumer, Runtime: provided.al2023, Handler: bootstrap, AutoPublishAlias: live }

";

/// The parameters and conditions of [`NAMED`].
const NAMED_PARAMETERS: &str = "\
Mappings: { VisibilityTimeout: { '30': { Seconds: 180 } } }
Conditions:
  Monitors: !Equals [a, a]
  IsGivenAlarmTopic: !Equals [!Ref AlarmTopicArn, a]
  UsesRabbitmq: !Equals [a, b]
  UsesMsk: !Equals [a, b]
Parameters:
  ConsumerTimeout: { Type: Number, Default: 30 }
  ConsumerConcurrency: { Type: Number, Default: 10 }
  AlarmTopicArn: { Type: String, Default: '' }
  Broker: { Type: String, Default: sqs }
  RabbitmqEngineVersion: { Type: String, Default: '4.2' }
  KafkaClusterArn: { Type: String, Default: '' }
  KafkaBootstrapServers: { Type: String, Default: '' }
  KafkaSaslMechanism: { Type: String, Default: '' }
  KafkaSecretArn: { Type: String, Default: '' }
  KafkaSubnetIds: { Type: String, Default: '' }
  KafkaSecurityGroupId: { Type: String, Default: '' }
  KafkaPartitions: { Type: Number, Default: 0 }
";

#[test]
fn a_route_on_a_new_queue_is_written_into_three_files() {
    let changed = check_there_and_back(
        &files::project(),
        &["add route 'POST /invoices/{customer}' --type invoice.submitted --queue invoices --scope invoices.write"],
        &["remove route 'POST /invoices/{customer}'"],
    );
    assert_eq!(
        changed,
        "\
functions/ingress/openapi.yaml
+  - name: invoices
+  /invoices/{customer}:
+    post:
+      operationId: postInvoicesByCustomer
+      tags: [invoices]
+      summary: Accept invoice.submitted
+      security:
+        - key: [invoices.write]
+      parameters:
+        - name: customer
+          in: path
+          required: true
+          schema:
+            type: string
+            pattern: ^[ -~]+$
+            maxLength: 64
+        - $ref: '#/components/parameters/IdempotencyKey'
+      requestBody:
+        required: true
+        content:
+          application/json:
+            schema:
+              $ref: '#/components/schemas/InvoiceSubmitted'
+      responses:
+        '202':
+          $ref: '#/components/responses/Accepted'
+        '403':
+          $ref: '#/components/responses/Forbidden'
+        '503':
+          $ref: '#/components/responses/Unavailable'
+      x-sluicegate:
+        queue: invoices
+        type: invoice.submitted
+        idempotency:
+          key: '{header.idempotency-key}'
+          required: true
+
+    InvoiceSubmitted:
+      type: object
+      description: The payload of invoice.submitted.
+      required: [id]
+      additionalProperties: false
+      properties:
+        id:
+          type: string
+          description: Names what the message is about, in printable ASCII characters.
+          pattern: '^[ -~]+$'
+          maxLength: 64
+
+  parameters:
+    IdempotencyKey:
+      name: Idempotency-Key
+      in: header
+      required: true
+      description: |
+        A name of your choosing for this request, such as a UUID: 1 to 255 printable ASCII characters without space, comma
+        and double quote. Repeat the request, byte for byte, with the same key until it is accepted. Use a new key for
+        another request.
+      schema:
+        type: string
+        pattern: '^[!#-+\\--~]+$'
+        maxLength: 255
+      example: 8e03978e-40d5-43dd-bc93-6894a57f9324
template.yaml
+          QUEUE_INVOICES: !GetAtt InvoicesQueue.Outputs.Target
+        PostInvoicesByCustomer:
+          Type: HttpApi
+          Properties: { ApiId: !Ref Api, Method: POST, Path: '/invoices/{customer}' }
+  InvoicesQueue:
+    Type: AWS::CloudFormation::Stack
+    Properties:
+      TemplateURL: infra/queue.yaml
+      Parameters:
+        <<: *queue
+        Name: invoices
+
"
    );
}

/// The route of each scheme comes and goes, and the contract has no warning about it.
#[test]
fn every_scheme_writes_what_it_needs() {
    let jwt = "Type: AWS::Serverless::HttpApi\n    Properties:\n      Auth: { Authorizers: { Jwt: { JwtConfiguration: {} } } }\n";
    let project = with(files::project(), TEMPLATE, "Type: AWS::Serverless::HttpApi\n", jwt);
    for (flags, parts) in [
        ("", &["- key: []", "parameters/IdempotencyKey", "required: true"][..]),
        ("--scope a.b --scope c.d", &["- key: [a.b, c.d]", "responses/Forbidden"]),
        (
            "--auth github",
            &["- github: []", "x-signature: github", "{header.x-github-delivery}", "payloadBytes: 1000000"],
        ),
        (
            "--auth standard-webhooks",
            &["- standardWebhooks: []", "x-signature: standard-webhooks", "{header.webhook-id}", "fingerprint: none"],
        ),
        ("--auth twilio", &["- twilio: []", "x-signature: twilio", "application/x-www-form-urlencoded: {}"]),
        ("--auth basic", &["- basic: []", "scheme: basic", "x-secret: api-keys"]),
        ("--auth bearer --scope a.b", &["- accessToken: [a.b]", "x-jwt:", "replace-this", "responses/Forbidden"]),
        ("--auth none", &["security: []", "properties:"]),
        (
            "--auth jwt --scope a.b",
            &["security: []", "Auth: { Authorizer: Jwt, AuthorizationScopes: [a.b] }", "parameters/IdempotencyKey"],
        ),
        ("--fifo", &["group: '{body#/id}'", "Fifo: 'true'"]),
        ("--auth github --fifo", &["Fifo: 'true'"]),
        (
            "--operation-id take-it --summary 'Take it: now'",
            &["operationId: take-it", "summary: 'Take it: now'", "TakeIt:"],
        ),
    ] {
        let add = format!("add route 'POST /in' --type a.thing --queue invoices {flags}");
        let changed = check_there_and_back(&project, &[&add], &["remove route 'POST /in'"]);
        for part in parts {
            assert!(changed.contains(part), "{flags}: no {part:?} in\n{changed}");
        }
        let after = Project::new(&project);
        after.succeed(&add);
        let (_, warnings) = Contract::parse_with_warnings("c", &after.files()[CONTRACT]).expect("a contract");
        assert_eq!(warnings, [], "{flags}");
    }
}

#[test]
fn a_group_is_a_required_text_of_the_payload_or_a_parameter_of_the_path() {
    for (route, group) in [
        ("'POST /in' --type order.placed", ""),
        ("'POST /in' --type order", "+        group: '{body#/sku}'"),
        ("'DELETE /in/{key}' --type order.gone", "+        group: '{path.key}'"),
        ("'DELETE /in' --type order.gone", "note"),
        ("'POST /in' --auth standard-webhooks --type order.hook", "note"),
    ] {
        let files = files::project();
        let project = Project::new(&files);
        let said = project.succeed(&format!("add route {route} --queue jobs"));
        let changed = changed_lines(&files, &project.files());
        match group {
            "note" => assert!(said.contains("has no ordering group") && !changed.contains("group:"), "{said}"),
            group => assert!(changed.contains(group) && !said.contains("has no ordering group"), "{changed}"),
        }
    }
}

#[test]
fn the_next_step_is_the_handler_unless_it_is_there() {
    let project = Project::new(&files::project());
    for (event_type, next) in [
        ("a.thing", "next: `sluicegate add handler 'a.thing'`"),
        ("github.{header.x-github-event}", "next: `sluicegate add handler 'github.*'`"),
    ] {
        let add = format!("add route 'POST /in' --type {event_type} --queue orders --auth github");
        assert!(project.succeed(&add).contains(next), "{event_type}");
        project.succeed(&format!("add handler {}", event_type.replace("{header.x-github-event}", "*")));
        assert!(!project.succeed(&add).contains("next"), "{event_type}");
        project.succeed("remove route 'POST /in'");
    }
}

#[test]
fn a_route_on_an_existing_queue_leaves_the_queue_alone() {
    let changed = check_there_and_back(
        &files::project(),
        &["add route 'PUT /orders' --type order.changed --queue orders --auth none"],
        &["remove route 'PUT /orders'"],
    );
    assert!(changed.contains("+    put:\n") && !changed.contains("/orders:"), "{changed}");
    assert!(!changed.contains("QUEUE_"), "{changed}");
}

/// Several routes on one queue: it goes with the last.
#[test]
fn routes_share_a_queue_and_a_scheme() {
    let add = "--type push --queue hooks --auth github";
    let changed = check_there_and_back(
        &files::project(),
        &[&format!("add route 'POST /a' {add}"), &format!("add route 'POST /b' {add}")],
        &["remove route 'POST /b'", "remove route 'POST /a'"],
    );
    for once in ["+  HooksQueue:", "+    github:", "+    Push:", "+          QUEUE_HOOKS:"] {
        assert_eq!(changed.matches(once).count(), 1, "{once} in\n{changed}");
    }
}

/// Layouts that an edit must respect: in each, a route comes and goes to the byte.
#[test]
fn every_layout_stays_as_it_is() {
    let project = files::project;
    let windows: Files = project().into_iter().map(|(path, text)| (path, text.replace('\n', "\r\n"))).collect();
    let contract = |text: &str| {
        let mut files = project();
        files.insert(CONTRACT.to_owned(), text.to_owned());
        files
    };
    let no_blanks = files::CONTRACT.replace("\n\n", "\n");
    let deep = files::CONTRACT.replace("  /orders:\n    post:\n", "  /first:\n    x-none: 1\n  /orders:\n    post:\n");
    let unfinished = files::TEMPLATE.trim_end();
    let alone = with(project(), TEMPLATE, files::TEMPLATE, unfinished);
    let no_anchor = with(
        with(project(), TEMPLATE, "Parameters: &queue\n", "Parameters:\n"),
        TEMPLATE,
        "        <<: *queue\n",
        "        Concurrency: 3 # three\n        # a comment\n",
    );
    let (start, end) = files::TEMPLATE.split_once("  OrdersQueue:").expect("queues");
    let (_, end) = end.split_once("  # ---- the rest").expect("the rest");
    let no_queues = start.replace("          QUEUE_ORDERS: !GetAtt OrdersQueue.Outputs.Target\n", "")
        + NAMED
        + "  # ---- the rest"
        + end;
    let no_queues = no_queues.replace("Parameters:\n", NAMED_PARAMETERS);
    let no_queues = with(project(), TEMPLATE, files::TEMPLATE, &no_queues);
    for (what, files) in [
        ("Windows line ends", windows),
        ("no blank lines", contract(&no_blanks)),
        ("blank lines nowhere between paths", contract(&deep)),
        ("no tags", with(project(), CONTRACT, "tags:\n  - name: orders\n    description: Orders.\n", "")),
        ("a tag without a description", with(project(), CONTRACT, "    description: Orders.\n", "")),
        (
            "no schemas in lines",
            contract(&files::CONTRACT.replace("  responses:\n    Acc", "  headers: {}\n  responses:\n    Acc")),
        ),
        ("no line break at the end", alone),
        ("queues without an anchor", no_anchor),
        ("no queues", no_queues),
        ("variables without a queue", with(project(), TEMPLATE, "          SIZE: !Ref Size\n", "")),
        ("an anchored FIFO queue", with(project(), TEMPLATE, "Name: orders\n", "Name: orders\n        Fifo: true\n")),
    ] {
        for flags in ["", "--fifo --auth github"] {
            let add = format!("add route 'POST /in' --type a.thing --queue invoices {flags}");
            let changed = check_there_and_back(&files, &[&add], &["remove route 'POST /in'"]);
            assert!(changed.contains("+  InvoicesQueue:"), "{what}:\n{changed}");
            let only_adds = !changed.contains("\n-") || what == "no line break at the end";
            assert!(only_adds, "{what}:\n{changed}");
        }
    }
}

/// The handler goes after its route as well as before it.
#[test]
fn a_route_and_its_handler_go_in_either_order() {
    let there = ["add route 'POST /in' --type a.thing --queue invoices", "add handler a.thing"];
    check_there_and_back(&files::project(), &there, &["remove handler a.thing", "remove route 'POST /in'"]);
    check_there_and_back(&files::project(), &there, &["remove route 'POST /in'", "remove handler a.thing"]);
}

#[test]
fn a_removed_route_leaves_what_was_edited() {
    let project = Project::new(&files::project());
    project.succeed("add route 'POST /in' --type a.thing --queue invoices");
    let edit = |path: &str, from: &str, to: &str| {
        let text = with(project.files(), path, from, to).remove(path).expect("the file");
        std::fs::write(project.0.path().join(path), text).expect("written");
    };
    edit(CONTRACT, "        id:\n", "        name: { type: string }\n        id:\n");
    edit(TEMPLATE, "        Name: invoices\n", "        Name: invoices\n        Concurrency: 5\n");
    let said = project.succeed("remove route 'POST /in' --dry-run");
    assert!(said.contains("-  /in:"), "{said}");
    let before = project.files();
    let said = project.succeed("remove route 'POST /in'");
    assert!(said.contains("components/schemas/AThing in functions/ingress/openapi.yaml is not used"), "{said}");
    assert!(said.contains("the queue invoices has no route now and stays"), "{said}");
    let after = project.files();
    assert!(after[CONTRACT].contains("AThing:") && after[TEMPLATE].contains("InvoicesQueue:"));
    project.succeed("remove queue invoices");
    assert_eq!(project.files()[TEMPLATE], files::TEMPLATE);
    // With --force everything goes.
    let forced = Project::new(&before);
    forced.succeed("remove route 'POST /in' --force");
    assert_eq!(changed_lines(&files::project(), &forced.files()), "");
    let kept = Project::new(&files::project());
    kept.succeed("add route 'POST /in' --type a.thing --queue invoices");
    kept.succeed("remove route 'POST /in' --keep-queue");
    assert!(kept.files()[TEMPLATE].contains("InvoicesQueue:"));
}

#[test]
fn a_dry_run_prints_a_diff_and_writes_nothing() {
    let files = files::project();
    let project = Project::new(&files);
    let said = project.succeed("add route 'POST /in' --type a.thing --queue invoices --dry-run");
    assert_eq!(project.files(), files);
    for part in [
        "--- a/functions/ingress/openapi.yaml\n+++ b/functions/ingress/openapi.yaml\n@@ -4,6 +4,7 @@\n",
        "--- a/template.yaml\n+++ b/template.yaml\n",
        "\n           QUEUE_ORDERS: !GetAtt OrdersQueue.Outputs.Target\n+          QUEUE_INVOICES: ",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let said = project.succeed("add handler a.thing --dry-run");
    assert!(said.contains("--- /dev/null\n+++ b/functions/consumer/src/handlers/a_thing.rs\n"), "{said}");
    assert_eq!(project.files(), files);
}
