//! [`Invocations`]: ends a function at SIGTERM, at once if it is idle, and else when the answer to each invocation has
//! been sent.
//!
//! Lambda sends the signal only to a function with an extension, and kills the process 0.5 s later if the extension is
//! internal, 2 s later if it is not. Nothing here registers an extension, because that costs start-up time. Nothing is
//! left to flush: a function sends messages and exports spans before it answers.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown>

use std::io;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use lambda_runtime::{Error, LambdaInvocation};
use pin_project_lite::pin_project;
use signal_hook::{consts::SIGTERM, low_level::pipe};
use tokio::sync::Notify;
use tower_layer::Layer;
use tower_service::Service;

/// The invocations that a process has at the moment. It is a layer around the service of a runtime, which answers an
/// invocation before its future is ready.
#[derive(Clone, Copy, Debug)]
pub struct Invocations(&'static Shared);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    is_ending: AtomicBool,
    /// The last running invocation has ended, after SIGTERM.
    ended: Notify,
}

impl Default for Invocations {
    fn default() -> Self {
        // One for the life of the process.
        Self(Box::leak(Box::default()))
    }
}

impl Invocations {
    /// Waits for `serving`, or for SIGTERM and then for the end of the running invocations. No invocation starts after
    /// that.
    ///
    /// # Errors
    /// That of `serving`.
    pub async fn until_terminated(&self, serving: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let mut serving = pin!(serving);
        let sigterm = match sigterm() {
            Ok(sigterm) => sigterm,
            Err(error) => {
                tracing::warn!(%error, "SIGTERM ends the function in the middle of an invocation");
                return serving.await;
            }
        };
        tokio::select! {
            biased;
            served = &mut serving => return served,
            _ = sigterm.readable() => self.0.is_ending.store(true, Ordering::SeqCst),
        }
        let running = self.0.running.load(Ordering::SeqCst);
        tracing::info!(running, "SIGTERM: the function ends after its running invocations");
        if running > 0 {
            tokio::select! {
                biased;
                served = &mut serving => return served,
                () = self.0.ended.notified() => {}
            }
        }
        Ok(())
    }
}

/// Returns a socket that is readable from the first SIGTERM on.
///
/// Not the signals of Tokio: its runtime prepares for every signal, which is 3 % of the instructions of a start.
fn sigterm() -> io::Result<tokio::net::UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    pipe::register(SIGTERM, sender)?;
    tokio::net::UnixStream::from_std(receiver)
}

impl<S> Layer<S> for Invocations {
    type Service = Counted<S>;

    fn layer(&self, service: S) -> Counted<S> {
        Counted { service, invocations: *self }
    }
}

/// A service whose running calls are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    service: S,
    invocations: Invocations,
}

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = CountedCall<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> CountedCall<S::Future> {
        let turn = Turn::start(self.invocations.0);
        CountedCall { call: self.service.call(invocation), turn: Some(turn) }
    }
}

pin_project! {
    /// The future of a [`Counted`] service.
    #[derive(Debug)]
    pub struct CountedCall<F> {
        #[pin]
        call: F,
        turn: Option<Turn>,
    }
}

impl<F: Future> Future for CountedCall<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // After SIGTERM it stays pending, so that its loop does not ask for another invocation.
        let Some(turn) = this.turn else { return Poll::Pending };
        let output = ready!(this.call.poll(context));
        let is_ending = turn.0.is_ending.load(Ordering::SeqCst);
        *this.turn = None;
        if is_ending { Poll::Pending } else { Poll::Ready(output) }
    }
}

/// A running invocation, until it is dropped.
#[derive(Debug)]
struct Turn(&'static Shared);

impl Turn {
    fn start(shared: &'static Shared) -> Self {
        shared.running.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Self(shared) = self;
        if shared.running.fetch_sub(1, Ordering::SeqCst) == 1 && shared.is_ending.load(Ordering::SeqCst) {
            shared.ended.notify_one();
        }
    }
}
