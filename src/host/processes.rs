//! Processes: looked at by exact selectors in `/proc`, ended through a pidfd. Nothing is kept on disk.
//!
//! A number alone is never trusted: a process is its number, its start, its executable and its user.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::base::error::Result;

mod broker;
mod command;
mod family;
mod find;
mod in_use;
mod keeper;
mod loops;
mod open;
mod pid_file;
mod query;
mod reach;
mod settle;
mod stop;
mod table;
mod title;
mod witness;

pub use broker::Broker;
pub use family::family;
pub use find::{Found, PassedOver, find, find_among};
pub use in_use::{Access, Holder, holders, holders_among, written_by};
pub use keeper::{Keeper, Means, keeper};
pub use open::OpenFiles;
pub use pid_file::named_by;
pub use query::{Query, Scope};
pub use settle::watch;
pub use stop::{Ended, Stop, ends_within, still, stop};
pub use witness::{Does, Witness, Witnesses, witnesses};

use table::{Seen, Table};

/// Characters of a command line that people are shown.
const DESCRIBED: usize = 120;

/// A process as it was when it was looked at, from `/proc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Start in clock ticks since boot: with `pid`, `executable` and `uid` its identity.
    pub started_ticks: u64,
    /// Start as a time; moves by a little when the clock is set. RFC 3339 UTC in JSON.
    #[serde(serialize_with = "as_time")]
    pub started: SystemTime,
    /// The user whose rights it has.
    pub uid: u32,
    /// That user's name, or the number.
    pub user: String,
    /// The executable; `None` where we may not read it or it has no name here.
    #[serde(serialize_with = "as_text")]
    pub executable: Option<PathBuf>,
    /// The arguments, program first. Secrets are masked in JSON, not here.
    #[serde(serialize_with = "as_shown")]
    pub command: Vec<String>,
    /// The program's name: the script's where an interpreter runs one.
    pub name: String,
    /// The script that its interpreter was given, with its links resolved; `None` where it runs none that has a name here.
    #[serde(skip)]
    pub script: Option<PathBuf>,
    /// The working directory; `None` where we may not read it.
    #[serde(serialize_with = "as_text")]
    pub cwd: Option<PathBuf>,
    /// Resident memory in bytes.
    pub memory: u64,
    /// The process that started it, or that took it over.
    pub parent: i32,
    /// What it does with TERM.
    #[serde(skip)]
    pub on_term: Disposition,
}

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It ends the process, or a handler gets it; what that does is not known.
    Acted,
    /// Every thread holds it back: whether anybody ever takes it is not known.
    Blocked,
    /// It is thrown away: only KILL ends the process.
    Ignored,
}

/// When a process started, in clock ticks since boot; `None` where it is gone, or only waits to be reaped.
#[must_use]
pub fn started(pid: i32) -> Option<u64> {
    let seen = Seen::open(pid)?;
    let stat = seen.stat()?;
    stat.is_alive().then_some(stat.started_ticks)
}

impl Process {
    /// The command line for people: secrets masked, odd characters escaped, at most 120 characters.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.command.is_empty() {
            return display(std::slice::from_ref(&self.name));
        }
        display(&self.command)
    }

    /// What a person types to have it again: the directory that it had and its whole command line, quoted for a shell.
    /// Secrets are masked.
    #[must_use]
    pub fn start(&self) -> String {
        // A title that was written over is no list of words.
        let command = match masked(&self.command).as_slice() {
            [] => self.name.clone(),
            [title]
                if self
                    .executable
                    .as_ref()
                    .is_none_or(|program| program.as_os_str() != title.as_str()) =>
            {
                title.clone()
            }
            words => words
                .iter()
                .map(|word| quoted(word))
                .collect::<Vec<_>>()
                .join(" "),
        };
        match &self.cwd {
            Some(cwd) => format!("cd {} && {command}", quoted(&cwd.to_string_lossy())),
            None => command,
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_@%+=:,./-*".contains(letter);
    if !word.is_empty()
        && word
            .chars()
            .all(|letter| plain(letter) && letter != '*' || word == "***")
    {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The process of this number as it is now. `None` where there is none, or it is a zombie or a kernel thread.
///
/// # Errors
/// `/proc` cannot be read.
pub fn look(pid: i32) -> Result<Option<Process>> {
    let table = Table::open()?;
    Ok(Seen::open(pid).and_then(|seen| table.process(&seen)))
}

/// The name of the user whose rights we have, from `/etc/passwd`, or the number.
pub fn user_name() -> String {
    name_of(rustix::process::geteuid().as_raw())
}

/// The name of a user, from `/etc/passwd`, or the number.
pub fn name_of(uid: u32) -> String {
    table::user_name(uid)
}

/// The name of this machine, as the kernel knows it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The path with its links resolved as far as it exists.
fn settled(path: &Path) -> PathBuf {
    let mut missing: Vec<OsString> = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(real) = existing.canonicalize() {
            return missing.iter().rev().fold(real, |path, name| path.join(name));
        }
        match (existing.parent(), existing.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_os_string());
                existing = parent;
            }
            _ => return path.to_path_buf(),
        }
    }
}

/// Joins a command line for people.
fn display(command: &[String]) -> String {
    let text = written(command);
    if text.chars().count() <= DESCRIBED {
        return text;
    }
    // What a program is called says more than where it lies.
    let short: Vec<String> = command
        .iter()
        .map(|word| match word.rsplit_once('/') {
            Some((directory, name)) if word.starts_with('/') && !directory.is_empty() && !name.is_empty() => {
                format!("…/{name}")
            }
            _ => word.clone(),
        })
        .collect();
    let text = written(&short);
    if text.chars().count() <= DESCRIBED {
        return text;
    }
    text.chars().take(DESCRIBED - 1).chain(['…']).collect()
}

/// The words with secrets masked and odd characters escaped.
fn written(command: &[String]) -> String {
    let mut text = String::new();
    for (place, word) in masked(command).iter().enumerate() {
        if place > 0 {
            text.push(' ');
        }
        for letter in word.chars() {
            if letter.is_control() || is_deceptive(letter) {
                text.extend(letter.escape_unicode());
            } else {
                text.push(letter);
            }
        }
    }
    text
}

/// Characters that change the order of others or show as nothing.
fn is_deceptive(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// Masks the values of options that are named like secrets, and the credentials in URLs.
fn masked(command: &[String]) -> Vec<String> {
    const MASK: &str = "***";
    let mut next = false;
    command
        .iter()
        .map(|word| {
            let value_follows = std::mem::take(&mut next);
            if value_follows && !word.starts_with('-') {
                return MASK.to_owned();
            }
            if let Some((key, _)) = word.split_once('=')
                && is_secret(key)
            {
                return format!("{key}={MASK}");
            }
            next = word.starts_with('-') && is_secret(word);
            let Some((scheme, rest)) = word.split_once("://") else {
                return word.clone();
            };
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            match rest.get(..end).and_then(|authority| authority.rfind('@')) {
                Some(at) => format!("{scheme}://{MASK}{}", rest.get(at..).unwrap_or_default()),
                None => word.clone(),
            }
        })
        .collect()
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace(['-', '_'], "");
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "privatekey",
        "credential",
    ]
    .iter()
    .any(|word| key.contains(word))
}

fn as_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time = chrono::DateTime::<chrono::Utc>::from(*time);
    serializer.serialize_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

fn as_shown<S: Serializer>(command: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(masked(command))
}

#[expect(clippy::ref_option, reason = "serde gives the field by reference")]
fn as_text<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.serialize_some(&path.to_string_lossy()),
        None => serializer.serialize_none(),
    }
}

fn as_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(path.as_os_str().as_bytes()))
}

#[cfg(test)]
mod trial;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::trial::Trial;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_described_command_cannot_deceive(command in proptest::collection::vec(any::<String>(), 0..12)) {
            let text = display(&command);
            prop_assert!(text.chars().count() <= DESCRIBED);
            prop_assert!(!text.chars().any(|letter| letter.is_control() || is_deceptive(letter)));
        }
    }

    #[test]
    fn secrets_of_a_command_line_are_masked() {
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(
            display(&words(
                "serve --api-key=hunter --password hunter -p 80 http://me:hunter@x/y@z DB_TOKEN=hunter a=b"
            )),
            "serve --api-key=*** --password *** -p 80 http://***@x/y@z DB_TOKEN=*** a=b"
        );
    }

    #[test]
    fn a_process_in_json_has_no_secret_and_a_time() {
        let trial = Trial::new();
        let child = trial.named("serve", &["--token", "hunter"]);
        let json = serde_json::to_value(child.process()).expect("a process can be written");
        assert_eq!(
            json["command"],
            serde_json::json!(["sh", trial.text("serve"), "--token", "***"])
        );
        assert!(
            json["started"].as_str().is_some_and(|time| time.ends_with('Z')),
            "{json}"
        );
        assert_eq!(json["name"], "serve");
    }

    #[test]
    fn a_stopped_service_can_be_typed_again() {
        let trial = Trial::new();
        let child = trial.named("serve it", &["--token", "hunter", "a'b", "$HOME", "", "-p=1"]);
        assert_eq!(
            child.process().start(),
            format!(
                "cd {} && sh '{}' --token *** 'a'\\''b' '$HOME' '' -p=1",
                trial.root().display(),
                trial.text("serve it")
            )
        );
    }
}
