//! `/proc`, read only when asked: each file of a process at most once, and through one handle, so that a number
//! that is given to another process meanwhile reads as gone and never as a mixture of the two.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::event::{Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::time::ClockId;

use super::command::Command;
use super::reach::Ours;
use super::title::Title;
use super::{Disposition, Process};
use crate::base::error::{Error, Result};
use crate::workspace::accounts::Accounts;

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// How often a process is looked at that does not stand still.
const LOOKS: usize = 8;

/// What one look at the table rests on.
#[derive(Debug)]
pub(super) struct Table {
    /// Our effective user: only its processes are ever returned.
    pub user: u32,
    own: i32,
    ancestors: Vec<i32>,
    mounts: Option<OsString>,
    accounts: OnceCell<Accounts>,
    boot: SystemTime,
    ours: OnceCell<Ours>,
    pipeline: OnceCell<BTreeSet<i32>>,
}

impl Table {
    /// Opens the table.
    ///
    /// # Errors
    /// `/proc` is not mounted, or shows another process namespace than the one in which signals are sent.
    pub fn open() -> Result<Self> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let target = std::fs::read_link("/proc/self").map_err(|error| {
            Error::io("read `/proc`", &error)
                .hint("mount the proc file system: processes cannot be seen without it")
        })?;
        if target.to_str() != Some(own.to_string().as_str()) {
            return Err(Error::failed("`/proc` shows the processes of another namespace")
                .hint("mount a proc file system of this process namespace, or run outside the container"));
        }
        let mut ancestors = Vec::new();
        let mut child = own;
        while let Some(parent) = Seen::open(child).and_then(|seen| seen.stat().map(|stat| stat.parent)) {
            if parent <= 0 || ancestors.contains(&parent) {
                break;
            }
            ancestors.push(parent);
            child = parent;
        }
        Ok(Self {
            user: rustix::process::geteuid().as_raw(),
            own,
            ancestors,
            mounts: std::fs::read_link("/proc/self/ns/mnt")
                .ok()
                .map(PathBuf::into_os_string),
            accounts: OnceCell::new(),
            boot: boot(),
            ours: OnceCell::new(),
            pipeline: OnceCell::new(),
        })
    }

    /// As it is, with one more process that counts as one which has started this one.
    #[cfg(test)]
    pub fn with_ancestor(mut self, pid: i32) -> Self {
        self.ancestors.push(pid);
        self
    }

    /// Every number in use, in order.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub fn pids() -> Result<Vec<i32>> {
        let entries = std::fs::read_dir("/proc").map_err(|error| Error::io("list `/proc`", &error))?;
        let mut pids: Vec<i32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// Whether it is this process.
    pub fn is_own(&self, pid: i32) -> bool {
        pid == self.own
    }

    /// Whether it is the first process, or one that started this one, however indirectly.
    pub fn is_above(&self, pid: i32) -> bool {
        pid <= 1 || self.ancestors.contains(&pid)
    }

    /// This process and what has started it, the nearest first.
    pub fn line(&self) -> Vec<i32> {
        std::iter::once(self.own)
            .chain(self.ancestors.iter().copied())
            .collect()
    }

    /// Our sessions and process group, read once.
    pub fn ours(&self) -> &Ours {
        self.ours.get_or_init(|| Ours::of(self))
    }

    /// Who is in our pipeline, read once.
    pub fn pipeline(&self) -> &BTreeSet<i32> {
        self.pipeline.get_or_init(|| super::reach::pipeline(self))
    }

    /// The name of a user, or the number where `/etc/passwd` has none.
    pub fn user_name(&self, uid: u32) -> String {
        self.accounts.get_or_init(Accounts::load).user(uid)
    }

    /// When a process that started at this tick did so.
    pub fn time(&self, ticks: u64) -> SystemTime {
        let second = rustix::param::clock_ticks_per_second().max(1);
        let rest = (ticks % second) * (1_000_000_000 / second);
        let since = Duration::from_secs(ticks / second).saturating_add(Duration::from_nanos(rest));
        self.boot.checked_add(since).unwrap_or(self.boot)
    }

    /// Whether the process sees another mount tree: the names that the kernel gives for its files are then not ours.
    pub fn is_elsewhere(&self, seen: &Seen) -> bool {
        match (&self.mounts, seen.link("ns/mnt")) {
            (Some(ours), Some(theirs)) => *ours != theirs,
            // What we may not read here, we may not read for any path of it either.
            _ => false,
        }
    }

    /// Whether the paths on its command line are ours too: in another mount tree, or under another root directory,
    /// they mean other files.
    pub fn means_our_files(&self, seen: &Seen) -> bool {
        !self.is_elsewhere(seen) && seen.link("root").is_some_and(|root| root == "/")
    }

    /// The path behind a link of the process, in our own mount tree; `None` where it has no name in it.
    pub fn path(&self, seen: &Seen, link: &str) -> Option<PathBuf> {
        let path = seen.path(link)?;
        if self.is_elsewhere(seen) {
            let theirs = seen.identity(link)?;
            let ours = rustix::fs::stat(&path).ok()?;
            if theirs != (ours.st_dev, ours.st_ino) {
                return None;
            }
        }
        Some(path)
    }

    /// The working directory, read once.
    pub fn cwd<'a>(&self, seen: &'a Seen) -> Option<&'a Path> {
        seen.cwd.get_or_init(|| self.path(seen, "cwd")).as_deref()
    }

    /// The executable, read once.
    pub fn executable<'a>(&self, seen: &'a Seen) -> Option<&'a Path> {
        seen.executable.get_or_init(|| self.path(seen, "exe")).as_deref()
    }

    /// As [`Table::process`], of what is meant whichever program it runs: one that becomes another while it is looked at is
    /// looked at again.
    pub fn whatever_it_runs(&self, seen: &Seen) -> Option<Process> {
        let ticks = seen.stat()?.started_ticks;
        let again = || (1..LOOKS).find_map(|_| self.process(&Seen::open(seen.pid)?));
        self.process(seen)
            .or_else(again)
            .filter(|process| process.started_ticks == ticks)
    }

    /// Judges a process by what it runs; one that becomes another program while it is looked at is judged again. `None` where
    /// the verdict is, and where the process has ended.
    pub fn judged<T>(&self, first: &Seen, judge: impl Fn(&Seen) -> Option<T>) -> Option<(Process, T)> {
        let verdict = judge(first)?;
        if let Some(process) = self.process(first) {
            return Some((process, verdict));
        }
        for _ in 1..LOOKS {
            let seen = Seen::open(first.pid)?;
            let verdict = judge(&seen)?;
            if let Some(process) = self.process(&seen) {
                return Some((process, verdict));
            }
        }
        None
    }

    /// The whole record. `None` where the process has ended, is a kernel thread, or became another program while
    /// it was looked at.
    pub fn process(&self, seen: &Seen) -> Option<Process> {
        let stat = seen.stat().filter(|stat| stat.is_alive() && !stat.is_kernel())?;
        let uid = seen.owner()?.effective;
        let command = seen.command();
        let title = seen.title(self);
        let name = title
            .lines
            .first()
            .and_then(|line| Command::parse(line))
            .map_or_else(
                || stat.name.clone(),
                |command| command.name().to_string_lossy().into_owned(),
            );
        let ours = self.means_our_files(seen);
        let script = ours.then(|| title.script(self.cwd(seen))).flatten();
        let process = Process {
            pid: seen.pid,
            started_ticks: stat.started_ticks,
            started: self.time(stat.started_ticks),
            uid,
            user: self.user_name(uid),
            executable: self.executable(seen).map(Path::to_path_buf),
            command: command
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            name,
            script,
            cwd: self.cwd(seen).map(Path::to_path_buf),
            memory: stat
                .resident_pages
                .saturating_mul(rustix::param::page_size() as u64),
            parent: stat.parent,
            on_term: seen.on_term(),
        };
        (seen.read_command() == command).then_some(process)
    }
}

/// One process, behind an open handle.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its number.
    pub pid: i32,
    directory: OnceCell<Option<OwnedFd>>,
    command: OnceCell<Vec<OsString>>,
    title: OnceCell<Title>,
    stat: OnceCell<Option<Stat>>,
    cwd: OnceCell<Option<PathBuf>>,
    executable: OnceCell<Option<PathBuf>>,
    status: OnceCell<Option<Status>>,
}

impl Seen {
    /// `None` where there is no such process.
    pub fn open(pid: i32) -> Option<Self> {
        let seen = Self::remembered(pid, None);
        seen.directory().is_some().then_some(seen)
    }

    /// A process whose command line was read before; its handle is opened when more is asked.
    pub fn remembered(pid: i32, command: Option<Vec<OsString>>) -> Self {
        Self {
            pid,
            directory: OnceCell::new(),
            command: command.map(OnceCell::from).unwrap_or_default(),
            title: OnceCell::new(),
            stat: OnceCell::new(),
            cwd: OnceCell::new(),
            executable: OnceCell::new(),
            status: OnceCell::new(),
        }
    }

    fn directory(&self) -> Option<&OwnedFd> {
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(format!("/proc/{}", self.pid), flags, Mode::empty()).ok()
        };
        self.directory.get_or_init(open).as_ref()
    }

    /// The arguments; empty for kernel threads and zombies.
    pub fn command(&self) -> &[OsString] {
        self.command.get_or_init(|| self.read_command())
    }

    /// What it runs, read once.
    pub fn title(&self, table: &Table) -> &Title {
        self.title.get_or_init(|| Title::of(table, self))
    }

    /// A variable of the environment that it was started with; `None` where it has none of that name, or we may not look.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let bytes = self.read("environ")?;
        let mut all = bytes.split(|byte| *byte == 0);
        all.find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(|value| OsStr::from_bytes(value).to_os_string())
    }

    fn read_command(&self) -> Vec<OsString> {
        let bytes = self.read("cmdline").unwrap_or_default();
        // A process that rewrites its title leaves a tail of zeros.
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        let bytes = bytes.get(..end).unwrap_or_default();
        if bytes.is_empty() {
            return Vec::new();
        }
        bytes
            .split(|byte| *byte == 0)
            .map(|word| OsStr::from_bytes(word).to_os_string())
            .collect()
    }

    /// State, parent and start, read once.
    pub fn stat(&self) -> Option<&Stat> {
        self.stat
            .get_or_init(|| Stat::parse(&self.read("stat")?))
            .as_ref()
    }

    /// What `/proc/<pid>/status` says, read once.
    pub fn status(&self) -> Option<&Status> {
        let read = || self.read("status").map(|bytes| Status::of(&bytes));
        self.status.get_or_init(read).as_ref()
    }

    /// The users that it runs as.
    pub fn owner(&self) -> Option<Owner> {
        Owner::parse(self.status()?)
    }

    /// What becomes of TERM.
    pub fn on_term(&self) -> Disposition {
        let Some(status) = self.status() else {
            return Disposition::Acted;
        };
        if status.has_term("SigBlk") && self.goes_on_holding_term_back() {
            return Disposition::Blocked;
        }
        // The first process of a namespace gets only what it asked for.
        let is_first = status.number_inside().is_some_and(|number| number == 1);
        if status.has_term("SigIgn") || (is_first && !status.has_term("SigCgt")) {
            return Disposition::Ignored;
        }
        Disposition::Acted
    }

    /// Whether it holds TERM back for good: who starts another program blocks all signals for a moment.
    fn goes_on_holding_term_back(&self) -> bool {
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        (0..LOOKS).all(|look| {
            if look > 0 {
                // Nothing tells when it unblocks them.
                let _ = poll(&mut [], Some(&pause));
            }
            self.holds_term_back()
        })
    }

    /// Whether every thread blocks TERM and none of its descriptors gives it out.
    fn holds_term_back(&self) -> bool {
        let threads = self.list("task").unwrap_or_default();
        let blocks = |thread: &OsString| {
            let read = self.read(&format!("task/{}/status", thread.to_string_lossy()));
            read.is_none_or(|bytes| Status::of(&bytes).has_term("SigBlk"))
        };
        let gives_out = |number: &OsString| {
            let number = number.to_string_lossy();
            self.link(&format!("fd/{number}"))
                .is_some_and(|link| link == "anon_inode:[signalfd]")
                && self
                    .read(&format!("fdinfo/{number}"))
                    .is_some_and(|bytes| Status::of(&bytes).has_term("sigmask"))
        };
        threads.iter().all(blocks) && !self.list("fd").unwrap_or_default().iter().any(gives_out)
    }

    /// The contents of one of its files. `None` where it has ended or we may not read it.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let file = rustix::fs::openat(
            self.directory()?,
            name,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok()?;
        // These files say nothing of their size, and to ask for it costs as much as to read.
        let mut bytes = Vec::with_capacity(16 << 10);
        loop {
            bytes.reserve(4 << 10);
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => return Some(bytes),
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// The names in one of its directories. `None` where it has ended or we may not read it.
    pub fn list(&self, name: &str) -> Option<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(self.directory()?, name, flags, Mode::empty()).ok()?;
        let mut buffer = Vec::with_capacity(8 << 10);
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(Ok(entry)) = entries.next() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_os_string());
            }
        }
        Some(names)
    }

    /// What one of its links says.
    pub fn link(&self, name: &str) -> Option<OsString> {
        let target = rustix::fs::readlinkat(self.directory()?, name, Vec::new()).ok()?;
        Some(OsString::from_vec(target.into_bytes()))
    }

    /// The path behind one of its links, without the kernel's remark that it was deleted. `None` for what has no
    /// path: a socket, a pipe.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let target = self.link(name)?;
        if !target.as_bytes().starts_with(b"/") {
            return None;
        }
        if let Some(before) = target.as_bytes().strip_suffix(b" (deleted)")
            && rustix::fs::lstat(&target).is_err()
        {
            return Some(PathBuf::from(OsStr::from_bytes(before)));
        }
        Some(PathBuf::from(target))
    }

    /// Whether one of its descriptors, named by its link, reads and whether it writes.
    pub fn ways(&self, name: &str) -> Option<(bool, bool)> {
        let seen = rustix::fs::statat(self.directory()?, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let mode = Mode::from_raw_mode(seen.st_mode);
        Some((mode.contains(Mode::RUSR), mode.contains(Mode::WUSR)))
    }

    /// Device and inode of what one of its links leads to, in the mount tree of the process itself.
    pub fn identity(&self, name: &str) -> Option<(u64, u64)> {
        let seen = rustix::fs::statat(self.directory()?, name, AtFlags::empty()).ok()?;
        Some((seen.st_dev, seen.st_ino))
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// The kernel's short name of the program.
    pub name: String,
    state: u8,
    /// The process that started it, or that took it over.
    pub parent: i32,
    /// The process group that it is in, named after the process that began it.
    pub group: i32,
    /// The session that it is in, named after the process that began it.
    pub session: i32,
    /// The device of the terminal that its session is on; 0: none.
    pub terminal: i32,
    flags: u64,
    /// Start, in clock ticks since boot: with the number, the identity of a process.
    pub started_ticks: u64,
    /// Resident memory in pages.
    pub resident_pages: u64,
}

impl Stat {
    fn parse(bytes: &[u8]) -> Option<Self> {
        // The name may hold anything, parentheses and spaces included: it ends at the last one.
        let open = bytes.iter().position(|byte| *byte == b'(')?;
        let close = bytes.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            name: String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned(),
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            terminal: fields.get(4)?.parse().ok()?,
            flags: fields.get(6)?.parse().ok()?,
            started_ticks: fields.get(19)?.parse().ok()?,
            resident_pages: fields.get(21)?.parse().ok()?,
        })
    }

    /// Neither a zombie nor dead.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Stopped by a signal or a debugger.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// A thread of the kernel.
    pub fn is_kernel(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }
}

/// A file of `/proc` with a field a line, as `/proc/<pid>/status`.
#[derive(Debug)]
pub(super) struct Status(String);

impl Status {
    fn of(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Whether TERM is in a set of signals, which is given in hexadecimal digits.
    fn has_term(&self, name: &str) -> bool {
        let set = self.field(name).map(str::trim);
        let set = set.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        set.is_some_and(|set| set & (1 << (rustix::process::Signal::TERM.as_raw() - 1)) != 0)
    }

    /// Its number in its own process namespace, where that is another than ours.
    pub fn number_inside(&self) -> Option<i32> {
        let numbers = self.field("NSpid")?.split_ascii_whitespace().skip(1);
        numbers.last()?.parse().ok()
    }
}

/// The users that a process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    real: u32,
    /// Whose rights it has.
    pub effective: u32,
    saved: u32,
}

impl Owner {
    fn parse(status: &Status) -> Option<Self> {
        let mut numbers = status
            .field("Uid")?
            .split_ascii_whitespace()
            .map(str::parse::<u32>);
        Some(Self {
            real: numbers.next()?.ok()?,
            effective: numbers.next()?.ok()?,
            saved: numbers.next()?.ok()?,
        })
    }

    /// Whether it runs as this user and as nobody else: a program with borrowed rights is not the user's.
    pub fn is_wholly(self, user: u32) -> bool {
        self.real == user && self.effective == user && self.saved == user
    }
}

/// The name of a user, or the number where `/etc/passwd` has none.
pub(super) fn user_name(uid: u32) -> String {
    Accounts::load().user(uid)
}

/// When the clock that counts a process's start stood at zero.
fn boot() -> SystemTime {
    let since = rustix::time::clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(since.tv_nsec).unwrap_or_default();
    SystemTime::now()
        .checked_sub(Duration::new(seconds, nanoseconds))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
