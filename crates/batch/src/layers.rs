//! Layers of tower around the handlers: time limits, concurrency limits, spans.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::handlers::{self, Handlers};
use crate::{Delivery, Outcome};

type Work<E> = Pin<Box<dyn Future<Output = Result<Outcome, E>> + Send>>;

/// The handlers of a consumer as a service of tower, which calls the one for the type of the event. It is always ready.
#[derive(Clone)]
pub struct HandlerService(Arc<Handlers>);

impl Service<Arc<Delivery>> for HandlerService {
    type Response = Outcome;
    type Error = Infallible;
    type Future = Work<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Arc<Delivery>) -> Self::Future {
        let handlers = Arc::clone(&self.0);
        Box::pin(async move {
            Ok(match handlers.of(delivery.envelope().event_type()) {
                Ok(handler) => handler(delivery).await,
                Err(rejection) => rejection,
            })
        })
    }
}

/// Puts a layer around handlers.
pub(crate) type Wrap = Box<dyn FnOnce(Handlers) -> Handlers + Send>;

/// Returns what puts this layer around handlers.
pub(crate) fn wrap<L>(layer: L) -> Wrap
where
    L: Layer<HandlerService> + Send + 'static,
    L::Service: Service<Arc<Delivery>, Response = Outcome> + Clone + Send + Sync + 'static,
    <L::Service as Service<Arc<Delivery>>>::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    <L::Service as Service<Arc<Delivery>>>::Future: Send,
{
    Box::new(move |inner| {
        let service = layer.layer(HandlerService(Arc::new(inner)));
        let mut layered = Handlers::default();
        layered.otherwise(handlers::plain(move |delivery| {
            // A clone per message, because a service is ready for one call.
            let mut service = service.clone();
            async move {
                poll_fn(|context| service.poll_ready(context)).await?;
                service.call(delivery).await
            }
        }));
        layered
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tower::limit::ConcurrencyLimitLayer;
    use tower::timeout::TimeoutLayer;
    use tower::util::MapResponseLayer;
    use tracing::Instrument as _;
    use tracing::instrument::Instrumented;

    use super::*;
    use crate::{Consumer, ConsumerBuilder, testing};

    const ORDERS: &str = include_str!("../../../tests/events/orders-placed.json");

    /// Returns how many of the two orders go back to the queue.
    async fn returned(consumer: ConsumerBuilder) -> usize {
        testing::run(consumer, ORDERS).await.unwrap().failures().count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_exceeds_the_time_of_a_layer_fails() {
        let slow = async |_: Arc<Delivery>| tokio::time::sleep(Duration::from_secs(5)).await;
        for (limit_s, expected) in [(1, 2), (6, 0)] {
            let consumer = Consumer::builder().on("order.*", slow).otherwise(async |_| Outcome::Retry);
            let consumer = consumer.layer(TimeoutLayer::new(Duration::from_secs(limit_s)));
            assert_eq!(returned(consumer).await, expected, "{limit_s} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn handlers_share_the_limit_of_a_layer() {
        for (limit, expected) in [(1, 1), (2, 2)] {
            let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            let seen = Arc::clone(&most);
            let handler = move |_: Arc<Delivery>| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    running.fetch_sub(1, Ordering::Relaxed);
                }
            };
            let consumer = Consumer::builder().otherwise(handler).layer(ConcurrencyLimitLayer::new(limit));
            assert_eq!(returned(consumer).await, 0);
            assert_eq!(seen.load(Ordering::Relaxed), expected, "limit {limit}");
        }
    }

    #[tokio::test]
    async fn a_layer_wraps_the_layers_before_it_and_sees_their_outcomes() {
        let outcomes = Arc::<std::sync::Mutex<Vec<Outcome>>>::default();
        let seen = Arc::clone(&outcomes);
        let record = MapResponseLayer::new(move |outcome: Outcome| {
            seen.lock().unwrap().push(outcome.clone());
            outcome
        });
        let forgive = MapResponseLayer::new(|_: Outcome| Outcome::Done);
        let consumer = || Consumer::builder().on("order.placed", async |_| Outcome::Retry);
        assert_eq!(returned(consumer().layer(record.clone()).layer(forgive.clone())).await, 0);
        assert_eq!(returned(consumer().layer(forgive).layer(record)).await, 0);
        let seen = outcomes.lock().unwrap().clone();
        assert_eq!(seen, [Outcome::Retry, Outcome::Retry, Outcome::Done, Outcome::Done]);
        assert_eq!(returned(consumer()).await, 2, "without a layer");
    }

    /// A layer of a user, which gives each delivery a span.
    #[derive(Clone)]
    struct InSpan<S>(S);

    impl<S: Service<Arc<Delivery>>> Service<Arc<Delivery>> for InSpan<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = Instrumented<S::Future>;

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            self.0.poll_ready(context)
        }

        fn call(&mut self, delivery: Arc<Delivery>) -> Self::Future {
            let span = tracing::info_span!("handle", id = delivery.envelope().id());
            self.0.call(delivery).instrument(span)
        }
    }

    #[tokio::test]
    async fn a_handler_runs_in_the_span_that_a_layer_gave_its_delivery() {
        let (lines, ids) = (Arc::<Lines>::default(), Arc::<Mutex<Vec<String>>>::default());
        let subscriber = tracing_subscriber::fmt().with_writer(Arc::clone(&lines)).with_ansi(false).without_time();
        let _default = tracing::subscriber::set_default(subscriber.with_target(false).finish());
        let handled = Arc::clone(&ids);
        let handler = move |delivery: Arc<Delivery>| {
            let ids = Arc::clone(&handled);
            async move {
                // The handler of the other order runs in between.
                tokio::task::yield_now().await;
                tracing::info!("reserved for {}", delivery.envelope().id());
                ids.lock().unwrap().push(delivery.envelope().id().to_owned());
            }
        };
        let consumer = Consumer::builder().on("order.placed", handler).layer(tower_layer::layer_fn(InSpan));
        assert_eq!(returned(consumer).await, 0);
        let printed = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let printed: Vec<_> = printed.lines().filter(|line| line.contains("reserved for")).collect();
        let expected = |id: &String| format!(" INFO handle{{id={id:?}}}: reserved for {id}");
        assert_eq!(printed, ids.lock().unwrap().iter().map(expected).collect::<Vec<_>>());
        assert_eq!(printed.len(), 2);
    }

    /// What was logged.
    #[derive(Default)]
    struct Lines(Mutex<Vec<u8>>);

    impl std::io::Write for &Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_layer_does_not_stand_in_for_a_handler() {
        let layer = MapResponseLayer::new(|outcome: Outcome| outcome);
        let error = Consumer::builder().layer(layer).without_services().unwrap().build().err().unwrap();
        assert!(error.to_string().contains("no handler is registered"), "{error}");
    }
}
