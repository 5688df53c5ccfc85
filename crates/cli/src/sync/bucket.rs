//! The bucket of large payloads: what a contract with `largePayloads: s3` needs in the template.
//!
//! The bucket is encrypted and not public. Objects expire, because no consumer deletes them: a message may be delivered
//! again, from its dead-letter queue too. A bucket that the template has already stays as it is, and one that the
//! contract no longer needs too.

use sluicegate_contract::Contract;

use super::additions::{ARCHIVER, Additions};
use crate::CommandError;

/// The variable with the bucket's name, which both functions read.
const VARIABLE: &str = "PAYLOAD_BUCKET";
const BUCKET: &str = "PayloadBucket";
const WRITE_POLICY: &str = "PayloadWritePolicy";
const READ_POLICY: &str = "PayloadReadPolicy";

/// 30 days: two more than the 14 days that SQS keeps a message at most, in a queue and again in its dead-letter queue.
const BUCKET_LINES: &str = "\
# The payloads that are larger than their queue accepts, of the routes with `largePayloads: s3` (openapi.yaml). SQS keeps
# a message for 14 days at most, and for 14 more in a dead-letter queue; a payload expires after that.
PayloadBucket:
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
      Rules: [{ Id: expire-payloads, Status: Enabled, ExpirationInDays: 30 }]
";

/// Returns the template with the bucket, its permissions and its variables, if the contract has a route with large
/// payloads and one of them is missing; adds the changes, one a line.
///
/// # Errors
/// No function of the template consumes a queue, or the template cannot be edited.
pub(super) fn with_bucket(
    file: &str,
    text: &str,
    contract: &Contract,
    changes: &mut Vec<String>,
) -> Result<Option<String>, CommandError> {
    if contract.first_with_large_payloads().is_none() {
        return Ok(None);
    }
    let mut additions = Additions::to(file, text, changes)?;
    let ingress = additions.ingress();
    let mut consumers = additions.consumers(VARIABLE)?;
    if additions.has_resource(ARCHIVER) {
        consumers.push(ARCHIVER.to_owned());
    }
    let consumers: Vec<&str> = consumers.iter().map(String::as_str).collect();
    let functions = std::iter::once(ingress.as_str()).chain(consumers.iter().copied());
    let unset: Vec<&str> = functions.filter(|function| !additions.has_variable(function, VARIABLE)).collect();
    // A variable that is set names a bucket of the user's.
    if unset.is_empty() {
        return Ok(None);
    }
    additions.resource(BUCKET, BUCKET_LINES)?;
    additions.policy(WRITE_POLICY, "write-payloads", &[&ingress], &statement("s3:PutObject"))?;
    additions.policy(READ_POLICY, "read-payloads", &consumers, &statement("s3:GetObject"))?;
    for function in unset {
        additions.variable(function, VARIABLE, BUCKET)?;
    }
    Ok(Some(additions.finish()))
}

/// Returns the statement that allows an action on every object of the bucket.
fn statement(action: &str) -> String {
    format!("- {{ Effect: Allow, Action: {action}, Resource: !Sub '${{{BUCKET}.Arn}}/*' }}\n")
}

#[cfg(test)]
mod tests {
    use sluicegate_sam::{Settings, StackPlan};

    use super::*;
    use crate::sync::tests::{check_added, contract_with};

    const LARGE: &str = "payloadBytes: 4000000, largePayloads: s3";

    #[test]
    fn a_contract_with_large_payloads_needs_bucket_permissions_and_variables() {
        let (without, with) = (contract_with("payloadBytes: 4000000"), contract_with(LARGE));
        check_added(
            |template, contract, changes| with_bucket("t.yaml", template, contract, changes).unwrap(),
            (&without, &with),
            &[
                "+ PayloadBucket",
                "+ PayloadWritePolicy",
                "+ PayloadReadPolicy",
                "+ PAYLOAD_BUCKET of IngressFunction",
                "+ PAYLOAD_BUCKET of ConsumerFunction",
            ],
            &[
                "PAYLOAD_BUCKET: !Ref PayloadBucket",
                "Roles: [!Ref IngressRole]",
                "Roles: [!Ref ConsumerRole]",
                "- { Effect: Allow, Action: s3:GetObject, Resource: !Sub '${PayloadBucket.Arn}/*' }",
                "Rules: [{ Id: expire-payloads, Status: Enabled, ExpirationInDays: 30 }]",
            ],
        );
    }

    #[test]
    fn the_local_stack_reads_the_bucket() {
        let function = |name: &str, event: &str| {
            format!(
                "  {name}:\n    Type: AWS::Serverless::Function\n    Metadata: {{ BuildMethod: rust-cargolambda }}\n    \
                 Properties:\n      Runtime: provided.al2023\n      Handler: bootstrap\n      CodeUri: a\n      Events:\n        \
                 A: {{ {event} }}\n"
            )
        };
        let template = |event: &str| {
            format!(
                "Resources:\n  Api: {{ Type: AWS::Serverless::HttpApi }}\n  Orders: {{ Type: AWS::SQS::Queue, Properties: {{ \
                 VisibilityTimeout: 60 }} }}\n{}{}",
                function("In", "Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /a }"),
                function("Out", event)
            )
        };
        let event =
            "Type: SQS, Properties: { Queue: !GetAtt Orders.Arn, FunctionResponseTypes: [ReportBatchItemFailures] }";
        let contract = contract_with(LARGE);
        let synced = with_bucket("t.yaml", &template(event), &contract, &mut Vec::new()).unwrap().unwrap();
        assert!(synced.contains("Roles: [!Ref OutRole]"), "{synced}");
        let plan = StackPlan::read("t.yaml", &synced, &Settings::default()).unwrap();
        let [bucket] = &plan.buckets[..] else { panic!("{plan:?}") };
        assert_eq!((bucket.logical_id.as_str(), bucket.name.as_str()), ("PayloadBucket", "payloadbucket"));
        for function in &plan.functions {
            assert_eq!(function.environment.get(VARIABLE).map(String::as_str), Some("payloadbucket"));
        }
        let schedule = "Type: Schedule, Properties: { Schedule: rate(1 minute) }";
        let refused = with_bucket("t.yaml", &template(schedule), &contract, &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("no function consumes a queue"), "{refused}");
    }
}
