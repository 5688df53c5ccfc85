//! Origins: of web pages (CORS), and of senders of CloudEvents that ask for permission.

use serde_json::{Value, json};

use super::{Broker, SERVICES, Store, accepting, send};
use crate::ingress::{ingress_of, shipped_with};

const CORS: &str = "x-cors: { allowOrigins: ['https://shop.example'], maxAge: 10m }\npaths:\n";

fn shop(broker: &Broker) -> sluicegate_ingress::Ingress<Broker, Store> {
    ingress_of(shipped_with(&[("paths:\n", CORS)]), broker, &Store::with(&crate::ingress::secret_text()))
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_what_the_contract_has() {
    let ask = [("origin", "https://shop.example"), ("access-control-request-method", "POST")];
    for (service, (name, ..)) in SERVICES.iter().enumerate() {
        let broker = Broker::default();
        let answer = send(&shop(&broker), service, ("OPTIONS", "/orders"), &ask, b"").await;
        assert_eq!(answer.status, 204, "{name}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"), "{name}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, POST"), "{name}");
        assert_eq!(answer.header("access-control-max-age"), Some("600"), "{name}");
        let headers = answer.header("access-control-allow-headers").unwrap().split(", ").collect::<Vec<_>>();
        for header in ["content-type", "idempotency-key", "x-api-key"] {
            assert!(headers.contains(&header), "{name}: {headers:?}");
        }
        // Refusals and the 202 can be read by the page as well.
        let order = [&crate::ingress::ORDER_HEADERS[..], &ask[..1]].concat();
        for (headers, status) in [(&order[..], 202), (&ask[..1], 401)] {
            let answer =
                send(&shop(&broker), service, ("POST", "/orders"), headers, crate::ingress::ORDER.as_bytes()).await;
            assert_eq!(answer.status, status, "{name}: {}", answer.body);
            assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"), "{name}");
            assert_eq!(answer.header("vary"), Some("origin"), "{name}");
            let exposed = answer.header("access-control-expose-headers").unwrap();
            assert!(exposed.contains("retry-after") && exposed.contains("www-authenticate"), "{name}: {exposed}");
        }
        assert_eq!(broker.len(), 1);
    }
}

#[tokio::test]
async fn another_origin_gets_no_permission() {
    for (service, (name, ..)) in SERVICES.iter().enumerate() {
        for origin in ["https://shop.example.evil", "http://shop.example", "null", "https://SHOP.example"] {
            let ask = [("origin", origin), ("access-control-request-method", "POST")];
            for path in ["/orders", "/openapi.json", "/nowhere"] {
                let answer = send(&shop(&Broker::default()), service, ("OPTIONS", path), &ask, b"").await;
                assert_eq!(answer.status, 204, "{name} {origin}");
                assert_eq!(answer.header("access-control-allow-origin"), None, "{name} {origin}");
                assert_eq!(answer.header("vary"), Some("origin"), "{name} {origin}");
            }
            let answer = send(&shop(&Broker::default()), service, ("POST", "/orders"), &ask, b"").await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, None), "{name} {origin}");
            assert_eq!(answer.header("vary"), Some("origin"), "{name} {origin}");
        }
        // Without x-cors, no page may call.
        let broker = Broker::default();
        let ingress = crate::ingress::ingress(&broker, &Store::with(&crate::ingress::secret_text()));
        let ask = [("origin", "https://shop.example"), ("access-control-request-method", "POST")];
        let answer = send(&ingress, service, ("OPTIONS", "/orders"), &ask, b"").await;
        let allow = answer.header("allow");
        assert_eq!((answer.header("access-control-allow-origin"), allow), (None, Some("POST, OPTIONS")), "{name}");
        assert_eq!(answer.header("vary"), None, "{name}");
    }
}

/// A cache must not give a page the answer to a request without an origin, which lets no page read it.
#[tokio::test]
async fn an_answer_to_a_request_without_an_origin_varies_by_origin() {
    for (service, (name, ..)) in SERVICES.iter().enumerate() {
        let order = (&crate::ingress::ORDER_HEADERS[..], crate::ingress::ORDER.as_bytes());
        for (method, path, (headers, body), status) in [
            ("POST", "/orders", order, 202),
            ("POST", "/orders", (&[][..], &b""[..]), 401),
            ("OPTIONS", "/orders", (&[][..], &b""[..]), 204),
            ("GET", "/nowhere", (&[][..], &b""[..]), 404),
        ] {
            let answer = send(&shop(&Broker::default()), service, (method, path), headers, body).await;
            let found = (answer.status, answer.header("vary"), answer.header("access-control-allow-origin"));
            assert_eq!(found, (status, Some("origin"), None), "{name} {method} {path}");
        }
    }
}

/// Returns a route for CloudEvents that these origins may send to.
fn events(origins: Value, limits: &[(u32, &str)]) -> Value {
    let mut keys = json!({ "webhookOrigins": origins });
    let limits = limits.iter().zip(["address", "route"]);
    let limits: Vec<_> =
        limits.map(|((limit, window), by)| json!({ "limit": limit, "window": window, "by": by })).collect();
    if !limits.is_empty() {
        keys["rateLimit"] = limits.into();
    }
    accepting(&["application/cloudevents+json"], keys)
}

#[tokio::test]
async fn an_allowed_sender_of_events_gets_permission() {
    let one = json!(["EventEmitter.example"]);
    let cases: [(_, &[(u32, &str)], _, _, _); 7] = [
        (one.clone(), &[], "eventemitter.example", Some("eventemitter.example"), "*"),
        (one.clone(), &[(7200, "1h")], "EVENTEMITTER.example", Some("eventemitter.example"), "120"),
        (one.clone(), &[(7200, "1h"), (1, "1s")], "eventemitter.example", Some("eventemitter.example"), "60"),
        (one.clone(), &[(1, "1h")], "eventemitter.example", Some("eventemitter.example"), "1"),
        (json!(["a", "*"]), &[], "anything.example", Some("*"), "*"),
        (one, &[], "other.example", None, ""),
        (json!([]), &[], "eventemitter.example", None, ""),
    ];
    for (origins, limits, origin, allowed, rate) in cases {
        for (service, (name, ..)) in SERVICES.iter().enumerate() {
            let ingress = super::taking(&events(origins.clone(), limits), &Broker::default());
            let headers = [("webhook-request-origin", origin), ("webhook-request-rate", "120")];
            let answer = send(&ingress, service, ("OPTIONS", "/take/a"), &headers, b"").await;
            let what = format!("{name} {origins} {origin}");
            assert_eq!(answer.header("webhook-allowed-origin"), allowed, "{what}");
            assert_eq!(answer.header("webhook-allowed-rate"), allowed.map(|_| rate), "{what}");
            assert_eq!(answer.status, if allowed.is_some() { 200 } else { 204 }, "{what}");
            assert!(answer.header("allow").unwrap().contains("POST"), "{what}");
        }
    }
}

/// The rate is that of the route, whether the sender asks for one, for another or for what is not a rate.
#[tokio::test]
async fn the_allowed_rate_does_not_depend_on_the_rate_that_is_asked_for() {
    let cases: [(&[(u32, &str)], _); 4] =
        [(&[], "*"), (&[(7200, "1h")], "120"), (&[(100, "90s")], "66"), (&[(1, "1h")], "1")];
    for (limits, rate) in cases {
        let asked = [&[][..], &["120"], &["1"], &["1000000"], &["0"], &["-1"], &["many"], &["1", "2"]];
        for (service, asked) in (0..SERVICES.len()).flat_map(|service| asked.map(|asked| (service, asked))) {
            let ingress = super::taking(&events(json!(["eventemitter.example"]), limits), &Broker::default());
            let origin = ("webhook-request-origin", "eventemitter.example");
            let headers = asked.iter().map(|asked| ("webhook-request-rate", *asked)).chain([origin]);
            let headers: Vec<_> = headers.collect();
            let answer = send(&ingress, service, ("OPTIONS", "/take/a"), &headers, b"").await;
            let what = format!("{} {limits:?} {asked:?}", SERVICES[service].0);
            assert_eq!((answer.status, answer.header("webhook-allowed-rate")), (200, Some(rate)), "{what}");
        }
    }
}

#[tokio::test]
async fn a_callback_is_not_called_because_the_answer_has_the_permission() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let callback = format!("https://{}/confirm?id=1&key=c2VjcmV0", listener.local_addr().unwrap());
    for (origin, allowed) in [("eventemitter.example", Some("eventemitter.example")), ("other.example", None)] {
        for (service, (name, ..)) in SERVICES.iter().enumerate() {
            let broker = Broker::default();
            let ingress = super::taking(&events(json!(["eventemitter.example"]), &[]), &broker);
            let headers = [("webhook-request-origin", origin), ("webhook-request-callback", &*callback)];
            let answer = send(&ingress, service, ("OPTIONS", "/take/a"), &headers, b"").await;
            let granted = (answer.header("webhook-allowed-origin"), answer.header("webhook-allowed-rate"));
            assert_eq!(granted, (allowed, allowed.map(|_| "*")), "{name} {origin}");
            assert!(!answer.body.to_string().contains("confirm") && broker.len() == 0, "{name} {origin}");
        }
    }
    // A request that was started would be connected by now.
    tokio::task::yield_now().await;
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
