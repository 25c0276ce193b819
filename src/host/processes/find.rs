//! Finding processes by exact selectors, in a scope; and saying which were nearly found, and why not.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tracing::{Level, debug, enabled};

use super::command::{Command, is_interpreter, resolve, same_interpreter};
use super::in_use::Tree;
use super::open::{OpenFiles, Opened};
use super::pid_file::PidFile;
use super::query::{Query, Scope};
use super::reach::never;
use super::table::{Seen, Table};
use super::{Process, settled};
use crate::base::error::{Error, Result};
use crate::host::files::lexical;

/// What a query gave.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    /// What matches, by number.
    pub processes: Vec<Process>,
    /// What nearly matches, and why it was left alone.
    pub passed_over: Vec<PassedOver>,
}

/// A process (or what named one) that a person might have expected among the found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Its number, where one is known.
    pub pid: Option<i32>,
    /// Its start in clock ticks since boot, where it lives.
    #[serde(skip)]
    pub started_ticks: Option<u64>,
    /// Its command line for people; empty where there is none.
    pub command: String,
    /// Why it was left alone.
    pub why: String,
    /// Whether it may be what was meant all the same, so that people have to be told.
    #[serde(skip)]
    pub doubtful: bool,
}

/// Why a process is left alone.
#[derive(Debug)]
pub(super) struct Refusal {
    why: String,
    doubtful: bool,
}

impl Refusal {
    fn plain(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            doubtful: false,
        }
    }

    fn doubtful(why: impl Into<String>) -> Self {
        Self::plain(why).in_doubt(true)
    }

    pub(super) fn into_why(self) -> String {
        self.why
    }

    /// As it is, or doubtful where `doubt` says so.
    fn in_doubt(mut self, doubt: bool) -> Self {
        self.doubtful |= doubt;
        self
    }
}

/// Finds the processes that match `query` within `scope`. Never this process, its ancestors, kernel threads, zombies
/// or another user's.
///
/// # Errors
/// The query is invalid, or `/proc` cannot be read.
pub fn find(query: &Query, scope: &Scope) -> Result<Found> {
    find_among(query, scope, None)
}

/// As [`find`]; who holds what is taken from `open`, where that was looked at already.
///
/// # Errors
/// As [`find`].
pub fn find_among(query: &Query, scope: &Scope, open: Option<&OpenFiles>) -> Result<Found> {
    query.check()?;
    let table = Table::open()?;
    let mut found = Found::default();
    let named = match &query.pid_file {
        None => None,
        Some(file) => match PidFile::read(file) {
            Ok(None) => return Ok(found),
            Ok(Some(named)) => Some(named),
            Err(why) => {
                found.pass_over(
                    None,
                    Refusal::doubtful(format!("pid file `{}` {why}", file.display())),
                );
                return Ok(found);
            }
        },
    };
    let candidates = match &named {
        Some(named) => vec![named.pid],
        None => match open {
            Some(open) => open.iter().map(|(pid, _)| pid).collect(),
            None => Table::pids()?,
        },
    };
    let lens = Lens::new(query, scope, open)?;
    let mut explained = false;
    for pid in candidates.into_iter().filter(|pid| !table.is_own(*pid)) {
        let remembered = open
            .and_then(|open| open.of(pid))
            .map(|opened| opened.command.clone());
        let seen = match remembered {
            Some(command) => Some(Seen::remembered(pid, Some(command))),
            None => Seen::open(pid),
        };
        let Some(seen) = seen else { continue };
        let judged = table.judged(&seen, |seen| lens.judge(&table, seen, named.as_ref()));
        let Some((process, verdict)) = judged else {
            lens.tell_of_other(&table, &seen);
            continue;
        };
        explained = true;
        match verdict {
            Verdict::PassedOver(why) => found.pass_over(Some(&process), why),
            Verdict::Found => {
                debug!(pid = process.pid, command = process.describe(), "process found");
                found.processes.push(process);
            }
        }
    }
    if !explained && let (Some(named), Some(file)) = (&named, &query.pid_file) {
        found.passed_over.push(named.explain(&table, file));
    }
    if found.processes.is_empty() && found.passed_over.is_empty() {
        lens.explain_port(&table, &mut found)?;
    }
    Ok(found)
}

impl Found {
    pub(super) fn pass_over(&mut self, process: Option<&Process>, refusal: Refusal) {
        let Refusal { why, doubtful } = refusal;
        debug!(
            pid = process.map(|process| process.pid),
            command = process.map(Process::describe),
            why,
            doubtful,
            "process passed over"
        );
        self.passed_over.push(PassedOver {
            pid: process.map(|process| process.pid),
            started_ticks: process.map(|process| process.started_ticks),
            command: process.map(Process::describe).unwrap_or_default(),
            why,
            doubtful,
        });
    }
}

impl PassedOver {
    /// "process 7 (`tail -f x`) was left alone: why".
    #[must_use]
    pub fn rendered(&self) -> String {
        match self.pid {
            Some(pid) if self.command.is_empty() => format!("process {pid} was left alone: {}", self.why),
            Some(pid) => format!("process {pid} (`{}`) was left alone: {}", self.command, self.why),
            None => self.why.clone(),
        }
    }
}

/// What becomes of a process that a query means, or may mean.
enum Verdict {
    Found,
    PassedOver(Refusal),
}

/// A query and a scope, made ready for comparing.
#[derive(Debug)]
pub(super) struct Lens<'a> {
    query: &'a Query,
    root: Option<Root>,
    cwd: Option<PathBuf>,
    sockets: Option<BTreeMap<u64, u32>>,
    tree: Option<Tree>,
    open: Option<&'a OpenFiles>,
}

/// The workspace, as named and with its links resolved.
#[derive(Debug)]
struct Root {
    named: PathBuf,
    real: PathBuf,
}

impl<'a> Lens<'a> {
    pub(super) fn new(query: &'a Query, scope: &Scope, open: Option<&'a OpenFiles>) -> Result<Self> {
        let root = match scope {
            Scope::User => None,
            Scope::Workspace(root) if !root.is_absolute() => {
                return Err(Error::bug(format!(
                    "the scope is the relative path `{}`",
                    root.display()
                )));
            }
            Scope::Workspace(root) => Some(Root::of(root)),
        };
        Ok(Self {
            query,
            root,
            cwd: query.cwd.as_deref().map(settled),
            sockets: query.port.map(|port| listeners(Some(port))).transpose()?,
            tree: query.holds.as_deref().map(Tree::new),
            open,
        })
    }

    /// What becomes of a process that is meant, or may be; `None` for any other.
    fn judge(&self, table: &Table, seen: &Seen, named: Option<&PidFile>) -> Option<Verdict> {
        if let Some(why) = named.and_then(|named| named.doubt(table, seen)) {
            return Some(Verdict::PassedOver(Refusal::plain(why)));
        }
        if !self.matches(table, seen) {
            return self.may_match(table, seen).map(Verdict::PassedOver);
        }
        let refusal = self
            .refusal(table, seen)
            .or_else(|| elsewhere(seen))
            .or_else(|| named.and_then(|_| self.lacks_witness(table, seen)));
        // Whom a pid file names lives, and may be the service all the same.
        Some(refusal.map_or(Verdict::Found, |refusal| {
            Verdict::PassedOver(refusal.in_doubt(named.is_some()))
        }))
    }

    /// Whether every selector but the pid file matches; the cheapest are asked first.
    fn matches(&self, table: &Table, seen: &Seen) -> bool {
        self.matches_command(table, seen) && self.matches_rest(table, seen)
    }

    /// Tells, in diagnostics, which selector does not match a process that nobody means; in more of them, of each process
    /// of the machine.
    fn tell_of_other(&self, table: &Table, seen: &Seen) {
        let is_here = || self.root.as_ref().is_none_or(|root| root.holds(table, seen));
        if !enabled!(Level::DEBUG) || !(enabled!(Level::TRACE) || is_here()) {
            return;
        }
        let selector = if !self.matches_command(table, seen) {
            "its command line"
        } else if !self.cwd_matches(table, seen) {
            "where it works"
        } else if !self.sockets.as_ref().is_none_or(|sockets| listens(seen, sockets)) {
            "the port that it listens on"
        } else {
            "what it holds"
        };
        let words = seen.command().iter().map(|word| word.to_string_lossy());
        debug!(
            pid = seen.pid,
            command = words.collect::<Vec<_>>().join(" "),
            differs = selector,
            "process not meant"
        );
    }

    /// Whether the selectors match that ask nothing about the command line.
    fn matches_rest(&self, table: &Table, seen: &Seen) -> bool {
        self.cwd_matches(table, seen)
            && self.sockets.as_ref().is_none_or(|sockets| listens(seen, sockets))
            && self
                .tree
                .as_ref()
                .is_none_or(|tree| self.holds(tree, table, seen))
    }

    fn cwd_matches(&self, table: &Table, seen: &Seen) -> bool {
        self.cwd
            .as_ref()
            .is_none_or(|below| self.cwd_of(table, seen).is_some_and(|cwd| cwd.starts_with(below)))
    }

    /// Why a process whose command line was written over may be what was meant all the same.
    fn may_match(&self, table: &Table, seen: &Seen) -> Option<Refusal> {
        let wanted = self.query.command.as_ref().and_then(|words| words.first());
        let wanted = OsStr::new(wanted.or(self.query.name.as_ref())?);
        if seen.command().len() != 1 || !seen.title(table).hidden {
            return None;
        }
        let executable = table.executable(seen).and_then(Path::file_name)?;
        let fits = if is_interpreter(executable) {
            !is_interpreter(wanted) || same_interpreter(executable, wanted)
        } else {
            Path::new(wanted).file_name() == Some(executable)
        };
        // Without a workspace, a place or a port has to tell that it is meant.
        let is_ours = match &self.root {
            Some(root) => root.holds(table, seen) || root.has_open(table, seen),
            None => self.cwd.is_some() || self.sockets.is_some() || self.tree.is_some(),
        };
        if !fits || !is_ours || table.is_above(seen.pid) || never(table, seen).is_some() {
            return None;
        }
        if !seen.owner()?.is_wholly(table.user) || !self.matches_rest(table, seen) {
            return None;
        }
        let works = self.cwd_of(table, seen).map_or_else(
            || "nobody can tell where it works".to_owned(),
            |cwd| format!("it works in `{}`", cwd.display()),
        );
        Some(Refusal::doubtful(format!(
            "it has rewritten its command line, so that nobody can tell what it runs; {works}: name its `port` or a file \
             that it `holds`, or end it by hand"
        )))
    }

    /// The working directory, from what was looked at already where that was done.
    fn cwd_of<'b>(&'b self, table: &Table, seen: &'b Seen) -> Option<&'b Path> {
        match self.open.and_then(|open| open.of(seen.pid)) {
            Some(opened) => opened.cwd(seen.pid, table),
            None => table.cwd(seen),
        }
    }

    fn holds(&self, tree: &Tree, table: &Table, seen: &Seen) -> bool {
        match self.open {
            Some(open) => open
                .of(seen.pid)
                .is_some_and(|opened| tree.holds(opened, table, seen)),
            None => tree.holds(&Opened::of(seen), table, seen),
        }
    }

    fn matches_command(&self, table: &Table, seen: &Seen) -> bool {
        let Query {
            name,
            argument,
            command,
            ..
        } = self.query;
        if name.is_none() && argument.is_none() && command.is_none() {
            return true;
        }
        let cwd = || self.cwd_of(table, seen);
        seen.title(table).lines.iter().any(|words| {
            let Some(line) = Command::parse(words) else {
                return false;
            };
            name.as_ref().is_none_or(|name| line.is_named(name))
                && command.as_ref().is_none_or(|words| line.starts_with(words, &cwd))
                && argument
                    .as_ref()
                    .is_none_or(|argument| self.has_argument(table, seen, words, argument))
        })
    }

    fn has_argument(&self, table: &Table, seen: &Seen, command: &[OsString], wanted: &str) -> bool {
        if command
            .iter()
            .skip(1)
            .any(|word| word.as_bytes() == wanted.as_bytes())
        {
            return true;
        }
        let Some(root) = &self.root else { return false };
        let wanted: Vec<PathBuf> = [&root.named, &root.real]
            .into_iter()
            .filter_map(|root| lexical(&root.join(wanted)))
            .collect();
        // A bare first word came from PATH, not from the working directory.
        let words = command
            .iter()
            .enumerate()
            .filter(|(place, word)| *place > 0 || word.as_bytes().contains(&b'/'));
        let last = |path: &Path| path.file_name().map(std::ffi::OsStr::to_os_string);
        let meant = words.map(|(_, word)| word).any(|word| {
            let name = last(Path::new(word));
            (name.is_none() || wanted.iter().any(|wanted| last(wanted) == name))
                && resolve(word, self.cwd_of(table, seen)).is_some_and(|path| wanted.contains(&path))
        });
        meant && table.means_our_files(seen)
    }

    /// Why a process that matches is left alone all the same.
    pub(super) fn refusal(&self, table: &Table, seen: &Seen) -> Option<Refusal> {
        if table.is_above(seen.pid) {
            return Some(Refusal::plain("it started this run"));
        }
        let Some(owner) = seen.owner() else {
            return Some(Refusal::plain("its owner cannot be read"));
        };
        if !owner.is_wholly(table.user) {
            let why = if owner.effective == table.user {
                "it runs with the rights of more than one user".to_owned()
            } else {
                format!("it belongs to user `{}`", table.user_name(owner.effective))
            };
            // What somebody else runs here is the service all the same; where it works, only its owner may see.
            let here = self.root.as_ref().is_some_and(|root| {
                root.holds(table, seen) || (self.query.command.is_some() && table.cwd(seen).is_none())
            });
            return Some(Refusal::plain(why).in_doubt(here));
        }
        if let Some(root) = &self.root
            && !root.holds(table, seen)
        {
            return Some(Refusal::plain(format!(
                "it is outside the workspace: neither works in, runs from nor was given a path of `{}`",
                root.named.display()
            )));
        }
        never(table, seen).map(Refusal::doubtful)
    }

    /// Why a process that a pid file alone names is left alone: a number is evidence, and working in the workspace is
    /// what a person's own programs do as well.
    fn lacks_witness(&self, table: &Table, seen: &Seen) -> Option<Refusal> {
        let query = self.query;
        let is_told = query.name.is_some()
            || query.argument.is_some()
            || query.command.is_some()
            || query.port.is_some()
            || query.holds.is_some();
        if is_told {
            return None;
        }
        let beside = query.pid_file.as_deref().and_then(Path::parent).map(Root::of);
        let is_of = |root: &Root| root.runs(table, seen) || root.has_open(table, seen);
        let is_witnessed = self.root.as_ref().or(beside.as_ref()).is_some_and(is_of);
        (!is_witnessed && !is_server(seen)).then(|| {
            Refusal::doubtful(
                "nothing but the pid file says that it is the service: neither its program, its arguments, an open file \
                 nor a port; name its `command` or `port` too, or end it by hand",
            )
        })
    }

    /// A port that is taken by a process which cannot be inspected is no free port.
    fn explain_port(&self, table: &Table, found: &mut Found) -> Result<()> {
        let (Some(port), Some(sockets)) = (self.query.port, &self.sockets) else {
            return Ok(());
        };
        let Some(uid) = sockets.values().next() else {
            return Ok(());
        };
        let known = Table::pids()?
            .into_iter()
            .filter_map(Seen::open)
            .any(|seen| listens(&seen, sockets));
        if !known {
            let user = table.user_name(*uid);
            let why =
                format!("port {port} is listened on by a process of user `{user}` that cannot be inspected");
            found.pass_over(None, Refusal::doubtful(why));
        }
        Ok(())
    }
}

impl Root {
    fn of(root: &Path) -> Self {
        Self {
            named: lexical(root).unwrap_or_else(|| root.to_path_buf()),
            real: settled(root),
        }
    }

    fn is_above(&self, path: &Path) -> bool {
        path.starts_with(&self.real) || path.starts_with(&self.named)
    }

    /// Whether the process works in, runs from, or was given a path of the workspace.
    fn holds(&self, table: &Table, seen: &Seen) -> bool {
        table.cwd(seen).is_some_and(|cwd| self.is_above(cwd)) || self.runs(table, seen)
    }

    /// Whether it has a file of the workspace open: data, or the log that its output goes to.
    fn has_open(&self, table: &Table, seen: &Seen) -> bool {
        !table.is_elsewhere(seen)
            && Opened::of(seen)
                .files
                .iter()
                .any(|file| self.is_above(&file.path))
    }

    /// Whether the process runs from, or was given a path of the workspace.
    fn runs(&self, table: &Table, seen: &Seen) -> bool {
        if table
            .executable(seen)
            .is_some_and(|executable| self.is_above(executable))
        {
            return true;
        }
        if !table.means_our_files(seen) {
            return false;
        }
        let cwd = table.cwd(seen);
        seen.title(table).lines.iter().any(|line| {
            let script = Command::parse(line).and_then(|command| command.script());
            let paths = line
                .iter()
                .filter(|word| word.as_bytes().contains(&b'/') && !word.as_bytes().starts_with(b"-"));
            paths
                .map(OsString::as_os_str)
                .chain(script)
                .filter_map(|word| resolve(word, cwd))
                .any(|path| self.is_above(&path) || self.is_above(&settled(&path)))
        })
    }
}

/// Why a process of another process namespace is left alone: whoever keeps that namespace would start it again.
fn elsewhere(seen: &Seen) -> Option<Refusal> {
    let inside = seen.status()?.number_inside()?;
    Some(Refusal::doubtful(format!(
        "it runs in a process namespace of its own (there as number {inside}): stop its container"
    )))
}

/// Whether the process listens on some TCP port.
fn is_server(seen: &Seen) -> bool {
    listeners(None).is_ok_and(|sockets| listens(seen, &sockets))
}

/// The sockets that listen on a TCP port, or any, of our network namespace: inode, and user.
fn listeners(port: Option<u16>) -> Result<BTreeMap<u64, u32>> {
    const LISTEN: &str = "0A";
    let mut sockets = BTreeMap::new();
    let mut read = false;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        // One of the two may be missing: a kernel without IPv6.
        let Ok(text) = std::fs::read_to_string(table) else {
            continue;
        };
        read = true;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(&state), Some(uid), Some(inode)) =
                (fields.get(1), fields.get(3), fields.get(7), fields.get(9))
            else {
                continue;
            };
            let at = local
                .rsplit_once(':')
                .and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            if state == LISTEN
                && (port.is_none() || at == port)
                && let (Ok(inode), Ok(uid)) = (inode.parse(), uid.parse())
            {
                sockets.insert(inode, uid);
            }
        }
    }
    if !read {
        return Err(Error::failed("cannot read `/proc/self/net/tcp`")
            .hint("without it nobody can tell who listens on a port; use another selector"));
    }
    Ok(sockets)
}

/// Whether the process has one of these sockets.
fn listens(seen: &Seen, sockets: &BTreeMap<u64, u32>) -> bool {
    if sockets.is_empty() {
        return false;
    }
    seen.list("fd").unwrap_or_default().iter().any(|number| {
        let Some(target) = number
            .to_str()
            .and_then(|number| seen.link(&format!("fd/{number}")))
        else {
            return false;
        };
        let inode = target
            .to_str()
            .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| sockets.contains_key(&inode))
    })
}

#[cfg(test)]
mod tests;
