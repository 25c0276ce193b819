//! `remove_paths(paths)`.

use crate::base::error::Result;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;
use crate::workspace::Place;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_paths",
    parameters: &[Parameter::needed("paths", Type::TextOrTexts)],
    returns: Type::Nothing,
    about: "As remove_path, for several paths, which go together or not at all; one that lies below another goes with it. \
            Databases, and what goes for good, go one by one.",
    example: r#"remove_paths(["logs/dbt", "logs/qa"])"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let mut places: Vec<Place> = Vec::new();
    for path in arguments.texts(0) {
        let place = view.workspace.place(&path)?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let tops: Vec<&Place> = places
        .iter()
        .filter(|place| {
            !places
                .iter()
                .any(|other| other != *place && place.absolute.starts_with(&other.absolute))
        })
        .collect();
    let mut proposals = Vec::new();
    let mut plain = Vec::new();
    for place in tops {
        // It goes with its database.
        if let Some(database) = view.database(place)?
            && database.main != *place
            && places.contains(&database.main)
        {
            continue;
        }
        if super::proposing::goes_plainly(view, place)? {
            plain.push(place);
        } else {
            proposals.extend(super::proposing::asked_removal(WORD.name, view, place)?);
        }
    }
    proposals.extend(super::proposing::removals(WORD.name, view, &plain)?);
    Ok(proposals)
}
