//! A throw-away workspace: written, run in, and compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rollback_manager::demo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A workspace in a temporary directory, with a home directory beside it. Both go when it is dropped.
pub struct Sandbox {
    temporary: tempfile::TempDir,
}

impl Sandbox {
    /// A workspace with a flags file that has no features, and nothing else.
    pub fn empty() -> Self {
        Self::empty_in(&std::env::temp_dir())
    }

    /// As [`Self::empty`], in a temporary directory below `directory`.
    pub fn empty_in(directory: &Path) -> Self {
        let sandbox = Self::bare(directory);
        sandbox.write("config/feature-flags.yaml", "features: {}\n");
        sandbox
    }

    /// A workspace in which all seven stories are deployed, with npm and Python packages.
    pub fn full() -> Self {
        Self::deployed(demo::Options::default())
    }

    /// A workspace in which all seven stories are deployed; much cheaper without packages.
    pub fn deployed(options: demo::Options) -> Self {
        Self::deployed_in(&std::env::temp_dir(), options)
    }

    /// As [`Self::deployed`], in a temporary directory below `directory`.
    pub fn deployed_in(directory: &Path, options: demo::Options) -> Self {
        let sandbox = Self::bare(directory);
        demo::build(&sandbox.root(), &options).unwrap();
        sandbox
    }

    fn bare(directory: &Path) -> Self {
        let sandbox = Self {
            temporary: tempfile::Builder::new()
                .prefix("sandbox-")
                .tempdir_in(directory)
                .unwrap(),
        };
        std::fs::create_dir(sandbox.root()).unwrap();
        std::fs::create_dir(sandbox.home()).unwrap();
        sandbox
    }

    /// The workspace, without symbolic links in its path.
    pub fn root(&self) -> PathBuf {
        self.temporary.path().canonicalize().unwrap().join("workspace")
    }

    /// `HOME` of what runs here; outside the workspace.
    pub fn home(&self) -> PathBuf {
        self.temporary.path().canonicalize().unwrap().join("home")
    }

    /// A path of the workspace.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Whether something, be it a broken link, stands there.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Writes a file and makes the directories above it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// The text of a file.
    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()))
    }

    /// Removes a file, a link or a whole directory.
    pub fn remove(&self, path: &str) -> &Self {
        let path = self.path(path);
        if path.symlink_metadata().unwrap().is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        self
    }

    /// The binary, ready to be run in the workspace: nobody to ask, nothing in the environment but what is set here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollback"));
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("NO_COLOR", "1")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command(arguments), arguments)
    }

    /// Runs the binary with `--json`, whatever its exit code, and parses its standard output.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.run(&[arguments, &["--json"]].concat()).json()
    }

    /// The workspace as it is now, without the paths of `except` and what is below them.
    pub fn snapshot(&self, except: &[&str]) -> Snapshot {
        Snapshot::of(&self.root(), except)
    }

    /// Starts a process that waits, called `name` in the process table (its first 15 bytes), in the workspace, and
    /// writes its number to `pid_file`. TERM ends it.
    pub fn spawn_service(&self, name: &str, pid_file: &str) -> Service {
        let (program, script) = (format!("services/{name}"), format!("services/{name}.sh"));
        self.write(&script, waiting(""));
        // A link to the shell under that name, not a copy of a program: a file that was just written may still be open
        // for writing in a process that another test forks, and then can't be executed.
        std::os::unix::fs::symlink("/bin/sh", self.path(&program)).unwrap();
        let service = Service::start(
            Command::new(self.path(&program))
                .arg(self.path(&script))
                .current_dir(self.root()),
        );
        self.write(pid_file, format!("{}\n", service.pid()));
        service
    }

    /// Writes a script that waits to `path` of the workspace and starts it with `arguments`. Its command line reads
    /// `/bin/sh <root>/<path> <arguments>`; TERM ends it.
    pub fn spawn_script(&self, path: &str, arguments: &[&str]) -> Service {
        self.spawn(path, arguments, "")
    }

    /// As [`Self::spawn_script`], and TERM does not end it.
    pub fn spawn_stubborn(&self, path: &str, arguments: &[&str]) -> Service {
        self.spawn(path, arguments, "trap '' TERM\n")
    }

    /// As [`Self::spawn_script`], and it takes TERM without ending by it.
    pub fn spawn_slow(&self, path: &str, arguments: &[&str]) -> Service {
        self.spawn(
            path,
            arguments,
            &format!("trap hit=1 TERM\necho ready\n{DEAF}exit\n"),
        )
    }

    /// As [`Self::spawn_script`], with these lines before it waits.
    pub fn spawn(&self, path: &str, arguments: &[&str], first: &str) -> Service {
        self.write(path, waiting(first));
        Service::start(
            Command::new("/bin/sh")
                .arg(self.path(path))
                .args(arguments)
                .current_dir(self.root()),
        )
    }
}

/// Waits on a pipe of ours, takes TERM, and goes on waiting.
pub const DEAF: &str = "while read -r line || [ -n \"$hit\" ]; do hit=; done\n";

/// Waits until something is so; fails with what it waited for.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::yield_now();
    }
}

/// The first line that a child says; fails where it says none in time.
pub fn first_line(output: impl std::io::Read + Send + 'static) -> String {
    let (said, says) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        said.send(read.map(|_| line))
    });
    says.recv_timeout(PATIENCE)
        .expect("the first line of a child comes in time")
        .unwrap()
}

/// A script that says when it is ready and then waits on a pipe of ours: it can't outlive the test, even a killed one.
fn waiting(first: &str) -> String {
    format!("#!/bin/sh\n{first}echo ready\nwhile read -r line; do :; done\n")
}

/// The command outside of the session of whoever runs the tests: in a group of its own, and at a terminal in a session of
/// its own, because nothing of the terminal's is ever ended.
pub fn elsewhere(command: &mut Command) -> Command {
    let at_a_terminal = std::fs::File::open("/dev/tty").is_ok();
    let mut away = if at_a_terminal {
        let mut away = Command::new("setsid");
        away.arg(command.get_program());
        away
    } else {
        let mut away = Command::new(command.get_program());
        away.process_group(0);
        away
    };
    away.args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        away.current_dir(directory);
    }
    away
}

/// A process of a test, in a group of its own. Dropping it ends it. Whatever ends it, it leaves the process table.
pub struct Service {
    pid: u32,
    pipe: Option<ChildStdin>,
    ended: Receiver<ExitStatus>,
}

/// The longest that a test waits for a process that ends by itself: several times what the slowest of them takes, which is
/// the whole matrix of `worlds` beside another.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// Ways to wait for a process that have a limit: after [`PATIENCE`] it is killed, and the test says what it waited for.
pub trait InTime {
    /// As [`Command::output`], with nobody to ask.
    ///
    /// # Errors
    /// Why it can't be started.
    fn output_in_time(&mut self) -> std::io::Result<Output>;

    /// As [`Command::status`], with nobody to ask.
    ///
    /// # Errors
    /// Why it can't be started.
    fn status_in_time(&mut self) -> std::io::Result<ExitStatus>;
}

impl InTime for Command {
    #[track_caller]
    fn output_in_time(&mut self) -> std::io::Result<Output> {
        self.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(output_of(&mut self.spawn()?))
    }

    #[track_caller]
    fn status_in_time(&mut self) -> std::io::Result<ExitStatus> {
        Ok(ended(&mut self.stdin(Stdio::null()).spawn()?))
    }
}

/// What a process says from now on to pipes of ours, and how it ends, in at most [`PATIENCE`].
#[track_caller]
pub fn output_of(child: &mut Child) -> Output {
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = ended(child);
    let read = |from: Receiver<Vec<u8>>| {
        from.recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("somebody holds the output of a process that has ended"))
    };
    Output {
        status,
        stdout: read(stdout),
        stderr: read(stderr),
    }
}

/// As [`Child::wait`], in at most [`PATIENCE`]: then the process is killed, and the test says what it waited for.
#[track_caller]
pub fn ended(child: &mut Child) -> ExitStatus {
    drop(child.stdin.take());
    // Until it is waited for, its number is its own.
    let exit = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let limit = Timespec::try_from(PATIENCE).unwrap();
    if poll(&mut [PollFd::new(&exit, PollFlags::IN)], Some(&limit)).unwrap() == 0 {
        let what = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
        child.kill().unwrap();
        child.wait().unwrap();
        let what = String::from_utf8_lossy(&what).replace('\0', " ");
        panic!("`{what}` had not ended after {PATIENCE:?}");
    }
    child.wait().unwrap()
}

fn reader(stream: Option<impl std::io::Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, all) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).unwrap();
        }
        // A test that gave up does not listen any more.
        let _ = sender.send(bytes);
    });
    all
}

impl Service {
    /// Starts a command that says `ready` when it is, and that ends with its standard input.
    pub fn start(command: &mut Command) -> Self {
        let mut child = elsewhere(command)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let line = first_line(child.stdout.take().unwrap());
        let (pid, pipe) = (child.id(), child.stdin.take());
        let (sender, ended) = channel();
        std::thread::spawn(move || sender.send(child.wait().unwrap()));
        let service = Self { pid, pipe, ended };
        assert_eq!(line, "ready\n");
        service
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        // One that has ended keeps its entry until it is waited for.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|rest| !rest.starts_with(['Z', 'X']))
    }

    /// Waits until something has ended it, and says which signal did. Panics after ten seconds.
    pub fn wait_ended(&self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        match self.ended.recv_timeout(Duration::from_secs(10)) {
            Ok(status) => status.signal(),
            Err(RecvTimeoutError::Timeout) => panic!("process {} still runs", self.pid),
            Err(RecvTimeoutError::Disconnected) => panic!("process {} was waited for twice", self.pid),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The end of the pipe ends it, also if it is deaf to TERM; the thread then takes it out of the process table.
        drop(self.pipe.take());
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(Duration::from_secs(10)) {
            // A halted one does not see that: it was not waited for yet, so that the number is still its own.
            let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A run of the binary that came to its end.
pub struct Finished {
    arguments: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it said to programs.
    pub stdout: String,
    /// What it said to people.
    pub stderr: String,
}

/// Fails with both streams unless one of them holds each text.
#[track_caller]
pub fn assert_says(finished: &Finished, texts: &[&str]) {
    // Where lines are broken depends on how long the paths are.
    let unbroken = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (stdout, stderr) = (unbroken(&finished.stdout), unbroken(&finished.stderr));
    for text in texts {
        let said = |all: &str, flat: &str| all.contains(text) || flat.contains(&unbroken(text));
        assert!(
            said(&finished.stdout, &stdout) || said(&finished.stderr, &stderr),
            "`{text}` is missing in\n{}",
            finished.transcript()
        );
    }
}

impl Finished {
    /// Runs a command that runs the binary with these arguments to its end. Panics after [`PATIENCE`].
    pub fn of(command: &mut Command, arguments: &[&str]) -> Self {
        Self::from(command.output_in_time().unwrap(), arguments)
    }

    /// What a run of the binary with these arguments came to.
    pub fn from(output: Output, arguments: &[&str]) -> Self {
        Self {
            arguments: arguments.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A run of the binary that somebody else waited for.
    pub fn told(arguments: &[&str], code: Option<i32>, stdout: String, stderr: String) -> Self {
        Self {
            arguments: arguments.join(" "),
            code,
            stdout,
            stderr,
        }
    }

    /// Panics with both streams unless the exit code is `expected`.
    #[track_caller]
    pub fn assert_code(self, expected: i32) -> Self {
        assert!(
            self.code == Some(expected),
            "expected exit code {expected}\n{}",
            self.transcript()
        );
        self
    }

    /// Standard output as JSON. Panics with both streams if it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.transcript()))
    }

    /// The command line, the exit code and both streams, for messages and for `insta`.
    pub fn transcript(&self) -> String {
        let mut text = format!("$ rollback {}\n", self.arguments);
        match self.code {
            Some(code) => writeln!(text, "exit code {code}").unwrap(),
            None => writeln!(text, "ended by a signal").unwrap(),
        }
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                writeln!(text, "--- {name}\n{}", stream.trim_end()).unwrap();
            }
        }
        text
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Type and permission bits, as in `st_mode`.
    mode: u32,
    /// Modification time, in nanoseconds since the epoch.
    modified: i128,
    /// Bytes of a file; 0 for all else, whose size says nothing.
    size: u64,
    /// User and group.
    owner: (u32, u32),
    /// Extended attributes of a file or a directory, in the order of their names.
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a symbolic link.
    target: Option<PathBuf>,
    /// Of a file.
    digest: Option<blake3::Hash>,
}

impl Entry {
    fn of(path: &Path) -> Self {
        let metadata = path.symlink_metadata().unwrap();
        let is_file = metadata.is_file();
        Self {
            mode: metadata.mode(),
            modified: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
            size: if is_file { metadata.size() } else { 0 },
            owner: (metadata.uid(), metadata.gid()),
            attributes: attributes(path),
            target: metadata.is_symlink().then(|| path.read_link().unwrap()),
            // What its owner has closed for itself is as it was where it is closed still.
            digest: is_file.then(|| {
                blake3::hash(&std::fs::read(path).unwrap_or_else(|error| error.to_string().into_bytes()))
            }),
        }
    }

    /// What differs, by name.
    fn differences(&self, other: &Self) -> String {
        let names = [
            ("mode", self.mode != other.mode),
            ("time", self.modified != other.modified),
            ("size", self.size != other.size),
            ("owner", self.owner != other.owner),
            ("attributes", self.attributes != other.attributes),
            ("target", self.target != other.target),
            ("contents", self.digest != other.digest),
        ];
        names
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// None where the file system has none.
pub fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut buffer = vec![0; 1 << 16];
    let Ok(length) = rustix::fs::llistxattr(path, &mut buffer) else {
        return Vec::new();
    };
    let names = buffer[..length].split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let mut names: Vec<Vec<u8>> = names.filter(|name| !name.is_empty()).collect();
    names.sort();
    let valued = names.into_iter().filter_map(|name| {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name.as_slice(), &mut value).ok()?;
        value.truncate(length);
        Some((name, value))
    });
    valued.collect()
}

/// A directory tree at one moment: all that a user could notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Entry>);

impl Snapshot {
    /// Everything below `root` and `root` itself (as the empty path), without the paths of `except` and what is below
    /// them. Links are not followed.
    pub fn of(root: &Path, except: &[&str]) -> Self {
        let mut entries = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(below) = open.pop() {
            if except.iter().any(|excepted| below == Path::new(excepted)) {
                continue;
            }
            let path = root.join(&below);
            let entry = Entry::of(&path);
            if path.symlink_metadata().unwrap().is_dir() {
                open.extend(
                    std::fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| below.join(entry.unwrap().file_name())),
                );
            }
            entries.insert(below, entry);
        }
        Self(entries)
    }

    /// The same without some paths and what is below them.
    pub fn without(&self, except: &[&str]) -> Self {
        let kept = self
            .0
            .iter()
            .filter(|(path, _)| !except.iter().any(|excepted| path.starts_with(excepted)));
        Self(kept.map(|(path, entry)| (path.clone(), entry.clone())).collect())
    }

    /// Whether something stood at this path.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(Path::new(path))
    }

    /// What became different from `before` to `after`, a line a path: `removed a`, `added b`, `changed c: mode, time`.
    /// The root's own path reads `.`.
    pub fn diff(before: &Self, after: &Self) -> Vec<String> {
        let paths: std::collections::BTreeSet<_> = before.0.keys().chain(after.0.keys()).collect();
        paths
            .into_iter()
            .filter_map(|path| {
                let display = if path.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    path
                }
                .display();
                match (before.0.get(path), after.0.get(path)) {
                    (Some(_), None) => Some(format!("removed {display}")),
                    (None, Some(_)) => Some(format!("added {display}")),
                    (Some(old), Some(new)) if old != new => {
                        Some(format!("changed {display}: {}", old.differences(new)))
                    }
                    _ => None,
                }
            })
            .collect()
    }
}

/// Fails with the differences unless both are equal.
#[track_caller]
pub fn assert_unchanged(before: &Snapshot, after: &Snapshot) {
    let differences = Snapshot::diff(before, after);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_full_sandbox_is_a_workspace_with_everything_deployed() {
    let sandbox = Sandbox::full();
    for path in [
        "config/feature-flags.yaml",
        "package.json",
        "node_modules/yaml",
        ".duckdb/analytics.db",
        ".venv",
    ] {
        assert!(sandbox.exists(path), "{path}");
    }
    assert!(sandbox.read(".env").contains("export AIRBYTE_API_KEY="));
}

#[test]
fn the_binary_runs_without_the_environment_of_the_test() {
    let sandbox = Sandbox::empty();
    let before = sandbox.snapshot(&[]);
    let finished = sandbox.run(&["--version"]).assert_code(0);
    assert!(
        finished
            .transcript()
            .starts_with("$ rollback --version\nexit code 0\n")
    );
    let names: Vec<_> = sandbox
        .command(&[])
        .get_envs()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(names, ["HOME", "NO_COLOR", "PATH", "TZ"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
#[should_panic(expected = "expected exit code 99\n$ rollback --version")]
fn a_wrong_exit_code_shows_the_transcript() {
    Sandbox::empty().run(&["--version"]).assert_code(99);
}

#[test]
#[should_panic(expected = "not JSON")]
fn what_is_not_json_shows_the_transcript() {
    Sandbox::empty().json(&["--version"]);
}

#[test]
fn a_snapshot_sees_every_kind_of_change() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("kept", "1")
        .write("edited", "abc")
        .write("gone/deep", "x")
        .write("mode", "m")
        .write("state/log", "");
    std::os::unix::fs::symlink("kept", sandbox.path("link")).unwrap();
    let before = sandbox.snapshot(&["state"]);
    assert_unchanged(&before, &sandbox.snapshot(&["state"]));
    assert!(before.has("gone/deep") && !before.has("state"));

    let time = std::fs::metadata(sandbox.path("edited"))
        .unwrap()
        .modified()
        .unwrap();
    sandbox
        .write("edited", "abd")
        .write("state/log", "more")
        .write("new", "");
    std::fs::File::options()
        .write(true)
        .open(sandbox.path("edited"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    std::fs::set_permissions(sandbox.path("mode"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let old = std::time::UNIX_EPOCH + Duration::from_nanos(1);
    std::fs::File::open(sandbox.path("config"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    sandbox.remove("gone").remove("link");
    std::os::unix::fs::symlink("edited", sandbox.path("link")).unwrap();

    let mut differences = Snapshot::diff(&before, &sandbox.snapshot(&["state"]));
    let link = differences
        .iter()
        .position(|line| line.starts_with("changed link: "))
        .unwrap();
    assert!(differences.remove(link).ends_with("target"));
    assert_eq!(
        differences,
        [
            "changed .: time",
            "changed config: time",
            "changed edited: contents",
            "removed gone",
            "removed gone/deep",
            "changed mode: mode",
            "added new",
        ]
    );
}

fn command_line(pid: u32) -> String {
    String::from_utf8(std::fs::read(format!("/proc/{pid}/cmdline")).unwrap())
        .unwrap()
        .replace('\0', " ")
}

fn terminate(service: &Service) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(service.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn a_service_has_its_name_its_place_and_its_pid_file() {
    let sandbox = Sandbox::empty();
    let service = sandbox.spawn_service("dagster-daemon", "logs/dagster-daemon.pid");
    let process = PathBuf::from(format!("/proc/{}", service.pid()));
    assert_eq!(
        std::fs::read_to_string(process.join("comm")).unwrap(),
        "dagster-daemon\n"
    );
    assert_eq!(process.join("cwd").read_link().unwrap(), sandbox.root());
    assert_eq!(
        sandbox.read("logs/dagster-daemon.pid"),
        format!("{}\n", service.pid())
    );
    assert!(service.is_running());
    drop(service);
    assert!(!process.exists());
}

#[test]
fn a_script_shows_its_arguments_and_ends_on_term() {
    let sandbox = Sandbox::empty();
    let service = sandbox.spawn_script("bin/dagster", &["daemon", "run"]);
    let expected = format!("/bin/sh {} daemon run ", sandbox.path("bin/dagster").display());
    assert_eq!(command_line(service.pid()), expected);
    terminate(&service);
    assert_eq!(service.wait_ended(), Some(15));
    assert!(!service.is_running());
}

#[test]
fn a_stubborn_script_outlives_term_but_not_the_test() {
    let sandbox = Sandbox::empty();
    let service = sandbox.spawn_stubborn("bin/dagster", &["dev"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap()
        .trim();
    let term = u64::from_str_radix(ignored, 16).unwrap() & (1 << 14);
    assert_ne!(term, 0, "SIGTERM is not ignored");
    terminate(&service);
    let process = PathBuf::from(format!("/proc/{}", service.pid()));
    assert!(service.is_running());
    drop(service);
    assert!(!process.exists());
}

/// Whether a check is unknown because there is no container engine, or no Python environment, to ask.
pub fn rests_on_what_is_not_there(check: &serde_json::Value) -> bool {
    let detail = check["detail"].as_str().unwrap_or_default();
    let absent = [
        "no Python environment was found",
        "what the container engine holds is unknown",
    ];
    check["passed"].is_null() && absent.iter().any(|reason| detail.starts_with(reason))
}
