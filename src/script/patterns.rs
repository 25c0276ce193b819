//! The patterns that a story says, in its header and to its words: one that matches nothing is named in the plan, because
//! it may be a slip.

use rhai::Dynamic;

use super::header;
use crate::base::error::Result;
use crate::base::wording::plural;
use crate::pass::Session;
use crate::pattern::is_pattern;
use crate::primitives::contract::{Arguments, Primitive};
use crate::view::View;
use crate::workspace::story::Story;

/// So many are named in one warning.
const SHOWN: usize = 20;

/// The words that take patterns.
const FINDING: [&str; 2] = ["find_paths", "find_parts"];

fn note(session: &Session, word: Option<&'static str>, text: &str, matched: bool) {
    let mut journal = session.journal.borrow_mut();
    *journal.patterns.entry((word, text.to_owned())).or_default() |= matched;
}

/// What is gone is looked for by the checks, and may well match nothing.
fn counts(session: &Session) -> bool {
    session.journal.borrow().scene.phase != "validate"
}

/// Notes the patterns that a word is given, before it acts.
pub fn given(session: &Session, word: &'static Primitive, arguments: &Arguments) {
    // It makes what it names.
    if word.name == "write_text" || !counts(session) {
        return;
    }
    for text in texts(word, arguments) {
        let view = &session.view;
        let matched = match word.name {
            // What it gives is the answer.
            "find_paths" => continue,
            "find_parts" => view.standing(&text).map(|found| !found.is_empty()),
            _ => view
                .workspace
                .place(&text)
                .and_then(|place| view.exists(&place.absolute)),
        };
        // What can't be looked at is told by the word itself.
        if let Ok(matched) = matched {
            note(
                session,
                (!FINDING.contains(&word.name)).then_some(word.name),
                &text,
                matched,
            );
        }
    }
}

/// Notes what a word that looks for a pattern gave.
pub fn answered(session: &Session, word: &'static Primitive, arguments: &Arguments, value: &Dynamic) {
    let text = arguments.text(0);
    if word.name == "find_paths" && is_pattern(&text) && counts(session) {
        let is_empty = value
            .read_lock::<rhai::Array>()
            .is_none_or(|found| found.is_empty());
        note(session, None, &text, !is_empty);
    }
}

/// The patterns among the paths that a word is given.
fn texts(word: &Primitive, arguments: &Arguments) -> Vec<String> {
    let mut texts = Vec::new();
    for (index, parameter) in word.parameters.iter().enumerate() {
        match parameter.name {
            "path" | "paths" | "from" | "source" | "glob" => texts.extend(arguments.texts(index)),
            _ => {}
        }
        for (key, _) in parameter.keys {
            match *key {
                "holds" | "pid_file" | "cwd" => texts.extend(arguments.option_texts(index, key)),
                // Relative to what is taken away around it.
                "keep" => {
                    let kept = arguments.option_texts(index, key);
                    let above = arguments.text(0);
                    texts.extend(
                        kept.iter()
                            .map(|kept| format!("{}/{kept}", above.trim_end_matches('/'))),
                    );
                }
                _ => {}
            }
        }
    }
    texts.retain(|text| is_pattern(text));
    texts
}

/// A story begins: notes the patterns of its header, and warns where nothing of it is there, or nothing is done with it.
///
/// # Errors
/// What the view says.
pub fn begin(session: &Session, story: &Story) -> Result<()> {
    session.journal.borrow_mut().patterns.clear();
    if !session.view.errand.preview {
        return Ok(());
    }
    if let Some(nothing) = story.says_nothing() {
        session.warn(&format!("story {}: {nothing}", story.id));
    }
    let paths = header::paths(&story.script.header);
    let patterns: Vec<&String> = paths.iter().filter(|text| is_pattern(text)).collect();
    let named = story.parts.len();
    if named > 0 && session.view.present(story)?.is_empty() {
        // One line says it of all of them.
        for text in patterns {
            note(session, None, text, true);
        }
        session.warn(&format!(
            "story {}: of the {} that it names, nothing is here",
            story.id,
            plural(named as u64, "path")
        ));
        return Ok(());
    }
    for text in patterns {
        note(session, None, text, !session.view.standing(text)?.is_empty());
    }
    Ok(())
}

/// A story ends: names its patterns that never matched.
pub fn end(session: &Session, story: &Story) {
    let patterns = std::mem::take(&mut session.journal.borrow_mut().patterns);
    let missed: Vec<&(Option<&str>, String)> = patterns
        .iter()
        .filter(|(_, matched)| !**matched)
        .map(|(said, _)| said)
        .collect();
    let named = missed.iter().filter(|(word, _)| word.is_none());
    let named: Vec<String> = named.map(|(_, text)| format!("`{text}`")).collect();
    if !named.is_empty() {
        let mut display: Vec<&str> = named.iter().map(String::as_str).take(SHOWN).collect();
        let more = format!("{} more", named.len().saturating_sub(SHOWN));
        if named.len() > SHOWN {
            display.push(&more);
        }
        session.warn(&format!(
            "story {}: nothing matches {}",
            story.id,
            display.join(", ")
        ));
    }
    for (word, text) in missed.into_iter().take(SHOWN) {
        if let Some(word) = word {
            session.warn(&format!(
                "story {}: {word} was given `{text}`, and nothing is called so: it takes paths; find_paths() takes patterns",
                story.id
            ));
        } else if stands_as_written(&session.view, text) {
            session.warn(&format!(
                "story {}: `{text}` is there as it is written: a `\\` before each of its signs names it",
                story.id
            ));
        }
    }
}

fn stands_as_written(view: &View, text: &str) -> bool {
    let place = view.workspace.place(text);
    place
        .and_then(|place| view.exists(&place.absolute))
        .unwrap_or(false)
}
