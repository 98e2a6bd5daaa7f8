//! Who a client is: password hashes (`password`), their verification off the threads that serve
//! connections (`authenticator`), the memory of what was verified (`remembered`), and the users and
//! vhosts that the configuration declares (`declared`). What a user may do is the catalog's
//! business; whether a name exists is looked up by the caller.

pub mod authenticator;
pub mod declared;
pub mod password;
mod remembered;

pub use authenticator::{Authenticator, Login, Refusal};
