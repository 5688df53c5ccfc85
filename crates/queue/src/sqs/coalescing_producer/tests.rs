//! Callers on a virtual clock, with calls that take as long as a case says, and batches that a server on a socket
//! answers.

use futures_util::future::join_all;
use proptest::prelude::*;
use sluicegate_envelope::Envelope;
use tokio::time::{sleep, sleep_until};

use super::super::tests::server::{Entry, Server, Step};
use super::super::tests::{AMPLE, conclusion, config, numbered};
use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Calls that take some time. A message is its number and its size.
struct Slow {
    takes: Duration,
    calls: Mutex<Vec<SlowCall>>,
}

struct SlowCall {
    started: Instant,
    ended: Instant,
    numbers: Vec<usize>,
    bytes: usize,
}

impl Calls for Slow {
    type Message = (usize, usize);

    fn bytes(message: &Self::Message) -> usize {
        message.1
    }

    async fn send(&self, messages: &[Self::Message], deadline: Instant) -> Vec<Sent> {
        let started = Instant::now();
        let ended = deadline.min(started + self.takes);
        let numbers: Vec<_> = messages.iter().map(|message| message.0).collect();
        let bytes = messages.iter().map(|message| message.1).sum();
        self.calls.lock().unwrap().push(SlowCall { started, ended, numbers, bytes });
        sleep_until(ended).await;
        let is_late = ended == deadline;
        let late = || Err(SendError::Unknown { reason: "late".to_owned() });
        messages.iter().map(|message| if is_late { late() } else { Ok(message.0.to_string()) }).collect()
    }
}

/// A caller: when it comes, its FIFO group, the bytes of its message, and how long it waits.
#[derive(Clone, Copy, Debug)]
struct Caller {
    at: Duration,
    group: Option<u8>,
    bytes: usize,
    within: Duration,
}

impl Caller {
    fn at(at_ms: u64) -> Self {
        Self { at: ms(at_ms), group: None, bytes: 1, within: AMPLE }
    }
}

/// Sends the messages of callers through calls that take `takes`. Returns the result of each caller and how long it
/// waited, and the calls with the time since the start.
async fn run(takes: Duration, callers: &[Caller]) -> (Vec<(Sent, Duration)>, Vec<SlowCall>, Instant) {
    let slow = Slow { takes, calls: Mutex::default() };
    let coalescer = Arc::new(Coalescer { calls: slow, state: Mutex::default() });
    let start = Instant::now();
    let call = async |(number, caller): (usize, &Caller)| {
        sleep_until(start + caller.at).await;
        let group = caller.group.map(|group| group.to_string());
        let came = Instant::now();
        let sent = coalescer.send((number, caller.bytes), group, came + caller.within).await;
        (sent, came.elapsed())
    };
    let results = join_all(callers.iter().enumerate().map(call)).await;
    // Calls whose callers have returned at their deadlines.
    sleep(AMPLE).await;
    let state = coalescer.state();
    assert!(state.calls == 0 && state.waiting.is_empty() && state.groups.is_empty(), "nothing is left");
    drop(state);
    let calls = std::mem::take(&mut *coalescer.calls.calls.lock().unwrap());
    (results, calls, start)
}

/// Expects calls at these milliseconds with these messages.
async fn check(takes_ms: u64, callers: &[Caller], expected: &[(u64, &[usize])]) -> Vec<Sent> {
    let (results, calls, start) = run(ms(takes_ms), callers).await;
    let since = |call: &SlowCall| u64::try_from((call.started - start).as_millis()).unwrap();
    let calls: Vec<_> = calls.iter().map(|call| (since(call), call.numbers.as_slice())).collect();
    assert_eq!(calls, expected, "{callers:?}");
    results.into_iter().map(|(sent, _)| sent).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lone_message_never_waits_and_others_wait_for_a_call_or_five_milliseconds() {
    let at = Caller::at;
    check(10, &[at(0)], &[(0, &[0])]).await;
    check(10, &[at(0), at(11), at(30)], &[(0, &[0]), (11, &[1]), (30, &[2])]).await;
    // 1 waits for the end of the call of 0.
    check(3, &[at(0), at(1), at(2)], &[(0, &[0]), (3, &[1, 2])]).await;
    // Its delay is over before that, and it takes the later one along.
    check(20, &[at(0), at(1), at(5), at(7)], &[(0, &[0]), (6, &[1, 2]), (12, &[3])]).await;
    // A full batch does not wait.
    let many: Vec<_> = [at(0)].into_iter().chain([at(1); 11]).collect();
    let full: Vec<_> = (1..11).collect();
    check(20, &many, &[(0, &[0]), (1, &full), (6, &[11])]).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_at_most_one_mebibyte() {
    let half = Caller { bytes: BATCH_BYTES_MAX / 2, ..Caller::at(1) };
    let first = Caller::at(0);
    check(20, &[first, half, half], &[(0, &[0]), (6, &[1, 2])]).await;
    // The third does not fit, so the first two need not wait for more.
    check(20, &[first, half, half, Caller::at(1)], &[(0, &[0]), (1, &[1, 2]), (6, &[3])]).await;
    let whole = Caller { bytes: BATCH_BYTES_MAX, ..Caller::at(1) };
    check(20, &[first, whole, whole], &[(0, &[0]), (1, &[1]), (6, &[2])]).await;
}

#[tokio::test(start_paused = true)]
async fn a_fifo_group_is_in_one_call_at_a_time_and_other_groups_go_on() {
    let of = |group: u8, at_ms: u64| Caller { group: Some(group), ..Caller::at(at_ms) };
    let callers = [of(1, 0), of(1, 1), of(2, 1), of(1, 2), of(2, 7)];
    check(20, &callers, &[(0, &[0]), (6, &[2]), (20, &[1, 3]), (26, &[4])]).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_returns_at_its_deadline_and_the_others_are_not_affected() {
    let within = |at_ms: u64, within_ms: u64| Caller { within: ms(within_ms), ..Caller::at(at_ms) };
    let is_unknown = |sent: &Sent| matches!(sent, Err(SendError::Unknown { .. }));
    let sent = check(20, &[within(0, 90), within(1, 15), within(1, 90)], &[(0, &[0]), (6, &[1, 2])]).await;
    assert!(is_unknown(&sent[1]) && sent[0].is_ok() && sent[2] == Ok("2".to_owned()), "{sent:?}");
    // One with little time left waits for half of it.
    let sent = check(20, &[within(0, 90), within(1, 4), within(1, 90)], &[(0, &[0]), (3, &[1, 2])]).await;
    assert!(is_unknown(&sent[1]) && sent[2] == Ok("2".to_owned()), "{sent:?}");
    // A message that waits for its group is not sent after its deadline.
    let group = Some(1);
    let callers = [Caller { group, ..within(0, 90) }, Caller { group, ..within(1, 10) }];
    let sent = check(20, &callers, &[(0, &[0])]).await;
    assert!(matches!(sent[1], Err(SendError::NotSent { .. })), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_caller_is_gone_is_not_sent() {
    let coalescer =
        Arc::new(Coalescer { calls: Slow { takes: ms(20), calls: Mutex::default() }, state: Mutex::default() });
    let send = async |number| coalescer.send((number, 1), None, Instant::now() + AMPLE).await;
    let gone = async { tokio::time::timeout(ms(2), send(1)).await.is_err() };
    let (first, is_gone, last) = tokio::join!(send(0), gone, send(2));
    assert!(first.is_ok() && is_gone && last == Ok("2".to_owned()));
    let calls = coalescer.calls.calls.lock().unwrap();
    let numbers: Vec<_> = calls.iter().map(|call| call.numbers.as_slice()).collect();
    assert_eq!(numbers, [[0], [2]]);
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let bytes = prop_oneof![4 => 1..100usize, 1 => 1..=BATCH_BYTES_MAX];
    let caller = (0..60u64, prop::option::of(0..3u8), bytes, 1..90u64);
    let caller = caller.prop_map(|(at, group, bytes, within)| Caller { at: ms(at), group, bytes, within: ms(within) });
    prop::collection::vec(caller, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_message_is_sent_at_most_once_in_order_and_within_the_limits(takes in 1..40u64, mut callers in callers()) {
        callers.sort_by_key(|caller| caller.at);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (results, calls, start) = runtime.block_on(run(ms(takes), &callers));
        let call_of = |number: usize| {
            let mut having = calls.iter().filter(|call| call.numbers.contains(&number));
            let call = having.next();
            assert!(having.next().is_none(), "{number} is sent once");
            call
        };
        for call in &calls {
            prop_assert!(call.numbers.len() <= BATCH_ENTRIES_MAX && call.bytes <= BATCH_BYTES_MAX);
        }
        for (number, (caller, (sent, waited))) in callers.iter().zip(&results).enumerate() {
            let call = call_of(number);
            prop_assert!(*waited <= caller.within, "{number} waited {waited:?}");
            match sent {
                Ok(id) => prop_assert_eq!(id, &number.to_string()),
                Err(SendError::NotSent { .. }) => prop_assert!(call.is_none(), "{number} is sent after all"),
                Err(error) => prop_assert!(call.is_some() && *waited == caller.within, "{number}: {error}"),
            }
            let Some(call) = call else { continue };
            let delay = call.started - (start + caller.at);
            prop_assert!(caller.group.is_some() || delay <= COALESCE_DELAY_MAX, "{number} was delayed by {delay:?}");
        }
        for group in 0..3 {
            let of_group = |number: &usize| callers[*number].group == Some(group);
            let order: Vec<_> = calls.iter().flat_map(|call| &call.numbers).filter(|number| of_group(number)).collect();
            prop_assert!(order.is_sorted(), "group {group} is sent in the order {order:?}");
            let with_group: Vec<_> = calls.iter().filter(|call| call.numbers.iter().any(of_group)).collect();
            prop_assert!(with_group.windows(2).all(|two| two[0].ended <= two[1].started), "one call at a time");
        }
    }
}

/// Sends envelopes at the same time to a server that does `steps`; returns the conclusions and the requests, by their
/// entries. The first is sent alone, and the others wait for its end.
async fn send_together(url: &str, envelopes: &[Envelope], steps: &[Step]) -> (Vec<&'static str>, Vec<usize>) {
    let server = Server::start(steps).await;
    let producer = CoalescingProducer::new(SqsProducer::new(&config(&server.endpoint()), url));
    let send = async |envelope: &Envelope| {
        let sent = producer.send(&Message::new(envelope), Instant::now() + AMPLE).await;
        assert!(sent.as_ref().map_or(true, |receipt| receipt.id == envelope.id()), "{sent:?}");
        conclusion(&sent.map(|receipt| receipt.broker_id))
    };
    let sent = join_all(envelopes.iter().map(send)).await;
    let entries = |body: &serde_json::Value| body["Entries"].as_array().map_or(1, Vec::len);
    (sent, server.requests().iter().map(|request| entries(&request.body)).collect())
}

const STORED: Step = Step::Store;

#[tokio::test]
async fn each_caller_gets_the_proof_or_the_reason_of_its_own_message() {
    use Entry::{Failed, Stored, Unnamed, WrongMd5};
    let envelopes: Vec<_> = (0..7).map(numbered("{}")).collect();
    let batch = Step::Batch(&[
        Stored,
        WrongMd5,
        Failed("InternalError", false),
        Failed("InvalidMessageContents", true),
        Unnamed,
        Stored,
    ]);
    let sent = send_together("http://q/1/orders", &envelopes, &[STORED, batch]).await;
    let expected = vec!["receipt", "receipt", "unknown", "not sent", "refused: message", "unknown", "receipt"];
    assert_eq!(sent, (expected, vec![1, 6]));
}

#[tokio::test]
async fn a_lost_answer_to_a_batch_is_unknown_to_each_of_its_callers() {
    let envelopes: Vec<_> = (0..4).map(numbered("{}")).collect();
    let steps = [STORED, Step::Close, Step::Close, Step::Close];
    let sent = send_together("http://q/1/orders.fifo", &envelopes, &steps).await;
    assert_eq!(sent, (vec!["receipt", "unknown", "unknown", "unknown"], vec![1, 3, 3, 3]));
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_is_sent_one_by_one() {
    let envelopes: Vec<_> = (0..4).map(numbered("{}")).collect();
    let too_long = Step::Refusal("AWS.SimpleQueueService.BatchRequestTooLong", "longer than 262144 bytes");
    let refused = Step::Error(400, "InvalidMessageContents");
    let sent = send_together("http://q/1/orders", &envelopes, &[STORED, too_long, STORED, refused, STORED]).await;
    assert_eq!(sent, (vec!["receipt", "receipt", "refused: message", "receipt"], vec![1, 3, 1, 1, 1]));
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_is_refused_by_itself() {
    let envelopes = [numbered("{}")(0), numbered("{}")(1), numbered(&"x".repeat(800_000))(2), numbered("{}")(3)];
    let sent = send_together("http://q/1/orders", &envelopes, &[STORED, Step::Batch(&[Entry::Stored; 2])]).await;
    assert_eq!(sent, (vec!["receipt", "receipt", "too large", "receipt"], vec![1, 2]));
}
