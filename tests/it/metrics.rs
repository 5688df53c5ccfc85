//! Observability: the log lines and metrics of the functions, and the dashboard.

mod dashboard;
pub(crate) mod functions;
mod output;
