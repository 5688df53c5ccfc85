//! [`Scenario`]: the configuration and the workload of a simulation, made of its seed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use crate::api::{Api, RateLimit};
use crate::credentials::Scheme;
use crate::deploy::{Change, Deploy, Handlers};
use crate::dice::Dice;
use crate::fault::Site;
use crate::message::{Message, Sender, Workload};
use crate::sending::Sending;

/// Until when clients send.
const WORKLOAD: Duration = Duration::from_secs(120);

/// How long faults go on after the last request, at most.
const FAULTS_AFTER: Duration = Duration::from_secs(600);

/// How long an outage lasts, at most.
const OUTAGE_MAX: Duration = Duration::from_secs(300);

/// How long nothing happens in the middle of a workload, at most: environments are frozen, and connections end.
const IDLE_MAX: Duration = Duration::from_secs(6 * 3_600);

/// How far the clock of an environment is wrong, at most: more than the date of a signature may be,
/// [`SIGNED_WITHIN`](crate::http_server::SIGNED_WITHIN).
pub(crate) const SKEW_MAX: Duration = Duration::from_secs(6 * 60);

/// How many messages are sent at the same time, at most.
pub(crate) const BURST_MAX: u32 = 32;

/// In one of so many seeds, one message of a hundred is large.
const LARGE_EVERY: u32 = 32;

/// In one of so many seeds, a quarter of the messages are texts of another program. They have a handler and a store,
/// and the dead-letter tool redrives them.
const RAW_EVERY: u32 = 8;

/// In one of so many seeds on SQS, the queue accepts no more than [`MESSAGE_BYTES_MAX`], and half of the messages are
/// larger: their payloads go through S3.
const PAYLOADS_EVERY: u32 = 4;

/// `MaximumMessageSize` of such a queue.
pub(crate) const MESSAGE_BYTES_MAX: u32 = 2_048;

/// In one of so many seeds without payloads in S3, all messages of clients are sent to a route whose idempotency keys
/// are in DynamoDB, which takes no batches.
const KEYS_EVERY: u32 = 4;

/// In one of so many seeds, clients can ask for the status of their messages, which are not sent in batches.
const STATUSES_EVERY: u32 = 4;

/// In one of so many seeds, each message of a client is archived.
const ARCHIVE_EVERY: u32 = 8;

/// In one of so many of the seeds with neither, each message of a client is sent to a second queue too, one of SQS.
const COPIES_EVERY: u32 = 4;

/// In one of so many seeds, messages are webhooks, unless they have statuses, which are read with an API key.
const WEBHOOKS_EVERY: u32 = 8;

/// In one of so many of the others, messages have the token of an issuer.
const TOKENS_EVERY: u32 = 8;

/// In one of so many of those, nothing happens for so long that no environment may still use a key that was removed.
const TOKENS_IDLE_EVERY: u32 = 4;
const TOKENS_IDLE: Duration = Duration::from_secs(26 * 3_600);

/// In one of so many seeds, the routes have a rate limit, which is counted in DynamoDB.
const RATE_LIMIT_EVERY: u32 = 8;

/// How many failures in one call's place are expected of a hundred calls, at most.
const FAULTS_PERCENT_MAX: u32 = 20;

/// How much more often the dead-letter tool is killed than another place has a fault.
const TOOL_FACTOR: u32 = 20;

/// Everything of a simulation that is decided before it runs.
pub(crate) struct Scenario {
    /// Whether the broker is RabbitMQ.
    pub(crate) rabbitmq: bool,
    /// Whether RabbitMQ counts `basic.nack` as a delivery: versions before 4.3.
    pub(crate) nack_counts: bool,
    /// Whether the queue is FIFO; of RabbitMQ, whether it is ordered.
    pub(crate) fifo: bool,
    pub(crate) batch_size: usize,
    pub(crate) batching_window: Duration,
    pub(crate) concurrency: u16,
    pub(crate) consumer_timeout: Duration,
    pub(crate) visibility: Duration,
    /// `maxReceiveCount` of the redrive policy.
    pub(crate) receive_count_max: u32,
    /// `FIFO_MAX_RECEIVE_COUNT`.
    pub(crate) fifo_receive_count_max: u32,
    /// Whether the consumer has an idempotency rule.
    pub(crate) has_store: bool,
    /// Whether the store of the consumer is in DynamoDB, or in memory.
    pub(crate) has_table: bool,
    /// Whether handlers have an effect in the table, in one transaction with the record of the message.
    pub(crate) has_effects: bool,
    /// Whether the queue accepts no more than [`MESSAGE_BYTES_MAX`], and larger payloads go through S3.
    pub(crate) has_payloads: bool,
    /// Whether the idempotency keys of requests are in DynamoDB.
    pub(crate) has_keys: bool,
    /// Whether the statuses of messages are.
    pub(crate) has_statuses: bool,
    /// How messages that are no items of a batch are authenticated.
    pub(crate) scheme: Scheme,
    /// What all environments of the ingress count together, in DynamoDB too.
    pub(crate) rate_limit: Option<RateLimit>,
    /// Whether messages of clients are sent to a second queue too.
    pub(crate) has_copies: bool,
    /// Whether that is the queue of the archive.
    pub(crate) has_archive: bool,
    /// Whether the first version of the consumer handles messages that are not events.
    accepts_raw: bool,
    /// The second version of the consumer.
    deploy: Option<Deploy>,
    /// When the ingress has another version of the contract.
    pub(crate) contract_changes_at: Duration,
    /// How far the clocks of environments are wrong, at most.
    pub(crate) skew_max: Duration,
    /// The chance of a fault at each site, in percent, by [`Site`].
    rates: [u32; Site::ALL.len()],
    /// When a service or a queue is away, for one site each.
    outages: Vec<(Site, Range<Duration>)>,
    /// When the last fault may happen.
    pub(crate) faults_until: Duration,
    /// A time before that in which no fault happens: on RabbitMQ, a pause of hours. Each batch that fails leaves copies
    /// of its messages and returns them as well, so they would double until the end of the pause.
    rest: Range<Duration>,
    /// When the messages in the dead-letter queue are moved back.
    pub(crate) redrives: Vec<Duration>,
    /// Whether the dead-letter tool does so, or what the broker has for it.
    pub(crate) has_tool: bool,
    /// When clients change to the second API key, the provider of webhooks to the second secret, and the issuer to the
    /// second key.
    pub(crate) key_changes_at: Duration,
    pub(crate) messages: Vec<Message>,
    /// The numbers of those whose idempotency keys are stored, by key.
    pub(crate) by_stored_key: BTreeMap<u32, Vec<u32>>,
    /// Which messages are sent together, in order.
    pub(crate) sendings: Vec<Sending>,
}

impl Scenario {
    /// Returns the scenario of a seed, with this many messages.
    pub(crate) fn new(dice: &Dice, count: u32, rabbitmq: bool) -> Self {
        let mut rng = dice.about("scenario", 0);
        let fifo = rng.bool();
        let is_calm = rng.u32(0..4) == 0;
        let batch_size = if rng.bool() { 10 } else { rng.usize(1..=10) };
        let fifo_receive_count_max = rng.u32(1..=5);
        // docs/operate.md and `ConsumerBuilder::fifo_receive_count_max` say how to set it.
        let for_fifo = u32::try_from(batch_size).unwrap_or(10) * fifo_receive_count_max + 10;
        // Long enough for the slowest handler that succeeds, within three quarters of it.
        let consumer_timeout = Duration::from_secs(rng.u64(12..=60));
        // Of what came later, so that each seed keeps the rest of its scenario.
        let mut later = dice.about("scenario", 1);
        let mut of_rabbitmq = dice.about("rabbitmq", 0);
        let (mut of_payloads, mut of_keys) = (dice.about("payloads", 0), dice.about("keys", 0));
        let (mut of_statuses, mut of_copies) = (dice.about("statuses", 0), dice.about("copies", 0));
        let (mut of_archive, mut of_webhooks) = (dice.about("archive", 0), dice.about("webhooks", 0));
        let mut of_tokens = dice.about("tokens", 0);
        let mut rates = [0; Site::ALL.len()];
        for site in Site::ALL {
            let rng = match site {
                Site::Broker => &mut of_rabbitmq,
                Site::Payload => &mut of_payloads,
                Site::Keys => &mut of_keys,
                Site::Copy => &mut of_copies,
                Site::Issuer => &mut of_tokens,
                Site::Archive | Site::Archiver | Site::ArchiveQueue => &mut of_archive,
                Site::Store | Site::Redrive | Site::Tool => &mut later,
                _ => &mut rng,
            };
            rates[site as usize] = if is_calm { 0 } else { rate_of(rng) };
        }
        // It starts a few times only.
        rates[Site::Tool as usize] *= TOOL_FACTOR;
        // An environment without secrets refuses every request, so the workload would not arrive.
        rates[Site::Secret as usize] = rates[Site::Secret as usize].min(5);
        let idle = if rng.u32(0..8) == 0 { IDLE_MAX.mul_f64(rng.f64()) } else { Duration::ZERO };
        let outages = if is_calm { 0 } else { rng.usize(0..3) };
        let is_raw = dice.about("raw", 0).u32(0..RAW_EVERY) == 0;
        let redrives = if rng.bool() && !is_raw { 0 } else { rng.usize(1..=2) };
        let at = |rng: &mut Rng| (WORKLOAD + FAULTS_AFTER).mul_f64(rng.f64());
        let window_s = if fifo || rng.bool() { 0 } else { rng.u64(1..=5) };
        let has_store = rng.bool() || is_raw;
        let receive_count_max = if fifo && !rabbitmq { for_fifo } else { rng.u32(1..=6) };
        let burst = if rng.bool() { 1 } else { rng.u32(1..=BURST_MAX) };
        let has_payloads = !rabbitmq && of_payloads.u32(0..PAYLOADS_EVERY) == 0;
        let has_keys = !has_payloads && of_keys.u32(0..KEYS_EVERY) == 0;
        let has_statuses = of_statuses.u32(0..STATUSES_EVERY) == 0;
        let scheme = if has_statuses {
            Scheme::ApiKey
        } else if of_webhooks.u32(0..WEBHOOKS_EVERY) == 0 {
            Scheme::Webhook
        } else if of_tokens.u32(0..TOKENS_EVERY) == 0 {
            Scheme::Token
        } else {
            Scheme::ApiKey
        };
        let idle = match scheme {
            // Secrets are removed within hours.
            Scheme::Webhook if of_webhooks.bool() => IDLE_MAX.mul_f64(of_webhooks.f64()),
            Scheme::Token if of_tokens.u32(0..TOKENS_IDLE_EVERY) == 0 => TOKENS_IDLE,
            _ => idle,
        };
        let is_issuer_away = scheme == Scheme::Token && !is_calm && of_tokens.u32(0..4) == 0;
        let has_archive = of_archive.u32(0..ARCHIVE_EVERY) == 0;
        let has_copies = has_archive || !has_statuses && of_copies.u32(0..COPIES_EVERY) == 0;
        let is_archive_away = has_archive && !is_calm && of_archive.u32(0..4) == 0;
        let are_copies_away = has_copies && !is_calm && of_copies.u32(0..4) == 0;
        let is_s3_away = has_payloads && !is_calm && of_payloads.bool();
        // Most of the time would be spent on their bytes, so they are in few seeds.
        let is_large = rng.u32(0..LARGE_EVERY) == 0 && !has_payloads;
        let has_table = has_store && (later.bool() || has_statuses);
        let workload = Workload { lasts: WORKLOAD, idle, burst, is_large, is_raw, has_payloads, shares_keys: has_keys };
        let messages: Vec<_> = (0..count).map(|number| Message::new(dice, number, count, &workload)).collect();
        let mut by_stored_key: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for message in messages.iter().filter(|message| has_keys && message.sender == Sender::Client) {
            by_stored_key.entry(message.key_of).or_default().push(message.number);
        }
        Self {
            rabbitmq,
            nack_counts: of_rabbitmq.bool(),
            fifo,
            batch_size,
            batching_window: Duration::from_secs(window_s),
            concurrency: rng.u16(2..=8),
            // AWS: at least six times the timeout of the function, plus the window.
            visibility: consumer_timeout * 6 + Duration::from_secs(window_s),
            consumer_timeout,
            receive_count_max,
            fifo_receive_count_max,
            has_store,
            has_table,
            has_effects: has_table && dice.about("effects", 0).bool(),
            has_payloads,
            has_keys,
            has_statuses,
            scheme,
            rate_limit: rate_limit(dice, count),
            has_copies,
            has_archive,
            accepts_raw: rng.bool() || is_raw,
            deploy: later.bool().then(|| Deploy::new(&mut later, WORKLOAD + FAULTS_AFTER)),
            contract_changes_at: WORKLOAD.mul_f64(2.0 * later.f64()),
            skew_max: match later.u32(0..4) {
                0 => Duration::from_secs(2).mul_f64(later.f64()),
                1 => SKEW_MAX.mul_f64(later.f64()),
                _ => Duration::ZERO,
            },
            rates,
            outages: (0..outages)
                .filter_map(|_| outage(&mut rng))
                .chain((!is_calm && later.u32(0..8) == 0).then(|| (Site::Store, away(&mut later))))
                .chain(is_s3_away.then(|| (Site::Payload, away(&mut of_payloads))))
                .chain(is_archive_away.then(|| (Site::Archive, away(&mut of_archive))))
                .chain(is_issuer_away.then(|| (Site::Issuer, away(&mut of_tokens))))
                .chain(are_copies_away.then(|| (Site::Copy, away(&mut of_copies))))
                .collect(),
            faults_until: idle + WORKLOAD + FAULTS_AFTER.mul_f64(rng.f64()),
            rest: if rabbitmq { WORKLOAD + FAULTS_AFTER..WORKLOAD / 2 + idle } else { Duration::ZERO..Duration::ZERO },
            redrives: (0..redrives).map(|_| at(&mut rng)).collect(),
            has_tool: later.bool() || is_raw,
            key_changes_at: WORKLOAD.mul_f64(rng.f64()),
            sendings: Sending::all(dice, &messages, !has_keys && !has_statuses),
            messages,
            by_stored_key,
        }
    }

    /// Returns whether a message keeps its idempotency key in the consumer: that of a text is the id that SQS gave it,
    /// and a move task gives it another.
    pub(crate) fn keeps_its_key(&self, message: u32) -> bool {
        let is_raw = self.messages.get(message as usize).is_some_and(|message| message.sender == Sender::Raw);
        !is_raw || self.has_tool || self.rabbitmq
    }

    /// Returns what the routes have.
    pub(crate) fn api(&self) -> Api {
        let Self { fifo, has_keys, rate_limit, scheme, has_payloads, has_statuses, .. } = *self;
        let Self { has_copies, has_archive, .. } = *self;
        Api { has_keys, is_open: fifo, rate_limit, scheme, has_payloads, has_statuses, has_copies, has_archive }
    }

    /// Returns the handlers of the version that is deployed.
    pub(crate) fn handlers(&self, now: Duration) -> Handlers {
        let Self { accepts_raw, .. } = *self;
        let first = Handlers { handles_others: false, accepts_raw, rejects: false };
        match &self.deploy {
            Some(deploy) if deploy.when.contains(&now) => first.changed(deploy.change),
            _ => first,
        }
    }

    /// Returns whether the payload of a message is larger than what is stored.
    pub(crate) fn is_too_large(&self, message: u32) -> bool {
        self.messages.get(message as usize).is_some_and(Message::is_too_large)
    }

    /// Returns whether another message has the same stored idempotency key.
    pub(crate) fn shares_key(&self, message: u32) -> bool {
        let key_of = self.messages.get(message as usize).map(|message| message.key_of);
        key_of.and_then(|key| self.by_stored_key.get(&key)).is_some_and(|messages| messages.len() > 1)
    }

    /// Returns the group within which a message is handled in order.
    pub(crate) fn group(&self, message: u32) -> Option<u32> {
        let message = self.messages.get(message as usize).filter(|_| self.fifo)?;
        // On RabbitMQ the event has the group, and messages without one are a group together.
        let has_group = !self.rabbitmq || message.sender == Sender::Client;
        Some(if has_group { message.group } else { u32::MAX })
    }

    /// Returns whether a version handles messages that are not events, and whether each does.
    pub(crate) fn accepts_raw(&self) -> (bool, bool) {
        let toggles = self.changes(Change::TogglesRaw);
        (self.accepts_raw || toggles, self.accepts_raw && !toggles)
    }

    /// Returns whether the second version of the consumer differs so.
    pub(crate) fn changes(&self, change: Change) -> bool {
        self.deploy.as_ref().is_some_and(|deploy| deploy.change == change)
    }

    /// Returns the chance of a fault, in percent.
    pub(crate) fn rate_percent(&self, site: Site, now: Duration) -> u32 {
        if now > self.faults_until || self.rest.contains(&now) {
            return 0;
        }
        let is_away = self.outages.iter().any(|(away, when)| *away == site && when.contains(&now));
        if is_away { 100 } else { self.rates[site as usize] }
    }

    /// Leaves one version of the consumer, and right clocks.
    #[cfg(test)]
    pub(crate) fn without_deploy(&mut self) {
        (self.deploy, self.skew_max) = (None, Duration::ZERO);
    }

    /// Sets the chance of each fault, in percent.
    #[cfg(test)]
    pub(crate) fn set_rates(&mut self, percent: u32) {
        self.rates = [percent; Site::ALL.len()];
    }

    /// Returns whether no fault happens, and no clock is wrong.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.is_calm() && self.skew_max.is_zero()
    }

    /// Returns whether no fault happens.
    pub(crate) fn is_calm(&self) -> bool {
        self.rates.iter().all(|rate| *rate == 0)
    }
}

/// Returns the rate limit of the routes in some of the seeds: half of the requests that come on average, or twice as
/// many, within a second or ten.
fn rate_limit(dice: &Dice, count: u32) -> Option<RateLimit> {
    let mut rng = dice.about("rate-limit", 0);
    if rng.u32(0..RATE_LIMIT_EVERY) > 0 {
        return None;
    }
    let window_s = if rng.bool() { 1 } else { 10 };
    let workload_s = u32::try_from(WORKLOAD.as_secs()).unwrap_or(u32::MAX);
    let average = count.saturating_mul(window_s).div_ceil(workload_s);
    let requests = if rng.bool() { average.div_ceil(2) } else { average.saturating_mul(2) };
    Some(RateLimit { requests: requests.max(1), window_s, is_open: rng.u32(0..4) == 0 })
}

/// Returns an outage of minutes, of what the consumer and the mapping call.
fn outage(rng: &mut Rng) -> Option<(Site, Range<Duration>)> {
    let sites = [
        Site::Send,
        Site::SendBatch,
        Site::DeadLetter,
        Site::Visibility,
        Site::Attributes,
        Site::Receive,
        Site::Delete,
    ];
    let when = away(rng);
    Some((rng.choice(sites)?, when))
}

/// Returns when an outage is.
fn away(rng: &mut Rng) -> Range<Duration> {
    let from = (WORKLOAD + FAULTS_AFTER / 4).mul_f64(rng.f64());
    from..from + OUTAGE_MAX.mul_f64(rng.f64())
}

/// Returns a rate: mostly low, so that much of the workload goes well, and sometimes zero.
fn rate_of(rng: &mut Rng) -> u32 {
    match rng.u32(0..4) {
        0 => 0,
        1 => rng.u32(0..=FAULTS_PERCENT_MAX),
        _ => rng.u32(1..=3),
    }
}
