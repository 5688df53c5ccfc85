//! The real binary of a function, run behind a Runtime API with its output captured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sluicegate_lambda_emulator::{Concurrency, Function, FunctionSpec, Invocation};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::function_binary::built;

/// The X-Ray trace header of the invocations.
pub(super) const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";
/// The root of that header.
pub(super) const XRAY_TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// A running function.
pub(crate) struct Running {
    function: Function,
    lines: UnboundedReceiver<String>,
}

impl Running {
    /// Builds `binary` of the package in `folder` if needed, and starts it as the function `name`.
    pub(crate) async fn start(name: &str, folder: &str, binary: &str, environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let spec = FunctionSpec {
            name: name.to_owned(),
            arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"),
            binary: built(folder, binary).await,
            environment: BTreeMap::from_iter(environment),
            memory_mb: 128,
            timeout: Duration::from_secs(20),
            concurrency: Concurrency::Unreserved(1),
            freeze: false,
        };
        let (sender, lines) = unbounded_channel();
        let observer = move |_: &str, line: &str| drop(sender.send(line.to_owned()));
        let function = Function::start(spec, Arc::new(observer)).await;
        let function = function.unwrap_or_else(|error| panic!("{error}: {:#?}", error.log));
        Self { function, lines }
    }

    /// Invokes the function. Returns its response.
    pub(crate) async fn invoke(&self, event: &Value) -> Value {
        match self.function.invoke(event.to_string().into(), Some(XRAY)).await {
            Invocation::Response(answer) => serde_json::from_slice(&answer).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    /// Stops the function. Returns every line it printed.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.function.stop().await;
        drop(self.function);
        let mut printed = Vec::new();
        // The channel ends when the last process has closed its output.
        while let Some(line) = self.lines.recv().await {
            printed.push(line);
        }
        printed
    }
}
