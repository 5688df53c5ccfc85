//! [`EventText`]: the text of an event, for a function that reads it itself.
//!
//! The runtime parses an event into the type that its function receives. Even `Box<RawValue>` takes a pass over the
//! text and a copy of it, which is a seventh of the instructions of a batch. This layer takes the text out of the
//! invocation, so that the runtime parses `null` instead.

use std::cell::Cell;
use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use tower_layer::Layer;
use tower_service::Service;

thread_local! {
    /// The event of the call that the thread is in.
    static EVENT: Cell<Bytes> = const { Cell::new(Bytes::new()) };
}

/// A layer around the service of a runtime whose function receives a `LambdaEvent<()>`.
#[derive(Clone, Copy, Debug)]
pub struct EventText;

impl EventText {
    /// Takes the text of the event that the function is called with. Call it before the future of the function is
    /// returned: the thread may be in another call when that is polled.
    #[must_use]
    pub fn take() -> Bytes {
        EVENT.take()
    }
}

impl<S> Layer<S> for EventText {
    type Service = WithoutText<S>;

    fn layer(&self, service: S) -> WithoutText<S> {
        WithoutText(service)
    }
}

/// A service whose invocations have no text.
#[derive(Clone, Debug)]
pub struct WithoutText<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for WithoutText<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> S::Future {
        EVENT.set(std::mem::replace(&mut invocation.body, Bytes::from_static(b"null")));
        self.0.call(invocation)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use lambda_runtime::service_fn;

    use super::*;

    #[tokio::test]
    async fn the_function_takes_the_text_that_the_runtime_does_not_get() {
        let invocation = |body: &'static str| LambdaInvocation {
            parts: http::Response::new(()).into_parts().0,
            body: Bytes::from_static(body.as_bytes()),
            context: lambda_runtime::Context::default(),
        };
        let function = service_fn(|invocation: LambdaInvocation| {
            let text = EventText::take();
            async move { Ok::<_, Infallible>((text, invocation.body)) }
        });
        let mut service = EventText.layer(function);
        // Both are called before the first is polled.
        let (first, second) = (service.call(invocation("[1]")), service.call(invocation("[2]")));
        assert_eq!(second.await, Ok(("[2]".into(), "null".into())));
        assert_eq!(first.await, Ok(("[1]".into(), "null".into())));
    }
}
