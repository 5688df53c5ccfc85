//! What silently loses or delays messages, found in a template or in a deployed stack before it does.

mod drift;

pub use crate::drift::Drift;
