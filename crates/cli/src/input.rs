//! Input of the commands: files, the standard input, and values on the command line.

use std::{fs, io::Read as _, path::Path};

use sluicegate_contract::{Contract, Fault, Faults};
use sluicegate_topology::Topology;

use crate::CommandError;

/// Reads a whole file; `-` is the standard input.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read =
        if file.as_os_str() == "-" { std::io::stdin().read_to_end(&mut bytes).map(|_| bytes) } else { fs::read(file) };
    read.map_err(|source| unreadable(file, source))
}

/// Checks that a file is there, before a library reads it.
///
/// # Errors
/// The file does not exist; the text says what to do.
pub(crate) fn exists(file: &Path) -> Result<(), CommandError> {
    fs::metadata(file).map(|_| ()).map_err(|source| unreadable(file, source))
}

/// Reads the text of a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn text(file: &Path) -> Result<String, CommandError> {
    fs::read_to_string(file).map_err(|source| unreadable(file, source))
}

/// Reads and checks an OpenAPI document.
///
/// # Errors
/// The file cannot be read, or has faults; the text has one line for each.
pub(crate) fn contract(file: &Path) -> Result<Contract, CommandError> {
    contract_with_warnings(file).map(|(contract, _)| contract)
}

/// Reads and checks an OpenAPI document. Returns warnings too.
///
/// # Errors
/// The file cannot be read, or has faults; the text has one line for each.
pub(crate) fn contract_with_warnings(file: &Path) -> Result<(Contract, Vec<Fault>), CommandError> {
    let name = file.display().to_string();
    Contract::parse_with_warnings(&name, &text(file)?).map_err(|faults| faulty(file, faults))
}

/// Reads and checks a topology file.
///
/// # Errors
/// The file cannot be read, or has faults; the text has one line for each.
pub(crate) fn topology_file(file: &Path) -> Result<Topology, CommandError> {
    Topology::parse(&file.display().to_string(), &text(file)?).map_err(|faults| faulty(file, faults))
}

/// Parses `KEY=VALUE` of the command line.
pub(crate) fn pair(text: &str) -> Result<(String, String), CommandError> {
    let (key, value) = text.split_once('=').ok_or("expected is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn unreadable(file: &Path, source: std::io::Error) -> CommandError {
    CommandError::Unreadable { file: file.to_owned(), source }
}

fn faulty(file: &Path, faults: Faults) -> CommandError {
    CommandError::Faulty { file: file.to_owned(), faults }
}
