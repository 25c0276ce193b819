//! `memory_usage()`.

use rhai::{Dynamic, Map};

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "memory_usage",
    parameters: &[],
    returns: Type::Map,
    about: "The memory of the machine, or of the control group where that may have less: a map with total and available in bytes, \
            and used as a share from 0.0 to 1.0. The first answer of a run stands for all of it, so that the run says what the plan said.",
    example: "memory_usage().used > 0.0",
    action: Action::Look(look),
};

fn look(_arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let memory = view.memory()?;
    let mut map = Map::new();
    map.insert(
        "total".into(),
        i64::try_from(memory.total).unwrap_or(i64::MAX).into(),
    );
    map.insert(
        "available".into(),
        i64::try_from(memory.available).unwrap_or(i64::MAX).into(),
    );
    map.insert("used".into(), memory.used().into());
    Ok(map.into())
}
