//! The table of idempotency keys and rate limits: what a contract with a store needs in the template.
//!
//! The table is billed by the request, encrypted with a key that AWS owns, as every table, and without point-in-time
//! recovery: keys expire within days, and a restored table would answer repeats with messages of the past. A table that
//! the template has already stays as it is, and one that the contract no longer needs too.

use sluicegate_contract::Contract;
use sluicegate_yaml::Dialect;

use super::{Template, template::Outline};
use crate::{
    CommandError,
    add::members::{self, Target},
};

/// The variable with the table's name, which the ingress reads.
const VARIABLE: &str = "IDEMPOTENCY_TABLE";
const TABLE: &str = "IdempotencyTable";
const POLICY: &str = "IdempotencyPolicy";

const TABLE_LINES: &str = "\
# The keys and limits of the routes with `store: dynamodb` (openapi.yaml), by the hash of caller, operation and key; no payloads.
IdempotencyTable:
  Type: AWS::DynamoDB::Table
  Properties:
    BillingMode: PAY_PER_REQUEST
    AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
    KeySchema: [{ AttributeName: id, KeyType: HASH }]
    TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }
";

const POLICY_LINES: &str = "\
IdempotencyPolicy:
  Type: AWS::IAM::Policy
  Properties:
    PolicyName: idempotency-keys
    Roles: [!Ref THE_ROLE]
    PolicyDocument:
      Version: '2012-10-17'
      Statement:
        - Effect: Allow
          Action: [dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem]
          Resource: !GetAtt IdempotencyTable.Arn
";

/// Returns the template with the table, its permissions and its variable, if the contract has a store and one of them
/// is missing; adds the changes, one a line.
pub(super) fn with_table(
    file: &str,
    text: &str,
    contract: &Contract,
    changes: &mut Vec<String>,
) -> Result<Option<String>, CommandError> {
    if contract.first_with_store().is_none() {
        return Ok(None);
    }
    let template = Template::read(file, text)?;
    let function = Outline::read(&template)?.function;
    let root = &template.document.root;
    let variables = ["Resources", &function, "Properties", "Environment", "Variables"];
    let has = |path: &[&str]| root.follow(&path.iter().map(|key| format!("/{key}")).collect::<String>()).is_ok();
    // `!GetAtt Role.Arn`, or the role that SAM makes.
    let role = template.document.value["Resources"][&function]["Properties"]["Role"]["Fn::GetAtt"][0].as_str();
    let policy = POLICY_LINES.replace("THE_ROLE", &role.map_or_else(|| format!("{function}Role"), str::to_owned));
    let mut edited = None;
    let mut insert = |target: Target<'_>, lines: &str, change: String| -> Result<(), CommandError> {
        let before = edited.as_deref().unwrap_or(text);
        edited = Some(members::insert(file, before, Dialect::CloudFormation, &target, lines)?);
        changes.push(change);
        Ok(())
    };
    // A variable that is set names a table of the user's.
    if has(&[&variables[..], &[VARIABLE]].concat()) {
        return Ok(None);
    }
    for (id, lines) in [(TABLE, TABLE_LINES), (POLICY, policy.as_str())] {
        if !has(&["Resources", id]) {
            insert(Target { path: &["Resources"], is_apart: true, after: None }, lines, format!("+ {id}"))?;
        }
    }
    let line = format!("{VARIABLE}: !Ref {TABLE}\n");
    let target = Target { path: &variables, is_apart: false, after: None };
    insert(target, &line, format!("+ {VARIABLE} of {function}"))?;
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use sluicegate_sam::{Settings, StackPlan};

    use super::*;

    const TEMPLATE: &str = include_str!("../../../../template.yaml");

    fn contract(idempotency: &str) -> Contract {
        contract_with(&format!("idempotency: {{ key: '{{header.k}}'{idempotency} }}"))
    }

    fn contract_with(enqueue: &str) -> Contract {
        let yaml = format!(
            "openapi: 3.1.1\ninfo: {{ title: t, version: '1' }}\npaths:\n  /a:\n    post:\n      operationId: a\n      \
             security: []\n      x-sluicegate: {{ queue: q, type: t, {enqueue} }}\n"
        );
        Contract::parse("openapi.yaml", &yaml).unwrap()
    }

    #[test]
    fn a_contract_with_a_store_needs_table_permissions_and_variable() {
        let (with, without) = (contract(", store: dynamodb"), contract(""));
        for template in [TEMPLATE.to_owned(), TEMPLATE.replace('\n', "\r\n")] {
            let mut changes = Vec::new();
            assert_eq!(with_table("t.yaml", &template, &without, &mut changes).unwrap(), None);
            let synced = with_table("t.yaml", &template, &with, &mut changes).unwrap().unwrap();
            let expected = ["+ IdempotencyTable", "+ IdempotencyPolicy", "+ IDEMPOTENCY_TABLE of IngressFunction"];
            assert_eq!(changes, expected);
            assert_eq!(with_table("t.yaml", &synced, &with, &mut changes).unwrap(), None, "a second run adds nothing");
            // A rate limit alone needs the same.
            let limit = contract_with("rateLimit: [{ limit: 1, window: 1s, by: route, store: dynamodb }]");
            assert_eq!(with_table("t.yaml", &template, &limit, &mut changes).unwrap(), Some(synced.clone()));
            changes.truncate(expected.len());
            // Nothing is removed, and the lines that are added are in order.
            let (mut before, mut added) = (template.lines().peekable(), Vec::new());
            for line in synced.lines() {
                if before.next_if_eq(&line).is_none() {
                    added.push(line.trim());
                }
            }
            assert_eq!(before.next(), None, "nothing is removed");
            let has = |line: &str| assert!(added.contains(&line), "{line}: {added:?}");
            has("IDEMPOTENCY_TABLE: !Ref IdempotencyTable");
            has("Roles: [!Ref IngressRole]");
            has("Action: [dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem]");
            has("TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }");
            assert_eq!(added.iter().filter(|line| !line.is_empty()).count(), 20, "{added:?}");
        }
    }

    #[test]
    fn the_local_stack_reads_the_table() {
        let mut changes = Vec::new();
        let minimal = "Resources:\n  Api: { Type: AWS::Serverless::HttpApi }\n  IngressFunction:\n    Type: \
                       AWS::Serverless::Function\n    Metadata: { BuildMethod: rust-cargolambda }\n    Properties:\n      Runtime: provided.al2023\n      Handler: \
                       bootstrap\n      CodeUri: a\n      Events:\n        A: { Type: HttpApi, Properties: { ApiId: !Ref \
                       Api, Method: POST, Path: /a } }\n";
        let synced = with_table("t.yaml", minimal, &contract(", store: dynamodb"), &mut changes).unwrap().unwrap();
        assert!(synced.contains("Roles: [!Ref IngressFunctionRole]"), "{synced}");
        let plan = StackPlan::read("t.yaml", &synced, &Settings::default()).unwrap();
        let [table] = &plan.tables[..] else { panic!("{plan:?}") };
        assert_eq!((table.name.as_str(), table.ttl_attribute.as_deref()), ("IdempotencyTable", Some("expires_at")));
        let keys = serde_json::json!([{ "AttributeName": "id", "KeyType": "HASH" }]);
        assert_eq!(table.keys["KeySchema"], keys);
        let environment = &plan.functions[0].environment;
        assert_eq!(environment.get(VARIABLE).map(String::as_str), Some("IdempotencyTable"));
    }
}
