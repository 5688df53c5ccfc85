//! [`Emitter`]: puts the lines where Lambda picks them up.

use std::io::{Write, stdout};
use std::time::SystemTime;

use crate::{Admission, Deliveries, Error};

/// Lambda sets it in every function; elsewhere nobody reads the lines.
const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// Room for the line of a request.
const LINE_BYTES: usize = 512;

/// Writes lines to the standard output, each in one piece.
#[derive(Clone, Debug)]
pub struct Emitter {
    function: String,
}

impl Emitter {
    /// The emitter of the function that this process is; `None` if it is none. To be made once, at start.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        lookup(FUNCTION_NAME).filter(|name| !name.is_empty()).map(|function| Self { function })
    }

    /// Tells about a request.
    ///
    /// # Errors
    /// The line could not be written, or says what CloudWatch would not take.
    pub fn admission(&self, admission: &Admission<'_>) -> Result<(), Error> {
        let mut out = Vec::with_capacity(LINE_BYTES);
        admission.write_to(&mut out, &self.function, SystemTime::now())?;
        Ok(stdout().lock().write_all(&out)?)
    }

    /// Tells about the messages of one queue.
    ///
    /// # Errors
    /// The line could not be written, or says what CloudWatch would not take.
    pub fn deliveries(&self, queue: &str, deliveries: &Deliveries) -> Result<(), Error> {
        let mut out = Vec::with_capacity(2 * LINE_BYTES);
        deliveries.write_to(&mut out, &self.function, queue, SystemTime::now())?;
        Ok(stdout().lock().write_all(&out)?)
    }
}
