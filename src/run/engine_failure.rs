//! Where in a script its engine failed. The engine does not tell, but it tells the place at which it is ended: so a preview
//! is made once more, which ends at the operation that was the last.

use std::rc::Rc;

use super::{Context, Request, stories};
use crate::error::{Error, Position};
use crate::gate::Pass;
use crate::script::failing;
use crate::script::session::{Questions, Session, Silent};
use crate::workspace::catalogue::Story;

/// So many previews may be made for it.
const TRIES: u32 = 16;

/// The failure with its line, where the engine failed and a preview can find out; else the failure as it is.
pub fn located(
    context: &Context,
    session: &Rc<Session>,
    request: &Request,
    story: &Story,
    error: Error,
) -> Error {
    let Some(operations) = session.watch.take_failure() else {
        return error;
    };
    if session.watch.is_search() || !session.view.errand.preview {
        return error;
    }
    match place(context, session, request, story, operations) {
        Some(place) => failing::failed("at", place),
        None => error,
    }
}

/// The place of the last operation before the failure that is not swallowed with what it ends in.
fn place(
    context: &Context,
    session: &Session,
    request: &Request,
    story: &Story,
    operations: u64,
) -> Option<Position> {
    let ended_at = |operation: u64| {
        let errand = session.view.errand.clone();
        let search = context.session(errand, Pass::Preview, Questions::Preview, Box::new(Silent));
        let search = search.ok()?;
        search.watch.halt(&story.id, operation);
        // How it ends is not what is asked.
        let _ = stories::run_all(context, &search, request);
        search.watch.halted()
    };
    if let Some(place) = ended_at(operations) {
        return Some(place);
    }
    let (mut low, mut high, mut found) = (0, operations, None);
    for _ in 0..TRIES {
        let middle = low + (high - low) / 2;
        if middle == low {
            break;
        }
        match ended_at(middle) {
            Some(place) => {
                found = Some(place);
                low = middle;
            }
            None => high = middle,
        }
    }
    found
}
