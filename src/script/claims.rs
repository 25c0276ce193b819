//! What a call asks of the policy, as far as its literal arguments tell, and what the policy answers. The run asks
//! the same policy again, with what it finds then: an answer here is advice, the gate is the wall.

use super::calls::Given;
use crate::base::error::{Error, Kind, Result};
use crate::gate::policy::Policy;
use crate::primitives::contract::{Family, Primitive};
use crate::report::effect::Capability;
use crate::view::View;
use crate::workspace::address::{Address, check_address};

/// One thing that a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Looks at a path.
    Look(String),
    /// Changes a path.
    Write {
        /// As the script names it.
        path: String,
        /// With everything below it.
        whole: bool,
    },
    /// Is given the contents of a path.
    Read(String),
    /// Copies a path into a backup.
    Backup(String),
    /// Changes the flags file.
    Flags,
    /// Changes the environment file.
    Environment,
    /// Starts a program.
    Command(String),
    /// Asks a URL.
    Address(String),
    /// Changes packages of a manager.
    Packages(String),
    /// Changes containers, images or volumes.
    Containers,
    /// Ends processes.
    Signal,
    /// Sends a message.
    Notify,
    /// An argument that only the run can tell.
    Computed(&'static str),
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It may; the rule, where it takes one.
    Allowed(Option<String>),
    /// It may not.
    Refused {
        /// Why.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Only the run can tell, and why.
    Computed(String),
}

/// One claim with its answer.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What it is about: a path, a program, a URL.
    pub about: String,
    /// What the policy says.
    pub answer: Answer,
}

/// What a call of `word` asks for.
#[must_use]
pub fn claims(word: &Primitive, given: &[Given]) -> Vec<Claim> {
    let mut claims = Vec::new();
    let changes = word.family() == Family::Change;
    let keeps = given
        .iter()
        .any(|given| given.pairs().iter().any(|(key, _)| key == "keep"));
    for (parameter, given) in word.parameters.iter().zip(given) {
        match parameter.name {
            "path" | "paths" | "from" | "to" => {
                for element in given.elements() {
                    claims.push(match element.text() {
                        Some(path) => about_path(word, parameter.name, path, keeps),
                        None => Claim::Computed(parameter.name),
                    });
                }
            }
            "argv" => claims.push(program(given)),
            "url" => claims.push(given.text().map_or(Claim::Computed("url"), Claim::Address)),
            "manager" if changes => {
                claims.push(given.text().map_or(Claim::Computed("manager"), Claim::Packages));
            }
            _ => {}
        }
        for (key, value) in given.pairs() {
            match key.as_str() {
                "undo" => claims.push(program(&value)),
                "cwd" | "pid_file" | "holds" => {
                    claims.push(value.text().map_or(Claim::Computed("path"), Claim::Look));
                }
                _ => {}
            }
        }
    }
    match word.name {
        "set_flag" => claims.push(Claim::Flags),
        "remove_env_keys" => claims.push(Claim::Environment),
        "kill_process" | "stop_processes" => claims.push(Claim::Signal),
        "remove_containers" | "remove_images" | "remove_volumes" => claims.push(Claim::Containers),
        "notify" => claims.push(Claim::Notify),
        // Without a path it goes back to where the backup came from.
        "restore_backup" if given.len() == 1 => claims.push(Claim::Computed("path")),
        _ => {}
    }
    claims
}

fn about_path(word: &Primitive, parameter: &str, path: String, keeps: bool) -> Claim {
    match (word.name, parameter) {
        ("keep_path", _) => Claim::Look(path),
        ("read_text" | "read_json" | "read_yaml" | "digest", _) | ("copy_path", "from") => Claim::Read(path),
        ("backup_dir", _) => Claim::Backup(path),
        ("remove_path" | "remove_paths" | "remove_pid_file", _) | ("move_path", "from") => {
            Claim::Write { path, whole: true }
        }
        ("retire_dir", _) => Claim::Write { path, whole: !keeps },
        _ if word.family() == Family::Change => Claim::Write { path, whole: false },
        _ => Claim::Look(path),
    }
}

fn program(argv: &Given) -> Claim {
    let first = argv.elements().first().and_then(Given::text);
    first.map_or(Claim::Computed("argv"), Claim::Command)
}

/// Asks the policy.
///
/// # Errors
/// [`Kind::Invalid`] where an argument has no possible meaning: an empty path, a URL that is none.
pub fn judge(claim: &Claim, view: &View, policy: &Policy) -> Result<Judged> {
    let workspace = &view.workspace;
    let asked = |about: &str, needs: Capability| (about.to_owned(), policy.check(&[needs], view));
    let (about, answer) = match claim {
        Claim::Look(path) => (path.clone(), reached(view, path).map(|_| None)),
        Claim::Read(path) => {
            let answer = reached(view, path).and_then(|place| view.may_read(&place).map(|()| None));
            (path.clone(), answer)
        }
        Claim::Write { path, whole } => {
            let answer =
                reached(view, path).and_then(|place| policy.check(&[view.write(&place, *whole)], view));
            (path.clone(), answer)
        }
        Claim::Backup(path) => {
            let answer = reached(view, path).and_then(|place| {
                policy.check(
                    &[Capability::Backup {
                        source: place.display,
                    }],
                    view,
                )
            });
            (path.clone(), answer)
        }
        Claim::Flags => {
            let place = workspace.flags_file();
            asked(&place.display, view.write(&place, false))
        }
        Claim::Environment => {
            let place = workspace.env_file();
            asked(&place.display, view.write(&place, false))
        }
        Claim::Command(program) => asked(
            program,
            Capability::Command {
                program: program.clone(),
            },
        ),
        Claim::Address(url) => {
            let answer = Address::parse(url).and_then(|address| {
                let pattern = check_address(&workspace.config().policy.http, &address)?;
                Ok(Some(format!("policy.http: {pattern}")))
            });
            (url.clone(), answer)
        }
        Claim::Packages(manager) => asked(
            manager,
            Capability::Packages {
                manager: manager.clone(),
            },
        ),
        Claim::Containers => asked("containers", Capability::Containers),
        Claim::Signal => {
            let nobody = Capability::Signal {
                pid: 0,
                command: String::new(),
            };
            asked("processes", nobody)
        }
        Claim::Notify => asked("notification", Capability::Notify),
        Claim::Computed(what) => {
            return Ok(Judged {
                about: (*what).to_owned(),
                answer: Answer::Computed("the dry run tells".to_owned()),
            });
        }
    };
    answered(about, answer)
}

/// The place that a script names, if the host would follow it there today.
fn reached(view: &View, path: &str) -> Result<crate::workspace::Place> {
    let place = view.workspace.place(path)?;
    view.exists(&place.absolute)?;
    Ok(place)
}

fn answered(about: String, answer: Result<Option<String>, Error>) -> Result<Judged> {
    let answer = match answer {
        Ok(rule) => Answer::Allowed(rule),
        Err(error) if error.kind() == Kind::Denied => Answer::Refused {
            why: error.message().to_owned(),
            hint: error.hint_text().map(str::to_owned),
        },
        Err(error) if error.kind() == Kind::Invalid => return Err(error),
        Err(error) => Answer::Computed(error.message().to_owned()),
    };
    Ok(Judged { about, answer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives;

    #[test]
    fn every_word_that_changes_something_asks_for_something() {
        for word in primitives::all()
            .iter()
            .filter(|word| word.family() == Family::Change)
        {
            let computed = vec![Given::Computed; word.parameters.len()];
            assert!(
                !claims(word, &computed).is_empty(),
                "`{}` asks the policy for nothing that `script check` knows",
                word.name
            );
        }
        // A word with a path of another name would be missed.
        for word in primitives::all() {
            for parameter in word.parameters {
                let known = ["path", "paths", "from", "to", "source", "glob"].contains(&parameter.name);
                let is_path = ["path", "file", "dir", "target"]
                    .iter()
                    .any(|part| parameter.name.contains(part));
                assert!(known || !is_path, "`{}` of `{}`", parameter.name, word.name);
            }
        }
    }

    #[test]
    fn a_program_is_known_where_its_arguments_are_not() {
        let word = primitives::find("run_command").expect("a word");
        let argv = Given::Items(vec![Given::Known("npm".into()), Given::Computed]);
        let undo = Given::Entries(vec![("undo".to_owned(), Given::Computed)]);
        let expected = [Claim::Command("npm".to_owned()), Claim::Computed("argv")];
        assert_eq!(claims(word, &[argv, undo]), expected);
    }
}
