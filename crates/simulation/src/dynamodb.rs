//! Amazon DynamoDB: one table, and the expressions that the stores of keys and statuses use.
//!
//! An operation is atomic, and a condition is compared with the item as it is: an attribute that is absent makes a
//! comparison false. Anything else that DynamoDB has is refused.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html>

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

/// The name of the table.
pub(crate) const TABLE: &str = "keys";

/// The attribute with the key of an item.
const KEY: &str = "id";

type Item = Map<String, Value>;

/// A table.
#[derive(Default)]
pub(crate) struct Table {
    items: HashMap<String, Item>,
    /// The tokens of the transactions that have happened. DynamoDB remembers them for ten minutes, longer than a client
    /// repeats a call.
    tokens: HashSet<String>,
}

/// What an operation writes.
struct Written<'t> {
    key: String,
    before: Option<&'t Item>,
    after: Option<Item>,
}

/// Returns the names and inputs of the actions of a transaction.
pub(crate) fn actions(input: &Value) -> impl Iterator<Item = (&String, &Value)> {
    input["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object).flatten()
}

/// Why an operation has no effect.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    /// The condition is false; the item, if there is one.
    Condition(Option<Value>),
    /// The transaction was cancelled, with the reason of each of its actions.
    Cancelled(Vec<Value>),
    /// The operation or an expression is not one that this table has.
    Unknown(String),
}

impl Refused {
    /// Returns the body of the answer.
    pub(crate) fn body(&self) -> Value {
        let error = |name: &str, message: &str| {
            let kind = format!("com.amazonaws.dynamodb.v20120810#{name}");
            json!({ "__type": kind, "message": message })
        };
        match self {
            Self::Condition(item) => {
                let mut body = error("ConditionalCheckFailedException", "The conditional request failed");
                if let Some(item) = item {
                    body["Item"] = item.clone();
                }
                body
            }
            Self::Cancelled(reasons) => {
                let mut body = error("TransactionCanceledException", "Transaction cancelled");
                body["CancellationReasons"] = reasons.clone().into();
                body
            }
            Self::Unknown(what) => error("ValidationException", what),
        }
    }
}

impl Table {
    /// Carries out an operation with the input of its request. Returns the body of the answer, which has the item that
    /// was there if the input asks for it.
    pub(crate) fn call(&mut self, operation: &str, input: &Value) -> Result<Value, Refused> {
        if operation == "TransactWriteItems" {
            return self.transact(input).map(|()| json!({}));
        }
        let Written { key, before, after } = self.written(operation, input)?;
        let answer = match (input["ReturnValues"].as_str(), before, &after) {
            (Some("ALL_OLD"), Some(item), _) => json!({ "Attributes": item }),
            (Some("UPDATED_NEW"), _, Some(item)) => json!({ "Attributes": updated(input, item) }),
            _ => json!({}),
        };
        self.write(key, after);
        Ok(answer)
    }

    /// Carries out all actions of a transaction, or none.
    fn transact(&mut self, input: &Value) -> Result<(), Refused> {
        let unknown = || Refused::Unknown("the transaction".to_owned());
        let token = input["ClientRequestToken"].as_str().ok_or_else(unknown)?;
        if self.tokens.contains(token) {
            return Ok(());
        }
        let (mut written, mut reasons, mut is_cancelled) = (Vec::new(), Vec::new(), false);
        for (name, input) in actions(input) {
            match self.written(&format!("{name}Item"), input) {
                Ok(Written { key, after, .. }) => {
                    written.push((key, after));
                    reasons.push(json!({ "Code": "None" }));
                }
                Err(Refused::Condition(item)) => {
                    is_cancelled = true;
                    reasons.push(json!({ "Code": "ConditionalCheckFailed", "Item": item }));
                }
                Err(other) => return Err(other),
            }
        }
        if is_cancelled {
            return Err(Refused::Cancelled(reasons));
        }
        self.tokens.insert(token.to_owned());
        written.into_iter().for_each(|(key, item)| self.write(key, item));
        Ok(())
    }

    /// Returns what an operation would write.
    fn written(&self, operation: &str, input: &Value) -> Result<Written<'_>, Refused> {
        let written = &input[if operation == "PutItem" { "Item" } else { "Key" }];
        let key = written[KEY]["S"].as_str().ok_or_else(|| Refused::Unknown("the key".to_owned()))?;
        let before = self.items.get(key);
        let values = &input["ExpressionAttributeValues"];
        if let Some(condition) = input["ConditionExpression"].as_str()
            && !holds(condition, values, before.unwrap_or(&Item::new()))?
        {
            let asked = before.filter(|_| input["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD");
            return Err(Refused::Condition(asked.map(|item| Value::Object(item.clone()))));
        }
        let after = match operation {
            "PutItem" => Some(written.as_object().cloned().unwrap_or_default()),
            "UpdateItem" => {
                let mut item = before.or(written.as_object()).cloned().unwrap_or_default();
                update(expression(input), values, &mut item)?;
                Some(item)
            }
            "DeleteItem" => None,
            _ => return Err(Refused::Unknown(operation.to_owned())),
        };
        Ok(Written { key: key.to_owned(), before, after })
    }

    fn write(&mut self, key: String, item: Option<Item>) {
        match item {
            Some(item) => drop(self.items.insert(key, item)),
            None => drop(self.items.remove(&key)),
        }
    }

    /// Returns an attribute of the item of a key.
    pub(crate) fn attribute(&self, key: &str, name: &str) -> Option<&Value> {
        self.items.get(key)?.get(name)
    }
}

/// Returns whether a condition is true: terms with `AND` and `OR`, of which those in parentheses come last.
fn holds(condition: &str, values: &Value, item: &Item) -> Result<bool, Refused> {
    if let Some((term, nested)) = condition.split_once(" OR (") {
        let nested = nested.strip_suffix(')').ok_or_else(|| Refused::Unknown(condition.to_owned()))?;
        return Ok(holds(term, values, item)? || holds(nested, values, item)?);
    }
    let mut is_true = false;
    for terms in condition.split(" OR ") {
        let mut all = true;
        for term in terms.split(" AND ") {
            all &= term_holds(term, values, item)?;
        }
        is_true |= all;
    }
    Ok(is_true)
}

fn term_holds(term: &str, values: &Value, item: &Item) -> Result<bool, Refused> {
    let unknown = || Refused::Unknown(term.to_owned());
    if let Some(rest) = term.strip_prefix("attribute_not_exists(") {
        return Ok(!item.contains_key(rest.strip_suffix(')').ok_or_else(unknown)?));
    }
    let [name, operator, value] = term.split(' ').collect::<Vec<_>>()[..] else { return Err(unknown()) };
    let expected = values.get(value).ok_or_else(unknown)?;
    let compared = item.get(name).and_then(number).zip(number(expected));
    match operator {
        "=" => Ok(item.get(name) == Some(expected)),
        "<=" => Ok(compared.is_some_and(|(is, most)| is <= most)),
        "<" => Ok(compared.is_some_and(|(is, bound)| is < bound)),
        ">" => Ok(compared.is_some_and(|(is, bound)| is > bound)),
        _ => Err(unknown()),
    }
}

fn number(value: &Value) -> Option<u64> {
    value["N"].as_str()?.parse().ok()
}

fn expression(input: &Value) -> &str {
    input["UpdateExpression"].as_str().unwrap_or_default()
}

/// Carries out `SET name = :value, …`, which `REMOVE name` may follow. A value may be `name + :value`.
fn update(expression: &str, values: &Value, item: &mut Item) -> Result<(), Refused> {
    let unknown = || Refused::Unknown(expression.to_owned());
    for (name, value) in assignments(expression).ok_or_else(unknown)? {
        let assigned = match value.split_once(" + ") {
            Some((other, value)) => {
                let terms = item.get(other).and_then(number).zip(values.get(value).and_then(number));
                let sum = terms.and_then(|(term, other)| term.checked_add(other));
                json!({ "N": sum.ok_or_else(unknown)?.to_string() })
            }
            None => values.get(value).ok_or_else(unknown)?.clone(),
        };
        item.insert(name.to_owned(), assigned);
    }
    if let Some((_, removed)) = expression.split_once(" REMOVE ") {
        item.remove(removed);
    }
    Ok(())
}

/// Returns the names and values that `SET` assigns; `None` for another expression.
fn assignments(expression: &str) -> Option<Vec<(&str, &str)>> {
    let set = expression.split_once(" REMOVE ").map_or(expression, |(set, _)| set);
    set.strip_prefix("SET ")?.split(", ").map(|assignment| assignment.split_once(" = ")).collect()
}

/// Returns the attributes that an update has assigned, as they are after it.
fn updated(input: &Value, after: &Item) -> Item {
    let attribute = |(name, _): (&str, &str)| Some((name.to_owned(), after.get(name)?.clone()));
    assignments(expression(input)).unwrap_or_default().into_iter().filter_map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operation: &str, condition: &str, update: &str, expected: &Result<(), Refused>) -> Table {
        let stored = json!({ "id": { "S": "k" }, "lease": { "S": "a" }, "until": { "N": "9" } });
        let items = [("k".to_owned(), stored.as_object().unwrap().clone())].into();
        let mut table = Table { items, ..Table::default() };
        let (a, b) = (json!({ "S": "a" }), json!({ "S": "b" }));
        let input = json!({
            "Item": { "id": { "S": "k" }, "lease": { "S": "b" } },
            "Key": { "id": { "S": "k" } },
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            "UpdateExpression": update,
            "ExpressionAttributeValues": { ":a": a, ":b": b, ":8": { "N": "8" }, ":9": { "N": "9" }, ":10": { "N": "10" } },
        });
        assert_eq!(table.call(operation, &input).map(drop), *expected, "{operation} {condition} {update}");
        table
    }

    #[test]
    fn a_condition_decides_whether_an_operation_has_an_effect() {
        let stored = json!({ "id": { "S": "k" }, "lease": { "S": "a" }, "until": { "N": "9" } });
        let fails = Err(Refused::Condition(Some(stored)));
        for (condition, expected) in [
            ("attribute_not_exists(id)", &fails),
            ("attribute_not_exists(outcome)", &Ok(())),
            ("lease = :a", &Ok(())),
            ("lease = :b", &fails),
            ("other = :b", &fails),
            // As numbers, not as texts.
            ("until <= :10", &Ok(())),
            ("until <= :8", &fails),
            ("until < :10", &Ok(())),
            ("until < :9", &fails),
            ("until > :8", &Ok(())),
            ("until > :9", &fails),
            ("lease = :a AND until <= :8", &fails),
            ("attribute_not_exists(id) OR until <= :8 OR (lease = :a AND until <= :10)", &Ok(())),
            ("attribute_not_exists(id) OR until <= :8 OR (lease = :b AND until <= :10)", &fails),
        ] {
            check("PutItem", condition, "", expected);
        }
    }

    #[test]
    fn a_write_answers_with_what_is_asked_for() {
        let mut table = Table::default();
        let (first, second) = (json!({ "id": { "S": "k" }, "lease": { "S": "a" } }), json!({ "id": { "S": "k" } }));
        let condition = "attribute_not_exists(outcome)";
        let mut put = |item: &Value, asked: &str| {
            let input = json!({ "Item": item, "ConditionExpression": condition, "ReturnValues": asked });
            table.call("PutItem", &input).unwrap()
        };
        assert_eq!(put(&first, "ALL_OLD"), json!({}));
        assert_eq!(put(&second, "ALL_OLD"), json!({ "Attributes": first }));
        assert_eq!(put(&first, "NONE"), json!({}));
    }

    #[test]
    fn an_update_adds_to_a_number() {
        let mut table = Table::default();
        let add = |table: &mut Table, condition: &str| {
            let input = json!({
                "Key": { "id": { "S": "k" } },
                "ConditionExpression": condition,
                "UpdateExpression": "SET n = n + :1, changed = :1",
                "ExpressionAttributeValues": { ":1": { "N": "1" } },
                "ReturnValues": "UPDATED_NEW",
            });
            table.call("UpdateItem", &input)
        };
        let result = add(&mut table, "attribute_not_exists(n)");
        assert!(matches!(result, Err(Refused::Unknown(_))), "there is nothing to add to");
        let stored = json!({ "id": { "S": "k" }, "n": { "N": "9" } });
        table.write("k".to_owned(), stored.as_object().cloned());
        let added = json!({ "Attributes": { "n": { "N": "10" }, "changed": { "N": "1" } } });
        assert_eq!(add(&mut table, "n > :1"), Ok(added));
        assert_eq!(add(&mut table, "n <= :1"), Err(Refused::Condition(None)), "the item is not asked for");
    }

    #[test]
    fn items_are_written_changed_and_deleted() {
        let names = |table: &Table| {
            let is_there = |name: &&str| table.attribute("k", name).is_some();
            ["id", "lease", "until", "outcome"].into_iter().filter(is_there).collect::<Vec<_>>()
        };
        let written = |operation: &str, update: &str| names(&check(operation, "lease = :a", update, &Ok(())));
        assert_eq!(written("PutItem", ""), ["id", "lease"]);
        assert_eq!(written("UpdateItem", "SET outcome = :b REMOVE until"), ["id", "lease", "outcome"]);
        assert_eq!(written("UpdateItem", "SET outcome = :b, until = :8"), ["id", "lease", "until", "outcome"]);
        assert_eq!(written("DeleteItem", ""), [""; 0]);
        let unknown = |text: &str| Err(Refused::Unknown(text.to_owned()));
        check("GetItem", "lease = :a", "", &unknown("GetItem"));
        check("PutItem", "lease >= :a", "", &unknown("lease >= :a"));
        for update in ["ADD n :a", "SET until", "SET outcome = :b, until"] {
            check("UpdateItem", "lease = :a", update, &unknown(update));
        }
    }

    #[test]
    fn a_transaction_happens_once_and_as_a_whole() {
        let put = |key: &str| {
            let item = json!({ "id": { "S": key }, "n": { "N": "1" } });
            let (condition, asked) = ("attribute_not_exists(id)", "ALL_OLD");
            let mut put = json!({ "Item": item, "ConditionExpression": condition });
            put["ReturnValuesOnConditionCheckFailure"] = asked.into();
            json!({ "Put": put })
        };
        let mut table = Table::default();
        let mut transact = |token: &str, actions: [Value; 2]| {
            let input = json!({ "TransactItems": actions, "ClientRequestToken": token });
            let result = table.call("TransactWriteItems", &input).map(drop);
            (result, ["a", "b", "c"].map(|key| table.attribute(key, "n").is_some()))
        };
        let cancelled = |first: Value, second: Value| Err(Refused::Cancelled(vec![first, second]));
        let none = json!({ "Code": "None" });
        let failed = |item: Value| json!({ "Code": "ConditionalCheckFailed", "Item": item });
        assert_eq!(transact("1", [put("a"), put("b")]), (Ok(()), [true, true, false]));
        let stored = json!({ "id": { "S": "b" }, "n": { "N": "1" } });
        let expected = (cancelled(none, failed(stored)), [true, true, false]);
        assert_eq!(transact("2", [put("c"), put("b")]), expected, "the second was there");
        assert_eq!(transact("1", [put("c"), put("b")]), (Ok(()), [true, true, false]), "it has happened");
    }
}
