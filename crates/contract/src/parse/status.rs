//! `status`: whether senders can ask what became of their messages, and the path at which they do.

use serde_json::{Map, Value, json};
use sluicegate_yaml::Node;

use super::attribute_warnings::Request;
use super::checker::ContractChecker;
use super::paths::Routes;
use crate::route::{parameter, segments};
use crate::{Body, Operation, STATUS_PATH};

/// Reads `status` of `x-sluicegate`. A status is that of one message on one queue, and belongs to a principal.
pub(super) fn status<'d>(checker: &mut ContractChecker<'d>, enqueue: &'d Node, request: &Request<'_>) -> bool {
    if !checker.flag(enqueue, "status") {
        return false;
    }
    let reason = if request.public || request.is_signed {
        "needs a caller that can ask: every alternative of security must name a principal, which a signature does not"
    } else if request.body.is_some_and(Body::may_be_batch) {
        "does not apply to a batch, whose items are several messages: leave it out"
    } else if enqueue.get("copyTo").is_some() {
        "does not apply with copyTo: each copy would have a status, under one id"
    } else {
        return true;
    };
    if let Some(at) = enqueue.get("status") {
        checker.fault(at, reason);
    }
    true
}

/// Notes a fault for an operation at [`STATUS_PATH`] of a contract with statuses.
pub(super) fn check_path<'d>(
    checker: &mut ContractChecker<'d>,
    paths: &'d Node,
    operations: &[Operation],
    routes: &Routes<'d>,
) {
    let shape: Vec<_> = segments(STATUS_PATH).map(|segment| parameter(segment).is_none().then_some(segment)).collect();
    let is_it = |route: &&Vec<Option<_>>| route.iter().map(Option::as_deref).eq(shape.iter().copied());
    let taken = routes.keys().find(is_it).and_then(|route| paths.get(routes.get(route)?));
    if let Some(at) = taken
        && operations.iter().any(|operation| operation.enqueue.status)
    {
        checker.fault(at, "this path is reserved: it serves the status of messages, which an operation has");
    }
}

/// Returns the path item of [`STATUS_PATH`] for the public document.
pub(super) fn path_item(operations: &[Operation]) -> Value {
    let mut security: Vec<Value> = Vec::new();
    for alternative in operations.iter().filter(|it| it.enqueue.status).flat_map(|it| &it.security) {
        let all = alternative.iter().map(|requirement| (requirement.scheme.clone(), json!(requirement.scopes)));
        let all = Value::Object(all.collect::<Map<_, _>>());
        if !security.contains(&all) {
            security.push(all);
        }
    }
    let text = json!({ "type": "string" });
    let retry_after = json!({
        "description": "Seconds until another look is worth it. Absent once the message is done or dead.",
        "schema": { "type": "integer", "minimum": 0 },
    });
    let etag = json!({ "description": "Identifies this status, for If-None-Match.", "schema": text });
    let headers = json!({ "ETag": etag, "Retry-After": retry_after });
    let status = json!({
        "type": "object",
        "required": ["id", "status"],
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "status": { "type": "string", "enum": ["accepted", "processing", "retrying", "done", "dead"] },
            "receiveCount": { "type": "integer", "description": "How often the message was received." },
            "nextAt": { "type": "string", "format": "date-time", "description": "When a retry is due." },
            "result": { "type": "string", "description": "What the handler gave." },
            "code": { "type": "string", "description": "The code of the rejection of a message that is dead." },
            "reason": { "type": "string", "description": "Why the message is dead." },
        },
    });
    let problem = |description: &str| {
        let schema = json!({ "type": "object", "required": ["title", "status", "code"] });
        json!({ "description": description, "content": { "application/problem+json": { "schema": schema } } })
    };
    json!({ "get": {
        "summary": "The status of a message",
        "security": security,
        "parameters": [
            { "name": "id", "in": "path", "required": true, "schema": text },
            { "name": "If-None-Match", "in": "header", "schema": text },
        ],
        "responses": {
            "200": {
                "description": "The status of the message.",
                "headers": headers,
                "content": { "application/json": { "schema": status } },
            },
            "304": { "description": "The status is the one of If-None-Match.", "headers": headers },
            "401": problem("The credentials are missing or wrong."),
            "404": problem("The caller has no message of this id, or it has no status."),
            "503": problem("The status or the credentials cannot be read now."),
        },
    } })
}
