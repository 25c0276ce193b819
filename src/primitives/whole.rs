//! What goes together: a database with its logs, told by one of its files; and what a directory does not hold, though it
//! looks so: where its links lead.

use std::ffi::OsString;
use std::path::PathBuf;

use super::proposing::{last_name, require_quiet};
use crate::backup::links;
use crate::base::database::{owners, with_suffix};
use crate::base::error::{Error, Kind, Result};
use crate::host::files::EntryKind;
use crate::operation::Proposal;
use crate::operation::moving::MovePaths;
use crate::operation::purging::Purge;
use crate::view::{Database, View};
use crate::workspace::Place;

/// Links that a plan names.
const NAMED: usize = 3;

/// A source of a backup, with what belongs to it.
#[derive(Debug)]
pub struct Whole {
    /// The source: of a database its file, whichever of its files was named.
    pub main: Place,
    /// What belongs to it, each with its name in the backup.
    pub sides: Vec<(Place, OsString)>,
    database: Option<Database>,
}

impl Whole {
    /// All that belongs to a source, to which a link may have led.
    ///
    /// # Errors
    /// What the view says; `Invalid` where both the link and what it leads to have a log.
    pub fn of(view: &View, source: Place, link: Option<&Place>) -> Result<Self> {
        let Some(database) = view.database(&source)? else {
            return Ok(Self {
                main: source,
                sides: Vec::new(),
                database: None,
            });
        };
        let main = database.main.clone();
        let name = |suffix: &str| with_suffix(main.absolute.file_name().unwrap_or_default(), suffix);
        let mut sides: Vec<(Place, OsString)> = database
            .sides
            .iter()
            .map(|(side, suffix)| (side.clone(), name(suffix)))
            .collect();
        // Some write their log beside the name by which they were given the database.
        let beside_link = link.map(|link| view.places_beside(link, database.sort));
        for (beside, side) in beside_link.into_iter().flatten() {
            if !view.exists(&beside.absolute)? || sides.iter().any(|(known, _)| *known == beside) {
                continue;
            }
            if let Some((other, _)) = sides.iter().find(|(_, known)| *known == name(side.suffix)) {
                return Err(Error::invalid(format!(
                    "`{beside}` and `{other}` both belong to the {} database `{main}`",
                    database.sort.name
                ))
                .hint("open it once by each of its names, so that its logs are taken in"));
            }
            sides.push((beside, name(side.suffix)));
        }
        Ok(Self {
            main,
            sides,
            database: Some(database),
        })
    }

    /// What goes along, for the plan; empty where it stands alone.
    #[must_use]
    pub fn along(&self) -> String {
        match &self.database {
            Some(database) if !self.sides.is_empty() => {
                let sides = self.sides.iter().map(|(side, _)| (side.clone(), "")).collect();
                Database {
                    sides,
                    ..database.clone()
                }
                .along()
            }
            _ => String::new(),
        }
    }
}

/// The database at a path that a script takes away or copies alone: it must be at rest, and named by its file.
///
/// # Errors
/// `Denied` for a log whose database stays, beside it or beside a link to it; `InUse` naming the process that writes it.
pub fn whole_database(view: &View, place: &Place) -> Result<Option<Database>> {
    let Some(database) = view.database(place)? else {
        return not_beside_a_link(view, place).map(|()| None);
    };
    if database.main != *place {
        let holds_data = view
            .places_beside(&database.main, database.sort)
            .iter()
            .any(|(side, of)| side == place && of.holds_data);
        if holds_data {
            return Err(Error::denied(format!(
                "`{place}` belongs to the {} database `{}`, and may hold what is not in it yet",
                database.sort.name, database.main
            ))
            .hint(format!("name `{}`: both go together", database.main)));
        }
        return Ok(None);
    }
    for member in database.members() {
        require_quiet(view, member, &[], view.errand.options.allow_open)?;
    }
    Ok(Some(database))
}

/// Refuses the log that stands beside a link to its database.
fn not_beside_a_link(view: &View, place: &Place) -> Result<()> {
    for (owner, sort, side) in owners(place.absolute.file_name().unwrap_or_default()) {
        let link = (view.workspace).show(&place.absolute.with_file_name(owner));
        let is_link = view
            .stat(&link.absolute)?
            .is_some_and(|stat| stat.kind == EntryKind::Symlink);
        if !is_link || !side.holds_data || !view.exists(&place.absolute)? {
            continue;
        }
        let is_its_own = match view.follow(&link) {
            Ok((leads_to, _)) => (view.database(&leads_to)?).is_some_and(|database| database.sort == sort),
            Err(error) if error.kind() == Kind::NotFound => false,
            // What can't be looked at may be one.
            Err(_) => side.is_certain,
        };
        if is_its_own {
            return Err(Error::denied(format!(
                "`{place}` belongs to the {} database to which the link `{link}` leads, and may hold what is not in it yet",
                sort.name
            ))
            .hint(format!("retire_dir(\"{}\", ...) takes all of it", link.spelled())));
        }
    }
    Ok(())
}

/// The removal of a database with all that belongs to it: into the run's store, or for good under `--purge`.
///
/// # Errors
/// What the view says.
pub fn database_removal(
    word: &'static str,
    view: &View,
    database: &Database,
    for_good: bool,
) -> Result<Vec<Proposal>> {
    let main = &database.main;
    let size = view.size_of_database(database)?;
    let what = format!("{}{}", view.described(main, size)?, database.along());
    if for_good {
        return database
            .members()
            .map(|member| {
                let aside = view.slot("purged", &last_name(member));
                let summary = format!("remove {} for good", view.sized(member)?);
                let purge = Purge::new(view, member.clone(), aside)?;
                Ok(Proposal::act(word, member.display.clone(), summary, purge))
            })
            .collect();
    }
    let slot = view.slot("removed", &last_name(main));
    let moves = MovePaths::new(view, database.moves_to(view, &slot), false)?;
    let summary = format!("remove {}", what.trim_end_matches(','));
    Ok(vec![Proposal::act(word, main.display.clone(), summary, moves)])
}

/// Where the links in a source lead that leave it, for the plan; nothing where none does.
///
/// # Errors
/// What the view says.
pub fn links_out(view: &View, source: &Place, keep: &[PathBuf]) -> Result<Option<String>> {
    let mut rendered = Vec::new();
    for (inside, target) in view.links_out(source)? {
        if keep.iter().any(|kept| inside.starts_with(kept)) {
            continue;
        }
        let display = view.workspace.show(&target);
        rendered.push(format!(
            "`{}` {}",
            inside.display(),
            links::meaning(&display.display, &view.is_there(&target))
        ));
    }
    if let Some(more) = rendered.len().checked_sub(NAMED).filter(|more| *more > 0) {
        rendered.truncate(NAMED);
        rendered.push(format!("and {more} more links lead out of it"));
    }
    Ok((!rendered.is_empty()).then(|| rendered.join("; ")))
}

/// Remarks in one line.
#[must_use]
pub fn remarks<const COUNT: usize>(all: [Option<String>; COUNT]) -> Option<String> {
    let rendered: Vec<String> = all.into_iter().flatten().collect();
    (!rendered.is_empty()).then(|| rendered.join("; "))
}
