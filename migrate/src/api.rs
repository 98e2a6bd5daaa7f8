//! Asking the management APIs of both brokers: with patience, where a broker under load fails to tell.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use everack_api_client::{Api, Failure, Target};
use serde_json::Value;

/// How long one answer may take: an import of many thousand queues is slow.
const ANSWER_MAX: Duration = Duration::from_secs(600);
/// How often something is read that the broker fails to tell, and how long to wait in between.
const TRIES: u32 = 15;
const PAUSE: Duration = Duration::from_secs(2);

/// A client for the API at the URL that a flag such as `--from` gives.
pub(crate) fn open(flag: &'static str, url: &str, ca: Option<&Path>) -> anyhow::Result<Api> {
    let target = Target::of_url(url, ca).context(flag)?;
    Api::new(target, ANSWER_MAX)
}

/// Reads a path such as `/api/overview`. A broker under load answers with an error of its own now and then; it is asked again.
///
/// # Errors
/// Nobody answers there, or it is refused.
pub(crate) fn read(api: &Api, path: &str) -> anyhow::Result<Value> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match api.get(path) {
            Err(Failure::Refused { status, .. }) if status.is_server_error() && tries > 0 => {
                std::thread::sleep(PAUSE);
            }
            answer => return answer.with_context(|| format!("{}: {path}", api.target().place)),
        }
    }
}
