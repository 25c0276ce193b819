//! Something stands where a run's undo would put things back: what it is, what was there before, and the ways out.

use crate::base::error::{Error, Result};
use crate::report::undo::Move;
use crate::run::plan::quoted;
use crate::view::View;

/// What stands in the way of a move back.
#[derive(Debug)]
pub struct Hindrance {
    /// The path where something stands again.
    path: String,
    /// What stands there, in words.
    stands: String,
    /// What stood there before, and where it is now, in words.
    kept: String,
}

/// What stands in the way of these moves, the first of it.
///
/// # Errors
/// What the view says.
pub fn of(view: &View, moves: &[Move]) -> Result<Hindrance> {
    let mut first = None;
    for Move { from, to, .. } in moves {
        let (from, to) = (view.workspace.place(from)?, view.workspace.place(to)?);
        if first.is_none() && view.exists(&from.absolute)? && view.exists(&to.absolute)? {
            first = Some((from, to));
        }
    }
    let Some((from, to)) = first else {
        return Err(Error::bug("nothing stands in the way"));
    };
    Ok(Hindrance {
        stands: view.sized(&from)?,
        kept: view.sized(&to)?,
        path: from.display,
    })
}

impl Hindrance {
    /// Why it was left where it is.
    #[must_use]
    pub fn left(&self) -> String {
        format!(
            "{} stands there and was kept; what the run took away stays in {}",
            self.stands, self.kept
        )
    }

    /// The failure of an undo of `about`, with what a person does by hand.
    #[must_use]
    pub fn error(&self, about: &str, why: &str, run: &str, recovers: bool) -> Error {
        let aside = format!(
            "mv {} {}",
            quoted(&self.path),
            quoted(&format!("{}.aside", self.path))
        );
        let message = format!(
            "`{about}` can't be taken back: {why}: {}; what the run took away is {}",
            self.stands, self.kept
        );
        let hint = if recovers {
            format!(
                "two ways out: to get back what was there, `{aside}`, then `rollback recover`; to keep what stands there, \
                 `rollback recover --force`: it takes the rest back, and leaves what was there in the run's store"
            )
        } else {
            format!("by hand: `{aside}`, then `rollback undo {run}`; nothing is put over it")
        };
        Error::changed(message).hint(hint)
    }
}

/// All that keeps an undo from being made, as one failure.
#[must_use]
pub fn all(mut errors: Vec<Error>) -> Option<Error> {
    let first = errors.pop()?;
    if errors.is_empty() {
        return Some(first);
    }
    errors.push(first);
    let messages: Vec<&str> = errors.iter().map(Error::message).collect();
    let mut hints: Vec<&str> = errors.iter().filter_map(Error::hint_text).collect();
    hints.dedup();
    Some(Error::changed(messages.join("; ")).hint(hints.join("; ")))
}
