//! The build script of an ingress function: checks the contract and embeds it in the binary.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::Contract;

/// Checks the OpenAPI document at `path` (relative to the package) and writes the files that
/// `sluicegate_ingress::embedded_contract!()` embeds to `OUT_DIR`. The whole `build.rs` of a function:
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     sluicegate_contract::build("openapi.yaml")
/// }
/// ```
///
/// Each fault of the document is a build error with file, line, JSON pointer and reason; each warning is a warning of
/// the build.
#[must_use = "the exit code fails the build"]
pub fn build(path: impl AsRef<Path>) -> ExitCode {
    let path = path.as_ref();
    println!("cargo::rerun-if-changed={}", path.display());
    match embed(path) {
        Ok(warnings) => {
            for warning in warnings {
                println!("cargo::warning={warning}");
            }
            ExitCode::SUCCESS
        }
        Err(reasons) => {
            for reason in reasons {
                println!("cargo::error={reason}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Returns the warnings, or the faults.
fn embed(path: &Path) -> Result<Vec<String>, Vec<String>> {
    let shown = shown(path).display().to_string();
    let failed = |error: &dyn std::fmt::Display| vec![format!("{shown}: {error}")];
    let yaml = fs::read_to_string(path).map_err(|error| failed(&error))?;
    let (contract, warnings) = Contract::parse_with_warnings(&shown, &yaml)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(|folder| Path::new(&folder).join("Cargo.toml"));
    let manifest = manifest.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let missing = contract.missing_features(&manifest);
    if !missing.is_empty() {
        return Err(missing.iter().map(|reason| format!("{shown}: {reason}")).collect());
    }
    let json = serde_json::to_string(&contract).map_err(|error| failed(&error))?;
    let folder =
        PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| failed(&"OUT_DIR is not set: call build() from build.rs"))?);
    fs::write(folder.join("contract.json"), json).map_err(|error| failed(&error))?;
    fs::write(folder.join("openapi.json"), contract.public_document()).map_err(|error| failed(&error))?;
    Ok(warnings.iter().map(ToString::to_string).collect())
}

/// Returns the path relative to the folder of `Cargo.lock`, as in Cargo's own messages.
fn shown(path: &Path) -> PathBuf {
    let relative = || -> io::Result<PathBuf> {
        let full = path.canonicalize()?;
        let root = full.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
        Ok(root.and_then(|root| full.strip_prefix(root).ok()).map_or_else(|| full.clone(), Path::to_path_buf))
    };
    relative().unwrap_or_else(|_| path.to_path_buf())
}
