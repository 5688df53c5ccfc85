//! [`Publisher`]: one channel in confirm mode, driven by a task of its own; many publish on it at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::flights::{Flights, Job, Landing};
use super::wire::{State, Wire};

/// Nothing heard for this long while confirms are due: the broker is asked for a sign of life.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Longest wait for a sign of life; without one the connection is given up. With [`QUIET_MAX`] it is what one attempt costs
/// on a connection that died without a word.
pub(crate) const SIGN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Bytes in flight that may delay a sign of life by one second more: what a slow network carries in that time.
const SLOW_BYTES_PER_S: usize = 2 * 1024 * 1024;

/// The way to one channel. Clones share it; it closes when the last is dropped and nothing is in flight.
#[derive(Clone)]
pub(crate) struct Publisher {
    wire: Arc<Wire>,
    channel: Channel,
    jobs: mpsc::UnboundedSender<Job>,
    state: watch::Receiver<State>,
}

impl Publisher {
    /// Opens a channel on `wire` and puts it into confirm mode.
    pub(crate) async fn open(wire: Arc<Wire>) -> Result<Self, lapin::Error> {
        let channel = wire.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        wire.hear();
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(drive(Arc::clone(&wire), channel.clone(), queue));
        let state = wire.state();
        Ok(Self { wire, channel, jobs, state })
    }

    /// The connection it is on.
    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Whether the channel is open, as far as anyone knows.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected() && !self.jobs.is_closed()
    }

    /// Publishes one message and waits for what becomes of it.
    pub(crate) async fn publish(&self, job: impl FnOnce(oneshot::Sender<Landing>) -> Job) -> Landing {
        let state = self.state.borrow().clone();
        if let State::Blocked(reason) = state {
            return Landing::Blocked { reason, sent: false };
        }
        let (landed, landing) = oneshot::channel();
        if self.jobs.send(job(landed)).is_err() {
            return Landing::Lost { error: None, sent: false };
        }
        // The driver answers everything it took; if it ended in between, nobody knows how far the message got.
        landing.await.unwrap_or(Landing::Lost { error: None, sent: true })
    }

    /// Whether the broker answers.
    pub(crate) async fn is_alive(&self, within: Duration) -> bool {
        let alive = sign_of_life(&self.channel, within).await;
        if alive {
            self.wire.hear();
        }
        alive
    }
}

/// Asks for something that changes nothing: confirm mode, which the channel is in.
async fn sign_of_life(channel: &Channel, within: Duration) -> bool {
    let asked = timeout(within, channel.confirm_select(ConfirmSelectOptions::default())).await;
    asked.is_ok_and(|answer| answer.is_ok())
}

async fn drive(wire: Arc<Wire>, channel: Channel, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let (mut flights, mut state, mut closed) = (Flights::default(), wire.state(), false);
    let mut last_ask = Instant::now();
    // The question whose answer releases flights that are held, and how many of them.
    let (mut question, mut asked_for) = (OptionFuture::default(), 0);
    while !(closed && flights.is_empty()) {
        if asked_for == 0 && flights.held() > 0 {
            asked_for = flights.held();
            let channel = channel.clone();
            question =
                Some(Box::pin(async move { channel.confirm_select(ConfirmSelectOptions::default()).await })).into();
        }
        let waiting = !flights.is_empty() && *state.borrow() == State::Open;
        let ask_at =
            (Instant::now() + QUIET_MAX).checked_sub(wire.quiet()).unwrap_or(last_ask).max(last_ask + QUIET_MAX);
        tokio::select! {
            job = jobs.recv(), if !closed => match job {
                Some(job) => {
                    if flights.is_empty() {
                        // An idle connection is not quiet; it owes nothing.
                        last_ask = Instant::now();
                    }
                    flights.launch(&channel, job);
                }
                None => closed = true,
            },
            () = flights.landed() => wire.hear(),
            // An error says as well that nothing more is told of what came before.
            Some(_) = &mut question, if asked_for > 0 => {
                flights.release(asked_for);
                asked_for = 0;
            }
            // It never fails: the wire, which tells, is held here.
            _ = state.changed() => {
                let now = state.borrow_and_update().clone();
                match now {
                    State::Blocked(reason) => flights.answer_blocked(&reason),
                    State::Dead => return flights.answer_lost(),
                    State::Open => {}
                }
            }
            () = sleep_until(ask_at), if waiting => {
                last_ask = Instant::now();
                let slow_s = flights.body_bytes() / SLOW_BYTES_PER_S;
                let within = SIGN_TIMEOUT + Duration::from_secs(u64::try_from(slow_s).unwrap_or_default());
                let sign = sign_of_life(&channel, within);
                // A confirm is a sign of life, too.
                let alive = tokio::select! {
                    alive = sign => alive,
                    () = flights.landed() => true,
                };
                if alive {
                    wire.hear();
                } else if channel.status().connected() && *state.borrow() == State::Open {
                    // Nothing at all was heard. A channel that the broker has closed tells its flights by itself, and on a
                    // blocked connection nothing is asked.
                    wire.kill();
                }
            }
        }
    }
}
