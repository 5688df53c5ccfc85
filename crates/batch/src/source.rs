//! Where batches come from: one file per broker, which reads its event and settles in its way.

#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
mod raw;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;
