//! Parses and checks `openapi.yaml`, so that a bad contract is a build error, and embeds it as quick-to-load JSON.

use std::{env, fs, path::Path, process::ExitCode};

use sluicegate_contract::Contract;

const CONTRACT: &str = "openapi.yaml";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={CONTRACT}");
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reasons) => {
            for reason in reasons {
                println!("cargo::error={reason}");
            }
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), Vec<String>> {
    let yaml = fs::read_to_string(CONTRACT).map_err(|e| vec![format!("{CONTRACT}: {e}")])?;
    let (contract, warnings) = Contract::parse_with_warnings(&format!("functions/ingress/{CONTRACT}"), &yaml)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    for warning in warnings {
        println!("cargo::warning={warning}");
    }
    let json = serde_json::to_string(&contract).map_err(|e| vec![e.to_string()])?;
    let out = env::var("OUT_DIR").map_err(|e| vec![e.to_string()])?;
    let write = |name, text: &str| fs::write(Path::new(&out).join(name), text).map_err(|e| vec![e.to_string()]);
    write("contract.json", &json)?;
    write("openapi.json", contract.public_document())
}
