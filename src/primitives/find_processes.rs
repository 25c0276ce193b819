//! `find_processes(query)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// What a query may say; all that is given must match.
pub const QUERY: &[(&str, Type)] = &[
    ("pid_file", Type::Text),
    ("name", Type::Text),
    ("argument", Type::Text),
    ("command", Type::TextOrTexts),
    ("port", Type::Integer),
    ("cwd", Type::Text),
    ("holds", Type::Text),
];

/// The word.
pub static WORD: Primitive = Primitive {
    name: "find_processes",
    parameters: &[Parameter::query("query", QUERY)],
    returns: Type::Array,
    about: "Processes of this user, started from the workspace, that match every selector: pid_file (evidence, checked \
            against the start time), name (exact program or script), argument (exact), command (leading words), port \
            (listens), cwd (at or below), holds (has a file open at or below). Gives maps with pid, name, command, \
            started, memory, user.",
    example: r#"find_processes(#{ pid_file: "logs/duckdb.pid" }).len()"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let found = view.processes(&super::looking::process_query(arguments, 0, view)?)?;
    let processes: rhai::Array = found.iter().map(super::looking::process_map).collect();
    Ok(processes.into())
}
