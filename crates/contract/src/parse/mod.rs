//! From OpenAPI YAML to a [`Contract`], or to everything that is wrong with it.

mod fault;

pub use fault::Fault;

use crate::Contract;

impl Contract {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// All faults, in the order of the file.
    pub fn parse(file: &str, _yaml: &str) -> Result<Self, Vec<Fault>> {
        Err(vec![Fault { file: file.to_owned(), line: 1, pointer: String::new(), reason: "not read yet".to_owned() }])
    }
}
