//! [`Link`]: a connection in memory between the AMQP client and the broker.
//!
//! The client moves bytes on a thread of its own, which would make the schedule depend on the system. So each of its
//! calls waits until the simulation has nothing else to do. Then the simulation lets one thread after the other run,
//! and itself waits until the thread has found nothing more to read and to write: [`Links::run`].
//!
//! A frozen process is a link whose thread does not run.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock;

/// How long a thread may work, in real time. It takes microseconds.
const TURN_MAX: Duration = Duration::from_secs(60);

/// All connections of a simulation.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<Vec<Arc<Link>>>>);

impl Links {
    pub(super) fn add(&self, link: Arc<Link>) {
        self.all().push(link);
    }

    /// Lets the thread of each connection run until it waits, in the order of their start.
    pub(crate) fn run(&self) {
        let Some(now) = clock::elapsed() else { return };
        let links = self.all().clone();
        for link in &links {
            link.run(now);
        }
        self.all().retain(|link| !link.has_ended());
    }

    /// Ends all threads, when the simulation has ended.
    pub(crate) fn release(&self) {
        let links = std::mem::take(&mut *self.all());
        for link in &links {
            link.release();
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection.
#[derive(Default)]
pub(crate) struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    turn: Turn,
    /// The time for the client's thread.
    now: Duration,
    to_broker: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Whether nothing is transmitted any more.
    is_cut: bool,
    /// Whether the process of the client is frozen.
    is_frozen: bool,
    /// Whether the client has found nothing to read since it was woken.
    has_looked: bool,
    /// Whether the client has read or written since it was woken.
    has_moved: bool,
    client: Option<Waker>,
    broker: Option<Waker>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    /// The client has no thread yet.
    #[default]
    Unstarted,
    Simulation,
    Client,
    /// The thread has ended.
    Ended,
    /// The simulation has ended.
    Released,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client has started its thread.
    pub(super) fn started(&self) {
        let mut state = self.state();
        if state.turn == Turn::Unstarted {
            state.turn = Turn::Simulation;
        }
    }

    /// Ends the connection. What was written before can still be read.
    pub(crate) fn cut(&self) {
        let mut state = self.state();
        state.is_cut = true;
        if let Some(broker) = state.broker.take() {
            broker.wake();
        }
    }

    /// Freezes or thaws the process of the client.
    pub(crate) fn set_frozen(&self, is_frozen: bool) {
        self.state().is_frozen = is_frozen;
    }

    fn has_ended(&self) -> bool {
        self.state().turn == Turn::Ended
    }

    fn run(&self, now: Duration) {
        let mut state = self.state();
        if state.turn != Turn::Simulation || state.is_frozen {
            return;
        }
        state.turn = Turn::Client;
        state.now = now;
        self.changed.notify_all();
        loop {
            (state.has_looked, state.has_moved) = (false, false);
            if let Some(client) = state.client.clone() {
                drop(state);
                // A look that finds nothing ends all earlier work.
                client.wake();
                state = self.state();
            }
            let waits = |state: &mut State| state.turn == Turn::Client && !state.has_looked;
            let waited = clock::in_real_time(|| self.changed.wait_timeout_while(state, TURN_MAX, waits));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.turn != Turn::Client || !state.has_moved {
                break;
            }
        }
        if state.turn == Turn::Client {
            state.turn = Turn::Simulation;
        }
        if (!state.to_broker.is_empty() || state.is_cut)
            && let Some(broker) = state.broker.take()
        {
            broker.wake();
        }
    }

    fn release(&self) {
        let mut state = self.state();
        state.is_cut = true;
        if matches!(state.turn, Turn::Unstarted | Turn::Ended) {
            return;
        }
        state.turn = Turn::Released;
        self.changed.notify_all();
        if let Some(client) = state.client.clone() {
            drop(state);
            client.wake();
            state = self.state();
        }
        let works = |state: &mut State| state.turn != Turn::Ended;
        let waited = clock::in_real_time(|| self.changed.wait_timeout_while(state, TURN_MAX, works));
        drop(waited);
    }

    /// Returns the next bytes of the client; `None` if the connection has ended.
    pub(super) async fn read(&self) -> Option<Vec<u8>> {
        poll_fn(|context| {
            let mut state = self.state();
            if !state.to_broker.is_empty() {
                return Poll::Ready(Some(state.to_broker.drain(..).collect()));
            }
            if state.is_cut {
                return Poll::Ready(None);
            }
            state.broker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Sends bytes to the client.
    pub(super) fn write(&self, bytes: &[u8]) {
        let mut state = self.state();
        if !state.is_cut {
            state.to_client.extend(bytes);
        }
    }

    /// Waits for the turn of the client's thread, which calls this.
    pub(super) fn wait_for_turn(&self) {
        drop(self.in_turn());
    }

    fn in_turn(&self) -> MutexGuard<'_, State> {
        clock::repeat_random_bytes();
        let waits = |state: &mut State| !matches!(state.turn, Turn::Client | Turn::Released);
        let state = self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        clock::follow(state.now);
        state
    }
}

/// The client's end of a link, which the client's thread owns.
pub(crate) struct Stream(pub(super) Arc<Link>);

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.turn = Turn::Ended;
        state.is_cut = true;
        if let Some(broker) = state.broker.take() {
            broker.wake();
        }
        self.0.changed.notify_all();
    }
}

impl futures_io::AsyncRead for Stream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.in_turn();
        let count = buffer.len().min(state.to_client.len());
        if count > 0 {
            for (to, from) in buffer.iter_mut().zip(state.to_client.drain(..count)) {
                *to = from;
            }
            state.has_moved = true;
            return Poll::Ready(Ok(count));
        }
        state.client = Some(context.waker().clone());
        if state.is_cut {
            state.has_moved = true;
            return Poll::Ready(Ok(0));
        }
        state.has_looked = true;
        self.0.changed.notify_all();
        Poll::Pending
    }
}

impl futures_io::AsyncWrite for Stream {
    fn poll_write(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.in_turn();
        if state.is_cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.to_broker.extend(bytes);
        state.has_moved = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.wait_for_turn();
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.cut();
        Poll::Ready(Ok(()))
    }
}
