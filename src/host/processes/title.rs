//! Command lines that a program has written over, as pm2, npm and gunicorn do. What runs is then told by the file that the
//! new title or pm2's variables name, if that file is there; else nobody can tell, and nobody guesses.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::command::{self, Command, resolve};
use super::settled;
use super::table::{Seen, Table};

/// Programs of Node.js that write what they were called with into their title: nothing is hidden by it.
const OPEN: [&str; 4] = ["npm", "npx", "pnpm", "yarn"];

/// What a process runs, as far as it can be told.
#[derive(Debug, Default)]
pub(super) struct Title {
    /// The command lines that it may be known by.
    pub lines: Vec<Vec<OsString>>,
    /// None of them tells for sure which program it is.
    pub hidden: bool,
}

impl Title {
    /// Reads the command line of a process, and what stands behind a title.
    pub fn of(table: &Table, seen: &Seen) -> Self {
        let argv = seen.command();
        let plain = || Self {
            lines: vec![argv.to_vec()],
            hidden: false,
        };
        let [title] = argv else { return plain() };
        let executable = table.executable(seen);
        let program = executable.and_then(Path::file_name).unwrap_or_default();
        let interpreted = command::is_interpreter(program) && !command::is_shell(program);
        let Some((first, rest)) = split(title) else {
            let hidden = interpreted && !command::is_interpreter(file_name(title));
            return Self { hidden, ..plain() };
        };
        let is_file = |word: &OsStr| resolve(word, table.cwd(seen)).is_some_and(|path| path.is_file());
        // A path with a blank in it.
        if is_file(title) {
            return plain();
        }
        if interpreted && let Some(script) = given_by_pm2(seen) {
            return Self {
                lines: vec![vec![program.to_os_string(), script.into_os_string()]],
                hidden: false,
            };
        }
        let words: Vec<OsString> = title
            .as_bytes()
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .map(|word| OsStr::from_bytes(word).to_os_string())
            .collect();
        if command::is_interpreter(file_name(first)) {
            // A file's name may hold blanks; that it is there tells where it ends.
            if is_file(rest) {
                return Self {
                    lines: vec![vec![first.to_os_string(), rest.to_os_string()]],
                    hidden: false,
                };
            }
            let is_known = Command::parse(&words)
                .is_some_and(|command| command.is_module() || command.script().is_some_and(is_file));
            return Self {
                hidden: !is_known,
                lines: vec![words],
            };
        }
        if interpreted || command::is_shell(program) {
            let open = OPEN.iter().any(|name| *name == file_name(first)) || is_daemon_of_pm2(title);
            return Self {
                hidden: !open,
                lines: vec![words],
            };
        }
        // A program of its own is known by its file, and its arguments by nothing.
        Self {
            lines: executable
                .map(|executable| vec![executable.as_os_str().to_os_string()])
                .into_iter()
                .chain([words])
                .collect(),
            hidden: true,
        }
    }

    /// The script that an interpreter runs, with its links resolved.
    pub fn script(&self, cwd: Option<&Path>) -> Option<PathBuf> {
        let word = self
            .lines
            .iter()
            .find_map(|line| Command::parse(line)?.script())?;
        resolve(word, cwd).map(|path| settled(&path))
    }
}

/// Whether this is the title of the daemon that keeps what pm2 has started.
pub(super) fn is_daemon_of_pm2(title: &OsStr) -> bool {
    let title = title.to_string_lossy();
    title.starts_with("PM2 v") && title.contains("God Daemon")
}

/// The first word and the rest, where there are several.
fn split(title: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = title.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b' ')?;
    let (first, rest) = bytes.split_at_checked(at)?;
    Some((
        OsStr::from_bytes(first),
        OsStr::from_bytes(rest.trim_ascii_start()),
    ))
}

/// The script that pm2 was told to run: the title is cut where it does not fit, the variable is not.
fn given_by_pm2(seen: &Seen) -> Option<PathBuf> {
    seen.variable("pm_exec_path")
        .map(PathBuf::from)
        .filter(|path| path.is_file())
}

fn file_name(word: &OsStr) -> &OsStr {
    Path::new(word).file_name().unwrap_or(word)
}
