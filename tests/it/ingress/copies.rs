//! Routes whose messages go to several queues: all of them, or an answer that says which.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_idempotency::MemoryStore;
use sluicegate_ingress::{AnyStore, Ingress};
use sluicegate_queue::SendError;

use super::bodies::taking_contract;
use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, secret_text, shipped_with};

const QUEUES: [&str; 4] = ["orders", "audit", "search", "webhooks"];
const KEY: &str = "key: '{header.idempotency-key}'\n          required: true";

/// Returns the shipped contract whose orders are copied to two queues, with these settings of idempotency.
fn contract(settings: &str) -> &'static Contract {
    let copied = "        queue: orders\n        copyTo: [audit, search]\n";
    shipped_with(&[("        queue: orders\n", copied), (KEY, &format!("{KEY}{settings}"))])
}

fn ingress(contract: &'static Contract, brokers: &BTreeMap<String, Broker>) -> Ingress<Broker, Store> {
    Ingress::new(contract, brokers.clone(), Store::with(&secret_text()))
}

/// Returns a broker for each queue; that of `sick` fails with the error.
fn brokers(sick: &str, error: &SendError) -> BTreeMap<String, Broker> {
    let broker = |name: &str| Broker { sick: Some(error.clone()).filter(|_| name == sick), ..Broker::default() };
    QUEUES.iter().map(|name| ((*name).to_owned(), broker(name))).collect()
}

async fn place(ingress: &Ingress<Broker, Store>) -> (u64, Value) {
    let answer = answer(ingress, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
    let status = answer["statusCode"].as_u64().unwrap();
    assert_eq!(answer["headers"]["retry-after"].is_string(), status == 503, "{answer}");
    (status, serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

fn lengths(brokers: &BTreeMap<String, Broker>) -> [usize; 3] {
    ["orders", "audit", "search"].map(|name| brokers[name].len())
}

#[tokio::test]
async fn a_message_for_several_queues_is_accepted_if_each_has_it() {
    let none = SendError::NotSent { reason: "unused".to_owned() };
    let brokers = brokers("", &none);
    let (status, answer) = place(&ingress(contract(""), &brokers)).await;
    assert_eq!((status, lengths(&brokers)), (202, [1, 1, 1]), "{answer}");
    for name in ["orders", "audit", "search"] {
        assert_eq!(answer["id"], brokers[name].envelopes()[0].id(), "{name}");
    }
}

#[tokio::test]
async fn a_message_that_a_queue_does_not_have_is_a_503_that_says_which() {
    let reason = || "as planned".to_owned();
    let (not_sent, unknown) = (SendError::NotSent { reason: reason() }, SendError::Unknown { reason: reason() });
    let too_large = SendError::TooLarge { bytes: 2, bytes_max: 1 };
    let listed = |stored: [&str; 3]| {
        let names = ["orders", "audit", "search"].into_iter().zip(stored);
        Value::from_iter(names.map(|(queue, stored)| json!({ "queue": queue, "stored": stored })))
    };
    for (sick, error, lengths_then, expected) in [
        ("audit", &not_sent, [1, 0, 0], listed(["yes", "no", "no"])),
        ("audit", &unknown, [1, 0, 0], listed(["yes", "unknown", "no"])),
        ("search", &not_sent, [1, 1, 0], listed(["yes", "yes", "no"])),
        ("search", &too_large, [1, 1, 0], listed(["yes", "yes", "no"])),
        // Nothing is stored, so there is nothing to list.
        ("orders", &not_sent, [0, 0, 0], Value::Null),
        ("orders", &unknown, [0, 0, 0], Value::Null),
    ] {
        for settings in ["", "\n          store: dynamodb"] {
            let (contract, table) = (contract(settings), MemoryStore::default());
            let on = |brokers: &BTreeMap<String, Broker>| {
                ingress(contract, brokers).with_store(Some(AnyStore::Memory(table.clone())))
            };
            let first = brokers(sick, error);
            let (status, answer) = place(&on(&first)).await;
            assert_eq!((status, &answer["code"]), (503, &json!("queue_unavailable")), "{sick} {error}: {answer}");
            assert_eq!(
                (&answer["destinations"], lengths(&first)),
                (&expected, lengths_then),
                "{sick} {error}: {answer}"
            );
            // The repeat is the same message, on each queue.
            let second = brokers("", error);
            let (status, again) = place(&on(&second)).await;
            assert_eq!((status, lengths(&second)), (202, [1, 1, 1]), "{sick} {error}: {again}");
            if expected.is_array() {
                assert_eq!(answer["id"], again["id"], "{sick} {error}");
                assert_eq!(first["orders"].envelopes()[0].id(), again["id"], "{sick} {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_a_copy_would_refuse_is_on_no_queue() {
    let (bytes, bytes_max) = (1_048_900, 1_048_576);
    let too_large = SendError::TooLarge { bytes, bytes_max };
    let misconfigured = SendError::Refused { reason: "as planned".to_owned(), message_at_fault: false };
    for (sick, error, expected) in
        [("audit", &too_large, 413), ("search", &too_large, 413), ("search", &misconfigured, 503)]
    {
        for settings in ["", "\n          store: dynamodb"] {
            let mut brokers = brokers("", error);
            brokers.get_mut(sick).unwrap().unfit = Some(("", error.clone()));
            let ingress = ingress(contract(settings), &brokers);
            let ingress = ingress.with_store(Some(AnyStore::Memory(MemoryStore::default())));
            let (status, answer) = place(&ingress).await;
            assert_eq!((status, lengths(&brokers)), (expected, [0, 0, 0]), "{sick} {error}: {answer}");
            assert!(answer["id"].is_null() && answer["destinations"].is_null(), "{sick} {error}: {answer}");
        }
    }
}

#[tokio::test]
async fn each_item_of_a_batch_is_accepted_if_each_queue_has_it() {
    let contract = taking_contract(&json!({
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "array",
            "items": { "type": "object", "properties": { "n": { "type": "integer" } } },
        } } } },
        "x-sluicegate": {
            "batch": true, "copyTo": ["audit"], "archive": true, "idempotency": { "key": "{header.idempotency-key}" },
        },
    }));
    let names = ["q", "audit", "archive"];
    let take = async |failing: [Option<(usize, SendError)>; 3], unfit: Option<&'static str>| {
        let mut brokers = failing.map(|fails_at| Broker { fails_at, ..Broker::default() });
        brokers[2].unfit = unfit.map(|text| (text, SendError::TooLarge { bytes: 2, bytes_max: 1 }));
        let producers = names.into_iter().map(str::to_owned).zip(brokers.clone()).collect();
        let ingress = Ingress::new(contract, producers, Store::with(&secret_text()));
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        let answer =
            answer(&ingress, &http_api("POST", "/take/a", &headers, r#"[{"n":0},{"n":"x"},{"n":1},{"n":2}]"#)).await;
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let statuses: Vec<_> = body["items"].as_array().unwrap().iter().map(|item| item["status"].clone()).collect();
        let ids =
            brokers.map(|broker| broker.envelopes().iter().map(|event| event.id().to_owned()).collect::<Vec<_>>());
        ((answer["statusCode"].clone(), json!(statuses)), body, ids)
    };
    let (statuses, body, all) = take([None, None, None], None).await;
    assert_eq!(statuses, (json!(202), json!([202, 422, 202, 202])), "{body}");
    assert!(all[0].len() == 3 && all[1] == all[0] && all[2] == all[0], "{all:?}");

    // The first message fails on its queue, the first of those on the first copy, and the first of those on the second.
    let unknown = SendError::Unknown { reason: "as planned".to_owned() };
    let not_sent = SendError::NotSent { reason: "as planned".to_owned() };
    let (statuses, body, stored) =
        take([Some((0, not_sent.clone())), Some((0, unknown)), Some((0, not_sent))], None).await;
    assert_eq!(statuses, (json!(503), json!([503, 422, 503, 503])), "{body}");
    assert_eq!(stored, [all[0][1..].to_vec(), all[0][2..].to_vec(), Vec::new()], "a repeat has the same ids");
    let destinations = |stored: [&str; 3]| {
        Value::from_iter(
            names.into_iter().zip(stored).map(|(queue, stored)| json!({ "queue": queue, "stored": stored })),
        )
    };
    assert_eq!(body["items"][0]["destinations"], Value::Null);
    assert_eq!(body["items"][2]["destinations"], destinations(["yes", "unknown", "no"]));
    assert_eq!(body["items"][3]["destinations"], destinations(["yes", "yes", "no"]));
    assert_eq!((&body["items"][2]["id"], &body["items"][3]["id"]), (&json!(all[0][1]), &json!(all[0][2])));

    // An item that the last copy would refuse is on no queue, and the others are on each.
    let (statuses, body, stored) = take([None, None, None], Some(r#"{"n":1}"#)).await;
    assert_eq!(statuses, (json!(202), json!([202, 422, 413, 202])), "{body}");
    let others = [all[0][0].clone(), all[0][2].clone()];
    assert!(stored.iter().all(|ids| *ids == others), "{stored:?}");
    let (statuses, body, stored) = take([None, None, None], Some("")).await;
    assert_eq!(statuses, (json!(422), json!([413, 422, 413, 413])), "{body}");
    assert!(stored.iter().all(Vec::is_empty), "{stored:?}");
}
