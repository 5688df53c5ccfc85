//! Where batches come from: one file per broker, which reads its event and settles in its way.

#[cfg(feature = "sqs")]
pub(crate) mod sqs;
