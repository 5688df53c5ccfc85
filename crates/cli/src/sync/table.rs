//! The table of idempotency keys, rate limits and statuses: what a contract with one of these needs in the template.
//!
//! The table is billed by the request, encrypted with a key that AWS owns, as every table, and without point-in-time
//! recovery: keys expire within days, and a restored table would answer repeats with messages of the past. A table that
//! the template has already stays as it is, and one that the contract no longer needs too.

use sluicegate_contract::Contract;

use super::additions::Additions;
use crate::CommandError;

/// The variable with the table's name, which the ingress reads, and a consumer that records statuses.
pub(super) const VARIABLE: &str = "IDEMPOTENCY_TABLE";
pub(super) const TABLE: &str = "IdempotencyTable";
const POLICY: &str = "IdempotencyPolicy";

const TABLE_LINES: &str = "\
# The keys and limits of the routes with `store: dynamodb` (openapi.yaml), by the hash of caller, operation and key, and the
# statuses of the messages of routes with `status: true`; no payloads.
IdempotencyTable:
  Type: AWS::DynamoDB::Table
  Properties:
    BillingMode: PAY_PER_REQUEST
    AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
    KeySchema: [{ AttributeName: id, KeyType: HASH }]
    TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }
";

const STATEMENT: &str = "\
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
    let mut additions = Additions::to(file, text, changes)?;
    let function = additions.ingress();
    // A variable that is set names a table of the user's.
    if additions.has_variable(&function, VARIABLE) {
        return Ok(None);
    }
    additions.resource(TABLE, TABLE_LINES)?;
    additions.policy(POLICY, "idempotency-keys", &[&function], STATEMENT)?;
    additions.variable(&function, VARIABLE, TABLE)?;
    Ok(Some(additions.finish()))
}

#[cfg(test)]
mod tests {
    use sluicegate_sam::{Settings, StackPlan};

    use super::*;
    use crate::sync::tests::{TEMPLATE, added_lines, contract_with};

    const STORE: &str = "idempotency: { key: '{header.k}', store: dynamodb }";

    #[test]
    fn a_contract_with_a_store_needs_table_permissions_and_variable() {
        let (with, without) = (contract_with(STORE), contract_with("idempotency: { key: '{header.k}' }"));
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
            let added = added_lines(&template, &synced);
            let has = |line: &str| assert!(added.contains(&line), "{line}: {added:?}");
            has("IDEMPOTENCY_TABLE: !Ref IdempotencyTable");
            has("Roles: [!Ref IngressRole]");
            has("Action: [dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem]");
            has("TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }");
            assert_eq!(added.iter().filter(|line| !line.is_empty()).count(), 21, "{added:?}");
        }
    }

    #[test]
    fn the_local_stack_reads_the_table() {
        let mut changes = Vec::new();
        let minimal = "Resources:\n  Api: { Type: AWS::Serverless::HttpApi }\n  IngressFunction:\n    Type: \
                       AWS::Serverless::Function\n    Metadata: { BuildMethod: rust-cargolambda }\n    Properties:\n      Runtime: provided.al2023\n      Handler: \
                       bootstrap\n      CodeUri: a\n      Events:\n        A: { Type: HttpApi, Properties: { ApiId: !Ref \
                       Api, Method: POST, Path: /a } }\n";
        let synced = with_table("t.yaml", minimal, &contract_with(STORE), &mut changes).unwrap().unwrap();
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
