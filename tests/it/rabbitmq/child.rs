//! A test that runs itself again as a child process, with another environment and a captured log.

use tokio::process::Command;

/// Runs the test of this path (`module_path!()` and its name) with more environment. Returns its output.
pub(crate) async fn run(test: &str, environment: &[(&str, &str)]) -> String {
    let (_, name) = test.split_once("::").expect("the crate's name first");
    // Not `current_exe`: a newer build may have replaced the file.
    let output = Command::new("/proc/self/exe")
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads", "1"])
        .envs(environment.iter().copied())
        .env_remove("SSL_CERT_DIR")
        .kill_on_drop(true)
        .output();
    let output = output.await.expect("the child starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}
