//! Who may import whom: the table of the design, kept true.
//!
//! A new edge is an architecture change: it is decided in docs/decisions first and entered here after.

use super::{File, Tree};
use crate::workspace::{self, Package};
use std::fs;
use std::path::Path;

/// What one package may lean on.
pub(crate) struct Layer {
    pub(crate) package: &'static str,
    pub(crate) folder: &'static str,
    /// Of our own packages.
    may_import: &'static [&'static str],
    /// Of our own packages, in tests only.
    may_import_in_tests: &'static [&'static str],
    /// What its sources never name, and its manifest never lists.
    never: &'static [Ban],
}

/// Something that a layer must not touch.
struct Ban {
    what: &'static str,
    /// Text that gives it away in a source line.
    needles: &'static [&'static str],
    /// Packages that give it away in a manifest.
    packages: &'static [&'static str],
    /// Files that are the one exception, as a prefix below the package's folder.
    except: &'static str,
}

const fn ban(what: &'static str, needles: &'static [&'static str], packages: &'static [&'static str]) -> Ban {
    Ban {
        what,
        needles,
        packages,
        except: "-",
    }
}

const TOKIO: Ban = ban(
    "an async runtime",
    &["tokio::", "async_std::"],
    &["tokio", "async-std", "smol", "futures"],
);
const FILES: Ban = ban(
    "files",
    &["std::fs", "tokio::fs", "fs::File", "OpenOptions"],
    &["tempfile", "memmap2"],
);
const SOCKETS: Ban = ban(
    "sockets",
    &["std::net", "TcpStream", "UdpSocket", "UnixStream"],
    &["socket2", "mio"],
);
const CLOCKS: Ban = ban(
    "clocks",
    &["Instant", "SystemTime", "UNIX_EPOCH"],
    &["chrono", "time", "jiff"],
);
const THREADS: Ban = ban(
    "threads",
    &["std::thread", "thread::spawn", "thread::sleep"],
    &["rayon"],
);
const RANDOMNESS: Ban = ban(
    "randomness",
    &["rand::", "getrandom", "fastrand"],
    &["rand", "getrandom", "fastrand"],
);
const ENVIRONMENT: Ban = ban(
    "the process",
    &["std::env", "std::process", "println!", "eprintln!"],
    &[],
);
/// Storage has one door to files, so that a test can tear writes and fail syncs.
const FILES_BUT_ONE_DOOR: Ban = Ban {
    what: "files outside of src/disk",
    needles: &["std::fs", "fs::File", "OpenOptions", "rustix::"],
    packages: &[],
    except: "src/disk/",
};

/// The simulator's command tells how long it took, and stops after a while; what it plays has a clock that is a number.
const CLOCKS_BUT_THE_COMMANDS: Ban = Ban {
    except: "src/main.rs",
    ..CLOCKS
};

/// Addresses are told; nothing is opened.
const SOCKETS_BUT_ADDRESSES: Ban = ban(
    "sockets",
    &["TcpStream", "TcpListener", "UdpSocket", "UnixStream"],
    &["socket2", "mio"],
);

pub(crate) const PACKAGES: &[Layer] = &[
    Layer {
        package: "everack-amqp",
        folder: "crates/amqp",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[TOKIO, FILES, SOCKETS, CLOCKS, THREADS, RANDOMNESS, ENVIRONMENT],
    },
    Layer {
        package: "everack-broker",
        folder: "crates/broker",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[TOKIO, FILES, SOCKETS, CLOCKS, THREADS, RANDOMNESS, ENVIRONMENT],
    },
    Layer {
        package: "everack-storage",
        folder: "crates/storage",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[TOKIO, SOCKETS, FILES_BUT_ONE_DOOR],
    },
    Layer {
        package: "everack-cluster",
        folder: "crates/cluster",
        may_import: &["everack-storage"],
        may_import_in_tests: &[],
        never: &[TOKIO, FILES, SOCKETS, CLOCKS, ENVIRONMENT],
    },
    Layer {
        package: "everack-node",
        folder: "crates/node",
        may_import: &[
            "everack-amqp",
            "everack-broker",
            "everack-storage",
            "everack-cluster",
        ],
        may_import_in_tests: &[],
        never: &[TOKIO, FILES, SOCKETS, CLOCKS, THREADS, RANDOMNESS, ENVIRONMENT],
    },
    Layer {
        package: "everack-server",
        folder: "crates/server",
        // The node and the types that the node speaks in; the story, the load generator and the audit, which are leaves.
        may_import: &[
            "everack-node",
            "everack-amqp",
            "everack-broker",
            "everack-storage",
            "everack-cluster",
            "everack-shop",
            "everack-bench",
            "everack-migrate",
            "everack-audit",
            "everack-ctl",
            "everack-console",
        ],
        may_import_in_tests: &[],
        never: &[],
    },
    Layer {
        package: "everack-simulator",
        folder: "crates/simulator",
        may_import: &[
            "everack-node",
            "everack-amqp",
            "everack-broker",
            "everack-cluster",
            "everack-storage",
        ],
        may_import_in_tests: &[],
        never: &[SOCKETS, CLOCKS_BUT_THE_COMMANDS],
    },
    // What it shows and does is what the management API answers to the user that is logged in, and nothing besides.
    Layer {
        package: "everack-console",
        folder: "console",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[TOKIO, FILES, SOCKETS_BUT_ADDRESSES, THREADS, ENVIRONMENT],
    },
    // Asks management APIs for tools that must not share code with the broker: it knows HTTP and JSON, and no broker.
    Layer {
        package: "everack-api-client",
        folder: "api-client",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[TOKIO, CLOCKS, THREADS, RANDOMNESS],
    },
    // Black box: a bug that it shared with the broker could hide a loss.
    Layer {
        package: "everack-audit",
        folder: "crates/audit",
        may_import: &["everack-api-client"],
        may_import_in_tests: &["everack-compat"],
        never: &[],
    },
    Layer {
        package: "everack-compat",
        folder: "compat",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[],
    },
    // Real services: they speak to the broker through a public client library only.
    Layer {
        package: "everack-shop",
        folder: "examples/shop",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[],
    },
    // What it says about a broker, ours included, must not depend on code that the broker shares.
    Layer {
        package: "everack-bench",
        folder: "bench",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[TOKIO],
    },
    // Speaks RabbitMQ's management API and nothing else, so that it operates other brokers too.
    Layer {
        package: "everack-ctl",
        folder: "ctl",
        may_import: &["everack-api-client"],
        may_import_in_tests: &[],
        never: &[TOKIO],
    },
    // It knows both brokers only from outside: what it says of a count must not depend on code that a broker shares.
    Layer {
        package: "everack-migrate",
        folder: "migrate",
        may_import: &["everack-api-client"],
        may_import_in_tests: &["everack-compat"],
        never: &[],
    },
    // The bodies of the fuzz targets: they call the inside of what they fuzz, and nothing else of ours.
    Layer {
        package: "everack-fuzz-checks",
        folder: "fuzz/checks",
        may_import: &[
            "everack-amqp",
            "everack-broker",
            "everack-node",
            "everack-storage",
        ],
        may_import_in_tests: &[],
        never: &[TOKIO, SOCKETS, CLOCKS, THREADS, RANDOMNESS],
    },
    // A disk for tests, of use to any program; its tests start the real binary with what `compat` has for that.
    Layer {
        package: "everack-powerfail",
        folder: "powerfail",
        may_import: &[],
        may_import_in_tests: &["everack-compat"],
        never: &[TOKIO],
    },
    Layer {
        package: "xtask",
        folder: "xtask",
        may_import: &[],
        may_import_in_tests: &[],
        never: &[],
    },
];

/// Every package is in the table, and depends on nothing of ours that the table does not grant it.
pub(crate) fn check(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in &tree.metadata.packages {
        let layer = PACKAGES.iter().find(|layer| layer.package == package.name);
        match layer {
            Some(layer) => complaints.extend(check_manifest(layer, package)),
            None => complaints.push(format!(
                "package `{}` is not in the table of layers: enter it in xtask/src/tidy/layers.rs and say why in docs/decisions",
                package.name
            )),
        }
    }
    complaints
}

fn check_manifest(layer: &Layer, package: &Package) -> Vec<String> {
    let mut complaints = Vec::new();
    if package.folder() != Path::new(layer.folder) {
        complaints.push(format!(
            "package `{}` should lie in {}",
            layer.package, layer.folder
        ));
    }
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let in_tests = dependency.kind.as_deref() == Some("dev");
        let ours = PACKAGES.iter().any(|other| other.package == name);
        let granted = layer.may_import.contains(&name)
            || in_tests && (name == layer.package || layer.may_import_in_tests.contains(&name));
        if ours && !granted {
            complaints.push(format!(
                "{}/Cargo.toml: `{}` must not depend on `{name}`; it may import of ours: [{}]",
                layer.folder,
                layer.package,
                layer.may_import.join(", ")
            ));
        }
        let banned = layer.never.iter().find(|ban| ban.packages.contains(&name));
        if let Some(ban) = banned.filter(|_| !in_tests) {
            complaints.push(format!(
                "{}/Cargo.toml: `{name}` is not for this crate: it knows nothing of {}",
                layer.folder, ban.what
            ));
        }
    }
    complaints
}

/// Sources of a pure crate name nothing that reaches outside; its tests may.
pub(crate) fn check_sources(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for layer in PACKAGES {
        let source = Path::new(layer.folder).join("src");
        for file in tree
            .rust()
            .filter(|file| file.path.starts_with(&source) && !is_test(file))
        {
            complaints.extend(check_source(layer, file));
        }
    }
    complaints
}

/// A test module in a file of its own.
fn is_test(file: &File) -> bool {
    let in_folder = file.path.components().any(|part| part.as_os_str() == "tests");
    in_folder
        || file
            .path
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem == "test")
}

fn check_source(layer: &Layer, file: &File) -> Vec<String> {
    let below = file
        .path
        .strip_prefix(layer.folder)
        .unwrap_or(&file.path)
        .to_string_lossy()
        .into_owned();
    let bans: Vec<&Ban> = layer
        .never
        .iter()
        .filter(|ban| !below.starts_with(ban.except))
        .collect();
    let mut complaints = Vec::new();
    for (number, line) in file.production() {
        let code = line.split("//").next().unwrap_or_default();
        for ban in &bans {
            if ban.needles.iter().any(|needle| names(code, needle)) {
                let what = format!(
                    "`{}` knows nothing of {}: pass it in from the edge",
                    layer.package, ban.what
                );
                complaints.push(file.complaint(number, what));
            }
        }
    }
    complaints
}

/// Whether the code names it as a word of its own: `rand::` is not in `operand::`.
fn names(code: &str, needle: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(needle).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(part_of_a_word);
        let ends_in_word = needle.ends_with(part_of_a_word);
        let after = code[at + needle.len()..]
            .chars()
            .next()
            .is_some_and(part_of_a_word);
        let inside_a_word = before || (ends_in_word && after);
        !inside_a_word
    })
}

/// Each package takes over the workspace's lints, and its library or binary file has documentation at its head.
pub(crate) fn check_lints(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in &tree.metadata.packages {
        let manifest = package.folder().join("Cargo.toml");
        let text = fs::read_to_string(workspace::root().join(&manifest)).unwrap_or_default();
        if !text.replace(' ', "").contains("[lints]\nworkspace=true") {
            complaints.push(format!("{}: add `[lints] workspace = true`", manifest.display()));
        }
        for target in package
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "lib" || kind == "bin"))
        {
            let head = fs::read_to_string(&target.src_path).unwrap_or_default();
            if !head.starts_with("//!") {
                complaints.push(format!(
                    "{}: open it with `//!` and what the crate is",
                    target.src_path.display()
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn check(layer: &str, dependency: &str, kind: Option<&str>, complaints: usize) {
        let layer = PACKAGES.iter().find(|known| known.package == layer).unwrap();
        let package = Package {
            name: layer.package.into(),
            manifest_path: workspace::root().join(layer.folder).join("Cargo.toml"),
            dependencies: vec![Dependency {
                name: dependency.into(),
                kind: kind.map(Into::into),
            }],
            targets: Vec::new(),
        };
        assert_eq!(
            check_manifest(layer, &package).len(),
            complaints,
            "{} -> {dependency}",
            layer.package
        );
    }

    #[test]
    fn the_table_is_kept() {
        check("everack-node", "everack-broker", None, 0);
        check("everack-broker", "everack-node", None, 1);
        check("everack-broker", "everack-amqp", None, 1);
        check("everack-amqp", "everack-amqp", Some("dev"), 0);
        check("everack-audit", "everack-compat", Some("dev"), 0);
        check("everack-audit", "everack-compat", None, 1);
        check("everack-node", "tokio", None, 1);
        check("everack-node", "tokio", Some("dev"), 0);
        check("everack-server", "tokio", None, 0);
    }

    fn check_line(layer: &str, path: &str, line: &str, complaints: usize) {
        let layer = PACKAGES.iter().find(|known| known.package == layer).unwrap();
        let file = File {
            path: path.into(),
            text: line.into(),
        };
        assert_eq!(check_source(layer, &file).len(), complaints, "{line}");
    }

    #[test]
    fn pure_sources_name_nothing_outside() {
        check_line(
            "everack-node",
            "crates/node/src/a.rs",
            "use std::time::Instant;",
            1,
        );
        check_line(
            "everack-node",
            "crates/node/src/a.rs",
            "// use std::time::Instant;",
            0,
        );
        check_line("everack-node", "crates/node/src/a.rs", "fn instantly() {}", 0);
        check_line(
            "everack-node",
            "crates/node/src/a.rs",
            "#[cfg(test)]\nuse std::fs;",
            0,
        );
        check_line(
            "everack-broker",
            "crates/broker/src/a.rs",
            "let x = rand::random();",
            1,
        );
        check_line("everack-broker", "crates/broker/src/a.rs", "operand::take()", 0);
        check_line(
            "everack-storage",
            "crates/storage/src/log.rs",
            "use std::fs::File;",
            1,
        );
        check_line(
            "everack-storage",
            "crates/storage/src/disk/os.rs",
            "use std::fs::File;",
            0,
        );
    }
}
