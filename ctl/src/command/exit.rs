//! The statuses that `everack ctl` ends with.

use everack_api_client::Failure;

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something else went wrong.
    Failed = 1,
    /// The command line was wrong. `clap` ends with the same.
    Usage = 2,
    /// What was named is not there.
    NotFound = 3,
    /// The log-in failed, or the user may not do that.
    Rights = 4,
    /// Nobody answers, or not in time.
    Unreachable = 5,
    /// The question was answered with no.
    Declined = 6,
    /// A check failed: the broker is not well.
    Unwell = 7,
    /// The broker refused what it was asked.
    Refused = 8,
}

impl Exit {
    /// All of them with what they mean.
    const MEANINGS: [(Self, &'static str); 9] = [
        (Self::Done, "done"),
        (
            Self::Failed,
            "something else went wrong: a file, an answer that cannot be understood",
        ),
        (Self::Usage, "the command line was wrong"),
        (Self::NotFound, "what was named is not there"),
        (Self::Rights, "the log-in failed, or the user may not do that"),
        (Self::Unreachable, "nobody answers there, or not in time"),
        (Self::Declined, "the question was answered with no"),
        (Self::Unwell, "a health check failed"),
        (
            Self::Refused,
            "the broker refused what it was asked, and said why",
        ),
    ];

    /// All of them, for the end of the help.
    pub(crate) fn help() -> String {
        let line = |(exit, meaning): &(Self, &str)| format!("\n  {}  {meaning}", *exit as u8);
        let lines: String = Self::MEANINGS.iter().map(line).collect();
        format!("It ends with the status{lines}")
    }

    /// What an error means for the status.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if error.is::<Declined>() {
            return Self::Declined;
        }
        if error.is::<Misused>() {
            return Self::Usage;
        }
        match error.downcast_ref::<Failure>() {
            Some(Failure::Unreachable { .. } | Failure::Late(_)) => Self::Unreachable,
            Some(Failure::Invalid(_)) => Self::Usage,
            Some(refused @ Failure::Refused { .. }) => match refused.status() {
                Some(404) => Self::NotFound,
                Some(401 | 403) => Self::Rights,
                Some(503) => Self::Unwell,
                _ => Self::Refused,
            },
            Some(Failure::Strange(_)) | None => Self::Failed,
        }
    }
}

/// The question was answered with no.
#[derive(Debug, thiserror::Error)]
#[error("nothing was done")]
pub(crate) struct Declined;

/// The arguments do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misused(pub(crate) String);

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use everack_api_client::StatusCode;
    use serde_json::Value;

    #[test]
    fn errors_have_statuses() {
        let check = |error: anyhow::Error, expected| {
            assert_eq!(Exit::of(&error), expected, "{error:#}");
            let told = Err::<(), _>(error).context("cannot do it").unwrap_err();
            assert_eq!(Exit::of(&told), expected, "{told:#}");
        };
        let refused = |status: u16| Failure::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            reason: String::new(),
            body: Value::Null,
        };
        check(refused(404).into(), Exit::NotFound);
        check(refused(401).into(), Exit::Rights);
        check(refused(400).into(), Exit::Refused);
        check(refused(503).into(), Exit::Unwell);
        check(Failure::Late("x".into()).into(), Exit::Unreachable);
        check(Failure::Strange("x".into()).into(), Exit::Failed);
        check(Declined.into(), Exit::Declined);
        check(Misused("x".into()).into(), Exit::Usage);
        check(anyhow::anyhow!("x"), Exit::Failed);
    }
}
