//! Real processes for tests: started in a temporary directory, known to be running, and ended with the test.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes and write in their own temporary directory"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal};

use super::Process;

/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A temporary directory and what it takes to run processes in it.
pub(super) struct Trial {
    directory: tempfile::TempDir,
}

impl Trial {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// Waits until something is so; fails with what it waited for.
    pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
            std::thread::yield_now();
        }
    }

    pub fn root(&self) -> PathBuf {
        self.directory
            .path()
            .canonicalize()
            .expect("the directory is there")
    }

    pub fn text(&self, name: &str) -> String {
        self.root()
            .join(name)
            .to_str()
            .expect("a temporary directory with a plain name")
            .to_owned()
    }

    pub fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().expect("a path below the root")).expect("a directory");
        std::fs::write(&path, contents).expect("a file");
        path
    }

    /// A pid file with this modification time.
    pub fn pid_file(&self, contents: &str, written: SystemTime) -> PathBuf {
        let path = self.write("service.pid", contents);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the file");
        file.set_modified(written).expect("a time");
        path
    }

    /// Runs shell code that says `ready`.
    pub fn shell(&self, code: &str) -> Running {
        Running::start(&self.root(), &["-c", code], Stdio::piped())
    }

    /// Runs a process that has only this listener as its input.
    pub fn listening(&self, listener: TcpListener) -> Running {
        Running::start(
            &self.root(),
            &["-c", "echo ready; sleep 600 & wait"],
            OwnedFd::from(listener).into(),
        )
    }

    /// Runs a process of another user, with this word among its arguments. Only root can.
    pub fn stranger(word: &str) -> Running {
        const NOBODY: u32 = 65534;
        let words = ["-c", "echo ready; read line", word];
        Running::ready(
            Command::new("sh")
                .args(words)
                .current_dir("/")
                .stdin(Stdio::piped())
                .uid(NOBODY),
        )
    }

    /// Runs a script of this name by its absolute path until it is ended.
    pub fn named(&self, name: &str, arguments: &[&str]) -> Running {
        self.named_in(&self.root(), name, arguments)
    }

    /// As [`Trial::named`], in another working directory.
    pub fn named_in(&self, cwd: &Path, name: &str, arguments: &[&str]) -> Running {
        self.write(name, "echo ready; read line");
        let script = self.text(name);
        let words: Vec<&str> = std::iter::once(script.as_str())
            .chain(arguments.iter().copied())
            .collect();
        Running::start(cwd, &words, Stdio::piped())
    }
}

/// A running child.
pub(super) struct Running {
    child: Child,
}

impl Running {
    fn start(cwd: &Path, words: &[&str], input: Stdio) -> Self {
        Self::ready(Command::new("sh").args(words).current_dir(cwd).stdin(input))
    }

    /// Waits for the first line, so that what a test looks at is there.
    fn ready(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let output = child.stdout.take().expect("a piped output");
        let running = Self { child };
        let (said, says) = std::sync::mpsc::channel();
        // Its end closes the pipe, so that the thread ends with it.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line);
            let _ = said.send(read.map(|_| line));
        });
        let line = says
            .recv_timeout(PATIENCE)
            .expect("a child says that it is ready in time");
        assert_eq!(line.expect("a line"), "ready\n");
        running
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }

    pub fn process(&self) -> Process {
        super::look(self.pid())
            .expect("a proc file system")
            .expect("the child runs")
    }

    /// Gives it a line to read.
    pub fn say(&self, line: &str) {
        let mut input = self.child.stdin.as_ref().expect("a piped input");
        writeln!(input, "{line}").expect("somebody reads");
    }

    /// Ends it and takes its number back.
    pub fn end(mut self) -> i32 {
        self.reap();
        self.pid()
    }

    fn reap(&mut self) {
        // Not waited for yet, so the number, and the group named after it, are still this child's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = Pid::from_raw(self.pid()).expect("a child has a number");
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.reap();
    }
}
