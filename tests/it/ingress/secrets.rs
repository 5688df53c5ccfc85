//! How often the secret store is asked, and what happens when it does not answer.

use serde_json::Value;

use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress, secret_text};

fn order(key: &str) -> Value {
    let headers = ORDER_HEADERS.map(|(name, value)| (name, if name == "x-api-key" { key } else { value }));
    http_api("POST", "/orders", &headers, ORDER)
}

#[tokio::test(start_paused = true)]
async fn the_store_is_asked_once_then_when_old_and_seldom_for_unknown_keys() {
    let store = Store::holding(&secret_text());
    let ingress = ingress(&Broker::default(), &store);
    for _ in 0..3 {
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    }
    assert_eq!(store.asked(), 1, "cached");
    for _ in 0..100 {
        assert_eq!(answer(&ingress, &order("guess")).await["statusCode"], 401);
    }
    assert_eq!(store.asked(), 1, "a flood right after a read asks nobody");
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    for _ in 0..100 {
        assert_eq!(answer(&ingress, &order("guess")).await["statusCode"], 401);
    }
    assert_eq!(store.asked(), 2, "a flood later asks once");
    tokio::time::advance(sluicegate_ingress::REFRESH_AFTER).await;
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    assert_eq!(store.asked(), 3, "old values are read again beside the request");
}

#[tokio::test(start_paused = true)]
async fn a_new_key_works_at_once_and_an_outage_keeps_the_old_ones() {
    let store = Store::holding(r#"{"api-keys": [], "github": [], "standard-webhooks": []}"#);
    let ingress = ingress(&Broker::default(), &store);
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 401);
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    store.set(Ok(&secret_text()));
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    store.set(Err("down"));
    tokio::time::advance(sluicegate_ingress::REFRESH_AFTER).await;
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
}

#[tokio::test]
async fn without_secrets_nobody_passes_and_the_answer_is_a_503() {
    let store = Store::holding("");
    let ingress = ingress(&Broker::default(), &store);
    for text in [Err("arn:aws:secretsmanager:eu-west-1:1:secret:x is denied"), Ok("not json"), Ok("[]")] {
        store.set(text);
        let answer = answer(&ingress, &order("writer")).await;
        assert_eq!(answer["statusCode"], 503, "{text:?}");
        assert!(answer["headers"]["retry-after"].is_string());
        assert!(!answer["body"].as_str().unwrap().contains("arn:"), "{answer}");
    }
}

#[tokio::test]
async fn one_bad_entry_does_not_shut_the_others_out() {
    let mut secrets: Value = serde_json::from_str(&secret_text()).unwrap();
    secrets["api-keys"][0]["sha256"] = "zz".into();
    secrets["github"][0] = 7.into();
    let ingress = ingress(&Broker::default(), &Store::holding(&secrets.to_string()));
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
}
