//! May it? The rules of `rollback.yaml` and those that no configuration can change.

use std::path::{Path, PathBuf};

use crate::base::broken::{Own, is_down};
use crate::base::error::{Error, Result};
use crate::pattern::Rule;
use crate::report::effect::Capability;
use crate::view::View;
use crate::workspace::story::Origin;
use crate::workspace::{
    ALERT_LOG, AUDIT_LOG, CONFIG, LOGS, Place, REPORTS, SECURITY_LOG, STATE, STORIES, Workspace,
};

/// The rules, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    /// Workspace-relative paths that no script may change, whatever the configuration says.
    fixed: Vec<String>,
    /// The flags file: its own word alone changes it.
    flags: Place,
    denied: Vec<Rule>,
    commands: Vec<String>,
    everything: bool,
}

impl Policy {
    /// The policy of a workspace.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Configuration`] where a rule of `policy.deny` can't be read, or would never refuse anything.
    pub fn of(workspace: &Workspace) -> Result<Self> {
        let policy = &workspace.config().policy;
        let mut denied = Vec::new();
        for pattern in &policy.deny {
            let rule = Rule::parse(pattern)
                .map_err(|error| Error::configuration(format!("policy.deny: {}", error.message())))?;
            for place in rule
                .plain_parts()
                .into_iter()
                .filter(|part| part.starts_with('/'))
            {
                let place = Path::new(&place);
                let mut roots = workspace.roots().iter();
                if !roots.any(|root| place.starts_with(root) || root.starts_with(place)) {
                    return Err(Error::configuration(format!(
                        "policy.deny: `{pattern}` lies neither in the workspace nor in a directory of policy.write: it \
                         would never refuse anything"
                    ))
                    .hint("a rule for the workspace begins without a slash"));
                }
            }
            denied.push(rule);
        }
        Ok(Self {
            fixed: vec![
                STATE.to_owned(),
                workspace.config().backups.dir.clone(),
                REPORTS.to_owned(),
                CONFIG.to_owned(),
                STORIES.to_owned(),
                format!("{LOGS}/{SECURITY_LOG}"),
                format!("{LOGS}/{AUDIT_LOG}"),
                format!("{LOGS}/{ALERT_LOG}"),
            ],
            flags: workspace.flags_file(),
            denied,
            commands: policy.commands.programs(),
            everything: false,
        })
    }

    /// A policy that refuses everything, for tests that nothing is written before the policy is asked.
    #[must_use]
    pub fn deny_all(self) -> Self {
        Self {
            everything: true,
            ..self
        }
    }

    /// Checks every need; gives the rules that allow them.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] with the rule that refuses.
    pub fn check(&self, needs: &[Capability], view: &View) -> Result<Option<String>> {
        let mut rules: Vec<String> = Vec::new();
        for need in needs {
            if self.everything {
                return Err(Error::denied(format!(
                    "{} is refused: everything is denied",
                    name(need)
                )));
            }
            let rule = self.check_one(need, view)?;
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        Ok((!rules.is_empty()).then(|| rules.join(", ")))
    }

    fn check_one(&self, need: &Capability, view: &View) -> Result<String> {
        match need {
            Capability::Write { .. } if is_down(Own::Policy) => Ok("none".to_owned()),
            Capability::Write {
                display,
                absolute,
                whole,
            } => {
                let script = running(view);
                // An undo puts the flags file back, or takes its own edit out of it.
                let scripted = view.story.borrow().is_some();
                let check = |display: &str| {
                    if scripted && display == self.flags.display {
                        return Err(Error::denied(format!(
                            "`{display}` is the flags file: only set_flag() changes it"
                        ))
                        .hint("set_flag(\"feature\", false)"));
                    }
                    if script.as_deref() == Some(display) {
                        return Err(Error::denied(format!("`{display}` is the script that runs"))
                            .hint("remove it by hand, after the run"));
                    }
                    self.check_path(view, display)
                };
                check(display)?;
                for second in view.workspace.aliases().second_names(absolute) {
                    check(&view.workspace.show(&second).display)?;
                }
                // What a name means counts, not the name.
                let known = view.known(self.places(view))?;
                let meant = |path: &Path, place: &Path| {
                    let (path, place) = (view.workspace.show(path), view.workspace.show(place));
                    check(&place.display)
                        .map_err(|error| error.context(format!("`{path}` is another name of `{place}`")))
                };
                if let Some(place) = view.alias_of(absolute, &known)? {
                    meant(absolute, &place)?;
                }
                self.check_case(view, absolute)?;
                if *whole {
                    one_name(view, display, absolute)?;
                    view.walk_across(absolute, &mut |path, stat| {
                        if path == absolute {
                            return Ok(());
                        }
                        check(&view.workspace.show(path).display)?;
                        match known.meant_by(stat, path) {
                            Some(place) => meant(path, place),
                            None => self.check_case(view, path),
                        }
                    })?;
                }
                writable(view, display, absolute)
            }
            Capability::Flags => {
                self.check_path(view, &self.flags.display)?;
                writable(view, &self.flags.display, &self.flags.absolute)
            }
            Capability::Backup { .. } => Ok("backups".to_owned()),
            Capability::Signal { .. } => {
                let scope = view.workspace.config().policy.processes.scope;
                Ok(format!("policy.processes: {}", scope.name()))
            }
            Capability::Command { program } => {
                if self.commands.iter().any(|listed| listed == program) {
                    Ok(format!("policy.commands: {program}"))
                } else {
                    Err(
                        Error::denied(format!("program `{program}` is not listed")).hint(format!(
                            "list it under policy.commands in `{CONFIG}` if a script may start it"
                        )),
                    )
                }
            }
            Capability::Packages { manager } => Ok(format!("packages: {manager}")),
            Capability::Containers => Ok("containers".to_owned()),
            Capability::Notify => Ok("notify".to_owned()),
        }
    }

    /// Everything that is protected and has a name of its own.
    fn places(&self, view: &View) -> Vec<PathBuf> {
        let root = view.workspace.root();
        let patterns = self.denied.iter().flat_map(Rule::plain_parts);
        let named = self.fixed.iter().cloned().chain(patterns).chain(running(view));
        let mut places: Vec<PathBuf> = named.map(|place| root.join(place)).collect();
        places.push(self.flags.absolute.clone());
        places
    }

    /// Where names that differ in case are the same, so are patterns.
    fn check_case(&self, view: &View, path: &Path) -> Result<()> {
        let display = view.workspace.show(path).display;
        match self.denying(view, &display, true) {
            Some(rule) if self.denying(view, &display, false).is_none() && view.is_case_blind(path)? => {
                Err(denied_by(&display, rule))
            }
            _ => Ok(()),
        }
    }

    /// The rule that denies a path, as shown or from the root of the file system on.
    fn denying(&self, view: &View, display: &str, any_case: bool) -> Option<&Rule> {
        let absolute = view.workspace.root().join(display);
        let covers = |rule: &&Rule| {
            rule.covers(Path::new(display), any_case) || rule.covers_absolute(&absolute, any_case)
        };
        self.denied.iter().find(covers)
    }

    fn check_path(&self, view: &View, display: &str) -> Result<()> {
        if display == "." {
            return Err(Error::denied("the workspace itself can't be changed as a whole")
                .hint("name a path below it"));
        }
        let ours = self.fixed.iter().find(|own| {
            display == own.as_str()
                || display
                    .strip_prefix(own.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        if let Some(own) = ours {
            return Err(Error::denied(format!("`{display}` belongs to rollback itself"))
                .hint(format!("no script may change `{own}`")));
        }
        // Every run writes there, and would make it anew.
        if display == LOGS {
            return Err(Error::denied(format!(
                "`{display}` belongs to rollback itself: every run writes there"
            ))
            .hint(format!("name what is in it: `{display}/...`")));
        }
        // A directory that holds one of ours can't go as a whole either; the walk of `whole` meets it then.
        match self.denying(view, display, false) {
            Some(rule) => Err(denied_by(display, rule)),
            None => Ok(()),
        }
    }
}

fn denied_by(display: &str, rule: &Rule) -> Error {
    Error::denied(format!("`{display}` is denied by policy.deny `{}`", rule.text())).hint(format!(
        "change policy.deny in `{CONFIG}` if a script may touch it"
    ))
}

/// Refuses to take a directory away that can be reached by another name: it would stay there.
fn one_name(view: &View, display: &str, absolute: &Path) -> Result<()> {
    let Some((first, second)) = view.workspace.aliases().within(absolute) else {
        return Ok(());
    };
    let show = |path: &Path| view.workspace.show(path).display;
    Err(Error::denied(format!(
        "`{display}` can't go as a whole: `{}` is mounted at `{}` too",
        show(first),
        show(second)
    ))
    .hint(format!(
        "unmount `{}` first, or name what is inside",
        show(second)
    )))
}

/// The rule that opens the directory of a path.
fn writable(view: &View, display: &str, absolute: &Path) -> Result<String> {
    let root = view.workspace.writable(absolute).ok_or_else(|| {
        Error::denied(format!("`{display}` lies in no directory of policy.write")).hint(format!(
            "list its directory in policy.write of `{CONFIG}` if a script may change it"
        ))
    })?;
    Ok(format!("policy.write: {root}"))
}

/// The script of the story at hand, as shown, where it lies in the workspace.
fn running(view: &View) -> Option<String> {
    let story = view.story.borrow();
    match &story.as_ref()?.script.origin {
        Origin::File(path) => Some(view.workspace.show(path).display),
        Origin::Embedded => None,
    }
}

fn name(need: &Capability) -> String {
    match need {
        Capability::Write { display, .. } => format!("changing `{display}`"),
        Capability::Flags => "changing the flags file".to_owned(),
        Capability::Backup { source } => format!("backing up `{source}`"),
        Capability::Signal { pid, .. } => format!("ending process {pid}"),
        Capability::Command { program } => format!("starting `{program}`"),
        Capability::Packages { manager } => format!("changing packages of {manager}"),
        Capability::Containers => "changing containers".to_owned(),
        Capability::Notify => "sending a message".to_owned(),
    }
}

#[cfg(test)]
mod tests;
