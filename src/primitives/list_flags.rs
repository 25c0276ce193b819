//! `list_flags()`.

use rhai::{Dynamic, Map};

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "list_flags",
    parameters: &[],
    returns: Type::Map,
    about: "All features: name to a map with raw and effective.",
    example: "list_flags().duckdb_analytics.raw",
    action: Action::Look(look),
};

fn look(_arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let mut all = Map::new();
    if let Some(flags) = view.flags()? {
        for name in flags.names() {
            let mut flag = Map::new();
            flag.insert("raw".into(), flags.raw(name).unwrap_or(false).into());
            flag.insert("effective".into(), flags.effective(name).unwrap_or(false).into());
            all.insert(name.into(), flag.into());
        }
    }
    Ok(all.into())
}
