//! What operators say of things without any effect on messages: what a virtual host is for, parameters of the whole broker, and what the
//! configuration has declared last.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Catalog;
use super::fact::Fact;
use super::outcome::Outcome;
use super::refusal::Refusal;
use crate::name::Name;

/// What a virtual host is for.
///
/// Part of the log's format by way of [`super::Fact`]: fields are appended, never reordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// In words.
    pub text: String,
    /// In labels.
    pub tags: Vec<String>,
}

impl Catalog {
    pub(super) fn describe_vhost(
        &mut self,
        vhost: Name,
        description: Description,
    ) -> Result<Outcome, Refusal> {
        let view = self.vhost_mut(&vhost)?;
        if *view.description == description {
            return Ok(Outcome::unchanged());
        }
        view.description = Arc::new(description.clone());
        Ok(Outcome::changed([Fact::VhostDescribed { vhost, description }]))
    }

    pub(super) fn set_global_parameter(&mut self, name: Name, value: String) -> Outcome {
        let parameters = &mut self.state.global_parameters;
        if parameters.get(&name).is_some_and(|known| **known == *value) {
            return Outcome::unchanged();
        }
        parameters.insert(name.clone(), value.as_str().into());
        Outcome::changed([Fact::GlobalParameterSet { name, value }])
    }

    pub(super) fn clear_global_parameter(&mut self, name: Name) -> Outcome {
        if self.state.global_parameters.remove(&name).is_none() {
            return Outcome::unchanged();
        }
        Outcome::changed([Fact::GlobalParameterCleared { name }])
    }

    pub(super) fn remember_declared(&mut self, declared: String) -> Outcome {
        if self.state.declared.as_deref() == Some(declared.as_str()) {
            return Outcome::unchanged();
        }
        self.state.declared = Some(declared.as_str().into());
        Outcome::changed([Fact::DeclaredRemembered { declared }])
    }
}
