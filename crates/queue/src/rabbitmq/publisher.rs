//! [`Publisher`]: a channel in confirm mode that many callers publish on concurrently, driven by one task.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, ConnectionState};
use super::pending_confirms::{ConfirmResult, PendingConfirms, PublishRequest};

/// Time without an answer, while confirms are due, after which the broker is probed.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Longest wait for the answer to a probe; without one the connection is closed. Together with [`IDLE_MAX`] this is the
/// cost of one attempt on a dead connection.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Throughput assumed for a slow network. The probe's timeout grows by the time that the pending bytes take at this
/// rate.
const SLOW_BYTES_PER_S: usize = 2 * 1024 * 1024;

/// A handle to one channel. Clones share the channel, which closes when the last is dropped and no message is pending.
#[derive(Clone)]
pub(crate) struct Publisher {
    connection: Arc<Connection>,
    channel: Channel,
    requests: mpsc::UnboundedSender<PublishRequest>,
    state: watch::Receiver<ConnectionState>,
}

impl Publisher {
    /// Opens a channel on `connection` and puts it into confirm mode.
    pub(crate) async fn open(connection: Arc<Connection>) -> Result<Self, lapin::Error> {
        let channel = connection.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        connection.mark_alive();
        let (requests, queue) = mpsc::unbounded_channel();
        tokio::spawn(drive(Arc::clone(&connection), channel.clone(), queue));
        let state = connection.state();
        Ok(Self { connection, channel, requests, state })
    }

    /// Returns the connection of the channel.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns whether the channel looks open.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected() && !self.requests.is_closed()
    }

    /// Returns whether both are handles to one channel.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.requests.same_channel(&other.requests)
    }

    /// Publishes one message and waits for its result.
    pub(crate) async fn publish(
        &self,
        request: impl FnOnce(oneshot::Sender<ConfirmResult>) -> PublishRequest,
    ) -> ConfirmResult {
        let state = self.state.borrow().clone();
        if let ConnectionState::Blocked(reason) = state {
            return ConfirmResult::Blocked { reason, sent: false };
        }
        let (sender, result) = oneshot::channel();
        if self.requests.send(request(sender)).is_err() {
            return ConfirmResult::Lost { error: None, sent: false };
        }
        // The driver answers every request it took; if it ended in between, the message may have been sent.
        result.await.unwrap_or(ConfirmResult::Lost { error: None, sent: true })
    }

    /// Probes the broker and returns whether it answered in time.
    pub(crate) async fn is_alive(&self, within: Duration) -> bool {
        let alive = probe(&self.channel, within).await;
        if alive {
            self.connection.mark_alive();
        }
        alive
    }
}

/// Selects confirm mode once more, which changes nothing, and returns whether the broker answered in time.
async fn probe(channel: &Channel, within: Duration) -> bool {
    let answered = timeout(within, channel.confirm_select(ConfirmSelectOptions::default())).await;
    answered.is_ok_and(|answer| answer.is_ok())
}

/// Serves the requests of one channel until all publishers are dropped or the connection dies.
async fn drive(connection: Arc<Connection>, channel: Channel, mut requests: mpsc::UnboundedReceiver<PublishRequest>) {
    let (mut pending, mut state, mut closed) = (PendingConfirms::default(), connection.state(), false);
    let mut last_probe = Instant::now();
    // A request whose answer releases the held results, and the number of results it releases.
    let (mut barrier, mut awaited) = (OptionFuture::default(), 0);
    while !(closed && pending.is_empty()) {
        if awaited == 0 && pending.held() > 0 {
            awaited = pending.held();
            let channel = channel.clone();
            barrier =
                Some(Box::pin(async move { channel.confirm_select(ConfirmSelectOptions::default()).await })).into();
        }
        let waiting = !pending.is_empty() && *state.borrow() == ConnectionState::Open;
        let idle_since = (Instant::now() + IDLE_MAX).checked_sub(connection.idle_for());
        let probe_at = idle_since.unwrap_or(last_probe).max(last_probe + IDLE_MAX);
        // Biased, so that a simulation repeats. No branch starves: each of the others waits for an answer or for new
        // requests.
        tokio::select! {
            biased;
            request = requests.recv(), if !closed => match request {
                Some(request) => {
                    if pending.is_empty() {
                        // No answer was due before this request.
                        last_probe = Instant::now();
                    }
                    pending.publish(&channel, request);
                }
                None => closed = true,
            },
            () = pending.concluded() => connection.mark_alive(),
            // An error releases them too: nothing more arrives on the channel.
            Some(_) = &mut barrier, if awaited > 0 => {
                pending.release(awaited);
                awaited = 0;
            }
            // Cannot fail: `connection` owns the sender.
            _ = state.changed() => {
                let now = state.borrow_and_update().clone();
                match now {
                    ConnectionState::Blocked(reason) => pending.answer_blocked(&reason),
                    ConnectionState::Dead => return pending.answer_lost(),
                    ConnectionState::Open => {}
                }
            }
            () = sleep_until(probe_at), if waiting => {
                last_probe = Instant::now();
                let slow_s = pending.body_bytes() / SLOW_BYTES_PER_S;
                let within = PROBE_TIMEOUT + Duration::from_secs(u64::try_from(slow_s).unwrap_or_default());
                let answer = probe(&channel, within);
                // A confirm proves that the broker is alive, as an answer to the probe does.
                let alive = tokio::select! {
                    biased;
                    alive = answer => alive,
                    () = pending.concluded() => true,
                };
                if alive {
                    connection.mark_alive();
                } else if channel.status().connected() && *state.borrow() == ConnectionState::Open {
                    // The broker does not answer. Neither a closed channel, whose confirms fail by themselves, nor a
                    // blocked connection gets here.
                    connection.kill();
                }
            }
        }
    }
}
