//! What a backup's manifest can't tell: whether its links lead to what it does not hold, and whether its databases open.

use serde_json::Map;

use super::{Context, maintenance};
use crate::backup::links;
use crate::backup::verify::Problem;
use crate::base::error::{Kind, Result};
use crate::base::known::Known;
use crate::gate::confirm::Approval;
use crate::host::databases::Opener;
use crate::operation::Proposal;
use crate::operation::opening::TrialOpening;
use crate::pass::Silent;
use crate::report::RunKind;
use crate::view::{Database, Errand, View};
use crate::workspace::Place;

/// What is known of a backup beyond its manifest.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// What it does not hold, though it looks so.
    pub lacking: Vec<Problem>,
    /// What is wrong with its databases.
    pub damaged: Vec<Problem>,
    /// What nobody can tell, and why.
    pub unknown: Vec<Problem>,
    /// Databases that were opened.
    pub opened: u64,
}

/// Looks at a backup that is as its manifest says; its databases are opened only where `opens`.
///
/// # Errors
/// What the system says.
pub fn prove(context: &Context, backup: &Place, opens: Opens) -> Result<Proof> {
    let view = View::new(
        std::rc::Rc::clone(&context.workspace),
        std::rc::Rc::clone(&context.host),
        std::rc::Rc::clone(&context.catalogue),
        Errand::default(),
    );
    let out = links::out_of(&context.host.files, &backup.absolute, &|path| view.is_there(path))?;
    let mut proof = Proof {
        lacking: out.lacking,
        unknown: out.unknown,
        ..Proof::default()
    };
    if opens == Opens::No {
        return Ok(proof);
    }
    let problem = |path: &Place, what: String| {
        let inside = path.absolute.strip_prefix(&backup.absolute);
        Problem {
            path: inside.map_or_else(|_| path.display.clone(), |inside| inside.display().to_string()),
            what,
        }
    };
    match view.databases_below(backup) {
        Err(error) if error.kind() != Kind::Unknown => return Err(error),
        Err(error) => proof.unknown.push(problem(backup, error.message().to_owned())),
        Ok(Known::Unknown(why)) => proof.unknown.push(problem(backup, why)),
        Ok(Known::Yes(databases)) => {
            for database in databases {
                let about =
                    |what: String| problem(&database.main, format!("({}) {what}", database.sort.name));
                if opens == Opens::OnlyLooks {
                    proof
                        .unknown
                        .push(about("was not opened: a dry run makes no copy".to_owned()));
                    continue;
                }
                // Where it can't be told which environment is the workspace's, another's program may do.
                let environment = view.environment().ok().flatten();
                let root = context.workspace.root();
                let opener = match Opener::find(database.sort, root, environment.as_deref()) {
                    Known::Yes(opener) => opener,
                    Known::Unknown(why) => {
                        proof.unknown.push(about(format!("was not opened: {why}")));
                        continue;
                    }
                };
                match open(context, &database, opener) {
                    Ok(()) => proof.opened += 1,
                    Err(error) if error.kind() == Kind::Corrupt => {
                        proof.damaged.push(about(error.message().to_owned()));
                    }
                    Err(error) if matches!(error.kind(), Kind::Failed | Kind::Unknown) => {
                        proof.unknown.push(about(error.message().to_owned()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(proof)
}

/// Whether databases are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// They are not asked for.
    No,
    /// They would be, and nothing may be written.
    OnlyLooks,
    /// They are.
    Yes,
}

fn open(context: &Context, database: &Database, opener: Opener) -> Result<()> {
    let trial = context.workspace.state().join("trial").join("database");
    maintenance::carry_out(
        context,
        (RunKind::Backup, "trial-opening"),
        &format!("open a copy of `{}`", database.main),
        Map::new(),
        &|_| Ok(Approval::default()),
        Box::new(Silent),
        &|session| {
            session.submit(&Proposal::act(
                "trial_opening",
                database.main.display.clone(),
                format!("open a copy of `{}` with {}", database.main, opener.name),
                TrialOpening {
                    database: database.clone(),
                    trial: context.workspace.show(&trial),
                    opener: opener.clone(),
                    workspace: (*context.workspace).clone(),
                },
            ))
        },
    )
}
