//! Input of the commands: files, the standard input, and values on the command line.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::Path,
};

use sluicegate_contract::{Contract, Fault, Faults};
use sluicegate_topology::Topology;

use crate::paths;

/// Reads a whole file; `-` is the standard input.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read =
        if file.as_os_str() == "-" { std::io::stdin().read_to_end(&mut bytes).map(|_| bytes) } else { fs::read(file) };
    read.map_err(|error| cannot_read(file, &error))
}

/// Checks that a file is there, before a library reads it.
///
/// # Errors
/// The file does not exist; the text says what to do.
pub(crate) fn exists(file: &Path) -> Result<(), String> {
    fs::metadata(file).map(|_| ()).map_err(|error| cannot_read(file, &error))
}

/// Reads the text of a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn text(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| cannot_read(file, &error))
}

/// Reads and checks an OpenAPI document.
///
/// # Errors
/// The file cannot be read, or has faults; the text has one line for each.
pub(crate) fn contract(file: &Path) -> Result<Contract, String> {
    contract_with_warnings(file).map(|(contract, _)| contract)
}

/// Reads and checks an OpenAPI document. Returns warnings too.
///
/// # Errors
/// The file cannot be read, or has faults; the text has one line for each.
pub(crate) fn contract_with_warnings(file: &Path) -> Result<(Contract, Vec<Fault>), String> {
    let name = file.display().to_string();
    Contract::parse_with_warnings(&name, &text(file)?).map_err(|faults| faulty(file, &faults))
}

/// Reads and checks a topology file.
///
/// # Errors
/// The file cannot be read, or has faults; the text has one line for each.
pub(crate) fn topology_file(file: &Path) -> Result<Topology, String> {
    Topology::parse(&file.display().to_string(), &text(file)?).map_err(|faults| faulty(file, &faults))
}

/// Parses `KEY=VALUE` of the command line.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn cannot_read(file: &Path, error: &std::io::Error) -> String {
    let is_default = [paths::CONTRACT, paths::TEMPLATE].iter().any(|default| file == Path::new(default));
    let next = match error.kind() {
        ErrorKind::NotFound if is_default => ": run this in the folder of a project, or name the file (see --help)",
        ErrorKind::NotFound => ": check the path",
        _ => "",
    };
    format!("cannot read {}: {error}{next}", file.display())
}

fn faulty(file: &Path, faults: &Faults) -> String {
    format!("{} has {} fault(s)\n{}", file.display(), faults.len(), faults)
}
