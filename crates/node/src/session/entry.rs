//! How a client comes in: who it is, and into which virtual host it goes.

use everack_broker::name::Name;

use super::{Credentials, Session};

impl Session {
    pub(super) fn log_in(&mut self, user: Vec<u8>, password: Vec<u8>) {
        self.user = Name::new(&user);
        self.snapshot = self.shared.snapshot();
        let stored = self
            .snapshot
            .user(&self.user)
            .map(|user| user.password_hash.clone());
        self.credentials = Some(Credentials {
            user,
            password,
            stored,
        });
    }

    /// The certificate has been verified, so the user only has to be there.
    pub(super) fn log_in_by_certificate(&mut self) {
        self.user = self.certificate_user.clone().unwrap_or_default();
        self.snapshot = self.shared.snapshot();
        if self.snapshot.user(&self.user).is_some() {
            self.connection.authenticated();
        } else {
            tracing::warn!(peer = %self.peer, user = %self.user, "login by certificate refused: there is no such user");
            self.connection.refuse_authentication();
        }
    }

    pub(super) fn open(&mut self, vhost: &Name) {
        self.snapshot = self.shared.snapshot();
        let view = match self.snapshot.open_vhost(&self.user, vhost) {
            Ok(view) => view,
            Err(refusal) => {
                self.connection.refuse_vhost(&refusal.text);
                return;
            }
        };
        if let Err(text) = self.shared.tenants.enter(&self.snapshot, &self.user, vhost) {
            self.connection.refuse_vhost(&text);
            return;
        }
        self.entered = true;
        self.permissions = self.snapshot.permissions(&self.user, vhost);
        self.vhost_name = vhost.clone();
        self.vhost = Some(view);
        self.connection.opened();
        tracing::debug!(peer = %self.peer, user = %self.user, vhost = %self.vhost_name, "connection open");
    }
}
