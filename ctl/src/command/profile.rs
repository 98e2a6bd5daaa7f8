//! A file of profiles: brokers that are operated often, with who one is there.
//!
//! ```toml
//! [production]
//! url = "https://mq.example.com:15671"
//! user = "ops"
//! password = "..."
//! vhost = "shop"
//! ca = "/etc/ssl/mq.pem"
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// The section that counts if none is named.
const DEFAULT: &str = "default";
/// Most bytes of the file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One section. All of it may be left out.
#[derive(Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) url: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) vhost: Option<String>,
    pub(super) ca: Option<PathBuf>,
}

impl Profile {
    /// The section `name`, or `default`. An empty profile if nothing was named and there is no file.
    pub(super) fn load(file: Option<&Path>, name: Option<&str>) -> anyhow::Result<Self> {
        let asked_for = file.is_some() || name.is_some();
        let Some(file) = file.map(Path::to_owned).or_else(usual_file) else {
            return Ok(Self::default());
        };
        if !asked_for && !file.exists() {
            return Ok(Self::default());
        }
        let about = || format!("cannot read the profiles in {}", file.display());
        let metadata = std::fs::metadata(&file).with_context(about)?;
        if metadata.len() > FILE_BYTES_MAX {
            bail!(
                "{}: more than {FILE_BYTES_MAX} bytes is no file of profiles",
                file.display()
            );
        }
        let text = std::fs::read_to_string(&file).with_context(about)?;
        let mode = metadata.permissions().mode();
        Self::read(&text, mode, name).with_context(|| file.display().to_string())
    }

    fn read(text: &str, mode: u32, name: Option<&str>) -> anyhow::Result<Self> {
        let mut sections: BTreeMap<String, Self> = toml::from_str(text)?;
        let secret = sections.values().any(|profile| profile.password.is_some());
        if secret && mode & 0o077 != 0 {
            bail!("others may read it, and it holds a password: chmod 600 it");
        }
        match (sections.remove(name.unwrap_or(DEFAULT)), name) {
            (Some(profile), _) => Ok(profile),
            (None, None) => Ok(Self::default()),
            (None, Some(name)) => {
                let known: Vec<&str> = sections.keys().map(String::as_str).collect();
                bail!("there is no profile {name}; there is: {}", known.join(", "))
            }
        }
    }
}

fn usual_file() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("everack/profiles.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[default]\nuser = \"a\"\n[production]\nurl = \"https://mq\"\npassword = \"p\"\n";

    #[test]
    fn sections_by_name() {
        let check = |text: &str, mode: u32, name: Option<&str>, expected: Result<Option<&str>, &str>| {
            let read = Profile::read(text, mode, name);
            let seen = read
                .map(|profile| profile.user.or(profile.url))
                .map_err(|error| format!("{error:#}"));
            match expected {
                Ok(expected) => assert_eq!(seen.unwrap().as_deref(), expected),
                Err(part) => assert!(seen.as_ref().unwrap_err().contains(part), "{seen:?}"),
            }
        };
        check(TWO, 0o600, None, Ok(Some("a")));
        check(TWO, 0o600, Some("production"), Ok(Some("https://mq")));
        check(TWO, 0o644, None, Err("chmod 600"));
        check("[default]\nuser = \"a\"\n", 0o644, None, Ok(Some("a")));
        check(
            TWO,
            0o600,
            Some("x"),
            Err("there is no profile x; there is: default, production"),
        );
        check("", 0o644, None, Ok(None));
        check("[default]\npasswort = \"p\"\n", 0o600, None, Err("passwort"));
    }
}
