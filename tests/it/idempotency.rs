//! One suite for the stores of idempotency keys, rate limits and statuses: in memory, and DynamoDB as the local stack
//! embeds it.

mod consumer;
mod transactions;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluicegate_aws_client::{AwsEnvironment, AwsService, Progress, Service};
use sluicegate_idempotency::{
    Begun, Claim, DynamoDbStore, Effect, Lease, MemoryStore, MessageState, RateLimitStore, STATUS_KEPT, Status,
    StatusStore, Store, StoreError, Take, Taken,
};
use tokio::time::Instant;

use crate::support::service::{emulator, unique};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const LEASE: Duration = Duration::from_secs(30);

/// A store, and the moment of the next call.
struct Suite<S> {
    store: S,
    now: SystemTime,
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

impl<S: Store> Suite<S> {
    fn new(store: S) -> Self {
        Self { store, now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) }
    }

    async fn begin(&self, key: &str, fingerprint: &str) -> Begun {
        let (lease_until, keep_until) = (self.now + LEASE, self.now + DAY);
        let claim = Claim { key, fingerprint, now: self.now, lease_until, keep_until };
        self.store.begin(&claim, deadline()).await.unwrap()
    }

    async fn lease(&self, key: &str, fingerprint: &str) -> Lease {
        match self.begin(key, fingerprint).await {
            Begun::New(lease) => lease,
            other => panic!("{key} {fingerprint}: {other:?}"),
        }
    }

    async fn complete(&self, lease: &Lease, result: &str) -> Result<(), StoreError> {
        self.store.complete(lease, result, deadline()).await
    }

    async fn abandon(&self, lease: &Lease, effect: Effect) {
        self.store.abandon(lease, effect, deadline()).await.unwrap();
    }
}

async fn suite<S: Store + RateLimitStore + StatusStore>(store: S) {
    statuses(&store).await;
    a_status_is_taken_back_unless_another_request_shows_it(&store).await;
    let mut suite = Suite::new(store);
    let completed = |result: &str| Begun::Completed { result: result.to_owned() };
    let in_progress = |lease_left| Begun::InProgress { lease_left };

    // Done once, replayed afterwards; other keys are not affected.
    let (key, other) = (unique("k", ""), unique("other", ""));
    let lease = suite.lease(&key, "f").await;
    assert_eq!(suite.begin(&key, "f").await, in_progress(LEASE));
    suite.now += LEASE / 2;
    assert_eq!(suite.begin(&key, "f").await, in_progress(LEASE / 2));
    assert_eq!(suite.begin(&key, "g").await, Begun::Conflict);
    suite.lease(&other, "g").await;
    suite.complete(&lease, "ünï \"quoted\"").await.unwrap();
    suite.complete(&lease, "ünï \"quoted\"").await.unwrap();
    assert_eq!(suite.begin(&key, "f").await, completed("ünï \"quoted\""));
    assert_eq!(suite.begin(&key, "g").await, Begun::Conflict);
    // A result outlives its lease, and cannot be abandoned.
    suite.now += LEASE;
    for effect in [Effect::None, Effect::Unknown] {
        suite.abandon(&lease, effect).await;
        assert_eq!(suite.begin(&key, "f").await, completed("ünï \"quoted\""));
    }
    // After its time the record counts as absent, whether or not it was deleted: for another payload too.
    suite.now += DAY;
    let lease = suite.lease(&key, "g").await;
    assert!(!lease.is_retry());
    assert_eq!(suite.begin(&key, "f").await, Begun::Conflict);
    suite.abandon(&lease, Effect::None).await;

    // A lease that ended is taken over by the same payload only, and its first holder has lost it.
    let key = unique("k", "");
    let first = suite.lease(&key, "f").await;
    suite.now += LEASE - Duration::from_millis(1);
    assert_eq!(suite.begin(&key, "f").await, in_progress(Duration::from_millis(1)));
    suite.now += Duration::from_millis(1);
    assert_eq!(suite.begin(&key, "g").await, Begun::Conflict);
    let second = suite.lease(&key, "f").await;
    assert!(second.is_retry(), "what the first did is not known");
    assert_eq!(suite.complete(&first, "late").await, Err(StoreError::LeaseLost));
    for effect in [Effect::None, Effect::Unknown] {
        suite.abandon(&first, effect).await;
        assert_eq!(suite.begin(&key, "f").await, in_progress(LEASE));
    }
    suite.complete(&second, "").await.unwrap();
    assert_eq!(suite.begin(&key, "f").await, completed(""));

    // Abandoned without effect, a key is free; otherwise it stays with its payload.
    let key = unique("k", "");
    let lease = suite.lease(&key, "f").await;
    assert!(!lease.is_retry());
    suite.abandon(&lease, Effect::Unknown).await;
    assert_eq!(suite.begin(&key, "g").await, Begun::Conflict);
    let lease = suite.lease(&key, "f").await;
    assert!(lease.is_retry());
    suite.abandon(&lease, Effect::None).await;
    let lease = suite.lease(&key, "g").await;
    assert!(!lease.is_retry());
    suite.abandon(&lease, Effect::None).await;
    suite.abandon(&lease, Effect::None).await;
    assert_eq!(suite.complete(&lease, "late").await, Err(StoreError::LeaseLost));

    // Of many callers at a time, one has the lease.
    let key = unique("k", "");
    let begun = futures_util::future::join_all((0..50).map(|_| suite.begin(&key, "f"))).await;
    let new = begun.iter().filter(|begun| matches!(begun, Begun::New(_))).count();
    assert_eq!((new, begun.len()), (1, 50), "{begun:?}");

    rate_limits(&suite.store).await;
}

const SECOND: u64 = 1_000_000_000;
/// In 2027, in nanoseconds.
const NOW: u64 = 1_800_000_000 * SECOND;

/// Takes a request of a limit of three in 30 s, at so many seconds, with this knowledge of the due time.
async fn take<S: RateLimitStore>(store: &S, key: &str, at_s: u64, known_s: Option<u64>) -> Result<u64, u64> {
    let time = |seconds: u64| NOW + seconds * SECOND;
    let known_due_ns = known_s.map_or(0, time);
    let take = Take { key, now_ns: time(at_s), period_ns: 10 * SECOND, tolerance_ns: 20 * SECOND, known_due_ns };
    let seconds = |ns: u64| (ns - NOW) / SECOND;
    match store.take(&take, deadline()).await.unwrap() {
        Taken::Within { due_ns } => Ok(seconds(due_ns)),
        Taken::Exceeded { due_ns } => Err(seconds(due_ns)),
    }
}

async fn rate_limits(store: &impl RateLimitStore) {
    // What an environment knows of a caller is right, nothing, or out of date, with the same result.
    let knowledge: [&[Option<u64>]; 3] = [
        &[None; 9],
        &[None, Some(10), Some(20), Some(30), Some(30), Some(40), Some(40), Some(1_010), Some(1_020)],
        &[Some(5), None, Some(10), None, Some(10), Some(10), Some(30), None, Some(40)],
    ];
    for known in knowledge {
        let key = unique("limit", "");
        let mut found = Vec::new();
        for (at_s, known_s) in [0, 0, 0, 0, 10, 10, 1_000, 1_000, 1_000].into_iter().zip(known) {
            found.push(take(store, &key, at_s, *known_s).await);
        }
        let expected = [Ok(10), Ok(20), Ok(30), Err(30), Ok(40), Err(40), Ok(1_010), Ok(1_020), Ok(1_030)];
        assert_eq!(found, expected, "{known:?}");
    }
    // Of many callers at a time, exactly the limit is within it, whatever they know.
    let key = unique("limit", "");
    let taken = futures_util::future::join_all((0..50).map(|n| take(store, &key, 0, (n % 2 == 0).then_some(10)))).await;
    let mut within: Vec<_> = taken.iter().filter_map(|taken| taken.ok()).collect();
    within.sort_unstable();
    assert_eq!((within, taken.len()), (vec![10, 20, 30], 50), "{taken:?}");
}

/// The part of the suite about the status of messages.
async fn statuses<S: StatusStore>(store: &S) {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let at = |ms| start + Duration::from_millis(ms);
    let processing = MessageState::Processing { receive_count: 1 };
    let retrying = MessageState::Retrying { receive_count: 1, next_s: 1_800_000_060 };
    let (done, none) = (MessageState::Done { result: Some("ünï \"quoted\"".to_owned()) }, None);
    let done_again = MessageState::Done { result: None };
    let dead = MessageState::Dead { code: Some("unknown".to_owned()), reason: "no such article".to_owned() };
    let accepted = MessageState::Accepted;
    // Changes in the order in which they arrive, each with the time at which it was made, and the state after them.
    for (changes, expected) in [
        (&[][..], &accepted),
        (&[(&processing, 10)][..], &processing),
        // The clock of a consumer may be behind that of the ingress.
        (&[(&processing, 10), (&retrying, 10)], &retrying),
        (&[(&processing, 10), (&done, 10)], &done),
        (&[(&retrying, 10), (&processing, 10)], &retrying),
        (&[(&retrying, 20), (&processing, 10)], &retrying),
        (&[(&retrying, 20), (&processing, 30)], &processing),
        // Done is final; dead is not, because it may be redriven.
        (&[(&retrying, 20), (&done, 10)], &done),
        (&[(&done, 10), (&processing, 20), (&retrying, 30), (&dead, 40), (&done_again, 50)], &done),
        (&[(&retrying, 20), (&dead, 10)], &dead),
        (&[(&dead, 20), (&processing, 10)], &dead),
        (&[(&dead, 20), (&processing, 30)], &processing),
        (&[(&dead, 20), (&done, 30)], &done),
    ] {
        let id = unique("m", "");
        store.change_status(&id, &done, at(0), deadline()).await.unwrap();
        assert_eq!(store.status(&id, at(0), deadline()).await.unwrap(), none, "a change makes no status");
        let opened = store.open_status(&id, "owner", start, deadline()).await.unwrap();
        for (state, ms) in changes {
            store.change_status(&id, state, at(*ms), deadline()).await.unwrap();
        }
        let found = store.status(&id, at(100), deadline()).await.unwrap();
        assert_eq!(found, Some(Status { owner: "owner".to_owned(), state: expected.clone() }), "{changes:?}");
        // It is taken back before a consumer has changed it, and not after.
        store.withdraw_status(&opened, Effect::None, deadline()).await.unwrap();
        let left = store.status(&id, at(100), deadline()).await.unwrap();
        assert_eq!(left.is_some(), !changes.is_empty(), "{changes:?}");
        // A repeated request leaves a changed one as it is.
        store.open_status(&id, "owner", at(100), deadline()).await.unwrap();
        assert_eq!(store.status(&id, at(100), deadline()).await.unwrap(), found);
        // After its time it counts as absent, whether or not it was deleted.
        let later = at(100) + STATUS_KEPT;
        assert_eq!(store.status(&id, later, deadline()).await.unwrap(), none);
        let opened = store.open_status(&id, "other", later, deadline()).await.unwrap();
        let found = store.status(&id, later, deadline()).await.unwrap();
        assert_eq!(found.map(|status| status.owner).as_deref(), Some("other"));
        store.withdraw_status(&opened, Effect::None, deadline()).await.unwrap();
        assert_eq!(store.status(&id, later, deadline()).await.unwrap(), none);
    }
}

/// Requests with one message: how each ends, and whether its status is shown then.
async fn a_status_is_taken_back_unless_another_request_shows_it<S: StatusStore>(store: &S) {
    let start = SystemTime::now();
    let is_shown = async |id: &str| store.status(id, start, deadline()).await.unwrap().is_some();
    let (none, unknown) = (Some(Effect::None), Some(Effect::Unknown));
    for (ends, expected) in [
        (&[(None, true)][..], MessageState::Accepted),
        (&[(none, false), (None, true)], MessageState::Accepted),
        (&[(unknown, false), (None, true)], MessageState::Accepted),
        (&[(None, true), (none, true), (unknown, true)], MessageState::Accepted),
        // The first may be stored, so its consumer changes the status, whatever became of the others.
        (&[(unknown, false)], MessageState::Done { result: None }),
        (&[(unknown, false), (none, false), (unknown, false)], MessageState::Done { result: None }),
        (&[(none, false), (unknown, false)], MessageState::Done { result: None }),
    ] {
        let id = unique("m", "");
        for (number, (ends, is_shown_then)) in ends.iter().enumerate() {
            let opened = store.open_status(&id, "owner", start, deadline()).await.unwrap();
            assert!(is_shown(&id).await, "request {number} of {expected:?}");
            if let Some(effect) = ends {
                store.withdraw_status(&opened, *effect, deadline()).await.unwrap();
            }
            assert_eq!(is_shown(&id).await, *is_shown_then, "request {number} of {expected:?}");
        }
        if expected != MessageState::Accepted {
            store.change_status(&id, &expected, start, deadline()).await.unwrap();
        }
        let found = store.status(&id, start, deadline()).await.unwrap();
        assert_eq!(found, Some(Status { owner: "owner".to_owned(), state: expected }));
    }
    // What comes late is about its own request.
    for effect in [Effect::None, Effect::Unknown] {
        let id = unique("m", "");
        let late = store.open_status(&id, "owner", start, deadline()).await.unwrap();
        store.open_status(&id, "owner", start, deadline()).await.unwrap();
        store.withdraw_status(&late, effect, deadline()).await.unwrap();
        assert!(is_shown(&id).await, "{effect:?}");
    }
}

fn environment(endpoint: &str) -> AwsEnvironment {
    AwsEnvironment::read(|name| variable(endpoint, name)).unwrap()
}

fn variable(endpoint: &str, name: &str) -> Option<String> {
    match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    }
}

/// Returns a store with a new table at this endpoint.
async fn dynamodb(endpoint: &str) -> DynamoDbStore {
    DynamoDbStore::new(&environment(endpoint), table(endpoint).await)
}

/// Creates a table of keys, and returns its name.
async fn table(endpoint: &str) -> String {
    let table = unique("keys", "");
    create_table(&environment(endpoint), &table).await;
    table
}

/// Creates a table with the key `id`.
async fn create_table(environment: &AwsEnvironment, table: &str) {
    let input = json!({
        "TableName": table,
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "BillingMode": "PAY_PER_REQUEST",
    });
    call(environment, "CreateTable", &input).await;
}

/// Calls DynamoDB. Returns the answer.
async fn call(environment: &AwsEnvironment, action: &str, input: &Value) -> Value {
    let service = AwsService::new(environment, Service::DynamoDb);
    let target: &'static str = format!("DynamoDB_20120810.{action}").leak();
    let answer = service.call(target, input.to_string(), None, deadline(), &Progress::default()).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[tokio::test]
async fn memory_passes_the_suite() {
    suite(MemoryStore::default()).await;
}

#[tokio::test]
async fn the_embedded_dynamodb_passes_the_suite() {
    let endpoint = emulator().await;
    suite(dynamodb(&endpoint).await).await;
    transactions::suite(&endpoint).await;
}

#[tokio::test]
#[ignore = "needs ministack, which ./tests/run starts"]
async fn ministack_passes_the_suite() {
    let endpoint = std::env::var("SLUICEGATE_MINISTACK_URL").expect("the URL of ministack");
    suite(dynamodb(&endpoint).await).await;
    transactions::suite(&endpoint).await;
}

#[tokio::test]
async fn a_lost_answer_to_a_claim_does_not_block_its_key() {
    // The first answer is lost on the way, so the client repeats the write, whose condition then fails.
    let endpoint = emulator().await;
    let proxy = lossy(&endpoint).await;
    let suite = Suite::new(DynamoDbStore::new(&environment(&proxy), table(&endpoint).await));
    let lease = suite.lease("k", "f").await;
    assert!(lease.is_retry(), "what the claim replaced is not known");
    suite.complete(&lease, "r").await.unwrap();
    assert_eq!(suite.begin("k", "f").await, Begun::Completed { result: "r".to_owned() });
}

/// Starts a proxy that drops the answer to every first request of a connection, after it was carried out.
async fn lossy(endpoint: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = endpoint.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        let mut connections = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            connections += 1;
            let mut server = tokio::net::TcpStream::connect(&upstream).await.unwrap();
            if connections > 1 {
                tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut client, &mut server).await) });
                continue;
            }
            let mut buffer = vec![0; 64 * 1_024];
            let read = client.read(&mut buffer).await.unwrap();
            server.write_all(&buffer[..read]).await.unwrap();
            let answered = server.read(&mut buffer).await.unwrap();
            assert!(answered > 0, "the request was carried out");
        }
    });
    url
}

#[tokio::test]
async fn a_write_of_a_limit_is_not_repeated() {
    // The answer to the first write is lost on the way.
    let endpoint = emulator().await;
    let proxy = lossy(&endpoint).await;
    let store = dynamodb(&endpoint).await;
    let table = format!("{store:?}").split('"').find(|part| part.starts_with("keys-")).unwrap().to_owned();
    let through_proxy = DynamoDbStore::new(&environment(&proxy), table);
    let first = Take { key: "k", now_ns: NOW, period_ns: 10 * SECOND, tolerance_ns: 20 * SECOND, known_due_ns: 0 };
    let lost = through_proxy.take(&first, deadline()).await.unwrap_err();
    assert!(matches!(lost, StoreError::Unavailable(_)), "{lost:?}");
    // It counts once.
    assert_eq!(take(&store, "k", 0, None).await, Ok(20));
}

#[tokio::test]
async fn a_refusal_and_an_outage_are_different_errors() {
    let endpoint = emulator().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (endpoint, is_refused, says) in
        [(endpoint, true, "ResourceNotFoundException"), (format!("http://{closed}"), false, "cannot connect")]
    {
        let suite = Suite::new(DynamoDbStore::new(&environment(&endpoint), "no-such-table"));
        let now = suite.now;
        let claim = Claim { key: "k", fingerprint: "f", now, lease_until: now + LEASE, keep_until: now + DAY };
        let error = suite.store.begin(&claim, deadline()).await.unwrap_err();
        assert_eq!(matches!(error, StoreError::Refused(_)), is_refused, "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
