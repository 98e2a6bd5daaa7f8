//! How many connections and channels virtual hosts and users have, for the limits that operators set on them.

use everack_broker::catalog::{Snapshot, UserLimit, VhostLimit};
use everack_broker::name::Name;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Tenants {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Connections by virtual host.
    vhosts: FxHashMap<Name, u64>,
    users: FxHashMap<Name, User>,
    churn: Churn,
}

/// How many have come and gone since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// Connections that opened a virtual host.
    pub connections_opened: u64,
    /// Of those, the ones that are gone.
    pub connections_closed: u64,
    /// Channels that were opened.
    pub channels_opened: u64,
    /// Of those, the ones that are gone.
    pub channels_closed: u64,
}

#[derive(Debug, Default)]
struct User {
    connections: u64,
    channels: u64,
}

impl Tenants {
    /// Counts a connection that opens a virtual host.
    ///
    /// # Errors
    /// RabbitMQ's text, if the virtual host or the user has as many as it may; then it is not counted.
    pub fn enter(&self, snapshot: &Snapshot, user: &Name, vhost: &Name) -> Result<(), String> {
        let vhost_most = snapshot
            .vhost(vhost)
            .and_then(|view| view.limits().most(VhostLimit::Connections));
        let user_most = snapshot
            .user(user)
            .and_then(|known| known.limits.most(UserLimit::Connections));
        let mut counts = self.counts.lock();
        let in_vhost = counts.vhosts.get(vhost).copied().unwrap_or(0);
        if let Some(most) = vhost_most.filter(|most| in_vhost >= *most) {
            return Err(format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({most}) is reached"
            ));
        }
        let of_user = counts.users.get(user).map_or(0, |user| user.connections);
        if let Some(most) = user_most.filter(|most| of_user >= *most) {
            return Err(format!(
                "Connection refused for user '{user}': user connection limit ({most}) is reached"
            ));
        }
        *counts.vhosts.entry(vhost.clone()).or_default() += 1;
        counts.users.entry(user.clone()).or_default().connections += 1;
        counts.churn.connections_opened += 1;
        Ok(())
    }

    /// A connection that was counted is gone.
    pub fn leave(&self, user: &Name, vhost: &Name) {
        let mut counts = self.counts.lock();
        let left = counts.vhosts.get_mut(vhost).expect("it was counted when it came");
        *left -= 1;
        if *left == 0 {
            counts.vhosts.remove(vhost);
        }
        counts.change(user, |user| user.connections -= 1);
        counts.churn.connections_closed += 1;
    }

    /// Counts a channel.
    ///
    /// # Errors
    /// RabbitMQ's text, if the user now has more than it may. It is counted all the same, until it goes.
    pub fn channel_opens(&self, snapshot: &Snapshot, user: &Name) -> Result<(), String> {
        let counts = &mut *self.counts.lock();
        counts.churn.channels_opened += 1;
        let channels = &mut counts.users.entry(user.clone()).or_default().channels;
        *channels += 1;
        let known = snapshot.user(user);
        let most = known.and_then(|known| known.limits.most(UserLimit::Channels));
        match most.filter(|most| *channels > *most) {
            None => Ok(()),
            Some(most) => Err(format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({most})"
            )),
        }
    }

    /// A channel that was counted is gone.
    pub fn channel_closes(&self, user: &Name) {
        let mut counts = self.counts.lock();
        counts.change(user, |user| user.channels -= 1);
        counts.churn.channels_closed += 1;
    }

    /// How many have come and gone.
    pub fn churn(&self) -> Churn {
        self.counts.lock().churn
    }
}

impl Counts {
    fn change(&mut self, name: &Name, change: impl FnOnce(&mut User)) {
        let user = self.users.get_mut(name).expect("it was counted when it came");
        change(user);
        if user.connections == 0 && user.channels == 0 {
            self.users.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use everack_broker::catalog::{Catalog, Command, Options};

    use super::*;

    #[test]
    fn who_comes_and_goes_is_counted() {
        let mut catalog = Catalog::new(Options {
            partitions: 1,
            hash_key: 1,
        });
        let (user, vhost) = (Name::from("u"), Name::from("v"));
        let declared = Command::DeclareUser {
            user: user.clone(),
            password_hash: String::new(),
            tags: Vec::new(),
        };
        let vhost_limit = Command::LimitVhost {
            vhost: vhost.clone(),
            limit: VhostLimit::Connections,
            most: Some(2),
        };
        let user_limit = |limit, most| Command::LimitUser {
            user: user.clone(),
            limit,
            most: Some(most),
        };
        for command in [
            Command::DeclareVhost { vhost: vhost.clone() },
            declared,
            vhost_limit,
            user_limit(UserLimit::Connections, 1),
            user_limit(UserLimit::Channels, 1),
        ] {
            catalog.apply(command).expect("done");
        }
        let snapshot = catalog.snapshot();
        let tenants = Tenants::default();
        assert_eq!(tenants.enter(&snapshot, &user, &vhost), Ok(()));
        let full = "Connection refused for user 'u': user connection limit (1) is reached";
        assert_eq!(tenants.enter(&snapshot, &user, &vhost), Err(full.to_owned()));
        assert_eq!(tenants.enter(&snapshot, &"other".into(), &vhost), Ok(()));
        let full = "access to vhost 'v' refused for user 'u': connection limit (2) is reached";
        assert_eq!(tenants.enter(&snapshot, &user, &vhost), Err(full.to_owned()));
        assert_eq!(tenants.channel_opens(&snapshot, &user), Ok(()));
        let full = "number of channels opened for user 'u' has reached the maximum allowed user limit of (1)";
        assert_eq!(tenants.channel_opens(&snapshot, &user), Err(full.to_owned()));
        tenants.channel_closes(&user);
        tenants.channel_closes(&user);
        tenants.leave(&user, &vhost);
        tenants.leave(&"other".into(), &vhost);
        assert!(tenants.counts.lock().users.is_empty());
        assert!(tenants.counts.lock().vhosts.is_empty());
        let churn = Churn {
            connections_opened: 2,
            connections_closed: 2,
            channels_opened: 2,
            channels_closed: 2,
        };
        assert_eq!(tenants.churn(), churn);
        assert_eq!(tenants.enter(&snapshot, &user, &vhost), Ok(()));
    }
}
