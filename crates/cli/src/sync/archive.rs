//! The archive: what a contract with `archive: true` needs in the template, and the function that writes it.
//!
//! The bucket is encrypted and not public, and objects expire after a year. What the template has already stays as it
//! is: change the days, the window or the memory there.
//!
//! A template whose parameter chooses between SQS and RabbitMQ gets the archive for both: with RabbitMQ the queue is on
//! the broker, and the mapping from SQS is disabled.

use std::path::{Path, PathBuf};

use sluicegate_contract::{ARCHIVE_QUEUE, Contract, binding_variable};

use super::additions::{ARCHIVER, Additions};
use super::manifests::with_feature;
use crate::{CommandError, input};

/// The crate that the archiver is built on.
const CRATE: &str = "sluicegate-archive";

const BUCKET: &str = "ArchiveBucket";
const QUEUE: &str = "ArchiveQueue";
const DEAD_LETTER_QUEUE: &str = "ArchiveDeadLetterQueue";
const LOGS: &str = "ArchiverLogs";
const SEND_POLICY: &str = "ArchiveSendPolicy";
const DEAD_LETTER_ALARM: &str = "ArchiveDeadLetterAlarm";
const AGE_ALARM: &str = "ArchiveAgeAlarm";

/// The condition of the shipped template under which it has a topic for alarms.
const HAS_TOPIC: &str = "HasAlarmTopic";

const BUCKET_LINES: &str = "\
# Every message of the routes with `archive: true` (openapi.yaml), a CloudEvent a line. Queries and `sluicegate replay` read
# it; docs/archive.md says how.
ArchiveBucket:
  Type: AWS::S3::Bucket
  DeletionPolicy: RetainExceptOnCreate
  UpdateReplacePolicy: Retain
  Properties:
    BucketEncryption:
      ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: AES256 } }]
    PublicAccessBlockConfiguration:
      BlockPublicAcls: true
      BlockPublicPolicy: true
      IgnorePublicAcls: true
      RestrictPublicBuckets: true
    LifecycleConfiguration:
      Rules: [{ Id: expire-archive, Status: Enabled, Prefix: archive/, ExpirationInDays: 365 }]
";

/// The visibility timeout is six times that of the function, and the batching window.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
const QUEUE_LINES: &str = "\
ArchiveQueue:
  Type: AWS::SQS::Queue
  DeletionPolicy: RetainExceptOnCreate
  UpdateReplacePolicy: Retain
  Properties:
    SqsManagedSseEnabled: true
    VisibilityTimeout: 420
    MessageRetentionPeriod: 345600
    # A message is returned while S3 fails. What cannot be decoded is a dead letter at once.
    RedrivePolicy: { deadLetterTargetArn: !GetAtt ArchiveDeadLetterQueue.Arn, maxReceiveCount: 100 }
";

const DEAD_LETTER_QUEUE_LINES: &str = "\
ArchiveDeadLetterQueue:
  Type: AWS::SQS::Queue
  DeletionPolicy: RetainExceptOnCreate
  UpdateReplacePolicy: Retain
  Properties: { SqsManagedSseEnabled: true, MessageRetentionPeriod: 1209600 }
";

const LOGS_LINES: &str = "\
ArchiverLogs:
  Type: AWS::Logs::LogGroup
  Properties: { RetentionInDays: 30 }
";

/// At level WARN, because a line for each archived message costs more than its storage.
const FUNCTION_LINES: &str = "\
ArchiverFunction:
  Type: AWS::Serverless::Function
  Metadata: { BuildMethod: rust-cargolambda, BuildProperties: { Binary: archiver } }
  Properties:
    CodeUri: functions/archiver
    Description: Writes every message of the queue archive to S3
    MemorySize: 512
    Timeout: 60
    LoggingConfig: { LogFormat: JSON, ApplicationLogLevel: TRACE, LogGroup: !Ref ArchiverLogs }
    Environment:
      Variables:
        ARCHIVE_BUCKET: !Ref ArchiveBucket
        RUST_LOG: warn
    Policies:
      - Statement:
          - Effect: Allow
            Action: [sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes]
            Resource: !GetAtt ArchiveQueue.Arn
          - { Effect: Allow, Action: sqs:SendMessage, Resource: !GetAtt ArchiveDeadLetterQueue.Arn }
          - { Effect: Allow, Action: s3:PutObject, Resource: !Sub '${ArchiveBucket.Arn}/archive/*' }
          - { Effect: Allow, Action: [logs:CreateLogStream, logs:PutLogEvents], Resource: !GetAtt ArchiverLogs.Arn }
    Events:
      Archive:
        Type: SQS
        Properties:
          Queue: !GetAtt ArchiveQueue.Arn
          FunctionResponseTypes: [ReportBatchItemFailures]
          # An object is written once a minute for each poller, or when there are 6 MB.
          BatchSize: 10000
          MaximumBatchingWindowInSeconds: 60
          ScalingConfig: { MaximumConcurrency: 5 }
";

const DEAD_LETTER_ALARM_LINES: &str = "\
ArchiveDeadLetterAlarm:
  Type: AWS::CloudWatch::Alarm
  Condition: HasAlarmTopic
  Properties:
    AlarmDescription: Messages are not in the archive. List them with sluicegate dlq, fix the cause, redrive.
    Namespace: AWS/SQS
    MetricName: ApproximateNumberOfMessagesVisible
    Dimensions: [{ Name: QueueName, Value: !GetAtt ArchiveDeadLetterQueue.QueueName }]
    Statistic: Maximum
    Period: 60
    EvaluationPeriods: 1
    ComparisonOperator: GreaterThanThreshold
    Threshold: 0
    TreatMissingData: notBreaching
    AlarmActions: [!If [IsGivenAlarmTopic, !Ref AlarmTopicArn, !Ref AlarmTopic]]
";

const AGE_ALARM_LINES: &str = "\
ArchiveAgeAlarm:
  Type: AWS::CloudWatch::Alarm
  Condition: HasAlarmTopic
  Properties:
    AlarmDescription: The oldest message for the archive has waited for an hour. The archiver is failing or too slow.
    Namespace: AWS/SQS
    MetricName: ApproximateAgeOfOldestMessage
    Dimensions: [{ Name: QueueName, Value: !GetAtt ArchiveQueue.QueueName }]
    Statistic: Maximum
    Period: 60
    EvaluationPeriods: 5
    ComparisonOperator: GreaterThanThreshold
    Threshold: 3600
    TreatMissingData: notBreaching
    AlarmActions: [!If [IsGivenAlarmTopic, !Ref AlarmTopicArn, !Ref AlarmTopic]]
";

/// The condition under which the queues of the shipped template are on RabbitMQ.
const USES_RABBITMQ: &str = "UsesRabbitmq";
/// Its nested stack with the broker.
const RABBITMQ_STACK: &str = "RabbitmqStack";
const RABBITMQ_QUEUE: &str = "ArchiveRabbitmqQueue";
const RABBITMQ_POLICY: &str = "ArchiverRabbitmqPolicy";

/// The archive's queue, or with RabbitMQ the binding of the one that [`RABBITMQ_QUEUE`] makes.
const QUEUE_OF_EITHER: &str = "!If [UsesRabbitmq, 'rabbitmq:/archive', !Ref ArchiveQueue]";

/// What the archiver needs to reach the broker, as the consumer does. It is tried as often as on SQS.
const RABBITMQ_VARIABLES: [(&str, &str); 3] = [
    ("RABBITMQ_URL", "!If [UsesRabbitmq, !Sub '${RabbitmqStack.Outputs.AmqpUrl}/%2F?heartbeat=60', !Ref AWS::NoValue]"),
    ("RABBITMQ_SECRET_ARN", "!If [UsesRabbitmq, !GetAtt RabbitmqStack.Outputs.SecretArn, !Ref AWS::NoValue]"),
    ("RABBITMQ_MAX_RECEIVE_COUNT", "!If [UsesRabbitmq, '100', !Ref AWS::NoValue]"),
];

/// The value of `VpcConfig`.
const NETWORK: &str = " !If
  - UsesRabbitmq
  - SubnetIds: !Split [',', !GetAtt RabbitmqStack.Outputs.SubnetIds]
    SecurityGroupIds: [!GetAtt RabbitmqStack.Outputs.SecurityGroupId]
  - !Ref AWS::NoValue
";

/// SAM adds the permissions of a function in a network.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>
const RABBITMQ_POLICY_LINES: &str = "\
ArchiverRabbitmqPolicy:
  Type: AWS::IAM::Policy
  Condition: UsesRabbitmq
  Properties:
    PolicyName: archive-from-rabbitmq
    Roles: [!Ref ArchiverFunctionRole]
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
        - Effect: Allow
          Action: secretsmanager:GetSecretValue
          Resource: !GetAtt RabbitmqStack.Outputs.SecretArn
        - { Effect: Allow, Action: mq:DescribeBroker, Resource: !GetAtt RabbitmqStack.Outputs.BrokerArn }
        - { Effect: Allow, Action: [ec2:DescribeSecurityGroups, ec2:DescribeVpcs], Resource: '*' }
";

/// The queue at the broker with its mapping and alarms. An object is written once a minute, as from SQS.
const RABBITMQ_QUEUE_LINES: &str = "\
ArchiveRabbitmqQueue:
  Type: AWS::CloudFormation::Stack
  Condition: UsesRabbitmq
  DependsOn: ArchiverRabbitmqPolicy
  Properties:
    TemplateURL: infra/queue.yaml
    Parameters:
      Name: archive
      Stack: !Ref AWS::StackName
      IngressRole: !Ref INGRESS_ROLE
      ConsumerRole: !Ref ArchiverFunctionRole
      ConsumerFunction: !Ref ArchiverFunction
      ConsumerAlias: !Ref ArchiverFunction.Alias
      VisibilityTimeout: 0
      AlarmTopicArn: !If [Monitors, !If [IsGivenAlarmTopic, !Ref AlarmTopicArn, !Ref AlarmTopic], '']
      Broker: rabbitmq
      RabbitmqBroker: !GetAtt RabbitmqStack.Outputs.BrokerArn
      RabbitmqSecret: !GetAtt RabbitmqStack.Outputs.SecretArn
      RabbitmqVersion: !Ref RabbitmqEngineVersion
      RabbitmqBatchSize: 10000
      RabbitmqBatchingWindow: 60
";

const SEND_STATEMENT: &str = "- { Effect: Allow, Action: sqs:SendMessage, Resource: !GetAtt ArchiveQueue.Arn }\n";

/// The files of the function, below its folder. The manifest has another name in this crate: `cargo package` leaves out
/// a folder with a `Cargo.toml`.
const FUNCTION_FILES: [(&str, &str); 2] = [
    ("Cargo.toml", include_str!("../new/repository/functions/archiver/manifest.toml")),
    ("src/main.rs", include_str!("../new/repository/functions/archiver/src/main.rs")),
];

/// Returns the template with bucket, queue, function, permissions and variable, if the contract has a route that is
/// archived and its queue has no binding; adds the changes, one a line.
///
/// # Errors
/// The template cannot be edited.
pub(super) fn with_archive(
    file: &str,
    text: &str,
    contract: &Contract,
    changes: &mut Vec<String>,
) -> Result<Option<String>, CommandError> {
    if contract.first_archived().is_none() {
        return Ok(None);
    }
    let mut additions = Additions::to(file, text, changes)?;
    let (ingress, variable) = (additions.ingress(), binding_variable(ARCHIVE_QUEUE));
    // A variable that is set names a queue of the user's.
    if additions.has_variable(&ingress, &variable) {
        return Ok(None);
    }
    for (id, lines) in [
        (BUCKET, BUCKET_LINES),
        (QUEUE, QUEUE_LINES),
        (DEAD_LETTER_QUEUE, DEAD_LETTER_QUEUE_LINES),
        (ARCHIVER, FUNCTION_LINES),
        (LOGS, LOGS_LINES),
    ] {
        additions.resource(id, lines)?;
    }
    if additions.has_condition(HAS_TOPIC) {
        additions.resource(DEAD_LETTER_ALARM, DEAD_LETTER_ALARM_LINES)?;
        additions.resource(AGE_ALARM, AGE_ALARM_LINES)?;
    }
    additions.policy(SEND_POLICY, "send-to-archive", &[&ingress], SEND_STATEMENT)?;
    if additions.has_condition(USES_RABBITMQ) && additions.has_resource(RABBITMQ_STACK) {
        with_rabbitmq(&mut additions, &ingress)?;
        additions.variable_of(&ingress, &variable, QUEUE_OF_EITHER)?;
    } else {
        additions.variable(&ingress, &variable, QUEUE)?;
    }
    Ok(Some(additions.finish()))
}

/// Adds what the archive needs with RabbitMQ.
fn with_rabbitmq(additions: &mut Additions<'_>, ingress: &str) -> Result<(), CommandError> {
    for (name, value) in RABBITMQ_VARIABLES {
        additions.variable_of(ARCHIVER, name, value)?;
    }
    let properties = ["Resources", ARCHIVER, "Properties"];
    additions.member(&properties, "VpcConfig", NETWORK, ARCHIVER)?;
    let mapping = [&properties[..], &["Events", "Archive", "Properties"]].concat();
    additions.member(&mapping, "Enabled", " !If [UsesRabbitmq, false, true]\n", ARCHIVER)?;
    additions.resource(RABBITMQ_POLICY, RABBITMQ_POLICY_LINES)?;
    let role = additions.role(ingress);
    additions.resource(RABBITMQ_QUEUE, &RABBITMQ_QUEUE_LINES.replace("INGRESS_ROLE", &role))?;
    let parameters = ["Resources", RABBITMQ_STACK, "Properties", "Parameters"];
    additions.member(&parameters, "S3Endpoint", " 'yes'\n", RABBITMQ_STACK)
}

/// Returns whether a template binds the archive's queue to RabbitMQ.
pub(super) fn is_on_rabbitmq(template: &str) -> bool {
    let variable = format!("{}:", binding_variable(ARCHIVE_QUEUE));
    template.lines().any(|line| line.trim_start().starts_with(&variable) && line.contains("rabbitmq:"))
}

/// Returns the files of the archiver, and the manifest of the workspace with its crate, where they are missing and the
/// template builds the function from the folder beside that of the ingress; adds the changes, one a line. A function
/// that is there gets only the feature for RabbitMQ, if the archive `is_on_rabbitmq`.
///
/// # Errors
/// A manifest cannot be read, or that of the workspace names no crate that the archiver's can be written after.
pub(super) fn files(
    contract_path: &Path,
    contract: &Contract,
    is_on_rabbitmq: bool,
    changes: &mut Vec<String>,
) -> Result<Vec<(PathBuf, String)>, CommandError> {
    let functions = contract_path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    let folder = functions.join("archiver");
    if contract.first_archived().is_none() {
        return Ok(Vec::new());
    }
    let with_features = |manifest: &str| with_feature(manifest, CRATE, "rabbitmq").filter(|_| is_on_rabbitmq);
    let mut files = Vec::new();
    if folder.exists() {
        let manifest = folder.join("Cargo.toml");
        let edited = if manifest.is_file() { with_features(&input::text(&manifest)?) } else { None };
        if let Some(edited) = edited {
            changes.push(format!("+ the feature rabbitmq of {CRATE} in {}", manifest.display()));
            files.push((manifest, edited));
        }
        return Ok(files);
    }
    for (name, text) in FUNCTION_FILES {
        let path = folder.join(name);
        changes.push(format!("+ {}", path.display()));
        // A project has no licence to inherit.
        let text = text.replace("license.workspace = true\n", "");
        let edited = with_features(&text);
        files.push((path, edited.unwrap_or(text)));
    }
    let manifest = functions.parent().unwrap_or(Path::new("")).join("Cargo.toml");
    if !manifest.is_file() {
        return Ok(files);
    }
    if let Some(edited) = with_dependency(&input::text(&manifest)?) {
        changes.push(format!("+ sluicegate-archive in {}", manifest.display()));
        files.push((manifest, edited));
    }
    Ok(files)
}

/// Returns the manifest of a workspace with the archiver's crate, from where it has the consumer's; `None` if it has
/// the crate, or none of the two.
fn with_dependency(manifest: &str) -> Option<String> {
    if manifest.contains("\nsluicegate-archive = ") {
        return None;
    }
    let line = manifest.lines().find(|line| line.starts_with("sluicegate-batch = "))?;
    let added = line.replacen("sluicegate-batch", "sluicegate-archive", 1).replace("crates/batch", "crates/archive");
    Some(manifest.replacen(line, &format!("{added}\n{line}"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::{check_added, contract_with};

    const ARCHIVED: &str = "archive: true, idempotency: { key: '{header.k}' }";

    #[test]
    fn an_archived_contract_needs_bucket_queue_function_and_permissions() {
        let (without, with) = (contract_with("idempotency: { key: '{header.k}' }"), contract_with(ARCHIVED));
        check_added(
            |template, contract, changes| with_archive("t.yaml", template, contract, changes).unwrap(),
            (&without, &with),
            &[
                "+ ArchiveBucket",
                "+ ArchiveQueue",
                "+ ArchiveDeadLetterQueue",
                "+ ArchiverFunction",
                "+ ArchiverLogs",
                "+ ArchiveDeadLetterAlarm",
                "+ ArchiveAgeAlarm",
                "+ ArchiveSendPolicy",
                "+ RABBITMQ_URL of ArchiverFunction",
                "+ RABBITMQ_SECRET_ARN of ArchiverFunction",
                "+ RABBITMQ_MAX_RECEIVE_COUNT of ArchiverFunction",
                "+ VpcConfig of ArchiverFunction",
                "+ Enabled of ArchiverFunction",
                "+ ArchiverRabbitmqPolicy",
                "+ ArchiveRabbitmqQueue",
                "+ S3Endpoint of RabbitmqStack",
                "+ QUEUE_ARCHIVE of IngressFunction",
            ],
            &[
                "QUEUE_ARCHIVE: !If [UsesRabbitmq, 'rabbitmq:/archive', !Ref ArchiveQueue]",
                "Enabled: !If [UsesRabbitmq, false, true]",
                "S3Endpoint: 'yes'",
                "IngressRole: !Ref IngressRole",
                "Roles: [!Ref IngressRole]",
                "- { Effect: Allow, Action: s3:PutObject, Resource: !Sub '${ArchiveBucket.Arn}/archive/*' }",
            ],
        );
    }

    #[test]
    fn the_template_names_the_objects_as_the_archive_does() {
        assert_eq!(sluicegate_contract::ARCHIVE_PREFIX, sluicegate_archive::PREFIX);
        assert!(
            BUCKET_LINES.contains("Prefix: archive/,") && FUNCTION_LINES.contains("${ArchiveBucket.Arn}/archive/*")
        );
    }

    #[test]
    fn a_template_without_a_topic_gets_no_alarms() {
        let template = "Resources:\n  Api: { Type: AWS::Serverless::HttpApi }\n  In:\n    Type: AWS::Serverless::Function\n    \
                        Properties:\n      Events:\n        A: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, \
                        Path: /a } }\n";
        let synced = with_archive("t.yaml", template, &contract_with(ARCHIVED), &mut Vec::new()).unwrap().unwrap();
        assert!(synced.contains("QUEUE_ARCHIVE: !Ref ArchiveQueue") && !synced.contains("Alarm"), "{synced}");
    }

    #[test]
    fn the_archiver_gets_a_folder_and_its_crate() {
        let folder = tempfile::tempdir().unwrap();
        let contract_path = folder.path().join("functions/ingress/openapi.yaml");
        let manifest = "[workspace.dependencies]\nsluicegate-batch = { path = \"/s/crates/batch\" }\nserde = \"1\"\n";
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        let (contract, mut changes) = (contract_with(ARCHIVED), Vec::new());
        let written = files(&contract_path, &contract, false, &mut changes).unwrap();
        let names: Vec<_> =
            written.iter().map(|(path, _)| path.strip_prefix(folder.path()).unwrap().to_owned()).collect();
        let expected = ["functions/archiver/Cargo.toml", "functions/archiver/src/main.rs", "Cargo.toml"];
        assert_eq!(names, expected.map(PathBuf::from));
        let line = "sluicegate-archive = { path = \"/s/crates/archive\" }\nsluicegate-batch = ";
        assert!(written[2].1.contains(line), "{}", written[2].1);
        assert!(!written[0].1.contains("rabbitmq"), "{}", written[0].1);
        let with_feature = "sluicegate-archive = { workspace = true, features = [\"rabbitmq\", \"archiver\"] }";
        let on_rabbitmq = files(&contract_path, &contract, true, &mut changes).unwrap();
        assert!(on_rabbitmq[0].1.contains(with_feature), "{}", on_rabbitmq[0].1);

        std::fs::create_dir_all(folder.path().join("functions/archiver")).unwrap();
        std::fs::write(&written[0].0, &written[0].1).unwrap();
        assert!(files(&contract_path, &contract, false, &mut changes).unwrap().is_empty(), "a folder stays as it is");
        let added = files(&contract_path, &contract, true, &mut changes).unwrap();
        assert_eq!(added, on_rabbitmq[..1], "but for the feature that it needs");
    }
}
