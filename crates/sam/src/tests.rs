//! Tests of the plan: resolved values, and faults with their place and reason.

mod nested;
mod seed;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    KafkaMappingPlan, Notice, OnFailure, Props, Reason, Resolver, Setting, Settings, StackPlan, StartingPosition,
    TemplateDocument,
};

/// Returns a template whose function has one variable `V` with this value.
fn with_variable(value: &str) -> String {
    format!(
        "
Parameters:
  Stage: {{ Type: String, Default: dev, AllowedValues: [dev, prod] }}
  Ports: {{ Type: CommaDelimitedList, Default: '80,443' }}
Mappings:
  Sizes: {{ dev: {{ memory: 128 }} }}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsDev: !Not [!Condition IsProd]
  Both: !And [!Condition IsDev, !Condition IsProd]
  Either: !Or [!Condition IsDev, !Condition IsProd]
Resources:
  Q: {{ Type: AWS::SQS::Queue, Properties: {{ QueueName: q }} }}
  Topic: {{ Type: AWS::SNS::Topic }}
  F:
    Type: AWS::Serverless::Function
    Metadata: {{ BuildMethod: rust-cargolambda, BuildProperties: {{ Binary: f }} }}
    Properties:
      Runtime: provided.al2023
      Environment:
        Variables:
          V: {value}
      AutoPublishAlias: live
"
    )
}

/// Returns that template with lines before the function's `Environment`.
fn with_function(lines: &str) -> String {
    with_variable("x").replace("      Environment:", &format!("{lines}      Environment:"))
}

/// Returns that template with an event of the function.
fn with_event(event: &str) -> String {
    with_function(&format!("      Events: {{ E: {event} }}\n"))
}

fn settings() -> Settings {
    Settings { queue_url_base: "http://127.0.0.1:4566".to_owned(), ..Settings::default() }
}

fn plan(template: &str) -> StackPlan {
    StackPlan::read("t.yaml", template, &settings()).unwrap_or_else(|faults| panic!("{faults}\n{template}"))
}

fn notices(plan: &StackPlan) -> Vec<String> {
    plan.notices.iter().map(Notice::to_string).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn values_resolve_as_in_cloudformation() {
    let check = |value: &str, expected: &str| match StackPlan::read("t.yaml", &with_variable(value), &settings()) {
        Ok(plan) => assert_eq!(plan.functions[0].environment["V"], expected, "{value}"),
        Err(faults) => assert_eq!(faults.to_string(), format!("t.yaml:22: {expected}"), "{value}"),
    };
    let v = "/Resources/F/Properties/Environment/Variables/V";
    check("plain", "plain");
    check("5", "5");
    check("true", "true");
    check("'007'", "007");
    check("007", "007");
    check("!Ref Stage", "dev");
    check("{ Ref: Stage }", "dev");
    check("!Ref Q", "http://127.0.0.1:4566/000000000000/q");
    check("!GetAtt Q.Arn", "arn:aws:sqs:us-east-1:000000000000:q");
    check("!GetAtt [Q, QueueName]", "q");
    check("!GetAtt F.Arn", "arn:aws:lambda:us-east-1:000000000000:function:F");
    check("!Ref F.Alias", "arn:aws:lambda:us-east-1:000000000000:function:F:live");
    check("!Sub '${F.Version}'", "arn:aws:lambda:us-east-1:000000000000:function:F:1");
    check("!GetAtt F.Version.Version", "1");
    check("!Ref FAliaslive", "arn:aws:lambda:us-east-1:000000000000:function:F:live");
    check("!Sub '${AWS::StackName}/${Q.QueueName}-${Stage} ${!literal}'", "sluicegate/q-dev ${literal}");
    check("!Sub ['${A}${B}', { A: x, B: !Ref Stage }]", "xdev");
    check("!Join ['-', [a, !Ref Stage]]", "a-dev");
    check("!Join ['-', [a, !Ref 'AWS::NoValue', b]]", "a-b");
    check("!Join ['+', !Ref Ports]", "80+443");
    check("!Select [1, !Ref Ports]", "443");
    check("!Select [0, !Split [':', 'a:b']]", "a");
    check("!FindInMap [Sizes, !Ref Stage, memory]", "128");
    check("!If [IsDev, yes, !ImportValue other]", "yes");
    check("!If [Both, yes, no]", "no");
    check("!If [Either, yes, no]", "yes");
    check("!Ref Nothing", &format!("{v}: `Nothing` is neither a parameter nor a resource of this template"));
    check("!Ref Topic", "Topic-is-not-known-locally");
    check("!Sub 'arn:${Topic}'", "arn:Topic-is-not-known-locally");
    check("!Sub '${T}/x'", &format!("{v}: `T` is neither a parameter nor a resource of this template"));
    check("!Select [3, !Split ['/', !GetAtt Topic.Arn]]", "V-is-not-known-locally");
    check("!GetAtt FRole.Arn", "FRole.Arn-is-not-known-locally");
    check("!Sub 'https://${ServerlessHttpApi}.example'", "https://ServerlessHttpApi-is-not-known-locally.example");
    check("'{{resolve:ssm:/name}}'", "{{resolve:ssm:/name}}");
    check("!Sub '{{resolve:ssm:/${Stage}}}'", "{{resolve:ssm:/dev}}");
    check("!GetAtt Q.Nothing", &format!("{v}: `Q.Nothing` is not known locally"));
    check("!GetAtt Topic.Outputs.Url", "Topic.Outputs.Url-is-not-known-locally");
    check("!Sub 'x/${Topic.Outputs.Url}'", "x/Topic.Outputs.Url-is-not-known-locally");
    check("!GetAtt Absent.Arn", &format!("{v}: `Absent.Arn` is not known locally"));
    check("!Sub '${Q.Nothing}'", &format!("{v}: `Q.Nothing` is not known locally"));
    check("!Sub '${Stage'", &format!("{v}: Fn::Sub: `${{` without `}}`"));
    check("!Select [2, !Ref Ports]", &format!("{v}: Fn::Select: no such element"));
    check("!If [Nothing, a, b]", &format!("{v}: no condition `Nothing`"));
    check("!ImportValue other", "V-is-not-known-locally");
    check("!Sub ['${A}', { A: !ImportValue other }]", "V-is-not-known-locally");
    check("!Join [a]", &format!("{v}: Fn::Join takes a list of 2"));
    check("[a]", &format!("{v}: must be a string"));
    check("*alias", "#: not YAML: while parsing node, found unknown anchor");
    check("!If [IsDev, &anchor x, *anchor]", "x");
    check("!If [IsProd, &anchor x, *anchor]", "x");
}

#[test]
fn an_unknown_setting_has_a_reason() {
    let document = TemplateDocument::parse("t.yaml", &with_variable("x")).expect("a template");
    let mut resolver = Resolver::new(Arc::new(document), BTreeMap::new());
    resolver.parameters.insert("Stage".to_owned(), "dev".into());
    resolver.remote.insert("Topic".to_owned());
    let check = |value: Value, expected: Setting<&str>| {
        let settings = resolver.settings(&json!({ "V": value }), "/p").expect("an object");
        assert_eq!(Props(&settings).text("V"), expected.and_then(|text| Some(text.to_owned())), "{value}");
    };
    let stand_in = |text: &str| Setting::Unknown(Reason::StandIn(text.into()));
    let unresolved = |fault: &str, remote: bool| {
        Setting::Unknown(Reason::Unresolved { pointer: "/p/V".to_owned(), fault: fault.to_owned(), remote })
    };
    check(json!("x"), Setting::Known("x"));
    check(json!(7), Setting::Known("7"));
    check(json!({ "Ref": "Stage" }), Setting::Known("dev"));
    check(json!({ "Fn::If": ["IsDev", "x", { "Fn::ImportValue": "x" }] }), Setting::Known("x"));
    check(json!({ "Ref": "AWS::NoValue" }), Setting::Absent);
    check(json!(["x"]), Setting::Unknown(Reason::Form));
    check(json!({ "Ref": "Topic" }), stand_in("Topic-is-not-known-locally"));
    check(json!({ "Fn::Sub": "{{resolve:ssm:/${Stage}}}" }), stand_in("{{resolve:ssm:/dev}}"));
    check(json!({ "Fn::ImportValue": "x" }), unresolved("Fn::ImportValue cannot be resolved locally", true));
    check(json!({ "Fn::If": ["Nothing", "x", "y"] }), unresolved("no condition `Nothing`", false));
    check(json!({ "Ref": "No" }), unresolved("`No` is neither a parameter nor a resource of this template", false));
}

#[test]
fn faults_name_line_path_and_reason() {
    let base = with_variable("x");
    let check = |from: &str, to: &str, expected: &str| {
        let text = base.replacen(from, to, 1);
        assert_ne!(text, base, "{from} is in the template");
        let faults = StackPlan::read("t.yaml", &text, &settings()).expect_err(expected);
        assert!(faults.to_string().contains(expected), "{faults}\nshould say\n{expected}");
    };
    check("Default: dev", "Default: test", "t.yaml:3: /Parameters/Stage: is test, and AllowedValues are dev, prod");
    check(
        "Binary: f",
        "Binary: !Ref Nothing",
        "t.yaml:17: /Resources/F/Metadata/BuildProperties/Binary: `Nothing` is neither",
    );
    check("provided.al2023", "nodejs22.x", "Runtime `nodejs22.x`: only provided.al2023");
    check("rust-cargolambda", "makefile", "t.yaml:15: /Resources/F: needs Metadata: BuildMethod: rust-cargolambda");
    check("Binary: f", "Binary: [f]", "t.yaml:17: /Resources/F/Metadata/BuildProperties/Binary: must be a string");
    check("  Topic: {", "  Topic: {\n} x: {", "t.yaml:15: #: ");
    check(
        "QueueName: q",
        "QueueName: q.fifo",
        "t.yaml:13: /Resources/Q/Properties/QueueName: the name of a FIFO queue",
    );
    let visibility = "t.yaml:13: /Resources/Q/Properties/VisibilityTimeout: ";
    for (value, reason) in [
        ("abc", "must be a whole number from 0 to 43200"),
        ("43201", "must be a whole number from 0 to 43200"),
        ("!Ref Nothing", "`Nothing` is neither a parameter nor a resource"),
        ("!ImportValue other", "Fn::ImportValue cannot be resolved locally"),
    ] {
        check("QueueName: q", &format!("VisibilityTimeout: {value}"), &format!("{visibility}{reason}"));
    }
    check(
        "      Environment:",
        "      Timeout: 901\n      Environment:",
        "Timeout: must be a whole number from 1 to 900",
    );
    check("\nResources:", "\nThings:", "#: has no Resources");
    let with_event = |event: &str| format!("      Events: {{ E: {event} }}\n      Environment:");
    let sqs = |properties: &str| with_event(&format!("{{ Type: SQS, Properties: {{ {properties} }} }}"));
    let environment = "      Environment:";
    check(environment, &sqs("Queue: !Ref Q"), "/Resources/F/Properties/Events/E/Properties/Queue: `http://127.0.0.1");
    check(environment, &sqs("Queue: !GetAtt Q.Arn, BatchSize: 11"), "BatchSize: at most 10");
    check(environment, &sqs("Queue: !GetAtt Q.Arn, ScalingConfig: { MaximumConcurrency: 1 }"), "from 2 to 1000");
    check(environment, &sqs("Queue: !GetAtt Q.Arn, FilterCriteria: { Filters: [{ Pattern: '{' }] }"), "Pattern: EOF");
    let mq = |properties: &str| {
        with_event(&format!("{{ Type: MQ, Properties: {{ Broker: !GetAtt Topic.Outputs.Arn, {properties} }} }}"))
    };
    let secret = "SourceAccessConfigurations: [{ Type: BASIC_AUTH, URI: s }";
    check(environment, &mq("Queues: [a, b]"), "Queues: must list exactly one queue");
    check(environment, &mq("Queues: a"), "Queues: must list exactly one queue");
    check(environment, &mq("Queues: [a]"), "SourceAccessConfigurations: exactly one must be a BASIC_AUTH");
    check(environment, &mq(&format!("Queues: [a], {secret}, {{ Type: BASIC_AUTH, URI: t }}]")), "exactly one");
    check(environment, &mq(&format!("Queues: [a], {secret}, {{ Type: VIRTUAL_HOST }}]")), "each needs Type and URI");
    check(environment, &mq(&format!("Queues: [a], {secret}, {{ Type: VPC_SUBNET, URI: t }}]")), "or VIRTUAL_HOST");
    check(environment, &mq(&format!("Queues: [a], {secret}], BatchSize: 10001")), "from 1 to 10000");
    check(environment, &with_event("{ Type: MQ, Properties: { Queues: [a] } }"), "must be the broker's ARN");
    let slow = format!("      Timeout: 841\n{}", mq(&format!("Queues: [a], {secret}]")));
    check(environment, &slow, "a function with an MQ event has a Timeout of at most 840 s");
    let two =
        ["E", "F"].map(|name| format!("{name}: {{ Type: MQ, Properties: {{ Queues: [a], Broker: b, {secret}] }} }}"));
    let two = format!("      Events: {{ {} }}\n      Environment:", two.join(", "));
    check(environment, &two, "more than one MQ event needs DynamicPolicyName: true");
    let kafka = |properties: &str| with_event(&format!("{{ Type: MSK, Properties: {{ Stream: s, {properties} }} }}"));
    let latest = "Topics: [t], StartingPosition: LATEST";
    check(environment, &kafka("StartingPosition: LATEST"), "Topics: must list exactly one topic");
    check(environment, &kafka("Topics: [a, b], StartingPosition: LATEST"), "Topics: must list exactly one topic");
    check(environment, &kafka("Topics: ['a b']"), "`a b` is not the name of a topic");
    check(environment, &kafka("Topics: [t]"), "StartingPosition: must be TRIM_HORIZON, LATEST or AT_TIMESTAMP");
    check(environment, &kafka("Topics: [t], StartingPosition: AT_TIMESTAMP"), "needs StartingPositionTimestamp");
    check(environment, &kafka(&format!("{latest}, BatchSize: 10001")), "from 1 to 10000");
    check(environment, &kafka(&format!("{latest}, MaximumBatchingWindowInSeconds: 301")), "from 0 to 300");
    check(environment, &kafka(&format!("{latest}, MaximumRetryAttempts: -2")), "from 0 to 10000");
    check(environment, &kafka(&format!("{latest}, MaximumRecordAgeInSeconds: 59")), "from 60 to 604800");
    let itself = "DestinationConfig: { OnFailure: { Destination: 'kafka://t' } }";
    check(environment, &kafka(&format!("{latest}, {itself}")), "the destination is the topic that is read");
    let slow = format!("      Timeout: 31\n{}", sqs("Queue: !GetAtt Q.Arn"));
    check(environment, &slow, "visibility timeout of 30 s is shorter than the 31 s F may run");
    check(environment, &with_event("{ Type: HttpApi, Properties: { Method: GET } }"), "needs Method and a Path");
}

#[test]
fn the_rust_samples_of_serverless_patterns_are_plans() {
    let samples: Vec<&str> = include_str!("samples.yaml").split("\n---\n").collect();
    assert_eq!(samples.len(), 18);
    for sample in samples {
        let expected = sample.lines().filter_map(|line| line.strip_prefix("# ")).rfind(|line| line.contains(": "));
        let plan = plan(sample);
        let stand_ins = plan.notices.iter().filter_map(|notice| match notice {
            Notice::StandIn { variable, .. } => Some(format!(" {variable}")),
            _ => None,
        });
        let (routes, mappings, queues) = (plan.routes.len(), plan.mappings.len(), plan.queues.len());
        let actual = format!("{routes} {mappings} {queues}{}", stand_ins.collect::<String>());
        assert_eq!(expected.and_then(|line| line.split_once(": ")).map(|(_, plan)| plan), Some(actual.as_str()));
        assert_eq!(plan.functions.len(), 1, "{expected:?}");
        assert_eq!(plan.functions[0].binary, None, "{expected:?}: SAM finds the binary");
    }
}

#[test]
fn a_variable_that_only_aws_knows_is_named_once_and_the_shell_wins() {
    let function = |name: &str| {
        format!("  {name}: {{ Type: AWS::Serverless::Function, Metadata: {{ BuildMethod: rust-cargolambda }} }}\n")
    };
    let check = |value: &str, shell: &[(&str, &str)], expected: Option<&str>, notices: &[&str]| {
        let template = format!(
            "Parameters:\n  Given: {{ Type: String }}\n  Stored: {{ Type: 'AWS::SSM::Parameter::Value<String>', Default: /a }}\n\
             Conditions: {{ Yes: !Equals [a, a] }}\n\
             Globals:\n  Function:\n    Runtime: provided.al2023\n    Environment: {value}\n\
             Resources:\n  Table: {{ Type: AWS::SNS::Topic }}\n{}{}",
            function("A"),
            function("B")
        );
        let settings = Settings { environment: map(shell), ..settings() };
        let plan = match StackPlan::read("t.yaml", &template, &settings) {
            Ok(plan) => plan,
            Err(faults) => return assert_eq!(vec![faults.to_string()], notices, "{value}"),
        };
        for function in &plan.functions {
            assert_eq!(function.environment.get("V").map(String::as_str), expected, "{value}");
        }
        let named = plan.notices.iter().filter(|notice| matches!(notice, Notice::StandIn { .. }));
        assert_eq!(named.map(Notice::to_string).collect::<Vec<_>>(), notices, "{value}");
    };
    let warning = |value: &str| {
        format!(
            "t.yaml:11: the value of V is known in the cloud only, so functions see `{value}`: set one in your shell, \
             V=VALUE cargo local"
        )
    };
    let stand_in = "Table-is-not-known-locally";
    let missing = "t.yaml:2: /Parameters/Given: has no default: give --parameter Given=VALUE";
    check("{ Variables: { V: !Ref Table } }", &[], Some(stand_in), &[&warning(stand_in)]);
    check("{ Variables: { V: !Ref Table } }", &[("V", "x")], Some("x"), &[]);
    check("{ Variables: { V: !Ref Nothing } }", &[("V", "x")], Some("x"), &[]);
    check("{ Variables: { V: !Ref Given } }", &[("V", "x")], Some("x"), &[]);
    check("{ Variables: { V: !Ref Given } }", &[], None, &[missing]);
    check(
        "{ Variables: { V: !Ref Stored } }",
        &[],
        Some("Stored-is-not-known-locally"),
        &[&warning("Stored-is-not-known-locally")],
    );
    check(
        "{ Variables: { V: '{{resolve:ssm:/a}}' } }",
        &[],
        Some("{{resolve:ssm:/a}}"),
        &[&warning("{{resolve:ssm:/a}}")],
    );
    check("{ Variables: { V: !Ref AWS::NoValue } }", &[], None, &[]);
    check("{ Variables: !If [Yes, { V: !Ref Table }, { V: b }] }", &[("V", "x")], Some("x"), &[]);
    check("!If [Yes, { Variables: { V: c } }, !Ref AWS::NoValue]", &[], Some("c"), &[]);
    check("!Ref AWS::NoValue", &[], None, &[]);
    check("{}", &[("V", "x")], None, &[]);
}

#[test]
fn yaml_that_pyyaml_accepts_is_read() {
    let base = with_variable("x");
    let check = |from: &str, to: &str, notice: Option<&str>, value: &str| {
        let text = base.replacen(from, to, 1);
        assert_ne!(text, base, "{from} is in the template");
        let plan = plan(&text);
        assert_eq!(
            notices(&plan).first().filter(|first| first.contains("already there")).map(String::as_str),
            notice,
            "{to}"
        );
        assert_eq!(plan.functions[0].environment["V"], value, "{to}");
    };
    let twice = |at: &str| format!("t.yaml:{at}: this key is already there, on line 22: the last value counts");
    let v = "23: /Resources/F/Properties/Environment/Variables/V";
    check("V: x", "V: x\n          V: y", Some(&twice(v)), "y");
    check("V: x", "V: !Join ['',\n[a, b,\n'c',\n]\n]", None, "abc");
    check("V: x", "V: !Join [\n  '', [\n    {\"Ref\": Stage}, '[',\n]]", None, "dev[");
    let many = format!("V: !Join ['', [\n{}]]", "a,\n".repeat(150));
    check("V: x", &many, None, &"a".repeat(150));
    let endless = base.replacen("V: x", &format!("V: !Join ['', [\n{}]]", "a,\n".repeat(300)), 1);
    let faults = StackPlan::read("t.yaml", &endless, &settings()).expect_err("a bounded number of passes");
    assert!(faults.to_string().contains("indent the lines between its braces or brackets"), "{faults}");
}

#[test]
fn a_queue_of_another_stack_is_named_and_not_fetched_from() {
    let check = |queue: &str, expected: Result<&str, &str>| {
        let text = with_event(&format!("{{ Type: SQS, Properties: {{ Queue: {queue} }} }}"));
        match (StackPlan::read("t.yaml", &text, &settings()), expected) {
            (Ok(plan), Ok(expected)) => {
                assert!(plan.mappings.is_empty() && plan.functions.len() == 1, "{queue}");
                assert!(plan.notices.iter().any(|notice| notice.to_string().contains(expected)), "{:?}", plan.notices);
            }
            (Err(faults), Err(expected)) => assert!(faults.to_string().contains(expected), "{faults}"),
            (read, _) => panic!("{queue}: {read:?}"),
        }
    };
    check(
        "'arn:aws:sqs:eu-west-1:1:other'",
        Ok("`arn:aws:sqs:eu-west-1:1:other` is not run locally, so nothing is fetched"),
    );
    check("!GetAtt Topic.Outputs.QueueArn", Ok("`Topic.Outputs.QueueArn-is-not-known-locally` is not run locally"));
    check("!ImportValue queue", Ok("`Queue-is-not-known-locally` is not run locally"));
    check("!Ref Q", Err("is not the ARN of a queue of this template: use !GetAtt Queue.Arn"));
    check("!GetAtt Nothing.Arn", Err("`Nothing.Arn` is not known locally"));
}

#[test]
fn no_reserved_concurrency_is_not_a_reserved_concurrency_of_0() {
    for (property, expected) in [
        ("", None),
        ("      ReservedConcurrentExecutions: 0\n", Some(0)),
        ("      ReservedConcurrentExecutions: '5'\n", Some(5)),
    ] {
        let plan = plan(&with_function(property));
        assert_eq!(plan.functions[0].reserved_concurrency, expected, "{property}");
    }
}

#[test]
fn parameters_and_the_callers_environment_override_the_template() {
    let template = with_variable("!Ref Stage");
    let check = |parameters: &[(&str, &str)], environment: &[(&str, &str)], expected: &str| {
        let settings = Settings { parameters: map(parameters), environment: map(environment), ..settings() };
        match StackPlan::read("t.yaml", &template, &settings) {
            Ok(plan) => assert_eq!(plan.functions[0].environment, map(&[("V", expected)])),
            Err(faults) => assert!(faults.to_string().contains(expected), "{faults}"),
        }
    };
    check(&[("Stage", "prod")], &[], "prod");
    check(&[("Stage", "prod")], &[("V", "mine"), ("PATH", "/bin")], "mine");
    check(&[("Stage", "other")], &[], "is other, and AllowedValues are dev, prod");
    check(&[("Nothing", "x")], &[], "the template has no parameter `Nothing`");
}

#[test]
fn resources_and_properties_that_are_not_run_are_named() {
    let template = with_function("      Layers: []\n      Policies: []\n");
    let plan = plan(&template.replace("QueueName: q", "QueueName: q, Nonsense: 1"));
    let expected = [
        "t.yaml:13: /Resources/Q/Properties/Nonsense: has no effect locally",
        "t.yaml:14: Topic: AWS::SNS::Topic is not run locally",
        "t.yaml:20: /Resources/F/Properties/Layers: has no effect locally",
        "t.yaml:15: F: AWS::Serverless::Function Policies is not run locally",
    ];
    assert_eq!(notices(&plan), expected);
}

#[test]
fn properties_without_local_effect_are_named_in_one_line_and_never_resolved() {
    let event = "{ Type: HttpApi, Properties: { Path: /a, Method: POST, Auth: { Authorizer: !Nonsense x } } }";
    let function = format!(
        "      Tracing: !Nonsense x
      Role: !GetAtt Nothing.Arn
      LoggingConfig: {{ LogGroup: !Ref Nothing }}
      AutoPublishAliasAllProperties: true
      VersionDescription: !Nonsense x
      DeploymentPreference: {{ Enabled: !Nonsense x, Alarms: [!Ref Nothing] }}
      Events: {{ E: {event} }}
"
    );
    let api = "  Topic:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth: { Authorizers: { Jwt: { JwtConfiguration: { issuer: !Nonsense x } } } }
      AccessLogSettings: { DestinationArn: !GetAtt Nothing.Arn }
      DefaultRouteSettings: { ThrottlingRateLimit: !Nonsense x }
      RouteSettings: { POST /a: !Nonsense x }
";
    let plan = plan(&with_function(&function).replace("  Topic: { Type: AWS::SNS::Topic }\n", api));
    assert_eq!(plan.routes.iter().map(|route| route.key.as_str()).collect::<Vec<_>>(), ["POST /a"]);
    let expected = [
        "t.yaml:14: Topic: AWS::Serverless::HttpApi AccessLogSettings, Auth, DefaultRouteSettings, RouteSettings is not run \
         locally",
        "t.yaml:21: F: AWS::Serverless::Function LoggingConfig, Role, Tracing is not run locally",
        "t.yaml:32: /Resources/F/Properties/Events/E/Properties/Auth: has no effect locally",
    ];
    assert_eq!(notices(&plan), expected);
}

#[test]
fn a_route_has_the_jwt_authorizer_that_it_names_or_the_default() {
    let jwt = "JwtConfiguration: { issuer: !Sub 'https://a.example/${Stage}', audience: [api, !Ref Stage] }";
    let check = |auth: &str, of_event: &str, expected: Option<(&str, &[&str])>, is_run: bool| {
        let event = format!("{{ Type: HttpApi, Properties: {{ Path: /a, Method: POST{of_event} }} }}");
        let api = format!("  Topic: {{ Type: AWS::Serverless::HttpApi, Properties: {{ Auth: {{ {auth} }} }} }}\n");
        let plan = plan(&with_event(&event).replace("  Topic: { Type: AWS::SNS::Topic }\n", &api));
        let found = plan.routes[0].authorizer.as_ref().map(|found| {
            assert_eq!(
                (found.issuer.as_str(), &found.audiences[..]),
                ("https://a.example/dev", &["api", "dev"].map(str::to_owned)[..])
            );
            assert_eq!(found.name, "Jwt");
            (found.header.as_str(), found.scopes.iter().map(String::as_str).collect::<Vec<_>>())
        });
        assert_eq!(found, expected.map(|(header, scopes)| (header, scopes.to_vec())), "{auth} {of_event}");
        assert_eq!(notices(&plan).is_empty(), is_run, "{auth} {of_event}: {:?}", notices(&plan));
    };
    let named = format!("Authorizers: {{ Jwt: {{ {jwt} }} }}");
    let default = format!("{named}, DefaultAuthorizer: Jwt");
    let scoped = format!(
        "Authorizers: {{ Jwt: {{ {jwt}, AuthorizationScopes: [a.read], IdentitySource: $request.header.X-Token }} }}"
    );
    check(&named, "", None, true);
    check(&named, ", Auth: { Authorizer: Jwt }", Some(("authorization", &[])), true);
    check(
        &named,
        ", Auth: { Authorizer: Jwt, AuthorizationScopes: [a, b] }",
        Some(("authorization", &["a", "b"])),
        true,
    );
    check(&default, "", Some(("authorization", &[])), true);
    check(&default, ", Auth: { Authorizer: NONE }", None, true);
    check(&default, ", Auth: { AuthorizationScopes: [a] }", Some(("authorization", &["a"])), true);
    check(&scoped, ", Auth: { Authorizer: Jwt }", Some(("x-token", &["a.read"])), true);
    check(&scoped, ", Auth: { Authorizer: Jwt, AuthorizationScopes: [] }", Some(("x-token", &[])), true);
    // Not run: another kind, another source, a value that only AWS knows.
    check("Authorizers: { Jwt: { FunctionArn: a } }", ", Auth: { Authorizer: Jwt }", None, false);
    check(&named, ", Auth: { Authorizer: AWS_IAM }", None, false);
    check(&format!("{named}, EnableIamAuthorizer: true"), "", None, false);
    let query = named.replace("Jwt: {", "Jwt: { IdentitySource: $request.querystring.token,");
    check(&query, ", Auth: { Authorizer: Jwt }", None, false);
    let unknown = named.replace("[api, !Ref Stage]", "[!ImportValue audience]");
    check(&unknown, ", Auth: { Authorizer: Jwt }", None, false);
}

#[test]
fn an_mq_event_is_a_mapping() {
    let secret = "SourceAccessConfigurations: [{ Type: BASIC_AUTH, URI: s }, { Type: VIRTUAL_HOST, URI: v }]";
    let check = |properties: &str, expected: Option<(usize, u64, usize)>| {
        let event =
            format!("{{ Type: MQ, Properties: {{ Broker: 'arn:b', Queues: [!Ref Stage], {secret}, {properties} }} }}");
        let plan = plan(&with_event(&event));
        let mapping = plan.mq_mappings.first().map(|mapping| {
            assert_eq!((mapping.queue.as_str(), mapping.broker_arn.as_str()), ("dev", "arn:b"));
            (mapping.batch_size, mapping.batching_window.as_secs(), mapping.filters.len())
        });
        assert_eq!(mapping, expected, "{properties}");
    };
    check("BatchSize: 10000", Some((10_000, 0, 0)));
    check("MaximumBatchingWindowInSeconds: 300", Some((100, 300, 0)));
    check(
        "DynamicPolicyName: true, FilterCriteria: { Filters: [{ Pattern: '{\"data\":[\"x\"]}' }] }",
        Some((100, 0, 1)),
    );
    check("Enabled: false", None);
    check("Enabled: 'false'", None);
}

#[test]
fn an_event_from_kafka_is_a_mapping() {
    let read = |kind: &str, properties: &str| {
        let event = format!(
            "{{ Type: {kind}, Properties: {{ Topics: [!Ref Stage], StartingPosition: LATEST, {properties} }} }}"
        );
        let plan = plan(&with_event(&event));
        (plan.kafka_mappings.first().cloned(), notices(&plan).join("\n"))
    };
    let (mapping, notices) = read("MSK", "Stream: !GetAtt Topic.Outputs.Arn");
    let plain = KafkaMappingPlan {
        function: "F".to_owned(),
        topic: "dev".to_owned(),
        cluster_arn: Some("arn:aws:kafka:us-east-1:000000000000:cluster/local/local".to_owned()),
        group: "F-dev".to_owned(),
        start: StartingPosition::Latest,
        batch_size: 100,
        batching_window: Duration::from_millis(500),
        report_batch_item_failures: false,
        bisects: false,
        retries_max: None,
        record_age_max: None,
        on_failure: None,
        filters: Vec::new(),
    };
    assert_eq!(mapping, Some(plain.clone()));
    assert!(!notices.contains("Lambda accepts it"), "{notices}");

    let full = "KafkaBootstrapServers: ['b:9092'], ConsumerGroupId: g, BatchSize: 7, MaximumBatchingWindowInSeconds: 0, \
                FunctionResponseTypes: [ReportBatchItemFailures], BisectBatchOnFunctionError: true, \
                MaximumRetryAttempts: -1, MaximumRecordAgeInSeconds: '60', \
                DestinationConfig: { OnFailure: { Destination: !GetAtt Q.Arn } }";
    let (mapping, notices) = read("SelfManagedKafka", full);
    let url = "http://127.0.0.1:4566/000000000000/q".to_owned();
    let expected = KafkaMappingPlan {
        cluster_arn: None,
        group: "g".to_owned(),
        batch_size: 7,
        batching_window: Duration::ZERO,
        report_batch_item_failures: true,
        bisects: true,
        retries_max: Some(10),
        record_age_max: Some(Duration::from_secs(60)),
        on_failure: Some(OnFailure::Queue { name: "q".to_owned(), url }),
        ..plain.clone()
    };
    assert_eq!(mapping, Some(expected));
    assert!(
        notices.contains("BisectBatchOnFunctionError: Lambda accepts it with ProvisionedPollerConfig only"),
        "{notices}"
    );
    let provisioned = "Stream: s, ProvisionedPollerConfig: { MinimumPollers: 1 }, MaximumRetryAttempts: 0, \
                       DestinationConfig: { OnFailure: { Destination: 'kafka://failed' } }";
    let (mapping, notices) = read("MSK", provisioned);
    let mapping = mapping.expect("a mapping");
    assert_eq!((mapping.retries_max, mapping.on_failure), (Some(0), Some(OnFailure::Topic("failed".to_owned()))));
    assert!(!notices.contains("Lambda accepts it"), "{notices}");
    assert_eq!(read("MSK", "Stream: s, Enabled: false").0, None);
}

#[test]
fn a_mapping_resource_with_topics_is_from_kafka() {
    let resource = "
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref F
      Topics: [orders]
      StartingPosition: AT_TIMESTAMP
      StartingPositionTimestamp: 1.5
      SelfManagedEventSource: { Endpoints: { KafkaBootstrapServers: ['b:9092'] } }
      SelfManagedKafkaEventSourceConfig: { ConsumerGroupId: g }
";
    let plan = plan(&(with_variable("x") + resource));
    let [mapping] = plan.kafka_mappings.as_slice() else { panic!("{plan:?}") };
    assert_eq!((mapping.group.as_str(), mapping.start), ("g", StartingPosition::At(1_500)));
    assert_eq!(mapping.cluster_arn, None);
}
