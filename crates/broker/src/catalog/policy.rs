//! Policies: settings for all queues and exchanges whose names match a pattern, set and changed while they are in use.
//!
//! Of the policies that match a queue or an exchange the one with the highest priority governs it, of equals the first by
//! name; the same once more among the operator policies, which bound what users may set. What the settings are, and how they
//! meet each other and the arguments of a declaration, is in [`super::policy_settings`].

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::fact::Fact;
use super::policy_settings;
use super::queue_arguments::QueueKind;
use super::refusal::Refusal;
use crate::arguments::Arguments;
use crate::name::Name;

/// Who has set a policy.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PolicyKind {
    /// Somebody who may set policies.
    User,
    /// The operator: an upper bound on what users may set.
    Operator,
}

/// What a policy is for.
///
/// Part of the log's format by way of [`super::Fact`]: variants are appended, never reordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues of all types.
    Queues,
    /// Queues that were declared classic, or as nothing.
    ClassicQueues,
    /// Queues that were declared as quorum queues.
    QuorumQueues,
    /// Streams, of which there are none.
    Streams,
    /// Exchanges.
    Exchanges,
}

/// What is asked for when a policy is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyDefinition {
    /// Of names; found anywhere in them unless it is anchored.
    pub pattern: String,
    /// What it is for.
    pub apply_to: ApplyTo,
    /// The highest that matches governs.
    pub priority: i32,
    /// The settings by name, such as `max-length`.
    pub settings: Arguments,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Unique in its virtual host, among those of its kind.
    pub name: Name,
    /// Who has set it.
    pub kind: PolicyKind,
    /// As set.
    pub definition: PolicyDefinition,
    expression: Regex,
}

/// What is asked whether a policy governs it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Governed<'a> {
    Queue(&'a [u8], QueueKind),
    Exchange(&'a [u8]),
}

/// Bounds what a pattern may cost in memory once compiled.
const COMPILED_BYTES_MAX: usize = 1 << 20;

impl ApplyTo {
    /// What that name means, with RabbitMQ's text if it means nothing.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        Ok(match name {
            "all" => ApplyTo::All,
            "queues" => ApplyTo::Queues,
            "classic_queues" => ApplyTo::ClassicQueues,
            "quorum_queues" => ApplyTo::QuorumQueues,
            "streams" => ApplyTo::Streams,
            "exchanges" => ApplyTo::Exchanges,
            other => {
                return Err(Refusal::precondition_failed(format!(
                    "apply-to '{other}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
                     'streams', 'exchanges', or 'all'"
                )));
            }
        })
    }

    fn includes(self, what: Governed<'_>) -> bool {
        match (self, what) {
            (ApplyTo::All, _) => true,
            (ApplyTo::Exchanges, Governed::Exchange(_)) => true,
            (ApplyTo::Queues, Governed::Queue(..)) => true,
            (ApplyTo::ClassicQueues, Governed::Queue(_, kind)) => kind == QueueKind::Classic,
            (ApplyTo::QuorumQueues, Governed::Queue(_, kind)) => kind == QueueKind::Quorum,
            _ => false,
        }
    }
}

impl fmt::Display for ApplyTo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ApplyTo::All => "all",
            ApplyTo::Queues => "queues",
            ApplyTo::ClassicQueues => "classic_queues",
            ApplyTo::QuorumQueues => "quorum_queues",
            ApplyTo::Streams => "streams",
            ApplyTo::Exchanges => "exchanges",
        })
    }
}

impl Policy {
    /// Compiles the pattern and checks the settings.
    ///
    /// # Errors
    /// The reason, in RabbitMQ's words where it has some: a pattern that is no regular expression, or not one that can be
    /// matched in linear time; a setting that is not known, or whose value makes no sense.
    pub fn new(name: Name, kind: PolicyKind, definition: PolicyDefinition) -> Result<Self, Refusal> {
        let expression = RegexBuilder::new(&definition.pattern)
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        let expression = expression.map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().to_owned();
            Refusal::precondition_failed(format!(
                "pattern should be regular expression but is invalid: {reason}"
            ))
        })?;
        policy_settings::check(&definition.settings, kind)?;
        Ok(Self {
            name,
            kind,
            definition,
            expression,
        })
    }

    /// Whether it governs that, unless one of higher priority does. One with a setting that queues of this type do not have is
    /// not for them at all.
    pub(crate) fn matches(&self, what: Governed<'_>) -> bool {
        let name = match what {
            Governed::Queue(name, _) | Governed::Exchange(name) => name,
        };
        let suits = match what {
            Governed::Queue(_, kind) => policy_settings::suit(&self.definition.settings, kind),
            Governed::Exchange(_) => true,
        };
        self.definition.apply_to.includes(what) && suits && self.expression.is_match(name)
    }

    /// What the log keeps of it.
    pub(crate) fn fact(&self, vhost: &Name) -> Fact {
        let PolicyDefinition {
            pattern,
            apply_to,
            priority,
            settings,
        } = self.definition.clone();
        Fact::PolicySet {
            vhost: vhost.clone(),
            name: self.name.clone(),
            kind: self.kind,
            pattern,
            apply_to,
            priority,
            settings,
        }
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind && self.definition == other.definition
    }
}
