//! `find_paths(glob)`.

use rhai::Dynamic;

use crate::error::{Error, Result};
use crate::host::files::EntryKind;
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::{View, glob};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "find_paths",
    parameters: &[Parameter::needed("glob", Type::Text)],
    returns: Type::Texts,
    about: "Paths that match a glob, sorted: `*` within a name, `**` across directories, `?`, `[a-z]`, `{a,b}`. \
            What stands before the first of these says where to begin. Links are not followed; `.git`, `node_modules`, and what rollback keeps (state, backups, reports) are left out.",
    example: r#"find_paths("config/**/*.yaml").len() > 0"#,
    action: Action::Look(look),
};

/// Directories in which nobody looks for parts of a story.
const LEFT_OUT: [&str; 2] = [".git", "node_modules"];

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let pattern = arguments.text(0);
    // The plain path before the first wildcard says where to begin, and must be allowed.
    let plain: Vec<&str> = pattern
        .split('/')
        .take_while(|part| !part.contains(['*', '?', '[', '{']))
        .collect();
    let start = if plain.len() == pattern.split('/').count() {
        plain.len() - 1
    } else {
        plain.len()
    };
    let base = plain.get(..start).unwrap_or_default().join("/");
    let top = view.workspace.place(if base.is_empty() { "." } else { &base })?;
    view.workspace.place(&pattern)?;
    let glob = glob(pattern.trim_start_matches("./"))?;
    let mut found = rhai::Array::new();
    let mut pending = vec![top];
    let mut count = 0_u64;
    let ours = [
        view.workspace.state(),
        view.workspace.backups(),
        view.workspace.root().join(crate::workspace::REPORTS),
    ];
    while let Some(directory) = pending.pop() {
        let is_directory = view
            .stat(&directory.absolute)?
            .is_some_and(|stat| stat.kind == EntryKind::Directory);
        if !is_directory {
            continue;
        }
        for (name, kind) in view.list(&directory.absolute)? {
            count += 1;
            view.allowance.check()?;
            if count > view.limits().max_paths {
                return Err(Error::invalid(format!(
                    "`{pattern}` looks at more than {} paths",
                    view.limits().max_paths
                ))
                .hint("begin the glob with a directory, or raise policy.limits.max_paths"));
            }
            let place = directory.entry(&name);
            if ours.contains(&place.absolute) || LEFT_OUT.iter().any(|left_out| name == *left_out) {
                continue;
            }
            if glob.is_match(&place.shown) {
                found.push(Dynamic::from(place.spelled()));
            }
            if kind == EntryKind::Directory {
                pending.push(place);
            }
        }
    }
    found.sort_by_cached_key(|path| path.clone().into_string().unwrap_or_default());
    Ok(found.into())
}
