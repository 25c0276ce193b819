//! Finding processes by exact selectors, in a scope; and saying which were nearly found, and why not.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::command::{Command, is_interpreter, lexical, resolve, same_interpreter};
use super::holders::Tree;
use super::open::{OpenFiles, Opened};
use super::pid_file::PidFile;
use super::query::{Query, Scope};
use super::reach::never;
use super::table::{Seen, Table};
use super::{Process, settled};
use crate::error::{Error, Result};

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
        let stale = named.as_ref().and_then(|named| named.doubt(&table, &seen));
        let why = match stale {
            Some(why) => Some(Refusal::plain(why)),
            None if !lens.matches(&table, &seen) => match lens.may_match(&table, &seen) {
                Some(why) => Some(why),
                None => continue,
            },
            // Whom a pid file names lives, and may be the service all the same.
            None => lens
                .refusal(&table, &seen)
                .or_else(|| elsewhere(&seen))
                .or_else(|| named.as_ref().and_then(|_| lens.lacks_witness(&table, &seen)))
                .map(|refusal| refusal.in_doubt(named.is_some())),
        };
        let Some(process) = table.process(&seen) else {
            continue;
        };
        explained = true;
        match why {
            Some(why) => found.pass_over(Some(&process), why),
            None => found.processes.push(process),
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
    pub fn told(&self) -> String {
        match self.pid {
            Some(pid) if self.command.is_empty() => format!("process {pid} was left alone: {}", self.why),
            Some(pid) => format!("process {pid} (`{}`) was left alone: {}", self.command, self.why),
            None => self.why.clone(),
        }
    }
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

    /// Whether every selector but the pid file matches; the cheapest are asked first.
    fn matches(&self, table: &Table, seen: &Seen) -> bool {
        self.matches_command(table, seen) && self.matches_rest(table, seen)
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
        if seen.command().len() != 1 || !seen.told(table).hidden {
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
        seen.told(table).lines.iter().any(|words| {
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
        seen.told(table).lines.iter().any(|line| {
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
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant, SystemTime};

    use super::super::trial::Trial;
    use super::*;

    fn within(trial: &Trial, query: &Query) -> Found {
        find(query, &Scope::Workspace(trial.root())).expect("a proc file system")
    }

    fn pids(found: &Found) -> Vec<i32> {
        found.processes.iter().map(|process| process.pid).collect()
    }

    fn by_name(name: &str) -> Query {
        Query {
            name: Some(name.to_owned()),
            ..Query::default()
        }
    }

    fn by_file(file: PathBuf) -> Query {
        Query {
            pid_file: Some(file),
            ..Query::default()
        }
    }

    fn why(found: &Found) -> &str {
        assert!(found.processes.is_empty(), "{found:?}");
        found
            .passed_over
            .first()
            .map_or("nothing was passed over", |passed| passed.why.as_str())
    }

    #[test]
    fn everything_is_never_found() {
        let error = find(&Query::default(), &Scope::User).expect_err("refused");
        assert_eq!(error.kind(), crate::error::Kind::Invalid);
    }

    #[test]
    fn all_of_a_name_are_found_and_no_similar_one() {
        let trial = Trial::new();
        let one = trial.named("evidence.sh", &["dev"]);
        let two = trial.named("evidence", &["build"]);
        let innocents = [
            trial.named("evidence-archive.sh", &[]),
            trial.named("notes", &["evidence.sh"]),
            trial.named("my-evidence", &["evidence"]),
        ];
        let mut expected = vec![one.pid(), two.pid()];
        expected.sort_unstable();
        let found = within(&trial, &by_name("evidence"));
        assert_eq!(pids(&found), expected);
        assert!(found.passed_over.is_empty(), "{found:?}");
        drop(innocents);
    }

    #[test]
    fn selectors_narrow_each_other() {
        let trial = Trial::new();
        let run = trial.named("dagster", &["daemon", "run", "-w", "x"]);
        let dev = trial.named("dagster", &["dev"]);
        let command = |words: &str| Query {
            command: Some(words.split(' ').map(String::from).collect()),
            ..Query::default()
        };
        assert_eq!(pids(&within(&trial, &command("dagster daemon run"))), [run.pid()]);
        assert_eq!(pids(&within(&trial, &command("sh dagster dev"))), [dev.pid()]);
        let both = Query {
            argument: Some("dev".to_owned()),
            ..by_name("dagster")
        };
        assert_eq!(pids(&within(&trial, &both)), [dev.pid()]);
        let neither = Query {
            argument: Some("status".to_owned()),
            ..by_name("dagster")
        };
        assert!(within(&trial, &neither).processes.is_empty());
    }

    #[test]
    fn an_argument_is_a_path_of_the_workspace() {
        let trial = Trial::new();
        let child = trial.named("tools/serve.sh", &["../x", "port=1"]);
        let query = |argument: &str| Query {
            argument: Some(argument.to_owned()),
            ..Query::default()
        };
        for argument in ["tools/serve.sh", "./tools/../tools/serve.sh", "../x", "port=1"] {
            assert_eq!(
                pids(&within(&trial, &query(argument))),
                [child.pid()],
                "{argument}"
            );
        }
        for argument in ["serve.sh", "tools", "tools/serve", "x", "port"] {
            assert!(
                within(&trial, &query(argument)).processes.is_empty(),
                "{argument}"
            );
        }
    }

    #[test]
    fn another_workspace_is_out_of_reach() {
        let (trial, other) = (Trial::new(), Trial::new());
        let theirs = other.named("dagster", &["dev"]);
        let found = within(&trial, &by_name("dagster"));
        assert!(!pids(&found).contains(&theirs.pid()));
        let passed = found
            .passed_over
            .iter()
            .find(|passed| passed.pid == Some(theirs.pid()));
        assert!(
            passed.is_some_and(|passed| passed.why.contains("outside the workspace")),
            "{found:?}"
        );
        let all = find(&by_name("dagster"), &Scope::User).expect("a proc file system");
        assert!(pids(&all).contains(&theirs.pid()));
        // Started elsewhere, but with a script or a path of ours.
        let script = trial.named_in(&other.root(), "remote", &[]);
        assert_eq!(pids(&within(&trial, &by_name("remote"))), [script.pid()]);
        let given = other.named("given", &[&trial.text("data.db")]);
        assert_eq!(pids(&within(&trial, &by_name("given"))), [given.pid()]);
        let beside = other.named("beside", &[&format!("{}-2/data.db", trial.root().display())]);
        assert!(within(&trial, &by_name("beside")).processes.is_empty());
        drop(beside);
    }

    #[test]
    fn a_fresh_pid_file_names_its_process() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let file = trial.pid_file(&format!(" {}\n", child.pid()), SystemTime::now());
        assert_eq!(pids(&within(&trial, &by_file(file.clone()))), [child.pid()]);
        let narrowed = Query {
            name: Some("other".to_owned()),
            ..by_file(file)
        };
        assert!(why(&within(&trial, &narrowed)).contains("does not match the rest"));
    }

    #[test]
    fn a_pid_file_older_than_its_process_is_stale() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let hour = Duration::from_hours(1);
        let file = trial.pid_file(&child.pid().to_string(), SystemTime::now() - hour);
        let found = within(&trial, &by_file(file));
        assert!(
            why(&found).contains("started after the pid file was written"),
            "{found:?}"
        );
        assert_eq!(found.passed_over[0].pid, Some(child.pid()));
    }

    #[test]
    fn a_pid_file_of_nobody_is_stale() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let file = trial.pid_file(&child.pid().to_string(), SystemTime::now());
        child.end();
        assert!(why(&within(&trial, &by_file(file))).contains("is stale: there is no such process"));
        let missing = within(&trial, &by_file(trial.root().join("none.pid")));
        assert!(missing.processes.is_empty() && missing.passed_over.is_empty());
    }

    #[test]
    fn a_pid_file_may_not_name_us_what_started_us_or_others() {
        let trial = Trial::new();
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        let parent = Seen::open(own)
            .expect("we are here")
            .stat()
            .expect("a state")
            .parent;
        for (pid, reason) in [
            (own, "this run itself"),
            (parent, "started this run"),
            (1, "started this run"),
        ] {
            let file = trial.pid_file(&pid.to_string(), SystemTime::now());
            let found = find(&by_file(file), &Scope::User).expect("a proc file system");
            assert!(why(&found).contains(reason), "{pid}: {found:?}");
        }
    }

    #[test]
    fn a_directory_and_what_is_below_it() {
        let trial = Trial::new();
        trial.write("app/below/x", "");
        trial.write("app-2/x", "");
        let inside = trial.named_in(&trial.root().join("app/below"), "inside", &[]);
        let beside = trial.named_in(&trial.root().join("app-2"), "beside", &[]);
        let query = Query {
            cwd: Some(trial.root().join("app")),
            ..Query::default()
        };
        assert_eq!(pids(&within(&trial, &query)), [inside.pid()]);
        drop(beside);
    }

    #[test]
    fn who_holds_a_file_is_found() {
        let trial = Trial::new();
        trial.write("data/x.db", "");
        let holder = trial.shell("exec 8>>data/x.db; echo ready; read line");
        let innocent = trial.shell("echo ready; read line");
        let query = Query {
            holds: Some(trial.root().join("data")),
            ..Query::default()
        };
        assert_eq!(pids(&within(&trial, &query)), [holder.pid()]);
        drop(innocent);
    }

    #[test]
    fn who_listens_on_a_port_is_found_by_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let table = Table::open().expect("a proc file system");
        let sockets = listeners(Some(port)).expect("a table of sockets");
        assert_eq!(sockets.values().collect::<Vec<_>>(), [&table.user]);
        let own = Seen::open(i32::try_from(std::process::id()).expect("a pid fits")).expect("we are here");
        assert!(listens(&own, &sockets));
        // Ourselves we never return.
        let found = find(
            &Query {
                port: Some(port),
                ..Query::default()
            },
            &Scope::User,
        )
        .expect("a proc file system");
        assert!(found.processes.is_empty());
        let trial = Trial::new();
        let child = trial.listening(listener);
        let found = within(
            &trial,
            &Query {
                port: Some(port),
                ..Query::default()
            },
        );
        assert_eq!(pids(&found), [child.pid()]);
        child.end();
        // A child that another test forks holds a copy of the socket until it runs its program.
        let limit = Instant::now() + Duration::from_secs(10);
        while !listeners(Some(port)).expect("a table of sockets").is_empty() {
            assert!(Instant::now() < limit, "port {port} is still listened on");
            std::thread::yield_now();
        }
    }
}
