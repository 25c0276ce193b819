//! Checking backups, as far up the ladder as a person wants: structure, a sample of the contents, all of them, and a
//! restore on trial.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::proving::{self, Opens};
use super::{Context, maintenance};
use crate::backup::catalogue::{self, Listed};
use crate::backup::manifest;
use crate::backup::verify::{self, Depth, Problem};
use crate::base::error::{Error, Kind, Result};
use crate::base::wording;
use crate::gate::confirm::Approval;
use crate::operation::Proposal;
use crate::operation::sealing::{Seal, TrialRestore};
use crate::pass::Silent;
use crate::report::RunKind;

/// How a backup is checked; each level does what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Types, sizes, modes, times, attributes, link targets; no path missing, none too many.
    Structure,
    /// And the contents of every tenth file.
    Sample,
    /// And the contents of every file.
    Full,
    /// And a restore into a place of ours, compared with the manifest.
    Restore,
}

impl Level {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Sample => "sample",
            Self::Full => "full",
            Self::Restore => "restore",
        }
    }

    fn depth(self) -> Depth {
        match self {
            Self::Structure => Depth::Structure,
            Self::Sample => Depth::Sample(10),
            Self::Full | Self::Restore => Depth::Full,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The backup, as listed.
    pub listed: Listed,
    /// Files whose contents were compared.
    pub digests: u64,
    /// What is wrong; nothing where it is sound.
    pub problems: Vec<Problem>,
    /// What it does not hold, though it looks so.
    pub lacking: Vec<Problem>,
    /// What nobody can tell, and why.
    pub unknown: Vec<Problem>,
    /// Databases that were opened.
    pub opened: u64,
    /// Whether its manifest got its digests now.
    pub sealed: bool,
}

impl Checked {
    /// Whether it is whole and proven; `None` where nobody can tell.
    #[must_use]
    pub fn sound(&self) -> Option<bool> {
        if !self.problems.is_empty() || !self.lacking.is_empty() {
            return Some(false);
        }
        self.unknown.is_empty().then_some(true)
    }
}

/// The backup of a name.
///
/// # Errors
/// `NotFound` with the nearest name.
pub fn find(context: &Context, name: &str) -> Result<Listed> {
    let all = catalogue::list(&context.host.files, &context.workspace.backups())?;
    let near = wording::nearest(name, all.iter().map(|each| each.name.as_str()));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`rollback backup list` lists them".to_owned(),
    };
    let mut found = all
        .into_iter()
        .find(|each| each.name == name)
        .ok_or_else(|| Error::usage(format!("there is no backup `{name}`")).hint(hint))?;
    found.verified = verdict_of(context, &found);
    Ok(found)
}

/// Whether the manifest of a backup holds the digests of its files.
///
/// # Errors
/// What the manifest says.
pub fn has_digests(context: &Context, listed: &Listed) -> Result<bool> {
    let mut manifest = manifest::Reading::open(&context.host.files, &directory(context, listed))?;
    while let Some(entry) = manifest.next()? {
        if entry.kind == crate::host::files::EntryKind::File && entry.blake3.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Checks a backup. A full check of a sound backup without digests adds them, unless `only_look`.
///
/// # Errors
/// What the system says; a difference is no error.
pub fn check(context: &Context, listed: Listed, level: Level, only_look: bool) -> Result<Checked> {
    let files = &context.host.files;
    let directory = directory(context, &listed);
    let remember = |checked: &Checked| {
        if only_look {
            return Ok(());
        }
        let seen =
            json!({ "at": context.host.clock.timestamp(), "level": level.name(), "sound": checked.sound() });
        let path = verdict(context, &checked.listed);
        context.host.records.write(&path, format!("{seen}\n").as_bytes())
    };
    let problem = |what: String| Problem {
        path: ".".to_owned(),
        what,
    };
    let mut checked = Checked {
        listed,
        digests: 0,
        problems: Vec::new(),
        lacking: Vec::new(),
        unknown: Vec::new(),
        opened: 0,
        sealed: false,
    };
    match verify::verify(files, &directory, level.depth()) {
        Ok(verified) => {
            checked.digests = verified.digests;
            checked.problems = verified.problems;
        }
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => {
            checked.problems.push(problem(error.message().to_owned()));
        }
        Err(error)
            if matches!(
                error.kind(),
                Kind::Denied | Kind::Failed | Kind::Invalid | Kind::Unknown
            ) =>
        {
            checked
                .unknown
                .push(problem(format!("could not be read: {}", error.message())));
            remember(&checked)?;
            return Ok(checked);
        }
        Err(error) => return Err(error),
    }
    if checked.problems.is_empty() {
        let opens = match (level >= Level::Full, only_look) {
            (false, _) => Opens::No,
            (true, true) => Opens::OnlyLooks,
            (true, false) => Opens::Yes,
        };
        let proof = proving::prove(context, &context.workspace.show(&directory), opens)?;
        checked.problems.extend(proof.damaged);
        checked.lacking.extend(proof.lacking);
        checked.unknown.extend(proof.unknown);
        checked.opened = proof.opened;
    }
    if level < Level::Full || only_look || !checked.problems.is_empty() {
        remember(&checked)?;
        return Ok(checked);
    }
    if !has_digests(context, &checked.listed)? {
        seal(context, &checked.listed)?;
        checked.sealed = true;
    }
    if level == Level::Restore
        && let Err(error) = trial(context, &checked.listed)
    {
        if error.kind() != Kind::Corrupt {
            return Err(error);
        }
        checked.problems.push(problem(error.message().to_owned()));
    }
    remember(&checked)?;
    Ok(checked)
}

/// Adds the digests to a backup's manifest.
///
/// # Errors
/// `Corrupt` where the backup is not what its manifest says.
pub fn seal(context: &Context, listed: &Listed) -> Result<()> {
    let backup = context.workspace.show(&directory(context, listed));
    maintenance::carry_out(
        context,
        (RunKind::Backup, "seal"),
        &format!("seal `{}`", listed.name),
        Map::new(),
        &|_| Ok(Approval::default()),
        Box::new(Silent),
        &|session| {
            session.submit(&Proposal::act(
                "seal",
                backup.display.clone(),
                format!(
                    "add the digests of all files to the manifest of `{}`",
                    listed.name
                ),
                Seal {
                    backup: backup.clone(),
                },
            ))
        },
    )
}

fn trial(context: &Context, listed: &Listed) -> Result<()> {
    let backup = context.workspace.show(&directory(context, listed));
    let place = context.workspace.state().join("trial").join(&listed.name);
    let trial = context.workspace.show(&place);
    maintenance::carry_out(
        context,
        (RunKind::Backup, "trial-restore"),
        &format!("put `{}` back on trial", listed.name),
        Map::new(),
        &|_| Ok(Approval::default()),
        Box::new(Silent),
        &|session| {
            session.submit(&Proposal::act(
                "trial_restore",
                backup.display.clone(),
                format!("restore `{}` on trial into `{trial}`", listed.name),
                TrialRestore {
                    backup: backup.clone(),
                    trial: trial.clone(),
                },
            ))
        },
    )
}

/// Where the newest verdict on a backup stands.
fn verdict(context: &Context, listed: &Listed) -> PathBuf {
    let name = format!("{}.json", crate::workspace::bounded_name(&listed.name));
    context.workspace.state().join("verified").join(name)
}

/// What the newest check of a backup said, if there was one and it could tell.
#[must_use]
pub fn verdict_of(context: &Context, listed: &Listed) -> Option<bool> {
    last_check(context, listed)?.get("sound").and_then(Value::as_bool)
}

/// The newest check of a backup: a map with at, level, and sound, which is null where it could not tell.
#[must_use]
pub fn last_check(context: &Context, listed: &Listed) -> Option<Value> {
    let text = crate::workspace::text(&verdict(context, listed), crate::run::history::REPORT).ok()?;
    serde_json::from_str(&text).ok()
}

fn directory(context: &Context, listed: &Listed) -> PathBuf {
    context.workspace.backups().join(&listed.name)
}
