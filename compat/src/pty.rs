//! A terminal of a test's own: a program runs in it as if somebody sat there, and what it draws can be read as a screen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// How long something may take to appear.
const APPEAR_MAX: Duration = Duration::from_secs(20);

/// A program in a terminal. Dropping it kills the program.
pub struct Pty {
    /// Our end: keys go in, what is drawn comes out.
    keyboard: File,
    /// The program's end, held open so that its modes can be read when the program is gone.
    terminal: File,
    drawn: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    child: Child,
}

impl Pty {
    /// Starts a program in a terminal of some size; `setsid` gives it the terminal for its own, as a shell would.
    pub fn start(program: &Command, (columns, rows): (u16, u16)) -> anyhow::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        tcsetwinsize(&ours, size(columns, rows))?;
        let terminal = File::from(ioctl_tiocgptpeer(&ours, flags)?);
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(program.get_program())
            .args(program.get_args());
        command.env("TERM", "xterm-256color");
        for (name, value) in program.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let end = || terminal.try_clone();
        let child = command.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?;
        let keyboard = File::from(ours);
        let mut output = keyboard.try_clone()?;
        let (sender, drawn) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends when the test does.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let screen = vt100::Parser::new(cells(rows)?, cells(columns)?, 0);
        Ok(Self {
            keyboard,
            terminal,
            drawn,
            screen,
            child,
        })
    }

    /// Types.
    pub fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Makes the terminal another size, which the program is told.
    pub fn resize(&mut self, columns: u16, rows: u16) -> anyhow::Result<()> {
        self.screen.screen_mut().set_size(cells(rows)?, cells(columns)?);
        Ok(tcsetwinsize(&self.keyboard, size(columns, rows))?)
    }

    /// Waits for a screen that is as wanted, and gives its lines.
    pub fn wait_for(
        &mut self,
        what: &str,
        wanted: impl Fn(&[String]) -> bool,
    ) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + APPEAR_MAX;
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return Ok(lines);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.drawn.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => bail!("{what} never appears:\n{}", lines.join("\n")),
            }
        }
    }

    /// What the screen shows now, all its lines, without the spaces at their ends.
    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen.screen();
        let (_, columns) = screen.size();
        screen
            .rows(0, u16::from(columns))
            .map(|row| row.trim_end().to_owned())
            .collect()
    }

    /// The program's process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the program to end.
    pub fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + APPEAR_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                while let Ok(bytes) = self.drawn.recv_timeout(Duration::from_millis(200)) {
                    self.screen.process(&bytes);
                }
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the program does not end:\n{}", self.lines().join("\n"))
    }

    /// Whether the terminal is as a shell needs it: what is typed is seen, line by line, on the ordinary screen.
    pub fn is_given_back(&self) -> anyhow::Result<bool> {
        let modes = tcgetattr(&self.terminal)
            .context("the terminal's modes")?
            .local_modes;
        let cooked = modes.contains(LocalModes::ECHO | LocalModes::ICANON);
        Ok(cooked && !self.screen.screen().alternate_screen() && !self.screen.screen().hide_cursor())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn cells(number: u16) -> anyhow::Result<NonZeroU16> {
    NonZeroU16::new(number).context("a screen has cells")
}
