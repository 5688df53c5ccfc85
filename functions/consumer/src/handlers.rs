//! The handlers, one file each.

// The handler of docs/develop.md, in the place that the page gives for yours: it compiles with what this package
// depends on.
#[cfg(test)]
#[path = "../../../tests/it/docs/order_placed.rs"]
pub(crate) mod order_placed;
