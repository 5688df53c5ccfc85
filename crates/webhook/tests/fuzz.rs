//! Fuzz targets: every parser of the crate with hostile input, and every scheme with altered requests.
//!
//! `cargo test` runs a few inputs of each target, always the same ones. For a long run of one target:
//!
//! ```text
//! FUZZ_SECONDS=600 cargo test -p sluicegate-webhook --test fuzz altered_requests -- --nocapture
//! ```
//!
//! A failure prints its seed, `FUZZ_SEED`, and the smallest input found. Add that input to a test as a case. The folder
//! `fuzz` of the repository has the same targets for cargo-fuzz, whose inputs follow the coverage.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fuzz/access_tokens.rs"]
mod access_tokens;
#[path = "fuzz/altered_requests.rs"]
mod altered_requests;
#[path = "fuzz/hostile_requests.rs"]
mod hostile_requests;
#[path = "fuzz/message_signatures.rs"]
mod message_signatures;
#[path = "fuzz/published_keys.rs"]
mod published_keys;
#[path = "fuzz/round_trips.rs"]
mod round_trips;
#[path = "fuzz/run.rs"]
mod run;
#[path = "fuzz/schemes.rs"]
mod schemes;
#[path = "fuzz/tokens.rs"]
mod tokens;
#[path = "fuzz/valid.rs"]
mod valid;

pub(crate) use run::Target;

/// Makes a test of each target, and the list of all.
macro_rules! targets {
    ($($module:ident::$target:ident,)*) => {
        pub(crate) const TARGETS: &[(&str, fn() -> Target)] = &[$((stringify!($target), $module::$target),)*];

        $(#[test]
        fn $target() {
            $module::$target().run(stringify!($target));
        })*
    };
}

targets! {
    access_tokens::access_tokens,
    altered_requests::altered_requests,
    hostile_requests::hostile_requests,
    hostile_requests::hostile_secrets,
    message_signatures::message_signatures,
    published_keys::certificates,
    published_keys::key_sets,
    published_keys::values_of_bodies,
    round_trips::round_trips,
    schemes::schemes,
    schemes::templates,
    tokens::token_segments,
    tokens::tokens,
}

#[test]
fn cargo_fuzz_has_every_target() {
    let manifest = include_str!("../../../fuzz/Cargo.toml");
    let mut binaries: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .collect();
    let mut targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    binaries.sort_unstable();
    targets.sort_unstable();
    assert_eq!(binaries, targets);
}
