//! The bucket of large payloads: what a contract with `largePayloads: s3` needs in the template.
//!
//! The bucket is encrypted and not public. Objects expire, because no consumer deletes them: a message may be delivered
//! again, from its dead-letter queue too. A bucket that the template has already stays as it is, and one that the
//! contract no longer needs too.

use sluicegate_contract::Contract;
use sluicegate_sam::{Node, TemplateDocument};
use sluicegate_yaml::Dialect;

use super::{Template, template::Outline};
use crate::{
    CommandError,
    add::members::{self, Target},
};

/// The variable with the bucket's name, which both functions read.
const VARIABLE: &str = "PAYLOAD_BUCKET";
const BUCKET: &str = "PayloadBucket";
const WRITE_POLICY: &str = "PayloadWritePolicy";
const READ_POLICY: &str = "PayloadReadPolicy";

/// The function that consumes the queues of nested stacks, which have the mappings.
const CONSUMER: &str = "ConsumerFunction";

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

const POLICY_LINES: &str = "\
THE_ID:
  Type: AWS::IAM::Policy
  Properties:
    PolicyName: THE_NAME
    Roles: THE_ROLES
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
        - { Effect: Allow, Action: THE_ACTION, Resource: !Sub '${PayloadBucket.Arn}/*' }
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
    let template = Template::read(file, text)?;
    let ingress = Outline::read(&template)?.function;
    let consumers = consumers(&template.document, &ingress);
    if consumers.is_empty() {
        return Err(format!(
            "{file}: no function consumes a queue: it needs an event of type SQS, or the name {CONSUMER}, to get \
             {VARIABLE}"
        )
        .into());
    }
    let root = &template.document.root;
    let has = |path: &[&str]| root.follow(&path.iter().map(|key| format!("/{key}")).collect::<String>()).is_ok();
    let is_unset = |function: &&str| !has(&[&variables(function)[..], &[VARIABLE]].concat());
    let functions = || std::iter::once(ingress.as_str()).chain(consumers.iter().map(String::as_str));
    let unset: Vec<&str> = functions().filter(is_unset).collect();
    // A variable that is set names a bucket of the user's.
    if unset.is_empty() {
        return Ok(None);
    }
    let roles = |functions: &[&str]| {
        let roles = functions.iter().map(|function| format!("!Ref {}", role(&template.document, function)));
        format!("[{}]", roles.collect::<Vec<_>>().join(", "))
    };
    let policy = |id: &str, name: &str, functions: &[&str], action: &str| {
        let lines = POLICY_LINES.replace("THE_ID", id).replace("THE_NAME", name);
        lines.replace("THE_ROLES", &roles(functions)).replace("THE_ACTION", action)
    };
    let consumers: Vec<&str> = consumers.iter().map(String::as_str).collect();
    let write = policy(WRITE_POLICY, "write-payloads", &[&ingress], "s3:PutObject");
    let read = policy(READ_POLICY, "read-payloads", &consumers, "s3:GetObject");
    let mut edited = text.to_owned();
    let mut insert = |target: Target<'_>, lines: &str, change: String| -> Result<(), CommandError> {
        edited = members::insert(file, &edited, Dialect::CloudFormation, &target, lines)?;
        changes.push(change);
        Ok(())
    };
    for (id, lines) in [(BUCKET, BUCKET_LINES), (WRITE_POLICY, &write), (READ_POLICY, &read)] {
        if !has(&["Resources", id]) {
            insert(Target { path: &["Resources"], is_apart: true, after: None }, lines, format!("+ {id}"))?;
        }
    }
    let line = format!("{VARIABLE}: !Ref {BUCKET}\n");
    for function in unset {
        let target = Target { path: &variables(function), is_apart: false, after: None };
        insert(target, &line, format!("+ {VARIABLE} of {function}"))?;
    }
    Ok(Some(edited))
}

/// Returns the keys of the variables of a function.
fn variables(function: &str) -> [&str; 5] {
    ["Resources", function, "Properties", "Environment", "Variables"]
}

/// Returns the functions that consume a queue.
fn consumers(document: &TemplateDocument, ingress: &str) -> Vec<String> {
    let is_sqs = |event: &Node| event.get("Type").and_then(Node::text) == Some("SQS");
    let functions = document.resources().filter(|resource| resource.kind == "AWS::Serverless::Function");
    let consuming = functions.filter(|function| {
        let events = function.node.get("Properties").and_then(|properties| properties.get("Events"));
        function.logical_id == CONSUMER || events.is_some_and(|events| events.entries().any(|(_, it)| is_sqs(it)))
    });
    consuming.map(|function| function.logical_id.to_owned()).filter(|function| function != ingress).collect()
}

/// Returns the role of a function: that of `!GetAtt Role.Arn`, or the one that SAM makes.
fn role(document: &TemplateDocument, function: &str) -> String {
    let role = document.value["Resources"][function]["Properties"]["Role"]["Fn::GetAtt"][0].as_str();
    role.map_or_else(|| format!("{function}Role"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use sluicegate_sam::{Settings, StackPlan};

    use super::*;

    const TEMPLATE: &str = include_str!("../../../../template.yaml");

    fn contract(large: &str) -> Contract {
        let yaml = format!(
            "openapi: 3.1.1\ninfo: {{ title: t, version: '1' }}\npaths:\n  /a:\n    post:\n      operationId: a\n      \
             security: []\n      x-sluicegate: {{ queue: q, type: t, payloadBytes: 4000000{large} }}\n"
        );
        Contract::parse("openapi.yaml", &yaml).unwrap()
    }

    #[test]
    fn a_contract_with_large_payloads_needs_bucket_permissions_and_variables() {
        let (with, without) = (contract(", largePayloads: s3"), contract(""));
        for template in [TEMPLATE.to_owned(), TEMPLATE.replace('\n', "\r\n")] {
            let mut changes = Vec::new();
            assert_eq!(with_bucket("t.yaml", &template, &without, &mut changes).unwrap(), None);
            let synced = with_bucket("t.yaml", &template, &with, &mut changes).unwrap().unwrap();
            let expected = [
                "+ PayloadBucket",
                "+ PayloadWritePolicy",
                "+ PayloadReadPolicy",
                "+ PAYLOAD_BUCKET of IngressFunction",
                "+ PAYLOAD_BUCKET of ConsumerFunction",
            ];
            assert_eq!(changes, expected);
            assert_eq!(with_bucket("t.yaml", &synced, &with, &mut changes).unwrap(), None, "a second run adds nothing");
            let (mut before, mut added) = (template.lines().peekable(), Vec::new());
            for line in synced.lines() {
                if before.next_if_eq(&line).is_none() {
                    added.push(line.trim());
                }
            }
            assert_eq!(before.next(), None, "nothing is removed");
            let has = |line: &str| assert!(added.contains(&line), "{line}: {added:?}");
            has("PAYLOAD_BUCKET: !Ref PayloadBucket");
            has("Roles: [!Ref IngressRole]");
            has("Roles: [!Ref ConsumerRole]");
            has("- { Effect: Allow, Action: s3:GetObject, Resource: !Sub '${PayloadBucket.Arn}/*' }");
            has("Rules: [{ Id: expire-payloads, Status: Enabled, ExpirationInDays: 30 }]");
        }
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
        let contract = contract(", largePayloads: s3");
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
