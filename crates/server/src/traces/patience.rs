//! How often and how long a collector is tried that does not take what is sent. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// All is there, or so many spans were refused.
    Taken { rejected: u64 },
    /// It may be taken later; the collector may have said when.
    Later(Option<Duration>),
    /// It will never be taken.
    Never,
}

impl Attempt {
    /// What an HTTP status means, by the protocol's specification.
    pub(super) fn of_status(status: u16, retry_after: Option<&str>) -> Self {
        match status {
            200..=299 => Self::Taken { rejected: 0 },
            429 | 502 | 503 | 504 => {
                let seconds = retry_after.and_then(|text| text.trim().parse().ok());
                Self::Later(seconds.map(Duration::from_secs))
            }
            _ => Self::Never,
        }
    }
}

/// How long to wait before the attempt after number `attempt` (from 0 on), `elapsed` since the first; none if it is given up. `chance`
/// is 0 to 1: senders that were turned away together do not come back together.
pub(super) fn pause(
    attempt: u32,
    said: Option<Duration>,
    elapsed: Duration,
    most: Duration,
    chance: f64,
) -> Option<Duration> {
    let doubled = FIRST.saturating_mul(1 << attempt.min(10)).min(LONGEST);
    let own = doubled.mul_f64(0.5 + chance / 2.0);
    let pause = said.map_or(own, |said| said.max(own));
    (elapsed.saturating_add(pause) <= most).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempt: u32, said: Option<u64>, elapsed: u64, chance: f64, expected: Option<u64>) {
        let said = said.map(Duration::from_secs);
        let most = Duration::from_secs(60);
        let pause = pause(attempt, said, Duration::from_secs(elapsed), most, chance);
        assert_eq!(pause, expected.map(Duration::from_millis));
    }

    #[test]
    fn pauses_double_and_have_an_end() {
        check(0, None, 0, 1.0, Some(1000));
        check(0, None, 0, 0.0, Some(500));
        check(3, None, 0, 1.0, Some(8000));
        check(40, None, 0, 1.0, Some(30_000));
        check(40, None, 31, 1.0, None);
        check(0, Some(7), 0, 1.0, Some(7000));
        check(0, Some(0), 0, 1.0, Some(1000));
        check(0, Some(61), 0, 1.0, None);
        check(0, Some(u64::MAX), 1, 1.0, None);
    }

    #[test]
    fn statuses_mean_what_the_protocol_says() {
        let check = |status, after, expected| assert_eq!(Attempt::of_status(status, after), expected);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        check(200, None, Attempt::Taken { rejected: 0 });
        check(429, Some("3"), Attempt::Later(seconds(3)));
        check(503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), Attempt::Later(None));
        check(503, Some("-1"), Attempt::Later(None));
        check(502, None, Attempt::Later(None));
        check(504, None, Attempt::Later(None));
        check(500, Some("3"), Attempt::Never);
        check(400, None, Attempt::Never);
        check(404, None, Attempt::Never);
        check(302, None, Attempt::Never);
    }
}
