//! Whether a user may give a command, by RabbitMQ's rules.
//!
//! A declaration or deletion needs `configure` on the thing. A new queue with a dead-letter exchange also needs `read` on the
//! queue and `write` on that exchange, a new exchange with an alternate likewise. Binding and unbinding need `write` on the
//! destination and `read` on the source, and to a topic exchange also `read` on the routing key. Asking passively needs nothing. Publishing (`write` on the exchange) and consuming
//! (`read` on the queue) are no commands of the catalog: see [`Permissions::require`](super::Permissions::require).

use super::binding::{Binding, Destination};
use super::command::{Command, DeclareExchange, DeclareQueue};
use super::exchange::{self, ALTERNATE};
use super::permission::{self, Access, Resource};
use super::policy::PolicyKind;
use super::refusal::{Refusal, resource};
use super::snapshot::Snapshot;
use crate::arguments::{Arguments, Value};
use crate::name::Name;

impl Snapshot {
    /// Refuses what the user may not do, and before that what nobody may, in the order in which RabbitMQ does. To be asked
    /// before the command is applied; the catalog itself knows no users' rights.
    pub fn authorise(&self, user: &Name, command: &Command) -> Result<(), Refusal> {
        let command = command.clone().normalized();
        command.check_form()?;
        let asker = |vhost| Asker {
            snapshot: self,
            user,
            vhost,
        };
        match &command {
            Command::DeclareExchange(declare) => asker(&declare.vhost).may_declare_exchange(declare),
            Command::DeclareQueue(declare) => asker(&declare.vhost).may_declare_queue(declare),
            Command::DeleteExchange { vhost, name, .. } => {
                asker(vhost).require(Access::Configure, Resource::Exchange(name))
            }
            Command::DeleteQueue { vhost, name, .. } => {
                asker(vhost).require(Access::Configure, Resource::Queue(name))
            }
            Command::Bind { vhost, binding, .. } | Command::Unbind { vhost, binding, .. } => {
                asker(vhost).may_bind(binding)
            }
            // The broker's own.
            Command::RemoveQueue { .. } | Command::ConnectionClosed { .. } => Ok(()),
            Command::DeclareVhost { .. }
            | Command::DeleteVhost { .. }
            | Command::DeclareUser { .. }
            | Command::DeleteUser { .. }
            | Command::SetPermissions { .. }
            | Command::ClearPermissions { .. }
            | Command::SetTopicPermission { .. }
            | Command::ClearTopicPermissions { .. }
            | Command::LimitVhost { .. }
            | Command::SetUnroutable { .. }
            | Command::ReplacePolicies { .. }
            | Command::SetDefaultQueueType { .. }
            | Command::GuardNoAck { .. }
            | Command::DescribeVhost { .. }
            | Command::RememberDeclared { .. }
            | Command::Together { .. }
            | Command::LimitUser { .. } => self.require_administrator(user),
            Command::SetGlobalParameter { .. } | Command::ClearGlobalParameter { .. } => {
                self.may_govern(user, PolicyKind::User)
            }
            Command::SetPolicy { kind, .. } | Command::ClearPolicy { kind, .. } => {
                self.may_govern(user, *kind)
            }
        }
    }

    /// Policies and parameters are set by policymakers, and by administrators, who alone set operator policies.
    fn may_govern(&self, user: &Name, kind: PolicyKind) -> Result<(), Refusal> {
        let known = self.user(user);
        if kind == PolicyKind::User && known.is_some_and(|known| known.has_tag("policymaker")) {
            return Ok(());
        }
        self.require_administrator(user)
    }

    fn require_administrator(&self, user: &Name) -> Result<(), Refusal> {
        match self.user(user) {
            Some(known) if known.has_tag("administrator") => Ok(()),
            _ => Err(Refusal::access_refused(format!(
                "user '{user}' is not an administrator"
            ))),
        }
    }
}

/// A user in a virtual host.
struct Asker<'a> {
    snapshot: &'a Snapshot,
    user: &'a Name,
    vhost: &'a Name,
}

impl Asker<'_> {
    fn require(&self, access: Access, what: Resource<'_>) -> Result<(), Refusal> {
        match self.snapshot.permissions(self.user, self.vhost) {
            Some(permissions) => permissions.require(access, what),
            None => Err(permission::refused(access, what, self.vhost, self.user)),
        }
    }

    fn may_declare_exchange(&self, declare: &DeclareExchange) -> Result<(), Refusal> {
        if declare.passive {
            return Ok(());
        }
        let this = Resource::Exchange(&declare.name);
        self.require(Access::Configure, this)?;
        let vhost = self.snapshot.vhost(self.vhost);
        if vhost.is_some_and(|vhost| vhost.exchange(&declare.name).is_some()) {
            return Ok(());
        }
        let described = resource("exchange", &declare.name, self.vhost);
        self.may_lead_on(this, ALTERNATE, &declare.arguments, &described)
    }

    fn may_declare_queue(&self, declare: &DeclareQueue) -> Result<(), Refusal> {
        if declare.passive {
            return Ok(());
        }
        let this = Resource::Queue(&declare.name);
        self.require(Access::Configure, this)?;
        let vhost = self.snapshot.vhost(self.vhost);
        if vhost.is_some_and(|vhost| vhost.queue(&declare.name).is_some()) {
            return Ok(());
        }
        let described = resource("queue", &declare.name, self.vhost);
        self.may_lead_on(this, "x-dead-letter-exchange", &declare.arguments, &described)
    }

    /// A thing that hands messages on to an exchange needs to be readable, and the exchange writable.
    fn may_lead_on(
        &self,
        this: Resource<'_>,
        argument: &str,
        arguments: &Arguments,
        described: &str,
    ) -> Result<(), Refusal> {
        exchange::check_exchange_argument(argument, arguments, described)?;
        let Some(next) = arguments.get(argument).and_then(Value::as_long_string) else {
            return Ok(());
        };
        self.require(Access::Read, this)?;
        self.require(Access::Write, Resource::Exchange(next))
    }

    fn may_bind(&self, binding: &Binding) -> Result<(), Refusal> {
        self.require(
            Access::Write,
            match &binding.destination {
                Destination::Queue(name) => Resource::Queue(name),
                Destination::Exchange(name) => Resource::Exchange(name),
            },
        )?;
        self.require(Access::Read, Resource::Exchange(&binding.source))?;
        let vhost = self.snapshot.vhost(self.vhost);
        let source = vhost.as_ref().and_then(|vhost| vhost.exchange(&binding.source));
        source.map_or(Ok(()), |source| {
            self.snapshot
                .require_topic(self.user, self.vhost, source, Access::Read, &binding.routing_key)
        })
    }
}
