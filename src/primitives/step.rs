//! `step(title, closure)`.

use rhai::{Dynamic, EvalAltResult};

use crate::base::error::Error;
use crate::pass::Telling;
use crate::pass::thrown::{message, raise};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "step",
    parameters: &[
        Parameter::needed("title", Type::Text),
        Parameter::needed("body", Type::Closure),
        Parameter::options(&[("optional", Type::Boolean)]),
    ],
    returns: Type::Any,
    about: "Groups operations under a title in the plan, the progress and the report. Gives what the closure gives. \
            A step that is #{ optional: true } may fail under --force: the run goes on with a warning.",
    example: r#"step("Look around", || path_exists("package.json"))"#,
    action: Action::Tell(tell),
};

fn tell(arguments: &Arguments, telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    let closure = arguments
        .closure(1)
        .ok_or_else(|| raise(Error::invalid("`step` takes a closure")))?;
    let title = arguments.text(0);
    let number = telling.session.journal.borrow().opened + 1;
    let result = telling.session.step(&title, || telling.call(&closure));
    match result {
        Err(error)
            if error.is_catchable() && arguments.option_flag(2, "optional") && telling.session.forced =>
        {
            telling.session.pass_over(number);
            telling.session.warn(&format!(
                "step `{title}` failed and was passed over: {}",
                message(&error)
            ));
            Ok(Dynamic::UNIT)
        }
        result => result,
    }
}
