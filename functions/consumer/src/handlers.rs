//! The handlers, one file each.

// The handler of docs/develop.md, at the place that the page names for a handler: it compiles with the dependencies of
// this package.
#[cfg(test)]
#[path = "../../../tests/it/docs/order_placed.rs"]
pub(crate) mod order_placed;
