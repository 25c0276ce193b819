//! Who still has to do with files that went: who runs one, works in one, or holds one open. It is another way to look than
//! the one by which a service was found, so that it shows what that way has missed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::command::resolve;
use super::open::{OpenFiles, Opened};
use super::reach::never;
use super::table::{Seen, Table};
use super::{Process, settled};
use crate::error::Result;

/// A process that still has to do with a file that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// Who.
    pub process: Process,
    /// What it does with which file: "runs `/ws/services/duck.js`".
    pub how: String,
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
        let how = does(&table, &seen, open, &is_gone);
        // Somebody else's process tells its command line, and nothing else.
        if how.is_none() && seen.list("fd").is_none() {
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
        if let (Some(how), Some(process)) = (how, table.process(&seen)) {
            all.found.push(Witness { process, how });
        }
    }
    Ok(all)
}

/// What a process does with one of the paths.
fn does(
    table: &Table,
    seen: &Seen,
    open: Option<&OpenFiles>,
    is_gone: &dyn Fn(&Path) -> bool,
) -> Option<String> {
    let cwd = table.cwd(seen);
    let script = seen.told(table).script(cwd);
    let program = table.executable(seen).map(Path::to_path_buf);
    if let Some(path) = script.into_iter().chain(program).find(|path| is_gone(path)) {
        return Some(format!("runs `{}`", path.display()));
    }
    let held = |opened: &Opened| {
        let held = opened.files.iter().find(|file| is_gone(&file.path));
        held.map(|file| format!("holds `{}`", file.path.display()))
    };
    let held = match open {
        Some(open) => open.of(seen.pid).and_then(held),
        None => held(&Opened::of(seen)),
    };
    // A person may stand in a directory that went, in a shell or an editor.
    held.or_else(|| {
        let cwd = cwd.filter(|cwd| is_gone(cwd) && never(table, seen).is_none())?;
        Some(format!("works in `{}`", cwd.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::trial::Trial;
    use super::*;

    fn how(gone: &[PathBuf], pid: i32) -> Option<String> {
        let all = witnesses(gone, None).expect("a proc file system");
        all.found
            .into_iter()
            .find(|witness| witness.process.pid == pid)
            .map(|witness| witness.how)
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
            Some(format!("runs `{}`", trial.text("services/serve.sh")))
        );
        assert_eq!(
            how(&[at("data/x.db")], holds.pid()),
            Some(format!("holds `{}`", trial.text("data/x.db")))
        );
        assert_eq!(
            how(&[at("data")], works.pid()),
            Some(format!("works in `{}`", trial.text("data/below")))
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
            Some(format!("holds `{}`", trial.text("kept/x.db")))
        );
    }
}
