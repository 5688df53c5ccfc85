//! The handlers, one file each.

pub(crate) mod forward;
pub(crate) mod log;
