//! The archive: what a contract with `archive: true` needs in the template, and the function that writes it.
//!
//! The bucket is encrypted and not public, and objects expire after a year. What the template has already stays as it
//! is: change the days, the window or the memory there.

use std::path::{Path, PathBuf};

use sluicegate_contract::{ARCHIVE_QUEUE, Contract, binding_variable};

use super::additions::{ARCHIVER, Additions};
use crate::{CommandError, input};

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
    additions.variable(&ingress, &variable, QUEUE)?;
    Ok(Some(additions.finish()))
}

/// Returns the files of the archiver, and the manifest of the workspace with its crate, where they are missing and the
/// template builds the function from the folder beside that of the ingress; adds the changes, one a line.
///
/// # Errors
/// The manifest of the workspace cannot be read, or names no crate that the archiver's can be written after.
pub(super) fn files(
    contract_path: &Path,
    contract: &Contract,
    changes: &mut Vec<String>,
) -> Result<Vec<(PathBuf, String)>, CommandError> {
    let functions = contract_path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    let folder = functions.join("archiver");
    if contract.first_archived().is_none() || folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for (name, text) in FUNCTION_FILES {
        let path = folder.join(name);
        changes.push(format!("+ {}", path.display()));
        // A project has no licence to inherit.
        files.push((path, text.replace("license.workspace = true\n", "")));
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
                "+ QUEUE_ARCHIVE of IngressFunction",
            ],
            &[
                "QUEUE_ARCHIVE: !Ref ArchiveQueue",
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
        let written = files(&contract_path, &contract, &mut changes).unwrap();
        let names: Vec<_> =
            written.iter().map(|(path, _)| path.strip_prefix(folder.path()).unwrap().to_owned()).collect();
        let expected = ["functions/archiver/Cargo.toml", "functions/archiver/src/main.rs", "Cargo.toml"];
        assert_eq!(names, expected.map(PathBuf::from));
        let line = "sluicegate-archive = { path = \"/s/crates/archive\" }\nsluicegate-batch = ";
        assert!(written[2].1.contains(line), "{}", written[2].1);
        std::fs::create_dir_all(folder.path().join("functions/archiver")).unwrap();
        assert!(files(&contract_path, &contract, &mut changes).unwrap().is_empty(), "a folder stays as it is");
    }
}
