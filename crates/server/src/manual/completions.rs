//! What a shell needs to complete command lines.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::output::print;

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Prints the script for the shell.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        print(&script(self.shell))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::everack(), "everack", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What bash offers for the last word of a line.
    fn offered(line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let last = words.len() - 1;
        let before = words.get(last.wrapping_sub(1)).unwrap_or(&"");
        let ask = format!(
            "{}\nCOMP_WORDS=({line}); COMP_CWORD={last}\n_everack everack '{}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script(Shell::Bash),
            words[last],
        );
        // It is longer than an argument may be.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, ask).unwrap();
        let output = Command::new("bash").arg(file.path()).output().unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn bash_completes() {
        let check = |line: &str, expected: &[&str]| assert_eq!(offered(line), expected, "{line}");
        check("everack ser", &["serve"]);
        check("everack shop", &[]);
        check("everack ctl sta", &["status"]);
        check("everack ctl list que", &["queues"]);
        check("everack ctl declare queue --auto", &["--auto-delete"]);
        check("everack completions ba", &["bash"]);
    }

    #[test]
    fn every_shell_has_a_script_without_what_is_hidden() {
        for shell in [
            Shell::Bash,
            Shell::Elvish,
            Shell::Fish,
            Shell::PowerShell,
            Shell::Zsh,
        ] {
            let script = script(shell);
            assert!(script.contains("unroutable"), "{shell}");
            assert!(!script.contains("shop-order-service"), "{shell}");
        }
    }
}
