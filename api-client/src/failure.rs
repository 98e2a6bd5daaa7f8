//! Why a request was not carried out, and with which status the process should end for it.

use serde_json::Value;
use ureq::http::StatusCode;

use super::Place;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Nobody is there, or the connection was lost.
    #[error("{place} does not answer: {why}")]
    Unreachable {
        /// Where it was looked for.
        place: String,
        /// What the system said.
        why: String,
    },
    /// The answer did not come in time. Whether the request was carried out is not known.
    #[error("{0} did not answer in time; a longer time may be given with --timeout")]
    Late(String),
    /// The broker understood, and will not.
    #[error("{status}: {}", if reason.is_empty() { "no reason was given" } else { reason })]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The broker's reason.
        reason: String,
        /// The answer as it came.
        body: Value,
    },
    /// Something answers that is no management API.
    #[error("{0}")]
    Strange(String),
    /// There can be no such request.
    #[error("this cannot be asked: {0}")]
    Invalid(String),
}

impl Failure {
    pub(super) fn of(place: &Place, error: &ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::Late(place.to_string()),
            other => Self::Unreachable {
                place: place.to_string(),
                why: match place {
                    Place::Socket(_) => {
                        format!("{other}; it is for root and the user that the broker runs as")
                    }
                    Place::Http(_) => other.to_string(),
                },
            },
        }
    }

    pub(super) fn refused(status: StatusCode, body: Value) -> Self {
        // A health check that fails has a reason but no error; a wrong path may have neither.
        let said = |field: &str| body.get(field)?.as_str().map(str::to_owned);
        let reason = said("reason").or_else(|| said("error")).unwrap_or_default();
        Self::Refused { status, reason, body }
    }

    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// The HTTP status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_broker_s_reason_is_told() {
        let check = |body: Value, expected: &str| {
            let failure = Failure::refused(StatusCode::BAD_REQUEST, body);
            assert_eq!(failure.to_string(), expected);
        };
        check(
            json!({"error": "bad_request", "reason": "inequivalent arg"}),
            "400 Bad Request: inequivalent arg",
        );
        check(json!({"error": "bad_request"}), "400 Bad Request: bad_request");
        check(Value::Null, "400 Bad Request: no reason was given");
    }
}
