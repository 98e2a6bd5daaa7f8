//! Which broker, and as whom: from the command line, the environment, a file of profiles, or the socket of a broker on this machine.
//!
//! Each is looked for in this order: the flag, the environment, the profile, what is usual. A password is never taken from the
//! command line, where every user of the machine could read it.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use everack_api_client::{Api, Login, Place, Target};

use super::profile::Profile;
use super::socket;
use crate::quiet::Quiet;

/// RabbitMQ's address, and ours.
const USUAL: &str = "http://127.0.0.1:15672";
/// Most bytes of a password that is read.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Which broker, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// The management API, `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH` [default: the socket of a broker on this machine
    /// if there is one that may be opened, else http://127.0.0.1:15672].
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "EVERACK_URL",
        hide_env_values = true
    )]
    pub(crate) url: Option<String>,
    /// The user to ask as [default: guest]. Its password comes from --password-file, from EVERACK_PASSWORD, from the profile, or is
    /// asked for.
    #[arg(long, global = true, value_name = "NAME", env = "EVERACK_USER")]
    pub(crate) user: Option<String>,
    /// A file whose first line is the password; `-` for standard input.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// A section of the file of profiles, to take URL, user, password and vhost from.
    #[arg(long, global = true, value_name = "NAME", env = "EVERACK_PROFILE")]
    pub(crate) profile: Option<String>,
    /// The file of profiles, TOML [default: ~/.config/everack/profiles.toml].
    #[arg(long, global = true, value_name = "FILE", env = "EVERACK_PROFILES")]
    pub(crate) profiles: Option<PathBuf>,
    /// The data directory of a broker on this machine, whose socket is to be used [default: ./data, /var/lib/everack].
    #[arg(long, global = true, value_name = "DIR", env = "EVERACK_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Certificates of the authorities that may have signed the API's certificate, PEM, instead of the usual ones.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The virtual host [default: all for lists, else /].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) vhost: Option<String>,
    /// Seconds to wait for an answer.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
}

impl Connection {
    /// What the environment says, where there are no flags.
    pub(crate) fn of_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            url: set("EVERACK_URL"),
            user: set("EVERACK_USER"),
            profile: set("EVERACK_PROFILE"),
            profiles: set("EVERACK_PROFILES").map(PathBuf::from),
            data: set("EVERACK_DATA").map(PathBuf::from),
            timeout: 60,
            ..Self::default()
        }
    }

    /// A client for the broker that is meant, and the virtual host, if one is.
    pub(crate) fn open(&self) -> anyhow::Result<(Api, Option<String>)> {
        let profile = Profile::load(self.profiles.as_deref(), self.profile.as_deref())?;
        let vhost = self.vhost.clone().or_else(|| profile.vhost.clone());
        let target = self.target(&profile)?;
        Ok((Api::new(target, Duration::from_secs(self.timeout))?, vhost))
    }

    fn target(&self, profile: &Profile) -> anyhow::Result<Target> {
        let url = self.url.as_ref().or(profile.url.as_ref());
        let user = self.user.as_ref().or(profile.user.as_ref());
        let ca = self.ca.clone().or_else(|| profile.ca.clone());
        let (place, told) = match url {
            Some(url) => Place::parse(url)?,
            None => (self.usual_place(user.is_some()), None),
        };
        if matches!(place, Place::Socket(_)) && user.is_none() {
            return Ok(Target {
                place,
                login: None,
                ca,
            });
        }
        let (user, password) = match (user, told) {
            (Some(user), _) => (user.clone(), None),
            (None, Some((user, password))) => (user, password),
            (None, None) => ("guest".to_owned(), None),
        };
        let password = match password {
            Some(password) => password,
            None => self.password(&user, profile)?,
        };
        Ok(Target {
            place,
            login: Some(Login { user, password }),
            ca,
        })
    }

    /// The socket of a broker on this machine, if it was named or can be opened; else the usual address.
    fn usual_place(&self, as_user: bool) -> Place {
        let socket = socket::find(self.data.as_deref()).filter(|_| !as_user || self.data.is_some());
        socket.map_or_else(|| Place::Http(USUAL.to_owned()), Place::Socket)
    }

    fn password(&self, user: &str, profile: &Profile) -> anyhow::Result<String> {
        if let Some(file) = &self.password_file {
            return password_in(file);
        }
        if let Ok(password) = std::env::var("EVERACK_PASSWORD") {
            return Ok(password);
        }
        if let Some(password) = &profile.password {
            return Ok(password.clone());
        }
        if user == "guest" {
            return Ok("guest".to_owned());
        }
        if std::io::stdin().is_terminal() {
            return ask(&format!("password of {user}: "));
        }
        bail!("there is no password for {user}: give --password-file, or set EVERACK_PASSWORD")
    }
}

/// The first line of a file; of standard input for `-`.
pub(crate) fn password_in(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(PASSWORD_BYTES_MAX)
            .read_line(&mut text)
            .context("cannot read the password from standard input")?;
    } else {
        let about = || format!("cannot read the password from {}", file.display());
        std::fs::File::open(file)
            .with_context(about)?
            .take(PASSWORD_BYTES_MAX)
            .read_to_string(&mut text)
            .with_context(about)?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks for a password on the terminal, without showing it.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<String> {
    eprint!("{prompt}");
    let mut text = String::new();
    {
        let _quiet = Quiet::begin();
        std::io::stdin()
            .lock()
            .take(PASSWORD_BYTES_MAX)
            .read_line(&mut text)
            .context("cannot read the password")?;
    }
    eprintln!();
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            url: Some("https://mq.example.com".into()),
            user: Some("ops".into()),
            password: Some("secret".into()),
            ..Profile::default()
        }
    }

    #[test]
    fn flags_win_over_profiles() {
        let check = |connection: Connection, profile: &Profile, place: &str, login: Option<(&str, &str)>| {
            let target = connection.target(profile).unwrap();
            assert_eq!(target.place.to_string(), place);
            let seen = target.login.map(|login| (login.user, login.password));
            let expected = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
            assert_eq!(seen, expected, "{connection:?}");
        };
        let flags = |url: Option<&str>, user: Option<&str>| Connection {
            url: url.map(str::to_owned),
            user: user.map(str::to_owned),
            ..Connection::default()
        };
        let none = Profile::default();
        check(flags(Some(USUAL), None), &none, USUAL, Some(("guest", "guest")));
        check(
            flags(None, None),
            &profile(),
            "https://mq.example.com",
            Some(("ops", "secret")),
        );
        check(
            flags(Some(USUAL), None),
            &profile(),
            USUAL,
            Some(("ops", "secret")),
        );
        check(
            flags(Some("http://a:b@h:1"), None),
            &none,
            "http://h:1",
            Some(("a", "b")),
        );
        check(
            flags(Some("unix:/x/everack.sock"), None),
            &none,
            "/x/everack.sock",
            None,
        );
        check(
            flags(Some("unix:/x/everack.sock"), Some("guest")),
            &none,
            "/x/everack.sock",
            Some(("guest", "guest")),
        );
    }

    #[test]
    fn a_data_directory_means_its_socket() {
        let connection = Connection {
            data: Some("/srv/mq".into()),
            ..Connection::default()
        };
        let target = connection.target(&Profile::default()).unwrap();
        assert_eq!(target.place, Place::Socket("/srv/mq/everack.sock".into()));
        assert_eq!(target.login, None);
    }

    #[test]
    fn a_password_is_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, expected: &str| {
            let file = folder.path().join("password");
            std::fs::write(&file, text).unwrap();
            assert_eq!(password_in(&file).unwrap(), expected);
        };
        check("secret\n", "secret");
        check("se cret\r\nmore", "se cret");
        check("", "");
    }
}
