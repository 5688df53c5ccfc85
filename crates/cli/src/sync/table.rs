//! The table of idempotency keys, rate limits and statuses: what a contract with one of these needs in the template,
//! and a consumer that is built with a store.
//!
//! The table is billed by the request, encrypted with a key that AWS owns, as every table, and without point-in-time
//! recovery: keys expire within days, and a restored table would answer repeats with messages of the past. A table that
//! the template has already stays as it is, and one that the contract no longer needs too.

use sluicegate_contract::Contract;

use super::additions::Additions;
use crate::CommandError;

/// The variable with the table's name, which both functions read.
pub(super) const VARIABLE: &str = "IDEMPOTENCY_TABLE";
pub(super) const TABLE: &str = "IdempotencyTable";
const POLICY: &str = "IdempotencyPolicy";
const CONSUMER_POLICY: &str = "ConsumerIdempotencyPolicy";

const TABLE_LINES: &str = "\
# Idempotency keys and rate limits, as hashes and without payloads: of the routes with `store: dynamodb` (openapi.yaml),
# and of the messages that the consumer handles once. Statuses of the messages of routes with `status: true`.
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

/// Returns the template with the table, its permissions and its variables, if the contract has a store or the consumer
/// is built with one (`consumer_has_store`), and one of them is missing; adds the changes, one a line.
///
/// # Errors
/// The consumer is built with a store, and no function of the template consumes a queue; or the template cannot be
/// edited.
pub(super) fn with_table(
    file: &str,
    text: &str,
    contract: &Contract,
    consumer_has_store: bool,
    changes: &mut Vec<String>,
) -> Result<Option<String>, CommandError> {
    if contract.first_with_store().is_none() && !consumer_has_store {
        return Ok(None);
    }
    let mut additions = Additions::to(file, text, changes)?;
    let ingress = contract.first_with_store().map(|_| additions.ingress());
    let consumers = if consumer_has_store { additions.consumers(VARIABLE)? } else { Vec::new() };
    // A variable that is set names a table of the user's.
    let is_unset = |function: &String| !additions.has_variable(function, VARIABLE);
    let needs = [
        (POLICY, ingress.into_iter().filter(is_unset).collect::<Vec<_>>()),
        (CONSUMER_POLICY, consumers.into_iter().filter(is_unset).collect()),
    ];
    if needs.iter().all(|(_, functions)| functions.is_empty()) {
        return Ok(None);
    }
    additions.resource(TABLE, TABLE_LINES)?;
    for (policy, functions) in needs.iter().filter(|(_, functions)| !functions.is_empty()) {
        let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
        additions.policy(policy, "idempotency-keys", &functions, STATEMENT)?;
        for function in functions {
            additions.variable(function, VARIABLE, TABLE)?;
        }
    }
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
            assert_eq!(with_table("t.yaml", &template, &without, false, &mut changes).unwrap(), None);
            let synced = with_table("t.yaml", &template, &with, false, &mut changes).unwrap().unwrap();
            let expected = ["+ IdempotencyTable", "+ IdempotencyPolicy", "+ IDEMPOTENCY_TABLE of IngressFunction"];
            assert_eq!(changes, expected);
            assert_eq!(
                with_table("t.yaml", &synced, &with, false, &mut changes).unwrap(),
                None,
                "a second run adds nothing"
            );
            // A rate limit alone needs the same.
            let limit = contract_with("rateLimit: [{ limit: 1, window: 1s, by: route, store: dynamodb }]");
            assert_eq!(with_table("t.yaml", &template, &limit, false, &mut changes).unwrap(), Some(synced.clone()));
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

    /// The resource is added once, and both functions use it.
    #[test]
    fn a_consumer_with_a_store_needs_permissions_and_variable() {
        let (with, without) = (contract_with(STORE), contract_with(""));
        let mut changes = Vec::new();
        let of_consumer = with_table("t.yaml", TEMPLATE, &without, true, &mut changes).unwrap().unwrap();
        let expected = ["+ IdempotencyTable", "+ ConsumerIdempotencyPolicy", "+ IDEMPOTENCY_TABLE of ConsumerFunction"];
        assert_eq!(changes, expected);
        assert!(added_lines(TEMPLATE, &of_consumer).contains(&"Roles: [!Ref ConsumerRole]"));
        assert_eq!(with_table("t.yaml", &of_consumer, &without, true, &mut changes).unwrap(), None, "a second run");
        changes.clear();
        let of_both = with_table("t.yaml", &of_consumer, &with, true, &mut changes).unwrap().unwrap();
        assert_eq!(changes, ["+ IdempotencyPolicy", "+ IDEMPOTENCY_TABLE of IngressFunction"]);
        assert_eq!(of_both.matches("!Ref IdempotencyTable").count(), 2);
        changes.clear();
        let at_once = with_table("t.yaml", TEMPLATE, &with, true, &mut changes).unwrap().unwrap();
        assert_eq!((changes.len(), at_once.matches("\n  IdempotencyTable:\n").count()), (5, 1), "{changes:?}");
    }

    #[test]
    fn the_local_stack_reads_the_table() {
        let mut changes = Vec::new();
        let minimal = "Resources:\n  Api: { Type: AWS::Serverless::HttpApi }\n  IngressFunction:\n    Type: \
                       AWS::Serverless::Function\n    Metadata: { BuildMethod: rust-cargolambda }\n    Properties:\n      Runtime: provided.al2023\n      Handler: \
                       bootstrap\n      CodeUri: a\n      Events:\n        A: { Type: HttpApi, Properties: { ApiId: !Ref \
                       Api, Method: POST, Path: /a } }\n";
        let synced = with_table("t.yaml", minimal, &contract_with(STORE), false, &mut changes).unwrap().unwrap();
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
