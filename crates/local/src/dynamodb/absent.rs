//! DynamoDB in a build without it: there is none, so the other methods are never called.

use bytes::Bytes;

/// A type without values.
#[derive(Clone)]
pub enum DynamoDb {}

impl DynamoDb {
    pub(crate) fn start() -> Option<Self> {
        None
    }

    pub(crate) async fn call(&self, _action: &str, _body: Bytes) -> (u16, String) {
        match *self {}
    }
}
