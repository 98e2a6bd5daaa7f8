//! How much a power cut may take: what POSIX allows, or what a common file system does. It says what is promised, not
//! how it is carried out.

use serde::{Deserialize, Serialize};

/// Which promises the file system keeps beyond those of POSIX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// None: a file's sync leaves its name alone, names survive in any combination, a sector that was being written
    /// may hold garbage, a length may be durable before the bytes.
    #[default]
    Posix,
    /// What ext4 does in its default mode `data=ordered`: one journal for all names, so that any sync makes all earlier
    /// changes of names durable and they survive in their order; no garbage; no length before its bytes.
    Ext4,
}

/// What a power cut does with what was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All of it is gone.
    Nothing,
    /// What came first survives, up to a random moment; the write of that moment is torn anywhere.
    Prefix,
    /// Each sector of 512 bytes is old, new or garbage, each change of a name or a length happened or did not.
    Sectors,
    /// All of it survives.
    Everything,
}

impl Outcome {
    /// All four.
    pub const ALL: [Outcome; 4] = [
        Outcome::Nothing,
        Outcome::Prefix,
        Outcome::Sectors,
        Outcome::Everything,
    ];
}
