//! The end of the process that waits for nobody: not for a terminal that reads nothing, nor for a journal on the disk that has just failed.

use std::time::Duration;

/// How long last words may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// Aborts the process soon, whatever the caller does until then: it says why, and aborts it by itself.
pub(crate) fn abort_soon() {
    let watch = std::thread::Builder::new().name("abort".into());
    let watched = watch.spawn(|| {
        std::thread::sleep(LAST_WORDS_MAX);
        std::process::abort()
    });
    if watched.is_err() {
        std::process::abort();
    }
}
