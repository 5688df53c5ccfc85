//! The floor of the ingress: the same work by hand, with one route for each way to authenticate. It has no log lines,
//! metrics, retries, timeouts or TLS, reads no contract, and refuses by ending.

use std::borrow::Cow;
use std::env::var;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use peers::{Connection, Result, serve};
use ring::{digest, hmac};
use serde::{Deserialize, de::IgnoredAny};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    raw_path: Cow<'a, str>,
    #[serde(borrow)]
    headers: Headers<'a>,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Headers<'a> {
    x_api_key: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    x_hub_signature_256: Option<&'a str>,
    x_github_delivery: Option<&'a str>,
    x_github_event: Option<&'a str>,
    webhook_id: Option<&'a str>,
    webhook_timestamp: Option<&'a str>,
    webhook_signature: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order<'a> {
    #[serde(borrow)]
    order_id: Cow<'a, str>,
    #[serde(borrow)]
    customer_id: Cow<'a, str>,
    #[serde(borrow)]
    items: Vec<Item<'a>>,
    #[serde(borrow)]
    note: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    quantity: u32,
}

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "MD5OfMessageBody")]
    md5: &'a str,
}

/// What a route makes of a request.
struct Message<'a> {
    queue: &'a str,
    kind: Cow<'a, str>,
    principal: &'a str,
    operation: &'a str,
    idempotency_key: &'a str,
    /// The subject and the ordering group.
    order: Option<(Cow<'a, str>, Cow<'a, str>)>,
}

struct Settings {
    api_key_sha256: Vec<u8>,
    github: hmac::Key,
    standard: hmac::Key,
    orders: String,
    webhooks: String,
}

fn main() -> Result<()> {
    let settings = Settings {
        api_key_sha256: unhex(&var("API_KEY_SHA256")?)?,
        github: hmac::Key::new(hmac::HMAC_SHA256, var("GITHUB_SECRET")?.as_bytes()),
        standard: hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(var("STANDARD_SECRET")?)?),
        orders: var("QUEUE_ORDERS")?,
        webhooks: var("QUEUE_WEBHOOKS")?,
    };
    let mut sqs = Sqs::open()?;
    serve(|event| {
        let event: Event = serde_json::from_str(event)?;
        let message = admit(&settings, &event)?;
        let id = id(&event.raw_path, &message, &event.body);
        let envelope = envelope(&id, &event, &message)?;
        sqs.send(message.queue, &envelope, message.order.as_ref().map(|(_, group)| &**group))?;
        let body = serde_json::to_string(&format!("{{\"id\":\"{id}\"}}"))?;
        Ok(format!(
            "{{\"statusCode\":202,\"headers\":{{\"content-type\":\"application/json\"}},\"body\":{body},\"isBase64Encoded\":false}}"
        ))
    })
}

/// Authenticates a request by its route and checks its body.
fn admit<'a>(settings: &'a Settings, event: &'a Event) -> Result<Message<'a>> {
    let (headers, body) = (&event.headers, event.body.as_bytes());
    if event.raw_path == "/orders" {
        let key = digest::digest(&digest::SHA256, headers.x_api_key.ok_or("no key")?.as_bytes());
        // As fast for every wrong key.
        let differs = key.as_ref().iter().zip(&settings.api_key_sha256).fold(0, |all, (a, b)| all | (a ^ b));
        if differs != 0 || settings.api_key_sha256.len() != key.as_ref().len() {
            return Err("a wrong key".into());
        }
        let order: Order = serde_json::from_str(&event.body)?;
        check(&order)?;
        return Ok(Message {
            queue: &settings.orders,
            kind: "order.placed".into(),
            principal: "dev",
            operation: "placeOrder",
            idempotency_key: headers.idempotency_key.ok_or("no idempotency key")?,
            order: Some((order.order_id, order.customer_id)),
        });
    }
    let is_object = event.body.trim_start().starts_with('{');
    serde_json::from_str::<IgnoredAny>(&event.body).ok().filter(|_| is_object).ok_or("not an object")?;
    if event.raw_path == "/webhooks/github" {
        let signature =
            headers.x_hub_signature_256.and_then(|value| value.strip_prefix("sha256=")).ok_or("no signature")?;
        hmac::verify(&settings.github, body, &unhex(signature)?).map_err(|_| "a wrong signature")?;
        return Ok(Message {
            queue: &settings.webhooks,
            kind: format!("github.{}", headers.x_github_event.ok_or("no event")?).into(),
            principal: "github",
            operation: "receiveGithubEvent",
            idempotency_key: headers.x_github_delivery.ok_or("no delivery")?,
            order: None,
        });
    }
    let (id, time) = headers.webhook_id.zip(headers.webhook_timestamp).ok_or("no id or timestamp")?;
    let signature = headers.webhook_signature.and_then(|value| value.strip_prefix("v1,")).ok_or("no signature")?;
    if now().as_secs().abs_diff(time.parse()?) > 300 {
        return Err("an old signature".into());
    }
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    hmac::verify(&settings.standard, &signed, &BASE64_STANDARD.decode(signature)?).map_err(|_| "a wrong signature")?;
    Ok(Message {
        queue: &settings.webhooks,
        kind: "webhook.received".into(),
        principal: "standard-webhooks",
        operation: "receiveStandardWebhook",
        idempotency_key: id,
        order: None,
    })
}

/// Checks what the contract's schema says of an order and its type does not.
fn check(order: &Order) -> Result<()> {
    let is_name = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let is_item =
        |item: &Item| (1..=64).contains(&item.sku.chars().count()) && (1..=1_000_000).contains(&item.quantity);
    let is_valid = is_name(&order.order_id)
        && is_name(&order.customer_id)
        && (1..=1000).contains(&order.items.len())
        && order.items.iter().all(is_item)
        && order.note.as_ref().is_none_or(|note| note.chars().count() <= 2000);
    is_valid.then_some(()).ok_or_else(|| "an invalid order".into())
}

/// Returns the id of a message, which repeats with its idempotency key: a UUID of version 8.
fn id(path: &str, message: &Message, body: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    let payload = if message.order.is_some() { body } else { "" };
    for part in [path, message.principal, message.idempotency_key, payload] {
        hash.update(&part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut id: [u8; 16] = std::array::from_fn({
        let hash = hash.finish();
        move |index| hash.as_ref()[index]
    });
    (id[6], id[8]) = (id[6] & 0x0f | 0x80, id[8] & 0x3f | 0x80);
    let hex = hex(&id);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Returns the CloudEvent with the body as it came.
fn envelope(id: &str, event: &Event, message: &Message) -> Result<String> {
    let (date, time) = date_and_time(now().as_secs());
    let quoted = |text: &str| serde_json::to_string(text);
    let (mut subject, mut key) = (String::new(), String::new());
    if let Some((order, customer)) = &message.order {
        subject = format!("\"subject\":{},", quoted(order)?);
        key = format!("\"partitionkey\":{},", quoted(customer)?);
    }
    Ok(format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":{},\"type\":{},{subject}\
         \"time\":\"{}-{}-{}T{}:{}:{}Z\",\"datacontenttype\":\"application/json\",{key}\"principal\":\"{}\",\
         \"operation\":\"{}\",\"idempotencykey\":{},\"data\":{}}}",
        quoted(&event.raw_path)?,
        quoted(&message.kind)?,
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..],
        message.principal,
        message.operation,
        quoted(message.idempotency_key)?,
        event.body,
    ))
}

/// SendMessage over one connection, signed with Signature Version 4.
struct Sqs {
    connection: Connection,
    host: String,
    access_key: String,
    secret_key: String,
    token: String,
    region: String,
    /// The day of the key that requests are signed with, and the key.
    signing: (String, hmac::Key),
}

impl Sqs {
    fn open() -> Result<Self> {
        let host = var("AWS_ENDPOINT_URL_SQS")?.trim_start_matches("http://").to_owned();
        Ok(Self {
            connection: Connection::open(&host)?,
            host,
            access_key: var("AWS_ACCESS_KEY_ID")?,
            secret_key: var("AWS_SECRET_ACCESS_KEY")?,
            token: var("AWS_SESSION_TOKEN")?,
            region: var("AWS_REGION")?,
            signing: (String::new(), hmac::Key::new(hmac::HMAC_SHA256, b"")),
        })
    }

    /// Sends a message and checks that SQS stored its bytes.
    fn send(&mut self, queue: &str, message: &str, group: Option<&str>) -> Result<()> {
        let mut body = format!("{{\"QueueUrl\":\"{queue}\",\"MessageBody\":").into_bytes();
        body.reserve(message.len() + message.len() / 4);
        serde_json::to_writer(&mut body, message)?;
        if let Some(group) = group {
            body.extend_from_slice(b",\"MessageGroupId\":");
            serde_json::to_writer(&mut body, group)?;
        }
        body.push(b'}');
        let mut request = self.signed_head(&body).into_bytes();
        request.extend_from_slice(&body);
        let (head, answer) = self.connection.call(&request)?;
        let sent: Sent =
            if head.starts_with("HTTP/1.1 200") { serde_json::from_str(answer)? } else { return Err(answer.into()) };
        (sent.md5 == hex(&Md5::digest(message))).then_some(()).ok_or_else(|| "another MD5".into())
    }

    fn signed_head(&mut self, body: &[u8]) -> String {
        let (date, time) = date_and_time(now().as_secs());
        let scope = format!("{date}/{}/sqs/aws4_request", self.region);
        if self.signing.0 != date {
            let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", self.secret_key).as_bytes());
            for part in scope.split('/') {
                key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
            }
            self.signing = (date.clone(), key);
        }
        let headers = format!(
            "content-type:application/x-amz-json-1.0\nhost:{}\nx-amz-date:{date}T{time}Z\nx-amz-security-token:{}\n\
             x-amz-target:AmazonSQS.SendMessage\n",
            self.host, self.token
        );
        let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
        let sha256 = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
        let canonical = format!("POST\n/\n\n{headers}\n{names}\n{}", sha256(body));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}T{time}Z\n{scope}\n{}", sha256(canonical.as_bytes()));
        let signature = hex(hmac::sign(&self.signing.1, to_sign.as_bytes()).as_ref());
        format!(
            "POST / HTTP/1.1\n{headers}authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}\ncontent-length: {}\n\n",
            self.access_key,
            body.len()
        )
        .replace('\n', "\r\n")
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns `YYYYMMDD` and `HHMMSS`. <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn date_and_time(seconds: u64) -> (String, String) {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = era * 400 + year_of_era + u64::from(month < 3);
    (format!("{year:04}{month:02}{day:02}"), format!("{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or("not hexadecimal");
    text.as_bytes().chunks(2).map(|two| Ok(digit(&two[0])? << 4 | digit(two.get(1).ok_or("an odd length")?)?)).collect()
}
