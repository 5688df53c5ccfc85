//! The `sluicegate` command with all its features, built once per test process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{cargo, project};

/// Attempts to link the built binary before another build replaces it.
const ATTEMPTS: usize = 20;

/// The path of the binary. `cargo local` builds the command with other features into the same file, at any time, so the
/// build with all features is kept under another name.
pub(crate) static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = project::target().join("debug/sluicegate");
    let kept = built.with_file_name("sluicegate-with-all-features");
    let link = built.with_file_name(format!("sluicegate-{}", std::process::id()));
    for _ in 0..ATTEMPTS {
        let mut build = cargo();
        build.args(["build", "--quiet", "--bin", "sluicegate"]);
        assert!(build.status().expect("cargo runs").success(), "the command is built");
        // Cargo replaces the file instead of writing into it, so a hard link keeps the built binary.
        std::fs::hard_link(&built, &link).expect("a link");
        let is_whole = has_all_commands(&link);
        if is_whole {
            std::fs::rename(&link, &kept).expect("renamed");
        }
        // A rename onto a link to the same file does nothing.
        let _ = std::fs::remove_file(&link);
        if is_whole {
            return kept;
        }
    }
    panic!("other builds replaced the command {ATTEMPTS} times");
});

fn has_all_commands(binary: &Path) -> bool {
    let help = Command::new(binary).arg("help").output().expect("the command runs");
    String::from_utf8_lossy(&help.stdout).contains("secrets")
}
