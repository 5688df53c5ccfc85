//! Observability: the log lines and metrics of the functions, and the dashboard.

mod dashboard;
mod functions;
mod output;
