//! Amazon CloudWatch embedded metric format: what both functions count, one JSON line per invocation.
