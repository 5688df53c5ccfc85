//! YAML with positions, so that an error can name the line and the value at fault.
//!
//! [`Document::read`] turns a text into a tree of [`Node`]s. Each node has its line, its byte range and its JSON
//! pointer. A [`Checker`] reads the tree and collects every [`Fault`] instead of stopping at the first one. A fault is
//! displayed as `file:line: pointer: reason`, which editors and terminals turn into a link.
//!
//! ```
//! use sluicegate_yaml::{Checker, Dialect, Document};
//!
//! let document = Document::read("app.yaml", "port: 80\nhost: [a]\n", Dialect::Strict)?;
//! let mut checker = Checker::new("app.yaml", &document);
//! let port = document.root.get("port").and_then(|port| checker.integer(port, 1..=65_535_u64));
//! let host = document.root.get("host").and_then(|host| checker.text(host));
//! assert_eq!((port, host), (Some(80), None));
//! assert!(checker.faults[0].to_string().starts_with("app.yaml:2: /host: must be text"));
//! # Ok::<(), sluicegate_yaml::Faults>(())
//! ```
//!
//! Nesting, size and the number of values are bounded, so a hostile text ends in a fault. Without the feature `reader`
//! the crate has [`mod@pointer`] only and no dependencies.

#[cfg(feature = "reader")]
mod checker;
#[cfg(feature = "reader")]
mod dialect;
#[cfg(feature = "reader")]
mod fault;
#[cfg(feature = "reader")]
mod layout;
#[cfg(feature = "reader")]
mod node;
pub mod pointer;
#[cfg(feature = "reader")]
mod reader;
#[cfg(feature = "reader")]
mod scalar;

#[cfg(feature = "reader")]
pub use checker::Checker;
#[cfg(feature = "reader")]
pub use dialect::Dialect;
#[cfg(feature = "reader")]
pub use fault::{Fault, Faults};
#[cfg(feature = "reader")]
pub use node::{Data, Member, Node};
#[cfg(feature = "reader")]
pub use reader::{DEPTH_MAX, Document, NODES_MAX, TEXT_BYTES_MAX};
