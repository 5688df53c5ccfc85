//! `paths`: the operations, each with a unique route.

use std::borrow::Cow;
use std::collections::HashMap;

use sluicegate_yaml::Node;

use super::attribute_warnings;
use super::checker::ContractChecker;
use super::content;
use super::enqueue;
use super::request;
use super::security::{self, Schemes};
use super::status;
use crate::route::{decode_segment, parameter, segments};
use crate::{DOCUMENT_PATH, Location, Operation, Requirement, binding_variable};

const METHODS: &[&str] = &["get", "put", "post", "delete", "head", "patch"];

const ITEM_FIELDS: &[&str] = &[
    "summary",
    "description",
    "servers",
    "parameters",
    "get",
    "put",
    "post",
    "delete",
    "options",
    "head",
    "patch",
    "trace",
    "$ref",
];

const OPERATION_FIELDS: &[&str] = &[
    "tags",
    "summary",
    "description",
    "externalDocs",
    "operationId",
    "parameters",
    "requestBody",
    "responses",
    "callbacks",
    "deprecated",
    "security",
    "servers",
];

/// Paths by their decoded segments, `None` for a parameter.
pub(super) type Routes<'d> = HashMap<Vec<Option<Cow<'d, str>>>, &'d str>;

/// Returns the operations of the document; those with a fault may be left out.
pub(super) fn operations(checker: &mut ContractChecker<'_>, schemes: &Schemes) -> Vec<Operation> {
    let root = checker.root;
    let Some(paths) = checker.required(root, "paths") else { return Vec::new() };
    if checker.mapping(paths).is_none() {
        return Vec::new();
    }
    let mut reading = Reading {
        // Read once, so that its faults are reported once.
        security: root.get("security").map(|at| security::requirements(checker, at, schemes)),
        schemes,
        routes: HashMap::new(),
        ids: HashMap::new(),
        queues: HashMap::new(),
    };
    let mut operations = Vec::new();
    let mut declared = 0;
    for (path, item) in paths.entries() {
        if path.starts_with("x-") {
            continue;
        }
        check_path(checker, path, item, &mut reading.routes);
        let Some(item) = checker.resolve(item) else { continue };
        if checker.fields_and_extensions(item, ITEM_FIELDS).is_none() {
            continue;
        }
        for method in ["options", "trace"] {
            if let Some(at) = item.get(method) {
                checker.fault(at, format!("{method} operations are not supported"));
            }
        }
        for &method in METHODS {
            let Some(at) = item.get(method) else { continue };
            declared += 1;
            operations.extend(reading.operation(checker, path, method, item, at));
        }
    }
    status::check_path(checker, paths, &operations, &reading.routes);
    if declared == 0 {
        checker.fault(paths, "there is no operation");
    }
    operations
}

fn check_path<'d>(checker: &mut ContractChecker<'d>, path: &'d str, at: &'d Node, routes: &mut Routes<'d>) {
    if !path.starts_with('/') || path.starts_with("//") {
        checker.fault(at, "a path starts with one `/`");
        return;
    }
    let mut names = Vec::new();
    for segment in segments(path) {
        let (text, well_formed): (_, fn(u8) -> bool) = match parameter(segment) {
            Some(name) => (name, |b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
            None => (segment, |b| b.is_ascii_graphic() && !b"{}?#\"<>\\^`|".contains(&b)),
        };
        if parameter(segment).is_some_and(|name| name.is_empty() || names.contains(&name)) {
            checker.fault(at, format!("`{segment}` has no name, or the name of an earlier parameter"));
        } else if !text.bytes().all(well_formed) {
            checker.fault(at, format!("`{segment}` is neither a percent-encoded segment nor one {{parameter}}"));
        } else if parameter(segment).is_none() {
            check_literal(checker, segment, at);
        }
        names.extend(parameter(segment));
    }
    // Requests are compared decoded; see `Contract::route`.
    let shape: Vec<_> = segments(path)
        .map(|segment| match parameter(segment) {
            Some(_) => None,
            None => Some(decode_segment(segment).unwrap_or(Cow::Borrowed(segment))),
        })
        .collect();
    if shape.iter().map(Option::as_deref).eq(segments(DOCUMENT_PATH).map(Some)) {
        checker.fault(at, "this path is reserved: it serves the document itself");
    }
    if let Some(other) = routes.insert(shape, path) {
        checker.fault(at, format!("this is the same route as {other}"));
    }
}

/// Notes a fault for a literal segment that no request can have.
fn check_literal<'d>(checker: &mut ContractChecker<'d>, segment: &str, at: &'d Node) {
    let reason = match decode_segment(segment).as_deref() {
        None => "is not percent-encoded UTF-8",
        // RFC 3986, section 6.2.2.3.
        Some("." | "..") => "is resolved by clients and never sent",
        // An HTTP API decodes the path twice and cuts it at `?`: live captures in
        // https://github.com/hotsock/voker/pull/8.
        Some(text) if text.contains(['/', '?', '%']) => "stands for `/`, `?` or `%`, which HTTP APIs do not pass on",
        Some(text) if text.contains(char::is_control) => "stands for a control character",
        Some(_) => return,
    };
    checker.fault(at, format!("no request has this path: `{segment}` {reason}"));
}

/// The state that all operations of the document share.
struct Reading<'s, 'd> {
    /// The document's own `security`, for operations that have none.
    security: Option<Vec<Vec<Requirement>>>,
    schemes: &'s Schemes,
    routes: Routes<'d>,
    /// Pointer of the operation, by operationId.
    ids: HashMap<String, String>,
    /// Queue, by the variable that binds it.
    queues: HashMap<String, String>,
}

impl<'d> Reading<'_, 'd> {
    fn operation(
        &mut self,
        checker: &mut ContractChecker<'d>,
        path: &'d str,
        method: &str,
        item: &'d Node,
        at: &'d Node,
    ) -> Option<Operation> {
        checker.fields_and_extensions(at, OPERATION_FIELDS)?;
        let id = self.id(checker, at);
        let security = self.security(checker, at);

        let path_names: Vec<_> = segments(path).filter_map(parameter).collect();
        let parameters = request::parameters(checker, item, at, &path_names);
        for name in &path_names {
            if !parameters.iter().any(|parameter| parameter.location == Location::Path && parameter.name == *name) {
                checker.missing(at, "parameters", format!("the path parameter {{{name}}} is not declared"));
            }
        }
        let body = request::body(checker, at);
        let public = security.iter().any(Vec::is_empty) || security.is_empty();
        let provider = security::provider(&security, self.schemes);
        let request = attribute_warnings::Request {
            path_names: &path_names,
            body: body.as_ref(),
            parameters: &parameters,
            provider,
            public,
            is_signed: security::is_signed(&security, self.schemes),
            has_claims: security::has_claims(&security, self.schemes),
        };
        let enqueue = enqueue::enqueue(checker, at, &request)?;
        for named in enqueue::queue_names(at) {
            self.check_queue(checker, named);
        }
        let (method, path) = (method.to_ascii_uppercase(), path.to_owned());
        let webhook_origins = content::webhook_origins(checker, at);
        Some(Operation { id: id?, method, path, security, parameters, body, enqueue, webhook_origins })
    }

    fn id(&mut self, checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<String> {
        let id = checker.required_text(at, "operationId")?;
        if let Some(other) = self.ids.insert(id.to_owned(), at.pointer().to_owned()) {
            checker.fault_at(&at.child_pointer("operationId"), format!("`{id}` is already the operationId of {other}"));
        }
        Some(id.to_owned())
    }

    fn security(&mut self, checker: &mut ContractChecker<'d>, at: &'d Node) -> Vec<Vec<Requirement>> {
        match (at.get("security"), &self.security) {
            (Some(own), _) => security::requirements(checker, own, self.schemes),
            (None, Some(inherited)) => inherited.clone(),
            (None, None) => {
                // In OpenAPI, a missing `security` admits every request. It is required here, so that an omission does
                // not make a route public.
                checker.missing(at, "security", "is missing; write `security: []` to admit every request");
                Vec::new()
            }
        }
    }

    fn check_queue(&mut self, checker: &mut ContractChecker<'d>, at: &'d Node) {
        let Some(queue) = at.text() else { return };
        let variable = binding_variable(queue);
        let first = self.queues.entry(variable.clone()).or_insert_with(|| queue.to_owned());
        if first != queue {
            checker.fault(at, format!("`{queue}` and `{first}` would both be bound by {variable}"));
        }
    }
}
