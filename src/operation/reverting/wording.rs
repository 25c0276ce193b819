//! What an undo is about, in the words of a plan.

use crate::operation::Undo;

/// What an undo is about, for the plan.
#[must_use]
pub fn describe(undo: &Undo) -> String {
    match undo {
        Undo::Nothing { why } => why.clone(),
        Undo::MoveBack { moves, .. } => match moves.as_slice() {
            [one] => format!("move `{}` back to `{}`", one.to, one.from),
            many => format!(
                "move {} back",
                crate::cli::terminal::plural(many.len() as u64, "path")
            ),
        },
        Undo::RemoveCreated { path, .. } => format!("remove `{path}`, which the run made"),
        Undo::RestoreContents { files, .. } => {
            let names: Vec<String> = files.iter().map(|file| format!("`{}`", file.path)).collect();
            format!("put back the contents of {}", names.join(", "))
        }
        Undo::InstallPackages {
            manager, packages, ..
        } => {
            let names: Vec<String> = packages
                .iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect();
            format!("install with {manager}: {}", names.join(", "))
        }
        Undo::Command { argv, .. } => format!("run `{}`", argv.join(" ")),
    }
}

/// What a move or restoration is about, for the target column.
#[must_use]
pub fn target(undo: &Undo) -> String {
    match undo {
        Undo::Nothing { .. } => String::new(),
        Undo::MoveBack { moves, .. } => moves.first().map(|each| each.from.clone()).unwrap_or_default(),
        Undo::RemoveCreated { path, .. } => path.clone(),
        Undo::RestoreContents { files, .. } => {
            files.first().map(|file| file.path.clone()).unwrap_or_default()
        }
        Undo::InstallPackages { manager, .. } => manager.clone(),
        Undo::Command { argv, .. } => argv.join(" "),
    }
}
