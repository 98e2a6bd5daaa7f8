//! What the tests stand on.

pub(crate) mod bed;
pub(crate) mod postgres;
pub(crate) mod scripted_broker;

pub(crate) use bed::{Bed, Kind};
pub(crate) use scripted_broker::{Message, Published, Reply, ScriptedBroker};

/// Makes two tests of each function: on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn sqlite() {
                crate::support::bed::run(crate::support::Kind::Sqlite, super::$name);
            }

            #[test]
            fn postgres() {
                crate::support::bed::run(crate::support::Kind::Postgres, super::$name);
            }
        })+
    };
}
pub(crate) use on_both_databases;
