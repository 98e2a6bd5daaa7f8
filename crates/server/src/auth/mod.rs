//! Who a client is: password hashes (`password`, and `rabbitmq` for those that were taken over), their verification off the threads that serve
//! connections (`authenticator`), the memory of what was verified (`remembered`), the name in a certificate (`certificate`), how hashes look outside
//! (`exported`), and the users and
//! vhosts that the configuration declares (`declared`); `attempts` counts. What a user may do is the catalog's
//! business; whether a name exists is looked up by the caller.

pub mod attempts;
pub mod authenticator;
pub(crate) mod certificate;
pub mod declared;
pub mod exported;
pub mod password;
pub mod rabbitmq;
mod remembered;

pub use authenticator::{Authenticator, Login, Refusal};
