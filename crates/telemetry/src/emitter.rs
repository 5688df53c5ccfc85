//! [`Emitter`]: writes the metric lines to the standard output, which Lambda sends to CloudWatch Logs.

#[cfg(feature = "in-process")]
mod in_process;

use std::time::SystemTime;

use crate::{Admission, Deliveries, Error, log};

/// The name of the function, set by Lambda. Without it no lines are written.
const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// Initial capacity of the buffer for a line.
const LINE_BYTES: usize = 512;

/// Writes metric lines to the standard output, held like log lines ([`log::flushed`]).
#[derive(Clone, Debug)]
pub struct Emitter {
    function: String,
    /// Takes the lines, in place of the standard output.
    #[cfg(feature = "in-process")]
    taker: Option<in_process::Taker>,
}

impl Emitter {
    /// Returns the emitter of this Lambda function, or `None` outside Lambda. Call it once, at start.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        lookup(FUNCTION_NAME).filter(|name| !name.is_empty()).map(|function| Self {
            function,
            #[cfg(feature = "in-process")]
            taker: None,
        })
    }

    /// Writes the line of a request.
    ///
    /// # Errors
    /// The line could not be written, or exceeds a limit of CloudWatch.
    pub fn admission(&self, admission: &Admission<'_>) -> Result<(), Error> {
        let mut out = Vec::with_capacity(LINE_BYTES);
        admission.write_to(&mut out, &self.function, SystemTime::now())?;
        self.write(&out)
    }

    /// Writes the lines of one queue's messages.
    ///
    /// # Errors
    /// The line could not be written, or exceeds a limit of CloudWatch.
    pub fn deliveries(&self, queue: &str, deliveries: &Deliveries) -> Result<(), Error> {
        let mut out = Vec::with_capacity(2 * LINE_BYTES);
        deliveries.write_to(&mut out, &self.function, queue, SystemTime::now())?;
        self.write(&out)
    }

    fn write(&self, lines: &[u8]) -> Result<(), Error> {
        #[cfg(feature = "in-process")]
        if let Some(taker) = &self.taker {
            taker.take(lines);
            return Ok(());
        }
        Ok(log::write(lines, true)?)
    }
}
