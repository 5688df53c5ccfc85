//! Tests of filters against one message, and of invalid filters.

use serde_json::json;
use sluicegate_envelope::Envelope;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::*;

fn order() -> DeadLetter {
    let payload =
        r#"{"order_id":"o-1","total":5,"price":1.10,"paid":true,"lines":[{"sku":"a/b"}],"a~b":"x","none":null}"#;
    let envelope = Envelope::builder("id-1", "/orders", "order.placed")
        .payload(Some("application/json"), payload)
        .build()
        .expect("an envelope");
    DeadLetter {
        id: "id-1".into(),
        broker_id: "b-1".into(),
        event_type: Some("order.placed".into()),
        time: Some(at("2026-11-21T08:00:00Z")),
        dead_lettered_at: Some(at("2026-11-21T10:00:00Z")),
        reason: "no stock: sku a/b".into(),
        code: Some("out_of_stock".into()),
        body: envelope.encode().into_bytes(),
        attributes: [("tenant".into(), "acme".into())].into(),
        ..DeadLetter::default()
    }
}

fn at(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).expect("a time")
}

fn conditions(texts: &[&str]) -> Filter {
    let conditions = texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))).collect();
    Filter { conditions, ..Filter::default() }
}

#[test]
fn conditions_match_payload_members_and_attributes() {
    for (condition, expected) in [
        ("/order_id=o-1", true),
        (r#"/order_id="o-1""#, true),
        ("/order_id=o-2", false),
        ("/order_id~^o-[0-9]$", true),
        ("/order_id~^x", false),
        ("/total=5", true),
        (r#"/total="5""#, false),
        ("/total=05", false),
        ("/total~^5$", true),
        ("/price=1.1", true),
        ("/paid=true", true),
        ("/none=null", true),
        ("/absent=null", false),
        ("/lines/0/sku=a/b", true),
        (r#"/lines/0={"sku":"a/b"}"#, true),
        ("/lines/1/sku=a/b", false),
        ("/a~0b=x", true),
        ("/a~0b~x", true),
        ("/order_id~(?:o-1)", true),
        ("type=order.placed", true),
        ("type~placed$", true),
        ("specversion=1.0", true),
        ("source=/orders", true),
        ("tenant=acme", true),
        ("tenant~^a", true),
        ("someone=acme", false),
        ("tenant=a=b", false),
    ] {
        assert_eq!(conditions(&[condition]).matches(&order()), expected, "{condition}");
    }
    assert!(!conditions(&["/total=5", "/paid=false"]).matches(&order()), "all of them must hold");
}

#[test]
fn a_raw_body_is_its_own_payload() {
    let raw = DeadLetter { body: json!({"n": 1}).to_string().into_bytes(), ..DeadLetter::default() };
    assert!(conditions(&["/n=1"]).matches(&raw));
    let binary = DeadLetter { body: vec![0xff, b'x', 0], ..DeadLetter::default() };
    assert!(!conditions(&["/n=1"]).matches(&binary));
    let filter = Filter { body: Some("x".parse().unwrap()), ..Filter::default() };
    assert!(filter.matches(&binary));
}

#[test]
fn a_body_is_matched_as_it_is_stored_and_as_it_arrived() {
    let envelope =
        Envelope::builder("i", "/s", "t").payload(Some("text/plain"), "a plain text").build().expect("an envelope");
    let letter = DeadLetter { body: envelope.encode().into_bytes(), ..DeadLetter::default() };
    for (pattern, expected) in [("plain text$", true), ("data_base64", true), ("other", false), ("(?i)PLAIN", true)] {
        let filter = Filter { body: Some(pattern.parse().unwrap()), ..Filter::default() };
        assert_eq!(filter.matches(&letter), expected, "{pattern}");
    }
}

#[test]
fn types_are_globs() {
    for (glob, expected) in [
        ("order.placed", true),
        ("order.*", true),
        ("*", true),
        ("order?placed", true),
        ("order", false),
        ("orderxplaced", false),
        ("*.placed", true),
        ("(order.placed)", false),
    ] {
        let filter = Filter { types: vec![glob.parse().unwrap()], ..Filter::default() };
        assert_eq!(filter.matches(&order()), expected, "{glob}");
    }
    let either = Filter { types: vec!["x".parse().unwrap(), "order.*".parse().unwrap()], ..Filter::default() };
    assert!(either.matches(&order()));
    assert!(!either.matches(&DeadLetter { event_type: None, ..order() }));
}

#[test]
fn a_code_is_one_of_those_asked_for() {
    for (codes, expected) in [
        (&["out_of_stock"][..], true),
        (&["card_bad", "out_of_*"], true),
        (&["out_of_stoc"], false),
        (&["card_bad"], false),
        (&[], true),
    ] {
        let filter = Filter { codes: codes.iter().map(|code| code.parse().unwrap()).collect(), ..Filter::default() };
        assert_eq!(filter.matches(&order()), expected, "{codes:?}");
        assert_eq!(filter.is_empty(), codes.is_empty());
        assert_eq!(filter.matches(&DeadLetter { code: None, ..order() }), codes.is_empty(), "{codes:?}");
    }
}

#[test]
fn since_and_until_compare_the_time_of_dead_lettering_if_known() {
    let filter = |since: Option<&str>, until: Option<&str>| Filter {
        since: since.map(|text| text.parse().unwrap()),
        until: until.map(|text| text.parse().unwrap()),
        ..Filter::default()
    };
    for (since, until, expected) in [
        (Some("2026-11-21T10:00:00Z"), None, true),
        (Some("2026-11-21T10:00:01Z"), None, false),
        (None, Some("2026-11-21T10:00:00Z"), false),
        (None, Some("2026-11-21T11:00:00+00:59"), true),
    ] {
        assert_eq!(filter(since, until).matches(&order()), expected, "{since:?} {until:?}");
    }
    let unknown = DeadLetter { dead_lettered_at: None, ..order() };
    assert!(filter(Some("2026-11-21T08:00:00Z"), Some("2026-11-21T09:00:00Z")).matches(&unknown));
    assert!(
        !filter(Some("1w"), None).matches(&DeadLetter { time: None, ..unknown }),
        "a message without a time matches no limit"
    );
}

#[test]
fn durations_count_back_from_now() {
    let ago = |text: &str| {
        let moment = text.parse::<TimeBound>().unwrap().0;
        OffsetDateTime::now_utc() - moment
    };
    for (text, seconds) in
        [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800), ("1w", 604_800), ("1h30m", 5_400)]
    {
        let off = ago(text).whole_seconds() - seconds;
        assert!((0..5).contains(&off), "{text}: {off}");
    }
}

#[test]
fn ids_are_the_envelopes_or_the_brokers() {
    for (id, expected) in [("id-1", true), ("b-1", true), ("id-2", false)] {
        let filter = Filter { ids: vec![id.into()], ..Filter::default() };
        assert_eq!(filter.matches(&order()), expected, "{id}");
    }
}

#[test]
fn reasons_are_searched() {
    for (pattern, expected) in [("stock", true), ("^no stock", true), ("stock$", false)] {
        let filter = Filter { reason: Some(pattern.parse().unwrap()), ..Filter::default() };
        assert_eq!(filter.matches(&order()), expected, "{pattern}");
    }
}

#[test]
fn invalid_filters_are_refused() {
    for wrong in ["", "=x", "~x", "/pointer", "name", "/a~1b", "/a~("] {
        assert!(wrong.parse::<Condition>().is_err(), "{wrong:?}");
    }
    for wrong in ["", "yesterday", "2", "h", "2y", "-2h", "2h 3m", "2026-11-21", "99999999999999999999s", "9999999w"] {
        assert!(wrong.parse::<TimeBound>().is_err(), "{wrong:?}");
    }
    for wrong in ["(", "[a", r"(a)\1", "a{1000000}"] {
        assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
    }
}

#[test]
fn a_pattern_with_nested_repetition_matches_in_linear_time() {
    let body = vec![b'a'; 1_048_576];
    let filter = Filter { body: Some("(a+)+$".parse().unwrap()), ..Filter::default() };
    let begun = std::time::Instant::now();
    assert!(
        !Filter { body: Some("(a+)+b$".parse().unwrap()), ..Filter::default() }
            .matches(&DeadLetter { body: body.clone(), ..DeadLetter::default() })
    );
    assert!(filter.matches(&DeadLetter { body, ..DeadLetter::default() }));
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn an_empty_filter_matches_every_message() {
    assert!(Filter::default().is_empty() && Filter::default().matches(&DeadLetter::default()));
    assert!(!conditions(&["/a=1"]).is_empty());
}

#[test]
fn a_filter_in_json_has_the_conditions_of_the_command_line() {
    let read = |json: serde_json::Value| serde_json::from_value::<Filter>(json);
    assert!(read(json!({})).expect("no condition").is_empty());
    let filter = read(json!({
        "ids": ["e-1"], "types": ["order.*"], "codes": ["stock_*"], "reason": "left$", "since": "1h", "until": null,
        "where": ["/a=1"], "match": "b",
    }));
    let filter = filter.expect("a filter");
    assert_eq!((filter.ids.len(), filter.types.len(), filter.codes.len(), filter.conditions.len()), (1, 1, 1, 1));
    assert!(filter.reason.is_some() && filter.since.is_some() && filter.until.is_none() && filter.body.is_some());
    for (wrong, part) in [
        (json!({ "id": ["e-1"] }), "unknown field `id`"),
        (json!({ "reason": "(" }), "regex"),
        (json!({ "since": "yesterday" }), "expected a time"),
    ] {
        let error = read(wrong.clone()).expect_err("refused").to_string();
        assert!(error.contains(part), "{wrong}: {error}");
    }
}
