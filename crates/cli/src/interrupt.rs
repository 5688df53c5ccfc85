//! Ctrl-C: the first one asks a command to stop, the second ends it.

use sluicegate_dlq::CancellationToken;

/// The exit code that shells report for a process ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Returns a token that the first Ctrl-C cancels. A second Ctrl-C ends the process at once.
pub(crate) fn stop_at_ctrl_c() -> CancellationToken {
    let stop = CancellationToken::default();
    let asked = stop.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if asked.is_cancelled() {
                std::process::exit(i32::from(INTERRUPTED));
            }
            eprintln!(
                "interrupted: finishing what is in progress and releasing the rest (press Ctrl-C again to exit at once)"
            );
            asked.cancel();
        }
    });
    stop
}
