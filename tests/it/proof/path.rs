//! The whole path under load with repeated faults: clients that retry until they get 202, the real functions, and a
//! receiver that fails at times. At the end every accepted order was handled or is in the dead-letter queue, and the
//! queues are empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::forward::ForwardServer;
use crate::support::rabbitmq::Vhost;
use crate::support::stack::Stack;

const CLIENTS: usize = 8;
/// The longest pause of a client between two orders, for about 200 orders a second of all clients.
const REST_TIME_MAX: Duration = Duration::from_millis(80);
/// The time limit for an order to be accepted, faults included.
const ACCEPT_TIME_MAX: Duration = Duration::from_secs(90);
/// The time limit from the last fault to the end of every order: four retry delays that grow to 16 s, each rounded up
/// to a delay queue of at most 60 s, and the reconnection of the poller.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(1_200);
const QUEUE: &str = "orders";
const DEAD_LETTERS: &str = "orders.dlq";

/// The receives of one event.
#[derive(Default)]
struct Seen {
    order: String,
    handled: usize,
    failed: usize,
}

/// The receives by event id.
type Receives = Arc<Mutex<BTreeMap<String, Seen>>>;

/// The path and its clients.
pub(super) struct Path {
    pub(super) stack: Arc<Stack>,
    receives: Receives,
    _receiver: ForwardServer,
    busy: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    clients: JoinSet<Placed>,
}

/// The result of one client: the message id of each order, and the number of repeated requests.
#[derive(Default)]
struct Placed {
    ids: BTreeMap<String, String>,
    repeats: usize,
    slowest: Duration,
}

/// The figures of a run. `Display` is one line.
pub(super) struct Figures {
    pub(super) accepted: usize,
    handled: usize,
    dead_letters: usize,
    handled_and_dead: usize,
    answered_repeats: usize,
    delivered_repeats: usize,
    slowest: Duration,
}

impl Path {
    /// Starts `cargo local` on the broker at `url` and the clients. The receiver fails every tenth order once, and
    /// refuses every twentieth, which makes it a dead letter.
    pub(super) async fn start(url: &str, arguments: &[&str]) -> Self {
        let receives = Receives::default();
        let receiver = ForwardServer::start({
            let receives = receives.clone();
            move |event| receive(&mut receives.lock().expect("no panic"), &event.body)
        })
        .await;
        let arguments = [&["--rabbitmq-url", url], arguments].concat();
        let stack = Arc::new(Stack::start(&arguments, &[("FORWARD_URL", &receiver.url)]).await);
        let (busy, accepted) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(place_orders(stack.clone(), client, busy.clone(), accepted.clone()));
        }
        Self { stack, receives, _receiver: receiver, busy, accepted, clients }
    }

    /// Waits until `count` more orders have been accepted, which shows that the path works again.
    pub(super) async fn until_accepted(&self, count: usize) {
        let wanted = self.accepted.load(Ordering::Relaxed) + count;
        self.stack
            .until(&format!("{count} more orders are accepted"), ACCEPT_TIME_MAX, async || {
                (self.accepted.load(Ordering::Relaxed) >= wanted).then_some(())
            })
            .await;
    }

    /// Ends the load, waits until every accepted order has ended, and checks the result.
    pub(super) async fn settle(self, vhost: &Vhost) -> Figures {
        self.busy.store(false, Ordering::Relaxed);
        let mut orders = BTreeMap::new();
        let (mut answered_repeats, mut slowest) = (0, Duration::ZERO);
        for placed in self.clients.join_all().await {
            orders.extend(placed.ids);
            answered_repeats += placed.repeats;
            slowest = slowest.max(placed.slowest);
        }
        let (stack, receives) = (&self.stack, &self.receives);
        let mut dead = BTreeMap::<String, usize>::new();
        let (mut printed, mut open) = (0, orders.values().cloned().collect::<BTreeSet<_>>());
        stack
            .until("every accepted order is handled or a dead letter", SETTLE_TIME_MAX, async || {
                for body in vhost.drain(DEAD_LETTERS).await {
                    *dead.entry(event(&body.body).0).or_default() += 1;
                }
                {
                    let seen = receives.lock().expect("no panic");
                    open.retain(|id| !dead.contains_key(id) && seen.get(id).is_none_or(|seen| seen.handled == 0));
                }
                stack.print_last(&open, &mut printed).await;
                open.is_empty().then_some(())
            })
            .await;
        stack
            .until("the queues are empty", SETTLE_TIME_MAX, async || {
                for body in vhost.drain(DEAD_LETTERS).await {
                    *dead.entry(event(&body.body).0).or_default() += 1;
                }
                let counts = vhost.counts().await;
                counts.values().all(|count| *count == 0).then_some(())
            })
            .await;

        let seen = std::mem::take(&mut *receives.lock().expect("no panic"));
        let mut ids = BTreeMap::new();
        for (id, each) in &seen {
            let first = ids.entry(each.order.clone()).or_insert_with(|| id.clone());
            assert_eq!(first, id, "order {} was delivered under two ids", each.order);
            assert_eq!(orders.get(&each.order), Some(id), "order {} was answered with another id", each.order);
        }
        let known: BTreeSet<_> = orders.values().collect();
        assert!(dead.keys().all(|id| known.contains(id)), "a dead letter with an unknown id");
        let handled = seen.values().filter(|seen| seen.handled > 0).count();
        let copies = seen.values().map(|seen| seen.handled.saturating_sub(1)).sum::<usize>();
        let dead_copies = dead.values().map(|copies| copies - 1).sum::<usize>();
        let both = dead.keys().filter(|id| seen.get(*id).is_some_and(|seen| seen.handled > 0)).count();
        assert_eq!(handled + dead.len() - both, orders.len(), "an accepted order is neither handled nor a dead letter");
        let figures = Figures {
            accepted: orders.len(),
            handled,
            dead_letters: dead.len() - both,
            handled_and_dead: both,
            answered_repeats,
            delivered_repeats: copies + dead_copies + both,
            slowest,
        };
        Arc::into_inner(self.stack).expect("the only owner").stop().await;
        figures
    }
}

/// Records a receive. Returns the status of the answer.
fn receive(receives: &mut BTreeMap<String, Seen>, body: &[u8]) -> StatusCode {
    let (id, order) = event(body);
    let seen = receives.entry(id).or_default();
    let kind = order.split('-').next().unwrap_or_default();
    let status = match kind {
        "refused" => StatusCode::UNPROCESSABLE_ENTITY,
        "flaky" if seen.failed == 0 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    match status {
        StatusCode::OK => seen.handled += 1,
        _ => seen.failed += 1,
    }
    seen.order = order;
    status
}

/// Returns the id of an event and of its order.
fn event(body: &[u8]) -> (String, String) {
    let event: Value = serde_json::from_slice(body).expect("a CloudEvent");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&event["id"]), text(&event["data"]["order_id"]))
}

/// Places orders until `busy` is false. Repeats each under its idempotency key until it is accepted.
async fn place_orders(stack: Arc<Stack>, client: usize, busy: Arc<AtomicBool>, accepted: Arc<AtomicUsize>) -> Placed {
    let mut placed = Placed::default();
    for n in 0.. {
        if !busy.load(Ordering::Relaxed) {
            break;
        }
        let kind = match n % 20 {
            3 | 13 => "flaky",
            7 => "refused",
            _ => "fine",
        };
        let name = format!("{kind}-{client}-{n}-{}", std::process::id());
        let started = Instant::now();
        let id = loop {
            let (status, body) = place(&stack, &name).await;
            match status {
                202 => break body["id"].as_str().expect("an id").to_owned(),
                // The process that handled the request was killed, or the broker was.
                500..=599 | 429 => placed.repeats += 1,
                other => panic!("{other}: {body}"),
            }
            let slow = started.elapsed();
            assert!(slow < ACCEPT_TIME_MAX, "{name} is not accepted after {slow:?}: {body}\n{}", stack.printed());
            super::pause(REST_TIME_MAX).await;
        };
        placed.slowest = placed.slowest.max(started.elapsed());
        placed.ids.insert(name, id);
        accepted.fetch_add(1, Ordering::Relaxed);
        super::pause(REST_TIME_MAX).await;
    }
    placed
}

/// Places one order. Returns status and body.
pub(super) async fn place(stack: &Stack, name: &str) -> (u16, Value) {
    let order = json!({ "order_id": name, "customer_id": name, "items": [{ "sku": "tea", "quantity": 1 }] });
    let request = stack.http.post(format!("{}/{QUEUE}", stack.gateway)).json(&order);
    let answer = request.header("x-api-key", "dev-key").header("idempotency-key", name).send().await;
    let answer = answer.expect("the gateway answers");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, handled, dead_letters, handled_and_dead, answered_repeats, delivered_repeats, slowest } =
            self;
        write!(
            out,
            "{accepted} orders answered 202, 0 lost: {handled} handled, {dead_letters} dead letters instead \
             ({handled_and_dead} more became one after they were handled, their receives used up); {answered_repeats} requests \
             had to be repeated, the slowest order was accepted after {:.1} s; {delivered_repeats} repeats were delivered, each \
             under the first's id",
            slowest.as_secs_f64()
        )
    }
}
