//! Where in a script its engine failed: a preview is made once more, with a script whose lines say themselves.

use std::rc::Rc;

use super::{Context, Request, stories};
use crate::base::error::{Error, Position};
use crate::gate::Pass;
use crate::pass::{Questions, Session, Silent};
use crate::script::failing;
use crate::workspace::story::Story;

/// The failure with its line, where the engine failed and a preview can find out; else the failure as it is.
pub fn located(
    context: &Context,
    session: &Rc<Session>,
    request: &Request,
    story: &Rc<Story>,
    error: Error,
) -> Error {
    let searches = session.view.errand.preview && !session.watch.is_search();
    if !session.watch.take_failure() || !searches {
        return error;
    }
    match place(context, session, request, story) {
        Some(place) => crate::pass::watch::failed("at", place),
        None => error,
    }
}

fn place(context: &Context, session: &Session, request: &Request, story: &Rc<Story>) -> Option<Position> {
    let marked = Story {
        script: failing::marked(&story.script)?,
        ..(**story).clone()
    };
    let marked = Rc::new(marked);
    let stories = request.stories.iter().map(|one| {
        let is_it = one.id == story.id;
        Rc::clone(if is_it { &marked } else { one })
    });
    let request = Request {
        // Those after it don't matter.
        stories: stories
            .take_while(|one| one.id != story.id)
            .chain([Rc::clone(&marked)])
            .collect(),
        ..request.clone()
    };
    let errand = session.view.errand.clone();
    let search = context
        .session(errand, Pass::Preview, Questions::Preview, Box::new(Silent))
        .ok()?;
    search.watch.search();
    // How it ends is known.
    let _ = stories::run_all(context, &search, &request);
    let line = search.watch.line();
    let column = story.script.source.lines().nth(line.checked_sub(1)?)?;
    let column = column
        .chars()
        .take_while(|character| character.is_whitespace())
        .count();
    let at = rhai::Position::new(u16::try_from(line).ok()?, u16::try_from(column + 1).ok()?);
    Some(story.script.position(at))
}
