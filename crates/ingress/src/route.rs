//! Stage 1, [`Routed`]: the request has a route, and its body is within the limit of the route.

use sluicegate_contract::{Contract, Match, Operation, PAYLOAD_BYTES_MAX, RouteError};

use crate::{
    event::Arrival,
    handshake,
    rejection::{Code, Rejection},
};

/// A request with its operation. Only the size of the body has been checked.
#[derive(Debug)]
pub struct Routed<'c> {
    arrival: Arrival,
    operation: &'c Operation,
    path_params: Vec<(String, String)>,
}

/// Returns the ceiling that a limit of a route is, as the end of a sentence; empty below it.
pub(crate) fn ceiling(limit: usize) -> &'static str {
    match limit {
        PAYLOAD_BYTES_MAX => ", the most that Lambda accepts in one event",
        _ => "",
    }
}

impl<'c> Routed<'c> {
    /// Finds the operation. A signed handshake with another method is a request of the operation of its webhooks.
    ///
    /// # Errors
    /// Unknown path, method not allowed, unreadable transport encoding, or a body over the route's limit.
    pub fn new(contract: &'c Contract, arrival: Arrival) -> Result<Self, Rejection> {
        let found = find(contract, &arrival);
        let Match { operation, path_params } =
            found.or_else(|error| handshake::route(contract, &arrival).ok_or(error))?;
        let body = arrival.body.as_ref().map_err(|error| *error)?;
        let limit = operation.enqueue.payload_bytes_max;
        if body.len() > limit {
            let ceiling = ceiling(limit);
            let detail = format!("The body has {} bytes; this route accepts {limit}{ceiling}.", body.len());
            return Err(Rejection::new(Code::PayloadTooLarge, detail));
        }
        Ok(Self { arrival, operation, path_params })
    }

    /// Returns a request for the status of a message of this operation, which has the operation's credentials.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn for_status(arrival: Arrival, operation: &'c Operation) -> Self {
        Self { arrival, operation, path_params: Vec::new() }
    }

    /// Makes it a request for the status of a message of another operation.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn set_operation(&mut self, operation: &'c Operation) {
        self.operation = operation;
    }

    /// Returns the operation of the contract.
    #[must_use]
    pub fn operation(&self) -> &'c Operation {
        self.operation
    }

    /// Returns the request.
    #[must_use]
    pub fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// Returns the exact bytes of the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        // `new` rejects a body that cannot be decoded.
        self.arrival.body.as_deref().unwrap_or_default()
    }

    /// Returns the decoded values of the path parameters, from the left.
    pub(crate) fn path_params(&self) -> impl Iterator<Item = &str> {
        self.path_params.iter().map(|(_, value)| value.as_str())
    }

    /// Returns the decoded value of a path parameter.
    #[must_use]
    pub fn path_param(&self, name: &str) -> Option<&str> {
        self.path_params.iter().find(|(param, _)| param == name).map(|(_, value)| value.as_str())
    }
}

/// Finds the operation of the path, with and without its stage: a named stage is part of the path on the execute-api
/// host name and absent on a custom domain.
pub(crate) fn find<'c>(contract: &'c Contract, arrival: &Arrival) -> Result<Match<'c>, RouteError> {
    find_method(contract, arrival, &arrival.method)
}

/// Finds the operation of the path with another method than that of the request.
pub(crate) fn find_method<'c>(
    contract: &'c Contract,
    arrival: &Arrival,
    method: &str,
) -> Result<Match<'c>, RouteError> {
    match (contract.route(method, &arrival.path), arrival.unstaged_path()) {
        (Err(RouteError::NotFound), Some(path)) => contract.route(method, path),
        (found, _) => found,
    }
}

/// Returns the value of `Allow`: the methods of the contract, and OPTIONS, which the ingress answers itself.
pub(crate) fn allow_header(methods: &[String]) -> String {
    methods.iter().map(String::as_str).chain(["OPTIONS"]).collect::<Vec<_>>().join(", ")
}

impl From<RouteError> for Rejection {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotFound => Self::new(Code::RouteUnknown, "No route of this API has that path."),
            RouteError::MethodNotAllowed { allow } => {
                let allow = allow_header(&allow);
                Self::new(Code::MethodNotAllowed, format!("This route accepts {allow}.")).header("allow", allow)
            }
            RouteError::BadPath => Self::new(Code::PathInvalid, "The path is not percent-encoded UTF-8."),
        }
    }
}
