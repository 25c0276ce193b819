//! `write_text(path, text)`.

use crate::base::error::{Error, Result};
use crate::base::wording;
use crate::host::files::TEXT_LIMIT;
use crate::operation::Proposal;
use crate::operation::editing::Edit;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "write_text",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("text", Type::Text),
        Parameter::options(&[("overwrite", Type::Boolean)]),
    ],
    returns: Type::Nothing,
    about: "Makes a file with this text. Refuses where something stands there, unless told #{ overwrite: true }: the former \
            contents go into the run's store first.",
    example: r#"write_text("docs/note.txt", "rolled back\n")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let text = arguments.text(1);
    let size = wording::bytes(text.len() as u64);
    if !view.exists(&place.absolute)? {
        let edit = Edit::new(view, &place, None, text.into_bytes())?;
        return Ok(vec![Proposal::act(
            WORD.name,
            place.display.clone(),
            format!("make `{place}` ({size})"),
            edit,
        )]);
    }
    if !arguments.option_flag(2, "overwrite") {
        return Err(Error::exists(format!("`{place}` exists")).hint("say #{ overwrite: true } to replace it"));
    }
    let before = view.read(&place, TEXT_LIMIT)?;
    if before == text.as_bytes() {
        return Ok(vec![super::proposing::already(
            WORD.name,
            view,
            &place,
            "it holds this text already",
        )]);
    }
    let edit = Edit::new(view, &place, Some(&before), text.into_bytes())?;
    let (remark, summary) = (
        edit.remark(),
        format!("replace the contents of `{place}` ({size})"),
    );
    Ok(vec![
        Proposal::act(WORD.name, place.display.clone(), summary, edit).remarking(remark),
    ])
}
