//! What was found, what could not be looked at, and how bad it is.

use std::collections::BTreeMap;

use serde_json::Value;

use super::checks::Check;
use super::snapshot::{Missing, Object, Snapshot};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Messages are lost in this way already, or the next one is.
    LosesNow,
    /// Messages are lost when something happens that does happen.
    CanLose,
    /// Nothing is lost by this, but somebody should look.
    LookAtIt,
}

impl Severity {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Severity::LosesNow => "loses now",
            Severity::CanLose => "can lose",
            Severity::LookAtIt => "look at it",
        }
    }
}

/// One risk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check that found it.
    pub check: &'static str,
    /// The risk in a few words.
    pub title: &'static str,
    /// How it loses messages.
    pub why: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, such as `queue 'orders' in vhost '/'`.
    pub subject: String,
    /// What was seen: names and figures.
    pub seen: String,
    /// What to do.
    pub fix: String,
}

/// Something that the broker does not tell, so that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// The name of the check.
    pub check: &'static str,
    /// What is missing.
    pub what: String,
    /// For how many things.
    pub count: usize,
}

/// All that is known of a broker.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// Where it was read.
    pub url: String,
    /// What it calls itself, with its version.
    pub product: String,
    /// The risks, worst first.
    pub findings: Vec<Finding>,
    /// What nobody knows.
    pub unchecked: Vec<Unchecked>,
}

/// Where a check leaves what it finds.
pub(super) struct Notes<'a> {
    check: &'static Check,
    diagnosis: &'a mut Diagnosis,
    missing: BTreeMap<String, usize>,
}

/// A finding without what its check says of all of them.
pub(super) struct Note {
    pub(super) severity: Severity,
    pub(super) subject: String,
    pub(super) seen: String,
    pub(super) fix: String,
}

impl Diagnosis {
    /// Nothing is known yet but who it is.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            url: snapshot.url.clone(),
            product: snapshot.product.to_string(),
            ..Self::default()
        }
    }

    /// Whether anything was found that loses messages or can.
    pub fn loses(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity != Severity::LookAtIt)
    }

    /// How many findings of that severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        let those = self
            .findings
            .iter()
            .filter(|finding| finding.severity == severity);
        those.count()
    }

    pub(super) fn look(&mut self, check: &'static Check, snapshot: &Snapshot) {
        let mut notes = Notes {
            check,
            diagnosis: self,
            missing: BTreeMap::new(),
        };
        if let Err(missing) = (check.look)(snapshot, &mut notes) {
            notes.missing(missing);
        }
        let unchecked = notes.missing.into_iter().map(|(what, count)| Unchecked {
            check: check.name,
            what,
            count,
        });
        self.unchecked.extend(unchecked);
    }

    pub(super) fn in_order(&mut self) {
        // Stable, so that findings of one check stay together.
        self.findings.sort_by_key(|finding| finding.severity);
    }
}

impl Notes<'_> {
    /// Adds a finding.
    pub(super) fn find(&mut self, note: Note) {
        let Check { name, title, why, .. } = self.check;
        self.diagnosis.findings.push(Finding {
            check: name,
            title,
            why,
            severity: note.severity,
            subject: note.subject,
            seen: note.seen,
            fix: note.fix,
        });
    }

    /// Something is not told.
    pub(super) fn missing(&mut self, Missing(what): Missing) {
        *self.missing.entry(what).or_default() += 1;
    }

    /// Looks at each of some objects. One that lacks a field is noted, and the next one looked at.
    pub(super) fn each<'v>(
        &mut self,
        objects: impl IntoIterator<Item = Object<'v>>,
        mut look: impl FnMut(&mut Self, Object<'v>) -> Result<(), Missing>,
    ) {
        for object in objects {
            if let Err(missing) = look(self, object) {
                self.missing(missing);
            }
        }
    }
}

impl Finding {
    /// As JSON.
    pub fn json(&self) -> Value {
        serde_json::json!({
            "check": self.check,
            "title": self.title,
            "severity": self.severity.words(),
            "subject": self.subject,
            "seen": self.seen,
            "why": self.why,
            "fix": self.fix,
        })
    }
}
