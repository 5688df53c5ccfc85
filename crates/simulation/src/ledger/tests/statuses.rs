//! What it reports of statuses.

use super::*;

#[test]
fn a_status_is_that_of_its_message() {
    for (location, is_touched, expected) in [
        (Some("/messages/a"), false, &[][..]),
        (Some("/messages/b"), false, &[Property::StatusesAreTrue]),
        (None, false, &[Property::StatusesAreTrue]),
        (None, true, &[]),
    ] {
        check(expected, |ledger, _| {
            ledger.entry(0).is_key_touched = is_touched;
            ledger.located(NOW, 0, "a", false, location);
        });
    }
    for (from, to, done, dead, expected) in [
        (State::Open, State::Done, 1, 0, &[][..]),
        (State::Open, State::Done, 0, 1, &[Property::StatusesAreTrue]),
        (State::Open, State::Dead, 0, 1, &[]),
        (State::Open, State::Dead, 1, 0, &[Property::StatusesAreTrue]),
        (State::Dead, State::Open, 0, 1, &[]),
        (State::Done, State::Dead, 1, 1, &[Property::StatusesAreTrue]),
    ] {
        check(expected, |ledger, _| {
            (ledger.entry(0).done, ledger.entry(0).dead_lettered) = (done, dead);
            ledger.identified("a", 0);
            ledger.status_changed(NOW, "message/a", from, to);
        });
    }
}

#[test]
fn a_status_that_a_202_has_named_is_there_at_the_end() {
    let done = Some(r#"{"Done":{"result":null}}"#);
    for (text, may_be_behind, expected) in [
        (done, false, &[][..]),
        (Some(r#""Accepted""#), false, &[Property::StatusesAreTrue]),
        (Some(r#""Accepted""#), true, &[]),
        (None, true, &[Property::StatusesAreTrue]),
    ] {
        check(expected, |ledger, scenario| {
            let mut table = Table::default();
            let item = |state: &str| serde_json::json!({ "id": { "S": "message/a" }, "message_state": { "S": state } });
            if let Some(text) = text {
                let condition = "attribute_not_exists(id)";
                let input = serde_json::json!({ "Item": item(text), "ConditionExpression": condition });
                table.call("PutItem", &input).unwrap();
            }
            store(ledger, &[0]);
            ledger.located(NOW, 0, "a", false, Some("/messages/a"));
            let entry = ledger.entry(0);
            (entry.id, entry.done) = (Some("a".to_owned()), 1);
            entry.may_be_behind = may_be_behind;
            ledger.finished(NOW, scenario, &table, 0);
        });
    }
}
