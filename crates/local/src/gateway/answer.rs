//! A function's result as an HTTP answer, by the inference rules of payload 2.0.
//!
//! An object with `statusCode` is the answer. Any other JSON is the body of a 200: a result without a status is
//! answered with 200, as in the cloud.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::Value;

/// A result that is not an answer; API Gateway answers 500.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function's result is not an answer: {0}")]
pub(crate) struct Malformed(&'static str);

/// Headers that the function cannot set, because the gateway manages the connection.
const HOP_BY_HOP: [&str; 4] = ["connection", "content-length", "keep-alive", "transfer-encoding"];

/// Returns the answer to a request with this method.
///
/// # Errors
/// The result is not JSON, has no valid HTTP status, or has headers or a body that cannot be sent.
pub(crate) fn answer(payload: &[u8], method: &Method) -> Result<Response<Bytes>, Malformed> {
    let result: Value = serde_json::from_slice(payload).map_err(|_| Malformed("it is not JSON"))?;
    let Some(status) = result.get("statusCode") else {
        let body = match result {
            Value::String(text) => text.into(),
            _ => Bytes::copy_from_slice(payload),
        };
        let mut answer = Response::new(body);
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(answer);
    };
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok());
    let status = status.and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
    let mut answer = Response::new(body(&result)?);
    *answer.status_mut() = status.filter(|status| status.as_u16() >= 200).ok_or(Malformed("statusCode"))?;
    let headers = answer.headers_mut();
    for (name, value) in result["headers"].as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let name = HeaderName::try_from(name).map_err(|_| Malformed("a header's name"))?;
        // An answer to HEAD has no body, so the function sets the length.
        let is_length_of_head = method == Method::HEAD && name == header::CONTENT_LENGTH;
        if is_length_of_head || !HOP_BY_HOP.contains(&name.as_str()) {
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| Malformed("a header's value"))?);
        }
    }
    for cookie in result["cookies"].as_array().into_iter().flatten() {
        let cookie = cookie.as_str().and_then(|cookie| HeaderValue::try_from(cookie).ok());
        headers.append(header::SET_COOKIE, cookie.ok_or(Malformed("a cookie"))?);
    }
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    Ok(answer)
}

fn body(result: &Value) -> Result<Bytes, Malformed> {
    match &result["body"] {
        Value::Null => Ok(Bytes::new()),
        Value::String(text) if result["isBase64Encoded"] == true => {
            STANDARD.decode(text).map(Bytes::from).map_err(|_| Malformed("isBase64Encoded, but the body is not"))
        }
        Value::String(text) => Ok(text.clone().into()),
        other => Ok(other.to_string().into()),
    }
}
