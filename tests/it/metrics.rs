//! What is told about requests and messages: the functions' log lines and metrics, and the dashboard that shows them.

mod dashboard;
mod functions;
mod output;
