//! A run of the binary under a tracer that counts the system calls by which it changes the world, and ends it just
//! before the n-th one. Between two of them the world stands still, so these are all the instants at which a crash can
//! find it. It also tells of each call that brings something to the disk, and can make one of them fail. Nothing in the
//! binary takes part.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::sandbox::PATIENCE;

/// A system call that changes the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The call's name.
    pub call: &'static str,
    /// What it is about: the last path among its arguments, or the open file.
    pub about: String,
}

/// How a traced run ended.
#[derive(Debug)]
pub struct Traced {
    /// The effects, in order; the last one did not happen if the run was cut.
    pub effects: Vec<Effect>,
    /// Whether it was cut.
    pub cut: bool,
    /// The exit code of a run that was not.
    pub code: Option<i32>,
    /// The calls that bring something to the disk, in order.
    pub syncs: Vec<Effect>,
    /// How many effects came before the call that was made to fail.
    pub before_failure: Option<usize>,
}

/// What the tracer does to a command.
#[derive(Debug, Clone, Copy, Default)]
pub struct Orders {
    /// Kills it just before this effect, counted from 1.
    pub cut: Option<usize>,
    /// Makes this call that brings something to the disk fail with `EIO`, counted from 1.
    pub fail_sync: Option<usize>,
}

/// What a call brings to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The file or directory with this inode number.
    Inode(u64),
    /// Everything.
    Everything,
}

/// Somebody who is told what a traced command does. It stands still meanwhile, but for other threads of its own.
pub trait Watch {
    /// An effect has happened.
    fn changed(&mut self) {}

    /// A thread is about to bring something to the disk.
    fn syncing(&mut self, _thread: i32, _target: Target) {}

    /// What that came to.
    fn synced(&mut self, _thread: i32, _done: bool) {}
}

/// Nobody.
impl Watch for () {}

/// Which argument of a call tells what it is about.
#[derive(Clone, Copy)]
enum About {
    /// The path behind this argument.
    Path(usize),
    /// The open file that is this argument; only regular files count.
    File(usize),
    /// A path, and it only counts if these flags of another argument say so.
    Opened { path: usize, flags: usize },
    /// As `Opened`, where the flags are the first member of a structure.
    OpenedHow { path: usize, how: usize },
    /// Nothing.
    Process,
}

/// The calls that change the world. Those of [`SYNCS`] are none of them: a process that is killed leaves everything that
/// it has written to the kernel, so that the instants before and after them are one.
const CALLS: &[(libc::c_long, &str, About)] = &[
    (libc::SYS_openat, "openat", About::Opened { path: 1, flags: 2 }),
    (libc::SYS_openat2, "openat2", About::OpenedHow { path: 1, how: 2 }),
    (libc::SYS_write, "write", About::File(0)),
    (libc::SYS_pwrite64, "pwrite64", About::File(0)),
    (libc::SYS_writev, "writev", About::File(0)),
    (libc::SYS_pwritev, "pwritev", About::File(0)),
    (libc::SYS_renameat, "renameat", About::Path(3)),
    (libc::SYS_renameat2, "renameat2", About::Path(3)),
    (libc::SYS_unlinkat, "unlinkat", About::Path(1)),
    (libc::SYS_mkdirat, "mkdirat", About::Path(1)),
    (libc::SYS_linkat, "linkat", About::Path(3)),
    (libc::SYS_symlinkat, "symlinkat", About::Path(2)),
    (libc::SYS_mknodat, "mknodat", About::Path(1)),
    (libc::SYS_fchmod, "fchmod", About::File(0)),
    (libc::SYS_fchmodat, "fchmodat", About::Path(1)),
    (libc::SYS_fchown, "fchown", About::File(0)),
    (libc::SYS_fchownat, "fchownat", About::Path(1)),
    (libc::SYS_utimensat, "utimensat", About::Path(1)),
    (libc::SYS_setxattr, "setxattr", About::Path(0)),
    (libc::SYS_lsetxattr, "lsetxattr", About::Path(0)),
    (libc::SYS_fsetxattr, "fsetxattr", About::File(0)),
    (libc::SYS_removexattr, "removexattr", About::Path(0)),
    (libc::SYS_ftruncate, "ftruncate", About::File(0)),
    (libc::SYS_fallocate, "fallocate", About::File(0)),
    (libc::SYS_copy_file_range, "copy_file_range", About::File(2)),
    (libc::SYS_sendfile, "sendfile", About::File(0)),
    (libc::SYS_ioctl, "ioctl", About::File(0)),
    (libc::SYS_kill, "kill", About::Process),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal", About::Process),
];

/// The calls that bring something to the disk, and whether that is one open file.
const SYNCS: &[(libc::c_long, &str, bool)] = &[
    (libc::SYS_fsync, "fsync", true),
    (libc::SYS_fdatasync, "fdatasync", true),
    (libc::SYS_syncfs, "syncfs", false),
    (libc::SYS_sync, "sync", false),
];

/// The calls of older machines, which newer ones don't have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[(libc::c_long, &str, About)] = &[
    (libc::SYS_open, "open", About::Opened { path: 0, flags: 1 }),
    (libc::SYS_creat, "creat", About::Path(0)),
    (libc::SYS_rename, "rename", About::Path(1)),
    (libc::SYS_unlink, "unlink", About::Path(0)),
    (libc::SYS_rmdir, "rmdir", About::Path(0)),
    (libc::SYS_mkdir, "mkdir", About::Path(0)),
    (libc::SYS_link, "link", About::Path(1)),
    (libc::SYS_symlink, "symlink", About::Path(1)),
    (libc::SYS_mknod, "mknod", About::Path(0)),
    (libc::SYS_chmod, "chmod", About::Path(0)),
    (libc::SYS_chown, "chown", About::Path(0)),
    (libc::SYS_lchown, "lchown", About::Path(0)),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[(libc::c_long, &str, About)] = &[];

/// Runs a command to its end, or to just before its `cut`-th effect (counted from 1), where it is killed.
///
/// # Errors
/// Why nothing can be traced here.
pub fn trace(command: &Command, cut: Option<usize>) -> Result<Traced, String> {
    let orders = Orders {
        cut,
        ..Orders::default()
    };
    watch(command, orders, &mut ())
}

/// As [`trace`], and tells somebody what it does.
///
/// # Errors
/// Why nothing can be traced here.
pub fn watch(command: &Command, orders: Orders, watcher: &mut dyn Watch) -> Result<Traced, String> {
    let mut held = Held::start(command)?;
    let mut tracing = Tracing {
        top: held.pid,
        orders,
        watcher,
        inside: HashMap::new(),
        under_way: HashMap::new(),
        traced: Traced {
            effects: Vec::new(),
            cut: false,
            code: None,
            syncs: Vec::new(),
            before_failure: None,
        },
    };
    held.let_go();
    // One that hangs is killed, and has no exit code.
    let exit = pidfd_open(rustix::process::Pid::from_child(&held.child), PidfdFlags::empty())
        .map_err(|error| error.to_string())?;
    let (done, wait) = channel::<()>();
    let guard = std::thread::spawn(move || {
        if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // It may have ended just now.
            let _ = pidfd_send_signal(&exit, rustix::process::Signal::KILL);
        }
    });
    let ended = tracing.run_to_end();
    drop(done);
    guard.join().map_err(|_| "the guard panicked".to_owned())?;
    ended.map(|()| tracing.traced)
}

/// A shell that becomes the command once it is told to, so that the tracer is there first.
struct Held {
    child: Child,
    pid: Pid,
}

impl Held {
    fn start(command: &Command) -> Result<Self, String> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "read -r line; exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(directory) = command.get_current_dir() {
            shell.current_dir(directory);
        }
        shell.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let child = shell.spawn().map_err(|error| error.to_string())?;
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number is an i32"));
        let mut held = Self { child, pid };
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        if let Err(error) = ptrace::seize(pid, options) {
            // Both fail only for a process that has ended.
            let _ = held.child.kill();
            let _ = held.child.wait();
            return Err(format!("processes can't be traced here: {error}"));
        }
        Ok(held)
    }

    /// The end of its input: it becomes the command, which finds nobody to ask.
    fn let_go(&mut self) {
        drop(self.child.stdin.take());
    }
}

/// A call that a thread is in.
enum UnderWay {
    Effect,
    Sync { fails: bool },
}

struct Tracing<'a> {
    top: Pid,
    orders: Orders,
    watcher: &'a mut dyn Watch,
    /// Whether a thread is inside a system call.
    inside: HashMap<Pid, bool>,
    /// The calls that count among those.
    under_way: HashMap<Pid, UnderWay>,
    traced: Traced,
}

impl Tracing<'_> {
    fn run_to_end(&mut self) -> Result<(), String> {
        // Only what this thread started or traces: other tests have children of their own.
        let mine = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = waitpid(Pid::from_raw(-1), Some(mine)).map_err(|error| error.to_string())?;
            match status {
                WaitStatus::PtraceEvent(thread, _, event) => {
                    if event == libc::PTRACE_EVENT_EXEC {
                        self.inside.clear();
                        // The way out of `execve` is still to come.
                        self.inside.insert(thread, true);
                    }
                    go_on(thread, None);
                }
                WaitStatus::PtraceSyscall(thread) => {
                    let inside = self.inside.entry(thread).or_default();
                    *inside = !*inside;
                    if *inside {
                        self.entered(thread);
                    } else {
                        self.left(thread);
                    }
                    go_on(thread, None);
                }
                WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
                WaitStatus::Exited(thread, code) if thread == self.top => {
                    self.traced.code = Some(code);
                    return Ok(());
                }
                WaitStatus::Signaled(thread, ..) if thread == self.top => return Ok(()),
                _ => {}
            }
        }
    }

    fn entered(&mut self, thread: Pid) {
        let Some((number, arguments)) = call(thread) else {
            return;
        };
        if let Some((sync, target)) = sync(thread, number, &arguments) {
            self.traced.syncs.push(sync);
            let fails = Some(self.traced.syncs.len()) == self.orders.fail_sync;
            if fails {
                self.traced.before_failure = Some(self.traced.effects.len());
                pass_over(thread);
            }
            self.watcher.syncing(thread.as_raw(), target);
            self.under_way.insert(thread, UnderWay::Sync { fails });
            return;
        }
        let Some(effect) = effect(thread, number, &arguments) else {
            return;
        };
        if self.traced.cut {
            return;
        }
        self.traced.effects.push(effect);
        self.under_way.insert(thread, UnderWay::Effect);
        if Some(self.traced.effects.len()) == self.orders.cut {
            self.traced.cut = true;
            // A call at whose entry its thread is killed does not happen.
            kill(self.top, Signal::SIGKILL).expect("it stands still, so it is there");
        }
    }

    fn left(&mut self, thread: Pid) {
        match self.under_way.remove(&thread) {
            Some(UnderWay::Effect) => self.watcher.changed(),
            Some(UnderWay::Sync { fails }) => {
                if fails {
                    answer(thread, -i64::from(libc::EIO));
                }
                self.watcher.synced(thread.as_raw(), !fails && succeeded(thread));
            }
            None => {}
        }
    }
}

/// Fails only for a thread that was killed; its end is told next.
fn go_on(thread: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(thread, signal);
}

/// Makes the call that a thread has entered none at all.
#[cfg(target_arch = "x86_64")]
fn pass_over(thread: Pid) {
    let mut registers = ptrace::getregs(thread).expect("it stands still");
    registers.orig_rax = u64::MAX;
    ptrace::setregs(thread, registers).expect("it stands still");
}

/// What a call that a thread leaves comes to.
#[cfg(target_arch = "x86_64")]
fn answer(thread: Pid, value: i64) {
    let mut registers = ptrace::getregs(thread).expect("it stands still");
    registers.rax = value.cast_unsigned();
    ptrace::setregs(thread, registers).expect("it stands still");
}

#[cfg(target_arch = "x86_64")]
fn succeeded(thread: Pid) -> bool {
    ptrace::getregs(thread).is_ok_and(|registers| registers.rax == 0)
}

/// Whether a call can be made to fail here.
pub const CAN_FAIL: bool = cfg!(target_arch = "x86_64");

#[cfg(not(target_arch = "x86_64"))]
fn pass_over(_thread: Pid) {}

#[cfg(not(target_arch = "x86_64"))]
fn answer(_thread: Pid, _value: i64) {}

#[cfg(not(target_arch = "x86_64"))]
fn succeeded(_thread: Pid) -> bool {
    true
}

/// The system call that a thread has entered: its number and its arguments.
fn call(thread: Pid) -> Option<(libc::c_long, Vec<u64>)> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut words = text.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let arguments = words
        .take(6)
        .map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    Some((number, arguments))
}

/// What a thread is about to bring to the disk, if it is that.
fn sync(thread: Pid, number: libc::c_long, arguments: &[u64]) -> Option<(Effect, Target)> {
    let &(_, call, is_of_one) = SYNCS.iter().find(|(known, ..)| *known == number)?;
    let open = PathBuf::from(format!("/proc/{thread}/fd/{}", arguments.first()?));
    let target = if is_of_one {
        Target::Inode(std::fs::metadata(&open).ok()?.ino())
    } else {
        Target::Everything
    };
    let about = std::fs::read_link(&open).map_or_else(|_| String::new(), |path| name(&path));
    Some((Effect { call, about }, target))
}

/// The effect that a thread is about to have, if it is one.
fn effect(thread: Pid, number: libc::c_long, arguments: &[u64]) -> Option<Effect> {
    let &(_, call, about) = CALLS
        .iter()
        .chain(OLD_CALLS)
        .find(|(known, ..)| *known == number)?;
    let argument = |index: usize| arguments.get(index).copied();
    let making = u64::try_from(libc::O_CREAT | libc::O_TRUNC).ok()?;
    let about = match about {
        About::Process => String::new(),
        About::Path(index) => string(thread, argument(index)?),
        About::File(index) => {
            let open = std::fs::read_link(format!("/proc/{thread}/fd/{}", argument(index)?)).ok()?;
            // Pipes and sockets have no slash, devices are not the world that can be lost.
            let is_file = open.is_absolute() && !open.starts_with("/dev/") || open.starts_with("/dev/shm");
            if !is_file || !has_contents(thread, argument(index)?) {
                return None;
            }
            name(&open)
        }
        About::Opened { path, flags } => {
            (argument(flags)? & making != 0).then(|| string(thread, argument(path).unwrap_or(0)))?
        }
        About::OpenedHow { path, how } => {
            let mut flags = [0; 8];
            memory(thread)?.read_exact_at(&mut flags, argument(how)?).ok()?;
            (u64::from_ne_bytes(flags) & making != 0).then(|| string(thread, argument(path).unwrap_or(0)))?
        }
    };
    Some(Effect { call, about })
}

fn has_contents(thread: Pid, descriptor: u64) -> bool {
    std::fs::metadata(format!("/proc/{thread}/fd/{descriptor}"))
        .is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
}

fn memory(thread: Pid) -> Option<File> {
    File::open(format!("/proc/{thread}/mem")).ok()
}

/// The last name of the path at an address of the traced process.
fn string(thread: Pid, address: u64) -> String {
    let mut bytes = [0; 512];
    let read = memory(thread)
        .and_then(|memory| memory.read_at(&mut bytes, address).ok())
        .unwrap_or(0);
    let text = bytes.get(..read).unwrap_or_default();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    name(&PathBuf::from(String::from_utf8_lossy(text).into_owned()))
}

fn name(path: &std::path::Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
