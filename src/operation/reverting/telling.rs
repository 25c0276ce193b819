//! An undo in words, for plan and report.

use crate::base::wording;
use crate::report::undo::Undo;
use crate::workspace::spelling;

/// What an undo is about, for the plan.
#[must_use]
pub fn describe(undo: &Undo) -> String {
    let text = match undo {
        Undo::Nothing { why } => why.clone(),
        Undo::MoveBack { moves, .. } => match moves.as_slice() {
            [one] => format!("move `{}` back to `{}`", one.to, one.from),
            many => format!("move {} back", wording::plural(many.len() as u64, "path")),
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
            format!("install packages of {manager} again: {}", names.join(", "))
        }
        Undo::SetMode { path, was, .. } => format!("give `{path}` its mode {was:04o} back"),
        Undo::Command { argv, .. } => format!("run `{}`", argv.join(" ")),
    };
    spelling::for_people(&text)
}

/// What a move or restoration is about, for the target column.
#[must_use]
pub fn target(undo: &Undo) -> String {
    let text = match undo {
        Undo::Nothing { .. } => String::new(),
        Undo::MoveBack { moves, .. } => moves.first().map(|each| each.from.clone()).unwrap_or_default(),
        Undo::RemoveCreated { path, .. } | Undo::SetMode { path, .. } => path.clone(),
        Undo::RestoreContents { files, .. } => {
            files.first().map(|file| file.path.clone()).unwrap_or_default()
        }
        Undo::InstallPackages { manager, .. } => manager.clone(),
        Undo::Command { argv, .. } => argv.join(" "),
    };
    spelling::for_people(&text)
}
