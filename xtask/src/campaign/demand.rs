//! What the figures of a part have to be for the part to count.

use super::{Scale, Site};
use serde_json::Value;

/// A demand on one figure, named by its key; a key with dots goes into nested objects.
#[derive(Clone, Copy)]
pub(crate) enum Demand {
    /// It happened this often at least in a full campaign, and a tenth as often in a short one.
    AtLeast(&'static str, u64),
    /// It never happened.
    Never(&'static str),
    /// It was found: a check that cannot fail shows nothing.
    Found(&'static str),
    /// Both are the same.
    Same(&'static str, &'static str),
    /// The first is not larger than the second.
    NoMore(&'static str, &'static str),
}

impl Demand {
    /// What is wrong with the figures; nothing when the demand is met. A figure that is not there never meets a demand.
    pub(crate) fn complaint(&self, figures: &Value, site: &Site) -> Option<String> {
        match *self {
            Self::AtLeast(key, full) => {
                let least = if site.scale == Scale::Full {
                    full
                } else {
                    full.div_ceil(10)
                };
                judge(
                    figures,
                    key,
                    |value| value >= least as f64,
                    &format!("at least {least}"),
                )
            }
            Self::Never(key) => judge(figures, key, |value| value == 0.0, "0"),
            Self::Found(key) => judge(figures, key, |value| value > 0.0, "more than 0"),
            Self::Same(key, other) => compare(figures, key, other, |value, wanted| value == wanted),
            Self::NoMore(key, other) => compare(figures, key, other, |value, most| value <= most),
        }
    }
}

fn judge(figures: &Value, key: &str, is_met: impl Fn(f64) -> bool, wanted: &str) -> Option<String> {
    match number(figures, key) {
        None => Some(format!("there is no figure `{key}`")),
        Some(value) if is_met(value) => None,
        Some(value) => Some(format!("{key} is {value}, wanted: {wanted}")),
    }
}

fn compare(figures: &Value, key: &str, other: &str, is_met: impl Fn(f64, f64) -> bool) -> Option<String> {
    let Some(measure) = number(figures, other) else {
        return Some(format!("there is no figure `{other}`"));
    };
    judge(
        figures,
        key,
        |value| is_met(value, measure),
        &format!("in line with {other} = {measure}"),
    )
}

/// The figure of this name; a list counts by its length, a truth value as 0 or 1.
pub(crate) fn number(figures: &Value, key: &str) -> Option<f64> {
    let value = key.split('.').try_fold(figures, |value, name| value.get(name))?;
    match value {
        Value::Array(list) => Some(list.len() as f64),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        other => other.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(demand: Demand, scale: Scale, met: bool) {
        let figures =
            json!({ "cuts": 30, "lost": [], "found": ["a", "b"], "lying": { "lost": 7 }, "flaws": 2 });
        let site = Site {
            scale,
            binaries: "bin".into(),
            scratch: "scratch".into(),
        };
        let complaint = demand.complaint(&figures, &site);
        assert_eq!(complaint.is_none(), met, "{complaint:?}");
    }

    #[test]
    fn demands_are_judged() {
        check(Demand::AtLeast("cuts", 300), Scale::Short, true);
        check(Demand::AtLeast("cuts", 300), Scale::Full, false);
        check(Demand::AtLeast("missing", 1), Scale::Full, false);
        check(Demand::Never("lost"), Scale::Full, true);
        check(Demand::Never("lying.lost"), Scale::Full, false);
        check(Demand::Never("missing"), Scale::Full, false);
        check(Demand::Found("lying.lost"), Scale::Full, true);
        check(Demand::Found("lost"), Scale::Full, false);
        check(Demand::Same("found", "flaws"), Scale::Full, true);
        check(Demand::Same("found", "cuts"), Scale::Full, false);
        check(Demand::Same("found", "missing"), Scale::Full, false);
        check(Demand::NoMore("flaws", "cuts"), Scale::Full, true);
        check(Demand::NoMore("cuts", "flaws"), Scale::Full, false);
        check(Demand::NoMore("cuts", "missing"), Scale::Full, false);
    }
}
