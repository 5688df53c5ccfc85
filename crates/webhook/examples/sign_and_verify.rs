//! Signs a webhook as Standard Webhooks providers do, and verifies it as a receiver does.
//!
//! ```text
//! cargo run -p sluicegate-webhook --example sign_and_verify
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use sluicegate_webhook::{Provider, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheme = &Provider::named("standard-webhooks").ok_or("the catalog has it")?.scheme;
    let body = br#"{"type": "invoice.paid", "data": {"id": "in_1"}}"#;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;

    // The provider signs with the secret it shares with you.
    let secret = scheme.secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    let mut headers = HeaderMap::new();
    for (name, value) in scheme.sign(&secret, "msg_1", now, &Request::new(&HeaderMap::new(), body))? {
        headers.insert(HeaderName::try_from(name)?, value.parse()?);
    }

    // You hold that secret and the next one: while secrets rotate, either signature passes.
    let live = [scheme.secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?, secret];
    scheme.verify(&Request::new(&headers, body), &live, now)?;
    println!("the signature fits");

    let changed = Request::new(&headers, br#"{"type": "invoice.paid", "data": {"id": "in_2"}}"#);
    let error = scheme.verify(&changed, &live, now).err().ok_or("another body must not pass")?;
    println!("another body: {error}");
    let late = scheme.verify(&Request::new(&headers, body), &live, now + 3600).err().ok_or("a replay must not pass")?;
    println!("an hour later: {late}");
    Ok(())
}
