//! What a command is given to read: a file, or `-` for the standard input.

use std::{io::Read as _, path::Path};

/// All of it.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| format!("cannot read {}: {error}", file.display()))
}
