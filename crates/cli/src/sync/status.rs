//! The status of messages: what a contract with `status: true` needs in the template beside its table. The ingress
//! reads statuses; both functions write them with the permissions that they have for the table.
//!
//! A table that the template does not have is the user's, with its permissions.

use sluicegate_contract::Contract;

use super::{additions::Additions, table};
use crate::CommandError;

const POLICY: &str = "StatusPolicy";

const STATEMENT: &str = "- { Effect: Allow, Action: dynamodb:GetItem, Resource: !GetAtt IdempotencyTable.Arn }\n";

/// Returns the template with the permission, if the contract has statuses and it is missing; adds the changes, one a
/// line.
///
/// # Errors
/// The template cannot be edited.
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
    let ingress = additions.ingress();
    additions.policy(POLICY, "read-statuses", &[&ingress], STATEMENT)?;
    Ok(Some(additions.finish()).filter(|edited| edited != text))
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
    fn a_contract_with_statuses_needs_permissions_of_both_functions() {
        for template in [TEMPLATE.to_owned(), TEMPLATE.replace('\n', "\r\n")] {
            let (contract, mut changes) = (contract(true), Vec::new());
            assert_eq!(with_status("t.yaml", &template, &self::contract(false), &mut changes).unwrap(), None);
            assert_eq!(with_status("t.yaml", &template, &contract, &mut changes).unwrap(), None, "the table is absent");
            let with_table = table::with_table("t.yaml", &template, &contract, true, &mut changes).unwrap().unwrap();
            let synced = with_status("t.yaml", &with_table, &contract, &mut changes).unwrap().unwrap();
            let expected = [
                "+ IdempotencyTable",
                "+ IdempotencyPolicy",
                "+ IDEMPOTENCY_TABLE of IngressFunction",
                "+ ConsumerIdempotencyPolicy",
                "+ IDEMPOTENCY_TABLE of ConsumerFunction",
                "+ StatusPolicy",
            ];
            assert_eq!(changes, expected);
            let again = with_status("t.yaml", &synced, &contract, &mut changes).unwrap();
            assert_eq!(again, None, "a second run adds nothing");
            let added = added_lines(&with_table, &synced);
            let has = |line: &str| assert!(added.contains(&line), "{line}: {added:?}");
            has("Roles: [!Ref IngressRole]");
            has("- { Effect: Allow, Action: dynamodb:GetItem, Resource: !GetAtt IdempotencyTable.Arn }");
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
