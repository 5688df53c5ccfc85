//! Spans of a Lambda function, exported as OTLP over HTTP within the invocation that made them.
//!
//! [`Tracer::from_env`] reads the variables of the OpenTelemetry specification. An invocation starts its spans from the
//! context of its caller, and hands them to [`Tracer::export`] before it answers: Lambda freezes the process after the
//! answer, and a span that is sent later may be lost.
//!
//! ```no_run
//! use std::time::{Duration, SystemTime};
//!
//! use sluicegate_otlp::{Kind, Tracer};
//! use tokio::time::Instant;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let Some(tracer) = Tracer::from_env(|name| std::env::var(name).ok())? else { return Ok(()) };
//! let started = tracer.start(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
//! let span = started.span("work", Kind::Internal, SystemTime::now()).attribute("faas.name", "orders");
//! tracer.export(vec![span], Instant::now() + Duration::from_secs(2)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The encoding is the JSON of the specification (`http/json`), which every OTLP receiver on HTTP accepts: it needs
//! serde and the HTTP client that the functions have. A collector that cannot be reached costs an invocation the time
//! of its timeout, three times; then exports stop until it answers ([`sluicegate_queue::breaker`]). No failure changes
//! the result of an invocation.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

mod config;
mod context;
mod export;
mod json;
mod sampler;
mod span;

use std::time::SystemTime;

use self::config::Config;
pub use self::config::ConfigError;
pub use self::context::SpanContext;
use self::export::Exporter;
use self::sampler::Sampler;
pub use self::span::{Kind, LINKS_MAX, Span, Value};

/// Starts spans and exports them.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    exporter: Exporter,
}

impl Tracer {
    /// Returns the tracer that the variables configure, without connecting; `None` if no endpoint is set, or if
    /// `OTEL_SDK_DISABLED` or `OTEL_TRACES_EXPORTER` turn it off. For an https endpoint it reads the root certificates:
    /// call it at init, where Lambda provides a full CPU.
    ///
    /// | variable | |
    /// |---|---|
    /// | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | the URL that spans are posted to |
    /// | `OTEL_EXPORTER_OTLP_ENDPOINT` | the same without `/v1/traces`; for example `http://localhost:4318` |
    /// | `OTEL_EXPORTER_OTLP_HEADERS`, `…_TRACES_HEADERS` | `name=value` with commas between, percent-encoded |
    /// | `OTEL_EXPORTER_OTLP_TIMEOUT`, `…_TRACES_TIMEOUT` | milliseconds, 2000 by default |
    /// | `OTEL_EXPORTER_OTLP_PROTOCOL`, `…_TRACES_PROTOCOL` | `http/json` or nothing |
    /// | `OTEL_TRACES_SAMPLER`, `…_ARG` | `parentbased_always_on` by default, or another of the specification |
    /// | `OTEL_SERVICE_NAME` | the name of the function by default |
    /// | `OTEL_RESOURCE_ATTRIBUTES` | `name=value` with commas between, percent-encoded |
    ///
    /// Two defaults differ from the specification. Without an endpoint nothing is exported, because most functions have
    /// no collector beside them. The timeout is shorter, because the client waits for the export.
    ///
    /// # Errors
    /// A variable that is set and cannot be used.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let Some(Config { endpoint, headers, timeout, sampler, resource }) = Config::read(lookup)? else {
            return Ok(None);
        };
        Ok(Some(Self { sampler, exporter: Exporter::new(endpoint, headers, timeout, resource)? }))
    }

    /// Returns the tracer as [`Tracer::from_env`] does. A mistake is logged, and the function works without spans.
    pub fn from_env_or_log(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Self::from_env(lookup).unwrap_or_else(|error| {
            tracing::warn!(reason = %error, "spans are not exported");
            None
        })
    }

    /// Starts a span in the trace of a W3C `traceparent`, or else of an X-Ray header, or else in a new one.
    ///
    /// Lambda writes `Sampled=0` into the X-Ray header of every invocation of a function without active tracing.
    /// Therefore such a header names the trace only; the span has no parent, and the sampler decides.
    #[must_use]
    pub fn start(&self, traceparent: Option<&str>, xray: Option<&str>) -> Started {
        let caller = traceparent.and_then(SpanContext::from_traceparent);
        let xray = || xray.and_then(SpanContext::from_xray);
        let (trace_id, parent) = match caller.or_else(xray) {
            Some(parent) if caller.is_some() || parent.is_sampled() => (parent.trace_id(), Some(parent)),
            Some(named) => (named.trace_id(), None),
            None => (context::fresh_trace_id(), None),
        };
        let is_sampled = self.sampler.decides(trace_id, parent.map(SpanContext::is_sampled));
        Started { context: SpanContext::fresh(trace_id, is_sampled), parent }
    }

    /// Returns whether the spans that handle a message are recorded: as its sender decided, or else as the sampler does
    /// for the trace `own`.
    #[must_use]
    pub fn samples(&self, sender: Option<SpanContext>, own: SpanContext) -> bool {
        match sender {
            Some(sender) => self.sampler.decides(sender.trace_id(), Some(sender.is_sampled())),
            None => own.is_sampled(),
        }
    }

    /// Exports the spans that are sampled, and waits for the answer, but not past `deadline`. A failure is logged.
    pub async fn export(&self, spans: Vec<Span>, deadline: tokio::time::Instant) {
        self.exporter.export(spans, deadline).await;
    }
}

/// The context of a span that has started.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// The span's own context, for the spans below it and for messages.
    pub context: SpanContext,
    parent: Option<SpanContext>,
}

impl Started {
    /// Starts a span below this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self { context: self.context.child(), parent: Some(self.context) }
    }

    /// Records this span or not, whatever its parent.
    #[must_use]
    pub fn sampled(mut self, is_sampled: bool) -> Self {
        self.context = self.context.sampled(is_sampled);
        self
    }

    /// Returns the span, which ends now.
    #[must_use]
    pub fn span(self, name: impl Into<String>, kind: Kind, started: SystemTime) -> Span {
        Span::new(self.context, self.parent, name.into(), kind, started)
    }
}

#[cfg(test)]
mod tests;
