//! Taking an edit of ours back from a file that was changed after it, by later operations or by others: the edit goes, what
//! came after it stays.

use serde_json::Value;

use super::History;
use crate::audit::segments;
use crate::base::error::Result;
use crate::edit::{Edited, json, yaml};
use crate::host::files::TEXT_LIMIT;
use crate::operation::editing::kept_after;
use crate::report::undo::Undo;
use crate::run::history::three_way;
use crate::view::View;
use crate::workspace::Place;
use crate::workspace::flags::Flags;

/// A file without an edit of ours.
#[derive(Debug)]
pub struct Merged {
    /// Its contents.
    pub text: String,
    /// What came after the edit and stays: "lines 3 and 7-9".
    pub stays: String,
}

/// The contents of a file without one edit of it, and with what came after: a three-way merge of the text before the
/// edit, the text after it (which the run or a later operation kept), and the text now. `before` is empty for a file
/// that the edit made. `None` where a text is missing, where both changed the same lines, or where the result would no
/// longer be what the file is.
///
/// # Errors
/// What the log says.
pub fn without(
    history: &History,
    view: &View,
    run: &str,
    path: &str,
    (before, after): (Option<&str>, &str),
) -> Result<Option<Merged>> {
    let place = view.workspace.place(path)?;
    let text = |place: &Place| {
        let bytes = view.read(place, TEXT_LIMIT).ok()?;
        String::from_utf8(bytes).ok()
    };
    let before = match before {
        Some(saved) => text(&view.workspace.place(saved)?),
        None => Some(String::new()),
    };
    let kept = text(&kept_after(&view.workspace, run, after))
        .filter(|text| blake3::hash(text.as_bytes()).to_hex().as_str() == after);
    let after = match kept {
        Some(text) => Some(text),
        None => saved_text(history, view, path, after)?,
    };
    let (Some(now), Some(before), Some(after)) = (text(&place), before, after) else {
        return Ok(None);
    };
    let is_flags = place == view.workspace.flags_file();
    let (before, after) = if is_flags {
        // Every edit of the flags writes its own time: that is no conflict.
        (of_the_same_time(&now, before), of_the_same_time(&now, after))
    } else {
        (before, after)
    };
    let Some(text) = three_way::merge(&after, &before, &now) else {
        return Ok(None);
    };
    let whole = match place.absolute.extension().and_then(std::ffi::OsStr::to_str) {
        _ if is_flags => Flags::parse(&text).is_ok(),
        Some("yaml" | "yml") => yaml::get(&text, "x").is_ok(),
        Some("json") => json::get(&text, "x").is_ok(),
        _ => true,
    };
    let stays = three_way::changed_lines(&after, &now);
    Ok(whole.then_some(Merged { text, stays }))
}

/// Contents with this digest that some operation saved before it edited the file.
///
/// # Errors
/// What the log says.
pub fn saved_text(history: &History, view: &View, path: &str, digest: &str) -> Result<Option<String>> {
    let mut places: Vec<String> = Vec::new();
    segments::read(&history.state.join("audit"), |record| {
        if record.get("event").and_then(Value::as_str) != Some("operation_begun") {
            return;
        }
        let undo = record.get("undo").cloned().unwrap_or(Value::Null);
        if let Ok(Undo::RestoreContents { files, .. } | Undo::InstallPackages { files, .. }) =
            serde_json::from_value(undo)
        {
            let of_this = files.into_iter().filter(|file| file.path == path);
            places.extend(of_this.map(|file| file.saved));
        }
    })?;
    for display in places.iter().rev() {
        let Ok(bytes) = view.read(&view.workspace.place(display)?, TEXT_LIMIT) else {
            continue;
        };
        if blake3::hash(&bytes).to_hex().as_str() == digest {
            return Ok(String::from_utf8(bytes).ok());
        }
    }
    Ok(None)
}

fn of_the_same_time(now: &str, text: String) -> String {
    const KEY: &str = "metadata.last_modified";
    let Ok(Some(time)) = yaml::get(now, KEY) else {
        return text;
    };
    match yaml::set(&text, KEY, &time) {
        Ok(Edited::Changed(text)) => text,
        _ => text,
    }
}
