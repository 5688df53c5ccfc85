//! [`EmbeddedContract`]: the contract that the build embedded in the binary.

use crate::Contract;

/// A contract that the build has checked and embedded in the binary. Made by
/// `sluicegate_ingress::embedded_contract!()`.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedContract {
    contract: &'static str,
    public_document: &'static str,
}

impl EmbeddedContract {
    /// Creates it from the two files that the build script writes: the contract and the document that the API serves.
    #[must_use]
    pub const fn new(contract: &'static str, public_document: &'static str) -> Self {
        Self { contract, public_document }
    }

    /// Loads the contract.
    ///
    /// # Errors
    /// The text is not a serialized [`Contract`] of this version of the crate.
    pub fn load(self) -> Result<Contract, serde_json::Error> {
        let contract: Contract = serde_json::from_str(self.contract)?;
        Ok(contract.with_public_document(self.public_document))
    }
}
