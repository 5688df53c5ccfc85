//! The response of a function whose mapping has `ReportBatchItemFailures`, before its items are read.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use serde_json::Value;

/// Returns the failed items. There are none in null, in an object without the list, and if the list is null.
///
/// # Errors
/// Anything else, which fails the whole batch.
pub(crate) fn failed_items(response: &[u8]) -> Result<Vec<Value>, String> {
    let response = serde_json::from_slice::<Value>(response).map_err(|_| fault("it is not JSON"))?;
    let failures = match response {
        Value::Null => return Ok(Vec::new()),
        Value::Object(mut members) => members.remove("batchItemFailures").unwrap_or_default(),
        _ => return Err(fault("it is not an object")),
    };
    match failures {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items),
        _ => Err(fault("batchItemFailures is not a list")),
    }
}

/// Returns why the whole batch fails.
pub(crate) fn fault(reason: &str) -> String {
    format!("the response is not a batch response: {reason}")
}
