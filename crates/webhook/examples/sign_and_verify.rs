//! Signs a webhook as Standard Webhooks providers do, and verifies it as a receiver does.
//!
//! ```text
//! cargo run -p sluicegate-webhook --example sign_and_verify
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use sluicegate_webhook::Scheme;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scheme = Scheme::named("standard-webhooks").ok_or("the scheme is a preset")?;
    let body = br#"{"type": "invoice.paid", "data": {"id": "in_1"}}"#;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;

    // The provider signs with the secret it shares with you.
    let secret = scheme.secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    let mut headers = HeaderMap::new();
    for (name, value) in scheme.sign(&secret, "msg_1", now, body)? {
        headers.insert(name, value.parse()?);
    }

    // You hold that secret and the next one: while secrets rotate, either signature passes.
    let live = [scheme.secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?, secret];
    scheme.verify(&headers, body, &live, now)?;
    println!("the signature matches");

    let changed = br#"{"type": "invoice.paid", "data": {"id": "in_2"}}"#;
    let error = scheme.verify(&headers, changed, &live, now).err().ok_or("another body must not pass")?;
    println!("another body: {error}");
    let late = scheme.verify(&headers, body, &live, now + 3600).err().ok_or("a replay must not pass")?;
    println!("an hour later: {late}");
    Ok(())
}
