//! What a new broker begins with, and a new vhost; RabbitMQ's defaults. Once made they are like anything made over the management API.

use std::collections::BTreeMap;

use everack_broker::catalog::{Catalog, Command, Refusal, Snapshot};
use everack_broker::name::Name;

use super::{ALL, Declared, GUEST, Patterns, ROOT, User, Vhost};

impl Declared {
    /// What to do at a start, in this order and in one step: the defaults, if they are wanted and it is a new broker, then what the
    /// configuration declares. `catalog` is a copy.
    ///
    /// # Errors
    /// What the configuration declares cannot be.
    pub fn commands_at_start(&self, mut catalog: Catalog, defaults: bool) -> Result<Vec<Command>, Refusal> {
        let mut commands = Vec::new();
        if defaults {
            commands = self.defaults_for(&catalog.snapshot());
        }
        for command in &commands {
            catalog.apply(command.clone())?;
        }
        commands.extend(self.commands_for(&catalog.snapshot()));
        Ok(commands)
    }

    /// What to do for a broker that has neither users nor vhosts, before anything that the configuration declares: the vhost `/`, and
    /// `guest` with all permissions in it. Nothing for any other.
    pub(super) fn defaults_for(&self, catalog: &Snapshot) -> Vec<Command> {
        if catalog.users().next().is_some() || catalog.vhosts().next().is_some() {
            return Vec::new();
        }
        let mut commands = Self::new_vhost(&Name::new(ROOT));
        if !self.no_guest {
            let guest = Name::new(GUEST);
            User::guest().commands_for(&guest, catalog, &mut commands);
        }
        commands
    }

    /// What makes a vhost with the settings of one that the configuration lists without any.
    pub fn new_vhost(vhost: &Name) -> Vec<Command> {
        let mut commands = vec![Command::DeclareVhost { vhost: vhost.clone() }];
        Vhost::usual().commands_for(vhost, None, &mut commands);
        commands
    }

    /// What permits a user everything in a vhost.
    pub fn all_permissions(user: &Name, vhost: &Name) -> Command {
        Patterns::all().set(user, vhost)
    }
}

impl Patterns {
    fn all() -> Self {
        let all = || ALL.to_owned();
        Self {
            configure: all(),
            write: all(),
            read: all(),
        }
    }
}

impl User {
    pub(super) fn guest() -> Self {
        Self {
            password_hash: super::GUEST_HASH.to_owned(),
            tags: vec![super::ADMINISTRATOR.to_owned()],
            permissions: BTreeMap::from([(Name::new(ROOT), Patterns::all())]),
            topics: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }
}
