//! `memory_usage()`.

use rhai::{Dynamic, Map};

use crate::base::error::Error;
use crate::base::error::Result;
use crate::host::processes;
use crate::host::sight::Look;
use crate::primitives::contract::Action;
use crate::primitives::contract::Arguments;
use crate::primitives::contract::Primitive;
use crate::primitives::contract::Type;
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "memory_usage",
    parameters: &[],
    returns: Type::Map,
    about: "The machine's memory: a map with total and available in bytes, and used as a share from 0.0 to 1.0.",
    example: "memory_usage().used > 0.0",
    action: Action::Look(look),
};

fn look(_arguments: &Arguments, view: &View) -> Result<Dynamic> {
    view.look(Look::Room, "memory")?;
    let memory = processes::memory().map_err(Error::of_looking)?;
    let mut map = Map::new();
    map.insert(
        "total".into(),
        i64::try_from(memory.total).unwrap_or(i64::MAX).into(),
    );
    map.insert(
        "available".into(),
        i64::try_from(memory.available).unwrap_or(i64::MAX).into(),
    );
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of memory needs no more than 52 bits"
    )]
    let used = 1.0 - memory.available as f64 / (memory.total as f64).max(1.0);
    map.insert("used".into(), used.into());
    Ok(map.into())
}
