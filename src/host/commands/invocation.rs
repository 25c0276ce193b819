//! A program to start, and how one ended: plain data.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Certificates that a network adds, and proxies. For package managers alone: a script can set none of them.
const REACH: &[&str] = &[
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// A program to start: what, where, with which words, for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program; absolute.
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// Its working directory; absolute.
    pub cwd: PathBuf,
    /// The workspace: PATH entries below it are not passed on.
    pub root: PathBuf,
    /// Variables on top of the clean environment.
    pub environment: Vec<(String, String)>,
    /// How long it may run.
    pub timeout: Duration,
    /// What it reads from its standard input; `None`: nothing.
    pub input: Option<Vec<u8>>,
}

impl Invocation {
    /// A program without arguments that runs in `root` for at most a minute.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, root: &Path) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            cwd: root.to_path_buf(),
            root: root.to_path_buf(),
            environment: Vec::new(),
            timeout: Duration::from_mins(1),
            input: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_os_string()),
        );
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, cwd: &Path) -> Self {
        self.cwd = cwd.to_path_buf();
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Passes on what reaching a registry from inside a company's network takes (`REACH`), as this program was given it.
    #[must_use]
    pub fn with_reach(mut self) -> Self {
        for name in REACH {
            if let Some(value) = std::env::var_os(name).and_then(|value| value.into_string().ok()) {
                self.environment.push(((*name).to_owned(), value));
            }
        }
        self
    }

    /// Sets what it reads from its standard input.
    #[must_use]
    pub fn input(mut self, input: Vec<u8>) -> Self {
        self.input = Some(input);
        self
    }

    /// Sets how long it may run.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// How a program ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The first [`OUTPUT_LIMIT`](super::OUTPUT_LIMIT) bytes of its output.
    pub stdout: Vec<u8>,
    /// The first [`OUTPUT_LIMIT`](super::OUTPUT_LIMIT) bytes of its messages.
    pub stderr: Vec<u8>,
    /// Whether it wrote more than that.
    pub truncated: bool,
    /// Whether we ended it because its time was up.
    pub timed_out: bool,
    /// From start to end.
    pub duration: Duration,
}

impl Ran {
    /// Whether it ended by itself with status 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == Some(0) && !self.timed_out
    }

    /// Why it did not succeed, in one line: the time, the signal, or the last line that it wrote.
    #[must_use]
    pub fn failure(&self) -> String {
        if self.timed_out {
            return format!("it took longer than {} s", self.duration.as_secs());
        }
        if let Some(signal) = self.signal {
            return format!("signal {signal} ended it");
        }
        let status = self.status.unwrap_or_default();
        match last_line(&self.stderr).or_else(|| last_line(&self.stdout)) {
            Some(line) => format!("exit status {status}: {line}"),
            None => format!("exit status {status}"),
        }
    }
}

/// The last line with something in it.
fn last_line(output: &[u8]) -> Option<String> {
    String::from_utf8_lossy(output)
        .lines()
        .rev()
        .map(|line| {
            line.trim()
                .chars()
                .filter(|character| !character.is_control())
                .collect::<String>()
        })
        .find(|line| !line.is_empty())
}
