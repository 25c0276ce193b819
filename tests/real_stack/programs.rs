//! The programs that run beside a rollback: services that it has to stop, and innocents that it must not touch.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a program may take until it is ready. Only a broken test waits that long.
const PATIENCE: Duration = Duration::from_mins(3);

/// A real program in a process group of its own. Dropping it ends the whole group.
pub struct Program {
    /// What the test calls it.
    pub name: &'static str,
    child: Child,
}

impl Program {
    /// Starts `command` and waits until a line of its output holds `ready`.
    pub fn start(name: &'static str, command: &mut Command, ready: &'static str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (sender, lines) = channel();
        follow(child.stdout.take().unwrap(), sender.clone());
        follow(child.stderr.take().unwrap(), sender);
        let mut last = VecDeque::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(ready) => return Self { name, child },
                Ok(line) => {
                    last.push_back(line);
                    if last.len() > 40 {
                        last.pop_front();
                    }
                }
                Err(why) => {
                    let _ = child.kill();
                    let ended = why == RecvTimeoutError::Disconnected;
                    let last = last.into_iter().collect::<Vec<_>>().join("\n");
                    panic!("{name} never said `{ready}` (ended: {ended}):\n{last}");
                }
            }
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends its input and waits until it has ended by itself.
    pub fn finish(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }

    /// Whether it runs. One that has ended leaves the process table here.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Gone already where the rollback has ended it.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads to the end, so that the program never waits for a reader.
fn follow(stream: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            // Nobody listens once it is ready.
            let _ = sender.send(line);
        }
    });
}

/// A command whose environment is clean, and that ends with the test.
pub fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("PYTHONUNBUFFERED", "1")
        .env("DAGSTER_DISABLE_TELEMETRY", "yes")
        .env("DO_NOT_TRACK", "1");
    command
}
