//! Nested templates: their parameters, outputs and resources, and the faults between the two files.

use std::collections::BTreeMap;

use crate::{Notice, Settings, StackPlan};

/// A queue with its dead-letter queue and its mapping.
const QUEUE: &str = "
Parameters:
  Name: { Type: String, AllowedPattern: '[a-z]+' }
  Fifo: { Type: String, Default: 'false', AllowedValues: ['true', 'false'] }
  Consumer: { Type: String }
  Seconds: { Type: Number, Default: 60, MinValue: 1 }
  Rabbitmq: { Type: CommaDelimitedList, Default: ',' }
  AlarmTopicArn: { Type: String, Default: '' }
Mappings: { Suffix: { 'true': { Text: .fifo }, 'false': { Text: '' } } }
Conditions:
  OnSqs: !Equals [!Select [0, !Ref Rabbitmq], '']
  OnRabbitmq: !Not [!Condition OnSqs]
  IsFifo: !Equals [!Ref Fifo, 'true']
  HasAlarm: !Not [!Equals [!Ref AlarmTopicArn, '']]
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Condition: OnSqs
    Properties:
      QueueName: !Sub ['${Name}${Suffix}', { Suffix: !FindInMap [Suffix, !Ref Fifo, Text] }]
      FifoQueue: !If [IsFifo, true, !Ref AWS::NoValue]
      VisibilityTimeout: !Ref Seconds
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3 }
  Dead:
    Type: AWS::SQS::Queue
    Condition: OnSqs
    Properties: { FifoQueue: !If [IsFifo, true, !Ref AWS::NoValue] }
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Condition: OnSqs
    Properties:
      FunctionName: !Ref Consumer
      EventSourceArn: !GetAtt Queue.Arn
      BatchSize: 5
      FunctionResponseTypes: [ReportBatchItemFailures]
      ScalingConfig: { MaximumConcurrency: 7 }
      MetricsConfig: { Metrics: [EventCount] }
  MqMapping:
    Type: AWS::Lambda::EventSourceMapping
    Condition: OnRabbitmq
    Properties:
      FunctionName: !Ref Consumer
      EventSourceArn: !Select [0, !Ref Rabbitmq]
      Queues: [!Ref Name]
      SourceAccessConfigurations: [{ Type: BASIC_AUTH, URI: !Select [1, !Ref Rabbitmq] }]
  Alarm: { Type: AWS::CloudWatch::Alarm, Condition: HasAlarm }
Outputs:
  Target: { Value: !If [OnSqs, !Ref Queue, !Sub 'rabbitmq:${Name}/{type}'] }
  DeadUrl: { Condition: OnSqs, Value: !Ref Dead }
  Alarm: { Condition: HasAlarm, Value: !Ref Alarm }
";
/// A stack without a resource that is run.
const BROKER: &str = "
Parameters: { Size: { Type: String, Default: small, AllowedValues: [small, large] } }
Rules: {}
Resources:
  Broker: { Type: AWS::AmazonMQ::Broker }
  Secret: { Type: AWS::SecretsManager::Secret }
  Network: { Type: AWS::EC2::VPC }
Outputs:
  Queue: { Value: !Sub '${Broker.Arn},${Secret}' }
  Url: { Value: !Select [0, !GetAtt Broker.AmqpEndpoints] }
  Size: { Value: !Ref Size }
";

fn parent(resources: &str, value: &str) -> String {
    format!(
        "
Parameters: {{ Broker: {{ Type: String, Default: sqs }} }}
Conditions: {{ OnRabbitmq: !Equals [!Ref Broker, rabbitmq] }}
Resources:
  F:
    Type: AWS::Serverless::Function
    Metadata: {{ BuildMethod: rust-cargolambda, BuildProperties: {{ Binary: f }} }}
    Properties:
      Runtime: provided.al2023
      AutoPublishAlias: live
      Timeout: 10
      Environment: {{ Variables: {{ V: {value} }} }}
  Topic: {{ Type: AWS::SNS::Topic }}
{resources}"
    )
}

/// Returns a nested stack with these parameters.
fn stack(id: &str, url: &str, parameters: &str) -> String {
    format!(
        "  {id}: {{ Type: AWS::CloudFormation::Stack, Properties: {{ TemplateURL: {url}, Parameters: {{ {parameters} }} }} }}\n"
    )
}

fn queue(id: &str, parameters: &str) -> String {
    stack(id, "infra/queue.yaml", &format!("Consumer: !Ref F.Alias, {parameters}"))
}

fn read(files: &[(&str, &str)], parameters: &[(&str, &str)]) -> Result<StackPlan, String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in [("infra/queue.yaml", QUEUE), ("infra/broker.yaml", BROKER)].iter().chain(files) {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let settings =
        Settings { parameters: super::map(parameters), queue_url_base: "http://h".to_owned(), ..Settings::default() };
    let file = folder.path().join("t.yaml").display().to_string();
    let text = files.iter().find(|(file, _)| *file == "t.yaml").expect("a template").1;
    let base = format!("{}/", folder.path().display());
    StackPlan::read(&file, text, &settings).map_err(|faults| faults.to_string().replace(&base, ""))
}

fn notices(plan: &StackPlan) -> Vec<String> {
    let shown = plan.notices.iter().filter(|notice| !notice.to_string().contains("AWS::SNS::Topic")).map(|notice| {
        let shown = notice.to_string();
        match notice {
            Notice::NotRun { .. } => shown.split_once(": ").map_or(shown.clone(), |(_, rest)| rest.to_owned()),
            _ => shown,
        }
    });
    shown.collect()
}

#[test]
fn a_nested_queue_is_part_of_the_plan() {
    let alarm = "AlarmTopicArn: !Ref Topic";
    let template = parent(
        &(queue("Orders", &format!("Name: orders, Fifo: true, {alarm}")) + &queue("Jobs", "Name: jobs, Seconds: '90'")),
        "!Join [' ', [!GetAtt Orders.Outputs.Target, !Sub '${Jobs.Outputs.DeadUrl}']]",
    );
    let plan = read(&[("t.yaml", &template)], &[]).unwrap_or_else(|faults| panic!("{faults}"));
    let queues = plan.queues.iter().map(|queue| {
        format!("{} {} {} {}", queue.logical_id, queue.name, queue.visibility_s, queue.redrive_attributes.len())
    });
    let expected = [
        "Jobs/Dead Jobs-Dead 30 0",
        "Jobs/Queue jobs 90 1",
        "Orders/Dead Orders-Dead.fifo 30 0",
        "Orders/Queue orders.fifo 60 1",
    ];
    assert_eq!(queues.collect::<Vec<_>>(), expected);
    assert!(plan.queues[3].redrive_attributes["RedrivePolicy"].contains("Orders-Dead.fifo"));
    let account = "http://h/000000000000";
    assert_eq!(plan.functions[0].environment["V"], format!("{account}/orders.fifo {account}/Jobs-Dead"));
    let mappings = plan.mappings.iter().map(|it| {
        assert!(it.report_batch_item_failures && it.maximum_concurrency == Some(7) && it.batch_size == 5, "{it:?}");
        (it.function.as_str(), it.queue.as_str())
    });
    assert_eq!(mappings.collect::<Vec<_>>(), [("F", "jobs"), ("F", "orders.fifo")]);
    assert_eq!(notices(&plan), ["Orders/Alarm: AWS::CloudWatch::Alarm is not run locally"]);
}

#[test]
fn a_nested_queue_on_rabbitmq_takes_values_of_a_stack_that_is_not_run() {
    let rabbitmq = "Rabbitmq: !If [OnRabbitmq, !GetAtt Broker.Outputs.Queue, !Ref AWS::NoValue]";
    // The broker's stack comes after the queue that refers to it.
    let resources = queue("A", &format!("Name: orders, {rabbitmq}"))
        + &stack("Broker", "./infra/../infra/broker.yaml", "Size: large");
    let value = "!Sub '${A.Outputs.Target} ${Broker.Outputs.Size} ${Broker.Outputs.Url}'";
    let template = parent(&resources, value);
    let plan = read(&[("t.yaml", &template)], &[("Broker", "rabbitmq")]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!((plan.queues.len(), plan.mappings.len(), plan.secrets.len()), (0, 0, 0));
    assert_eq!((plan.mq_mappings[0].function.as_str(), plan.mq_mappings[0].queue.as_str()), ("F", "orders"));
    let expected = "rabbitmq:orders/{type} large Broker/Url-is-not-known-locally";
    assert_eq!(plan.functions[0].environment["V"], expected);
    let notices = notices(&plan);
    assert_eq!(notices[0], "Broker: AWS::CloudFormation::Stack is not run locally");
    assert!(notices.len() == 2 && notices[1].contains("the value of V is known in the cloud only"), "{notices:?}");
}

#[test]
fn values_pass_between_nested_stacks_in_the_order_they_are_needed() {
    let pass = "Parameters: { In: { Type: CommaDelimitedList } }\nResources: { H: { Type: AWS::Serverless::HttpApi } }\n\
                Outputs: { Out: { Value: !Join ['+', !Ref In] }, Name: { Value: !Ref AWS::StackName } }";
    let resources = [
        stack("A", "pass.yaml", "In: [!GetAtt B.Outputs.Out, a]"),
        stack("B", "pass.yaml", "In: !Split ['-', !GetAtt Q.QueueName]"),
        stack("C", "pass.yaml", "In: c"),
        "  Q: { Type: AWS::SQS::Queue, Properties: { QueueName: !Sub 'q-${C.Outputs.Name}' } }\n".to_owned(),
    ];
    let template = parent(&resources.concat(), "!GetAtt A.Outputs.Out");
    let plan = read(&[("t.yaml", &template), ("pass.yaml", pass)], &[]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(plan.functions[0].environment["V"], "q+sluicegate+C+a");
}

#[test]
fn an_application_in_a_folder_is_run_and_one_of_the_serverless_repository_is_not() {
    let nested = "Globals: { Function: { Runtime: provided.al2023 } }\nResources: { G: { Type: AWS::Serverless::Function, \
                  Metadata: { BuildMethod: rust-cargolambda }, Properties: { CodeUri: code } } }\n\
                  Outputs: { Name: { Value: !Ref G } }";
    let resources = "  Remote: { Type: AWS::Serverless::Application, Properties: { Location: { ApplicationId: a } } }\n  \
                     Stored: { Type: AWS::CloudFormation::Stack, Properties: { TemplateURL: 'https://s3/t.yaml' } }\n  \
                     App: { Type: AWS::Serverless::Application, Properties: { Location: app/t.yaml } }\n";
    let template = parent(resources, "!Sub '${App.Outputs.Name}'");
    let plan = read(&[("t.yaml", &template), ("app/t.yaml", nested)], &[]).unwrap_or_else(|faults| panic!("{faults}"));
    let function = &plan.functions[1];
    assert_eq!(
        (function.logical_id.as_str(), function.name.as_str(), function.code_uri.as_str()),
        ("App/G", "App-G", "app/code")
    );
    assert_eq!(plan.functions[0].environment["V"], "App-G");
    let expected = ["Remote: AWS::Serverless::Application", "Stored: AWS::CloudFormation::Stack"];
    assert_eq!(notices(&plan), expected.map(|what| format!("{what} is not run locally")));
}

#[test]
fn faults_of_nested_stacks_name_the_file_and_line() {
    let check = |files: &[(&str, &str)], resources: &str, value: &str, expected: &[&str]| {
        let template = parent(resources, value);
        let files: Vec<_> = files.iter().copied().chain([("t.yaml", template.as_str())]).collect();
        let faults = read(&files, &[]).expect_err(expected[0]);
        assert_eq!(faults.lines().collect::<Vec<_>>(), expected, "{resources}");
    };
    let orders = |more: &str| queue("Orders", &format!("Name: orders, {more}"));
    let at = "t.yaml:14: /Resources/Orders/Properties";
    for (parameters, name, reason) in [
        ("Name: orders, Fifo: maybe", "Fifo", "is maybe, and AllowedValues are true, false (infra/queue.yaml:4)"),
        ("Name: Orders", "Name", "is Orders, which does not match AllowedPattern [a-z]+ (infra/queue.yaml:3)"),
        ("Name: orders, Seconds: 0", "Seconds", "has 0, and at least 1 are needed (infra/queue.yaml:6)"),
        ("Name: orders, Other: 1", "Other", "infra/queue.yaml has no parameter `Other`"),
        ("", "Name", "`Name` is missing, which has no default in infra/queue.yaml"),
        (
            "Name: orders, AlarmTopicArn: !Ref Nothing",
            "AlarmTopicArn",
            "`Nothing` is neither a parameter nor a resource of this template",
        ),
    ] {
        check(&[], &queue("Orders", parameters), "x", &[&format!("{at}/Parameters/{name}: {reason}")]);
    }
    let shorter = "the visibility timeout of 9 s is shorter than the 10 s F may run; Lambda refuses that";
    let expected = format!("infra/queue.yaml:22: /Resources/Queue/Properties/VisibilityTimeout: {shorter}");
    check(&[], &orders("Seconds: 9"), "x", &[&expected]);
    let v = "t.yaml:12: /Resources/F/Properties/Environment/Variables/V";
    for output in ["Nope", "Alarm"] {
        let expected = format!("{v}: the stack `Orders` has no output `{output}`");
        check(&[], &orders(""), &format!("!GetAtt Orders.Outputs.{output}"), &[&expected]);
    }
    let twice = "infra/queue.yaml:20: /Resources/Queue/Properties/QueueName: `orders` is also the name of Orders/Queue";
    check(&[], &(orders("") + &queue("Twice", "Name: orders")), "x", &[twice]);
    // The same fault in each of two stacks is one.
    let broken = QUEUE.replace("BatchSize: 5", "BatchSize: 0");
    let size = "infra/queue.yaml:34: /Resources/Mapping/Properties/BatchSize: must be a whole number from 1 to 10000";
    check(&[("infra/queue.yaml", &broken)], &(orders("") + &queue("Jobs", "Name: jobs")), "x", &[size]);
    let broken = QUEUE.replace("!Ref Dead }", "!GetAtt Dead.Nope }");
    let unknown = "infra/queue.yaml:49: /Outputs/DeadUrl/Value: `Dead.Nope` is not known locally";
    check(&[("infra/queue.yaml", &broken)], &orders(""), "x", &[unknown]);
    let not_yaml = "infra/queue.yaml:2: #: not YAML: while parsing a node, did not find expected node content";
    let expected = [not_yaml, &format!("{at}/TemplateURL: infra/queue.yaml is not a template")];
    check(&[("infra/queue.yaml", "a: [")], &orders(""), "x", &expected);
    let empty = "infra/queue.yaml:1: #: has no Resources";
    check(&[("infra/queue.yaml", "Things: {}")], &stack("Orders", "infra/queue.yaml", ""), "x", &[empty]);

    let missing = format!("{at}/TemplateURL: cannot read infra/none.yaml: No such file or directory (os error 2)");
    check(&[], &stack("Orders", "infra/none.yaml", ""), "x", &[&missing]);
    for path in ["../t.yaml", "infra/../../t.yaml", "/etc/hostname"] {
        let reason = format!("{at}/TemplateURL: {path} is outside of the template's folder");
        check(&[], &stack("Orders", path, ""), "x", &[&reason]);
    }

    let pass = (
        "pass.yaml",
        "Parameters: { In: { Type: String } }\nResources: { H: { Type: AWS::Serverless::HttpApi } }\nOutputs: { Out: { Value: !Ref In } }",
    );
    let circle =
        stack("A", "pass.yaml", "In: !GetAtt B.Outputs.Out") + &stack("B", "pass.yaml", "In: !Sub '${A.Outputs.Out}'");
    check(&[pass], &circle, "x", &["t.yaml:14: /Resources/A: refers to itself: A -> B -> A"]);
    let own = "Resources: { Me: { Type: AWS::CloudFormation::Stack, Properties: { TemplateURL: me.yaml } }, Too: { Type: AWS::CloudFormation::Stack, Properties: { TemplateURL: me.yaml } } }";
    let own =
        read(&[("t.yaml", &parent(&stack("A", "me.yaml", ""), "x")), ("me.yaml", own)], &[]).expect_err("bounded");
    assert!(
        own.contains("me.yaml:1: /Resources/Me/Properties/TemplateURL: at most 500 stacks, nested 8 deep, are read"),
        "{own}"
    );
}

#[test]
fn real_names_of_nested_queues_reach_the_parent() {
    let template = parent(&queue("Orders", "Name: orders"), "!GetAtt Orders.Outputs.Target");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("infra")).expect("a folder");
    std::fs::write(folder.path().join("infra/queue.yaml"), QUEUE).expect("written");
    let real = crate::ResolvedResource::new(
        "http://real/orders".to_owned(),
        [("Arn", "arn:aws:sqs:eu-west-1:1:orders".to_owned()), ("QueueName", "orders".to_owned())],
    );
    let physical = BTreeMap::from([("Orders/Queue".to_owned(), real)]);
    let settings = Settings { physical, ..Settings::default() };
    let plan =
        StackPlan::read(&folder.path().join("t.yaml").display().to_string(), &template, &settings).expect("a plan");
    assert_eq!(plan.functions[0].environment["V"], "http://real/orders");
    assert_eq!(plan.mappings[0].queue, "orders");
}
