//! Programs: found once in a PATH that nobody else can write to, started without a shell, in a clean environment,
//! with a deadline. Keeps nothing on disk.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tracing::debug;

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::workspace::{CACHE, TEMPORARY};

mod find;

pub use find::find_program;
use find::safe_entries;

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

/// How much of each output stream is kept, in bytes; the rest is read and dropped.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// How long a program may take to end by itself after TERM.
const GRACE: Duration = Duration::from_secs(2);

/// How often a waiting call looks at the cancellation flag.
const TICK: Duration = Duration::from_millis(100);

/// How many times the pipes are read after the program's end: more than they hold, and not for ever, because a
/// daemon that left the group may go on writing.
const ROUNDS_AFTER_END: u32 = 64;

/// The variables that pass from our environment to a program's.
const PASSED: &[&str] = &["HOME", "LANG", "LC_ALL", "USER", "DOCKER_HOST", "XDG_RUNTIME_DIR"];

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
    /// The first [`OUTPUT_LIMIT`] bytes of its output.
    pub stdout: Vec<u8>,
    /// The first [`OUTPUT_LIMIT`] bytes of its messages.
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

/// Whether a variable makes a program load or run something else. Such a variable is never set.
#[must_use]
pub fn takes_over(variable: &str) -> bool {
    const NAMES: &[&str] = &[
        "PATH",
        "IFS",
        "ENV",
        "BASH_ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5LIB",
        "PERL5OPT",
        "RUBYLIB",
        "RUBYOPT",
        "GCONV_PATH",
        "JAVA_TOOL_OPTIONS",
    ];
    NAMES.contains(&variable)
        || ["LD_", "DYLD_", "PYTHON", "BASH_FUNC_", "GIT_"]
            .iter()
            .any(|prefix| variable.starts_with(prefix))
}

/// Makes sure that a variable that a script gives does not take the program over. The host itself sets some of these: a
/// configuration of package managers, where they go.
///
/// # Errors
/// `denied`, with the name.
pub fn check_variable(name: &str, program: &str) -> Result<()> {
    let upper = name.to_ascii_uppercase();
    let steers = upper == "HOME"
        || ["NPM_CONFIG_", "PIP_", "DOCKER_", "XDG_", "NODE_"]
            .iter()
            .any(|prefix| upper.starts_with(prefix));
    if steers || takes_over(&upper) {
        return Err(
            Error::denied(format!("the variable `{name}` can't be given to `{program}`"))
                .hint("it would make the program run something else; leave it out"),
        );
    }
    Ok(())
}

/// Starts a program that changes something, and waits for its end.
///
/// A set `cancel` ends it. What it leaves running in its process group ends with it.
///
/// # Errors
/// `not_found` or `failed` if it can't be started, `denied` for a variable that takes it over, `cancelled`.
/// A bad exit status, a signal and a timeout are no errors here: see [`Ran::succeeded`].
pub fn run(_permit: &Permit, invocation: &Invocation, cancel: Option<&AtomicBool>) -> Result<Ran> {
    start(invocation, cancel, None).map_err(|error| match error.kind() {
        crate::base::error::Kind::Cancelled => error.after_changes(),
        _ => error,
    })
}

/// Like [`run`], for a program that an alert goes to. Needs no permit: the configuration names it, and no script does.
///
/// # Errors
/// As for [`run`].
pub fn tell(invocation: &Invocation) -> Result<Ran> {
    start(invocation, None, None)
}

/// Where the output of a program goes, piece by piece.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Like [`look`], for a program whose whole output is wanted, whatever its size: it goes to `sink`, and none is kept.
///
/// # Errors
/// As for [`run`]; what `sink` says, at which the program is ended.
pub fn look_through(
    invocation: &Invocation,
    sink: &mut Sink<'_>,
    cancel: Option<&AtomicBool>,
) -> Result<Ran> {
    start(invocation, cancel, Some(sink))
}

/// Like [`run`], for a program that only reads: `npm ls`, `docker ps`. Needs no permit.
///
/// # Errors
/// As for [`run`].
pub fn look(invocation: &Invocation, cancel: Option<&AtomicBool>) -> Result<Ran> {
    start(invocation, cancel, None)
}

fn start(invocation: &Invocation, cancel: Option<&AtomicBool>, sink: Option<&mut Sink<'_>>) -> Result<Ran> {
    let display = invocation.program.display();
    if !invocation.program.is_absolute() || !invocation.cwd.is_dir() {
        return Err(Error::failed(format!(
            "cannot start `{display}` in `{}`",
            invocation.cwd.display()
        ))
        .hint("the program must be an absolute path, and its working directory must exist"));
    }
    if let Some((name, _)) = invocation.environment.iter().find(|(name, _)| takes_over(name)) {
        return Err(
            Error::denied(format!("the variable `{name}` can't be given to `{display}`"))
                .hint("it would make the program run something else; leave it out"),
        );
    }
    if cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        return Err(Error::cancelled(format!(
            "`{display}` was not started: the run was asked to stop"
        )));
    }
    let began = Instant::now();
    debug!(
        program = %invocation.program.display(),
        arguments = ?invocation.arguments,
        cwd = %invocation.cwd.display(),
        "program starts"
    );
    let child = input(invocation)
        .and_then(|input| command(invocation).stdin(input).spawn())
        .map_err(|error| {
            Error::io(format_args!("start `{display}`"), &error)
                .hint("check that the file can be executed, and that its interpreter is installed")
        })?;
    let ran = Watch::over(child, invocation, began).wait_for_end(cancel, sink)?;
    debug!(
        program = %invocation.program.display(),
        status = ran.status,
        signal = ran.signal,
        timed_out = ran.timed_out,
        "program ended"
    );
    Ok(ran)
}

/// What a program reads: nothing, or a file in memory, which can't fill up and hold both of us as a pipe could.
fn input(invocation: &Invocation) -> std::io::Result<Stdio> {
    let Some(bytes) = &invocation.input else {
        return Ok(Stdio::null());
    };
    let memory = rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Stdio::from(file))
}

/// The system's description of an invocation: no shell, a clean environment, a process group of its own.
#[expect(clippy::disallowed_methods, reason = "this is the place where programs start")]
fn command(invocation: &Invocation) -> Command {
    let mut command = Command::new(&invocation.program);
    let entries = safe_entries(&invocation.root, &std::env::var_os("PATH").unwrap_or_default());
    command
        .args(&invocation.arguments)
        .current_dir(&invocation.cwd)
        .env_clear()
        .envs(
            PASSED
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env("PATH", std::env::join_paths(entries).unwrap_or_default())
        // Where the kernel's wall lets it write.
        .env("TMPDIR", invocation.root.join(TEMPORARY))
        .env("XDG_CACHE_HOME", invocation.root.join(CACHE))
        .env("npm_config_cache", invocation.root.join(CACHE).join("npm"))
        .envs(invocation.environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

/// A child that is never left alone: dropping it ends its process group and reaps it.
struct Watch<'a> {
    child: Child,
    group: Pid,
    program: &'a Path,
    began: Instant,
    timeout: Duration,
    reaped: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// One output stream, drained up to its end; kept up to a limit, or given away.
struct Stream<'s, 'k, R> {
    source: Option<R>,
    kept: Vec<u8>,
    dropped: bool,
    sink: Option<&'s mut Sink<'k>>,
    /// What the sink said; nothing is read after that.
    failed: Option<Error>,
}

impl<'s, 'k, R: Read> Stream<'s, 'k, R> {
    fn new(source: Option<R>, sink: Option<&'s mut Sink<'k>>) -> Self {
        Self {
            source,
            kept: Vec::new(),
            dropped: false,
            sink,
            failed: None,
        }
    }

    /// Reads what is there; the caller knows that it won't block.
    fn drain(&mut self, buffer: &mut [u8]) {
        let Some(source) = self.source.as_mut() else {
            return;
        };
        match source.read(buffer) {
            Ok(0) => self.source = None,
            Ok(count) if self.sink.is_some() => {
                let piece = buffer.get(..count).unwrap_or_default();
                if let Some(Err(error)) = self.sink.as_mut().map(|sink| sink(piece)) {
                    self.failed = Some(error);
                    self.source = None;
                }
            }
            Ok(count) => {
                let room = OUTPUT_LIMIT.saturating_sub(self.kept.len()).min(count);
                self.kept
                    .extend_from_slice(buffer.get(..room).unwrap_or_default());
                self.dropped |= room < count;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => self.source = None,
        }
    }
}

/// Why a child is being ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Deadline,
    Cancelled,
}

impl<'a> Watch<'a> {
    fn over(child: Child, invocation: &'a Invocation, began: Instant) -> Self {
        let group = Pid::from_child(&child);
        Self {
            child,
            group,
            program: &invocation.program,
            began,
            timeout: invocation.timeout,
            reaped: false,
        }
    }

    /// Signals the whole group. Its number is ours as long as the leader is not reaped.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }

    fn wait_for_end(mut self, cancel: Option<&AtomicBool>, sink: Option<&mut Sink<'_>>) -> Result<Ran> {
        let exit = pidfd_open(self.group, PidfdFlags::empty()).map_err(|error| {
            Error::io(format_args!("watch `{}`", self.program.display()), &error.into()).after_changes()
        })?;
        let mut stdout = Stream::new(self.child.stdout.take(), sink);
        let mut stderr = Stream::new(self.child.stderr.take(), None);
        let mut buffer = vec![0_u8; 64 * 1024];
        let mut stop: Option<(Stop, Instant)> = None;
        let mut ended = false;
        let mut rounds_left = ROUNDS_AFTER_END;
        loop {
            // After the leader's end only what it left in the pipes is read: a daemon may hold them open for ever.
            let patience = if ended {
                Duration::ZERO
            } else {
                self.patience(stop)
            };
            let ready = wait(&exit, &stdout, &stderr, patience).map_err(|error| {
                Error::io(format_args!("wait for `{}`", self.program.display()), &error).after_changes()
            })?;
            if ready.stdout {
                stdout.drain(&mut buffer);
            }
            if ready.stderr {
                stderr.drain(&mut buffer);
            }
            if ended {
                rounds_left -= 1;
                if rounds_left == 0 || !(ready.stdout || ready.stderr) {
                    break;
                }
                continue;
            }
            if ready.exit {
                self.signal(Signal::KILL);
                ended = true;
                continue;
            }
            stop = self.stop(stop, cancel);
        }
        let status = self.child.wait();
        self.reaped = status.is_ok();
        let status = status.map_err(|error| {
            Error::io(format_args!("wait for `{}`", self.program.display()), &error).after_changes()
        })?;
        if let Some(error) = stdout.failed {
            return Err(error);
        }
        if matches!(stop, Some((Stop::Cancelled, _))) {
            return Err(Error::cancelled(format!(
                "`{}` was ended: the run was asked to stop",
                self.program.display()
            )));
        }
        Ok(Ran {
            status: status.code(),
            signal: status.signal(),
            truncated: stdout.dropped || stderr.dropped,
            stdout: stdout.kept,
            stderr: stderr.kept,
            timed_out: matches!(stop, Some((Stop::Deadline, _))),
            duration: self.began.elapsed(),
        })
    }

    /// How long to wait before looking at the clock and the flag again.
    fn patience(&self, stop: Option<(Stop, Instant)>) -> Duration {
        let due = stop.map_or(self.timeout.saturating_sub(self.began.elapsed()), |(_, since)| {
            GRACE.saturating_sub(since.elapsed())
        });
        due.clamp(Duration::from_millis(1), TICK)
    }

    /// Asks the group to end when its time is up or the run is cancelled, and makes it end after the grace period.
    fn stop(&self, stop: Option<(Stop, Instant)>, cancel: Option<&AtomicBool>) -> Option<(Stop, Instant)> {
        if let Some((_, since)) = stop {
            if since.elapsed() >= GRACE {
                self.signal(Signal::KILL);
            }
            return stop;
        }
        let why = if cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            Stop::Cancelled
        } else if self.began.elapsed() >= self.timeout {
            Stop::Deadline
        } else {
            return None;
        };
        self.signal(Signal::TERM);
        Some((why, Instant::now()))
    }
}

/// What [`wait`] found ready.
struct Ready {
    exit: bool,
    stdout: bool,
    stderr: bool,
}

/// Waits until the child has ended, a stream can be read, or the time is up. An interruption counts as the latter.
fn wait<A: AsFd, B: AsFd>(
    exit: &impl AsFd,
    stdout: &Stream<'_, '_, A>,
    stderr: &Stream<'_, '_, B>,
    patience: Duration,
) -> std::io::Result<Ready> {
    let mut watched = vec![PollFd::new(exit, PollFlags::IN)];
    let out = stdout.source.as_ref().map(|source| {
        watched.push(PollFd::new(source, PollFlags::IN));
        watched.len() - 1
    });
    let err = stderr.source.as_ref().map(|source| {
        watched.push(PollFd::new(source, PollFlags::IN));
        watched.len() - 1
    });
    let patience = Timespec::try_from(patience).unwrap_or_default();
    match poll(&mut watched, Some(&patience)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => {
            return Ok(Ready {
                exit: false,
                stdout: false,
                stderr: false,
            });
        }
        Err(error) => return Err(error.into()),
    }
    let happened = |at: Option<usize>| {
        at.and_then(|at| watched.get(at))
            .is_some_and(|fd| !fd.revents().is_empty())
    };
    Ok(Ready {
        exit: happened(Some(0)),
        stdout: happened(out),
        stderr: happened(err),
    })
}

#[cfg(test)]
mod tests;
