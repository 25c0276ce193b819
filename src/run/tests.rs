//! Tests of scripts: each function `test_*` is a dry run of its own, in the workspace as it is. It sees what it pretends,
//! and nothing is left of it for the next one.

use std::path::Path;
use std::rc::Rc;

use super::Context;
use super::stories::Machine;
use crate::base::error::{Error, Result};
use crate::gate::Pass;
use crate::pass::{Questions, Silent};
use crate::script;
use crate::view::Errand;
use crate::workspace::story::{Script, Story};

/// How the names of tests begin.
const PREFIX: &str = "test_";

/// One test.
pub struct Tested {
    /// The script, as people know it.
    pub file: String,
    /// The function.
    pub name: String,
    /// Why it failed; `None` where it passed.
    pub failure: Option<Error>,
}

/// Runs the tests of a script, by name. A test fails where it throws, is refused, or a `check` in it does not hold.
///
/// # Errors
/// What keeps the script from being run at all.
pub fn run(context: &Context, path: &Path) -> Result<Vec<Tested>> {
    let script = script::read(path)?;
    let story = if script.header.is_empty() {
        None
    } else {
        let additions = &context.workspace.config().stories;
        Some(Rc::new(Story::of(script.clone(), additions)?))
    };
    let mut names: Vec<String> = script
        .ast
        .iter_functions()
        .filter(|function| function.name.starts_with(PREFIX) && function.params.is_empty())
        .map(|function| function.name.to_owned())
        .collect();
    names.sort();
    let tested = names.into_iter().map(|name| {
        Ok(Tested {
            file: script.name.clone(),
            failure: run_one(context, &script, story.as_ref(), &name)?.err(),
            name,
        })
    });
    tested.collect()
}

/// The inner result is the test's own.
fn run_one(context: &Context, script: &Script, story: Option<&Rc<Story>>, name: &str) -> Result<Result<()>> {
    let errand = Errand {
        dry_run: true,
        stories: story.iter().map(|story| story.id.clone()).collect(),
        ..Errand::begin(&context.host.clock)
    };
    let session = context.session(errand, Pass::Preview, Questions::Preview, Box::new(Silent))?;
    *session.view.story.borrow_mut() = story.cloned();
    {
        let mut journal = session.journal.borrow_mut();
        journal.scene.story = story.map(|story| story.id.clone()).unwrap_or_default();
        "test".clone_into(&mut journal.scene.phase);
    }
    if let Err(error) = Machine::of(&session, script).and_then(|machine| machine.call(script, name)) {
        return Ok(Err(error));
    }
    let journal = session.journal.borrow();
    let failed: Vec<String> = journal
        .checks
        .iter()
        .filter(|check| check.passed != Some(true))
        .map(|check| match &check.detail {
            Some(detail) => format!("`{}`: {detail}", check.title),
            None => format!("`{}` does not hold", check.title),
        })
        .collect();
    if failed.is_empty() {
        return Ok(Ok(()));
    }
    Ok(Err(Error::failed(failed.join("; ")).at(script.place_of(name))))
}
