//! Who still has to do with files that went: who runs one, works in one, or holds one open. It is another way to look than
//! the one by which a service was found, so that it shows what that way has missed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::command::resolve;
use super::open::{OpenFiles, Opened};
use super::reach::never;
use super::table::{Seen, Table};
use super::{Access, Process, as_path, settled};
use crate::base::error::Result;

/// A process that still has to do with a file that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// Who.
    pub process: Process,
    /// What it does with the file.
    pub does: Does,
    /// Which file or directory.
    #[serde(serialize_with = "as_path")]
    pub path: PathBuf,
}

/// What a process has to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// It is its program, or the script that its interpreter was given.
    Runs,
    /// It has the file open, and may change it.
    Writes,
    /// It has the file open, and can't change it.
    Reads,
    /// It is its working directory; it may be a person's own program.
    WorksIn,
}

impl Witness {
    /// "process 7 (`node duck.js`) runs `services/duck.js`", with the name that the file has for people.
    #[must_use]
    pub fn rendered(&self, file: &str) -> String {
        let does = match self.does {
            Does::Runs => "runs",
            Does::Writes => "writes",
            Does::Reads => "reads",
            Does::WorksIn => "works in",
        };
        format!(
            "process {} (`{}`) {does} `{file}`",
            self.process.pid,
            self.process.describe()
        )
    }
}

/// What a look at all processes gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Witnesses {
    /// Who still runs, works in or holds one of the files.
    pub found: Vec<Witness>,
    /// Where nobody could look, though it may matter: a reason each.
    pub blind: Vec<String>,
}

/// Who still has to do with one of these absolute paths, or what is below them: where they were, and where they are now.
/// Never this process or what has started it.
///
/// # Errors
/// `/proc` cannot be read.
pub fn witnesses(gone: &[PathBuf], open: Option<&OpenFiles>) -> Result<Witnesses> {
    let table = Table::open()?;
    let mut places: Vec<PathBuf> = gone
        .iter()
        .flat_map(|path| [path.clone(), settled(path)])
        .collect();
    places.sort();
    places.dedup();
    let is_gone = |path: &Path| places.iter().any(|place| path.starts_with(place));
    let mut all = Witnesses::default();
    if places.is_empty() {
        return Ok(all);
    }
    for pid in Table::pids()? {
        if table.is_own(pid) || table.is_above(pid) {
            continue;
        }
        let Some(seen) = Seen::open(pid) else { continue };
        if table.is_elsewhere(&seen) || seen.command().is_empty() {
            continue;
        }
        let judged = table.judged(&seen, |seen| does(&table, seen, open, &is_gone));
        // Somebody else's process tells its command line, and nothing else.
        if judged.is_none() && seen.list("fd").is_none() {
            let mut words = seen
                .command()
                .iter()
                .filter_map(|word| resolve(word, table.cwd(&seen)));
            if let Some(path) = words.find(|path| is_gone(path)) {
                let owner = seen
                    .owner()
                    .map_or_else(|| "unknown".to_owned(), |owner| table.user_name(owner.effective));
                all.blind.push(format!(
                    "process {pid} of user `{owner}` was given `{}`, and what it holds cannot be seen",
                    path.display()
                ));
            }
            continue;
        }
        if let Some((process, (does, path))) = judged {
            all.found.push(Witness { process, does, path });
        }
    }
    Ok(all)
}

/// What a process does with one of the paths: the first of these that it does.
fn does(
    table: &Table,
    seen: &Seen,
    open: Option<&OpenFiles>,
    is_gone: &dyn Fn(&Path) -> bool,
) -> Option<(Does, PathBuf)> {
    let cwd = table.cwd(seen);
    let script = seen.title(table).script(cwd);
    let program = table.executable(seen).map(Path::to_path_buf);
    if let Some(path) = script.into_iter().chain(program).find(|path| is_gone(path)) {
        return Some((Does::Runs, path));
    }
    let held = |opened: &Opened| {
        let held = opened.files.iter().filter(|file| is_gone(&file.path));
        let held = held.map(|file| (file.access(seen), file.path.clone()));
        held.max_by_key(|(access, _)| *access)
    };
    let held = match open {
        Some(open) => open.of(seen.pid).and_then(held),
        None => held(&Opened::of(seen)),
    };
    if let Some((access, path)) = held {
        let does = match access {
            Access::Read => Does::Reads,
            Access::Write => Does::Writes,
        };
        return Some((does, path));
    }
    // A person may stand in a directory that went, in a shell or an editor.
    let cwd = cwd.filter(|cwd| is_gone(cwd) && never(table, seen).is_none())?;
    Some((Does::WorksIn, cwd.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::super::trial::Trial;
    use super::*;

    fn how(gone: &[PathBuf], pid: i32) -> Option<(Does, PathBuf)> {
        let all = witnesses(gone, None).expect("a proc file system");
        all.found
            .into_iter()
            .find(|witness| witness.process.pid == pid)
            .map(|witness| (witness.does, witness.path))
    }

    #[test]
    fn who_runs_holds_or_works_in_what_went_is_seen_also_when_it_is_deleted() {
        let trial = Trial::new();
        let runs = trial.named("services/serve.sh", &[]);
        trial.write("data/x.db", "");
        trial.write("data/below/y", "");
        let holds = trial.shell("exec 8>>data/x.db; rm data/x.db; echo ready; read line");
        let works = trial.named_in(&trial.root().join("data/below"), "worker", &[]);
        let innocent = trial.named("other", &["services/serve.sh"]);
        let at = |name: &str| trial.root().join(name);
        assert_eq!(
            how(&[at("services")], runs.pid()),
            Some((Does::Runs, at("services/serve.sh")))
        );
        assert_eq!(
            how(&[at("data/x.db")], holds.pid()),
            Some((Does::Writes, at("data/x.db")))
        );
        assert_eq!(
            how(&[at("data")], works.pid()),
            Some((Does::WorksIn, at("data/below")))
        );
        assert_eq!(how(&[at("services"), at("data")], innocent.pid()), None);
        assert!(witnesses(&[], None).expect("a proc file system").found.is_empty());
    }

    #[test]
    fn what_was_moved_is_held_at_its_new_place() {
        let trial = Trial::new();
        trial.write("data/x.db", "");
        let holds = trial.shell("exec 8>>data/x.db; mv data kept; echo ready; read line");
        assert_eq!(how(&[trial.root().join("data")], holds.pid()), None);
        assert_eq!(
            how(
                &[trial.root().join("data"), trial.root().join("kept")],
                holds.pid()
            ),
            Some((Does::Writes, trial.root().join("kept/x.db")))
        );
    }
}
