//! The status of messages: what a contract with `status: true` needs in the template beside its table.
//!
//! The ingress reads statuses, and the consumers change them. A table that the template does not have is the user's,
//! with its permissions and variables.

use sluicegate_contract::Contract;

use super::{additions::Additions, table};
use crate::CommandError;

const READ_POLICY: &str = "StatusReadPolicy";
const WRITE_POLICY: &str = "StatusWritePolicy";

/// Returns the template with the permissions and the variables, if the contract has statuses and one of them is
/// missing; adds the changes, one a line.
///
/// # Errors
/// No function of the template consumes a queue, or the template cannot be edited.
pub(super) fn with_status(
    file: &str,
    text: &str,
    contract: &Contract,
    changes: &mut Vec<String>,
) -> Result<Option<String>, CommandError> {
    if !contract.has_status() {
        return Ok(None);
    }
    let mut additions = Additions::to(file, text, changes)?;
    if !additions.has_resource(table::TABLE) {
        return Ok(None);
    }
    let (ingress, consumers) = (additions.ingress(), additions.consumers(table::VARIABLE)?);
    let consumers: Vec<&str> = consumers.iter().map(String::as_str).collect();
    additions.policy(READ_POLICY, "read-statuses", &[&ingress], &statement("dynamodb:GetItem"))?;
    additions.policy(WRITE_POLICY, "record-statuses", &consumers, &statement("dynamodb:UpdateItem"))?;
    for function in consumers {
        if !additions.has_variable(function, table::VARIABLE) {
            additions.variable(function, table::VARIABLE, table::TABLE)?;
        }
    }
    Ok(Some(additions.finish()).filter(|edited| edited != text))
}

/// Returns the statement that allows an action on the table.
fn statement(action: &str) -> String {
    format!("- {{ Effect: Allow, Action: {action}, Resource: !GetAtt {}.Arn }}\n", table::TABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::{TEMPLATE, added_lines};

    fn contract(status: bool) -> Contract {
        let yaml = format!(
            "openapi: 3.1.1\ninfo: {{ title: t, version: '1' }}\npaths:\n  /a:\n    post:\n      operationId: a\n      \
             security: [{{ key: [] }}]\n      x-sluicegate: {{ queue: q, type: t, status: {status} }}\ncomponents:\n  \
             securitySchemes: {{ key: {{ type: apiKey, in: header, name: k, x-secret: keys }} }}\n"
        );
        Contract::parse("openapi.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}\n{yaml}"))
    }

    #[test]
    fn a_contract_with_statuses_needs_permissions_and_the_variable_of_the_consumer() {
        for template in [TEMPLATE.to_owned(), TEMPLATE.replace('\n', "\r\n")] {
            let (contract, mut changes) = (contract(true), Vec::new());
            assert_eq!(with_status("t.yaml", &template, &self::contract(false), &mut changes).unwrap(), None);
            assert_eq!(with_status("t.yaml", &template, &contract, &mut changes).unwrap(), None, "the table is absent");
            let with_table = table::with_table("t.yaml", &template, &contract, &mut Vec::new()).unwrap().unwrap();
            let synced = with_status("t.yaml", &with_table, &contract, &mut changes).unwrap().unwrap();
            let expected = ["+ StatusReadPolicy", "+ StatusWritePolicy", "+ IDEMPOTENCY_TABLE of ConsumerFunction"];
            assert_eq!(changes, expected);
            let again = with_status("t.yaml", &synced, &contract, &mut changes).unwrap();
            assert_eq!(again, None, "a second run adds nothing");
            let added = added_lines(&with_table, &synced);
            let has = |line: &str| assert!(added.contains(&line), "{line}: {added:?}");
            has("IDEMPOTENCY_TABLE: !Ref IdempotencyTable");
            has("Roles: [!Ref IngressRole]");
            has("Roles: [!Ref ConsumerRole]");
            has("- { Effect: Allow, Action: dynamodb:GetItem, Resource: !GetAtt IdempotencyTable.Arn }");
            has("- { Effect: Allow, Action: dynamodb:UpdateItem, Resource: !GetAtt IdempotencyTable.Arn }");
        }
    }

    #[test]
    fn the_path_of_the_statuses_is_a_route_of_the_template() {
        let [with, without] = [true, false].map(|status| {
            let synced = crate::sync::sync("t.yaml", TEMPLATE, &contract(status)).unwrap().unwrap().text;
            assert!(crate::sync::sync("t.yaml", &synced, &contract(status)).unwrap().is_none(), "a second run");
            synced
        });
        let added = added_lines(&without, &with);
        let route = "Properties: { ApiId: !Ref HttpApi, Method: GET, Path: '/messages/{id}' }";
        assert_eq!(added, ["MessageStatus:", "Type: HttpApi", route]);
    }
}
