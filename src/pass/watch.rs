//! Who is at work in a script, its engine or a word of ours, and where.

use std::cell::{Cell, RefCell};

use crate::base::error::{Error, Position};
use crate::workspace::story::Script;

/// What a session knows of the engine at work.
#[derive(Debug, Default)]
pub struct Watch {
    /// A word of ours is at work, and not the engine.
    in_word: Cell<bool>,
    /// Where the last word was said.
    last: RefCell<Option<Position>>,
    /// The engine failed.
    failed: Cell<bool>,
    /// A pass that only looks for the place of such a failure.
    searches: Cell<bool>,
    /// The last line that said itself; 0: none.
    line: Cell<usize>,
}

impl Watch {
    /// Does the work of a word (or, within one, of the engine again).
    pub fn within<T>(&self, word: bool, body: impl FnOnce() -> T) -> T {
        let before = self.in_word.replace(word);
        let result = body();
        self.in_word.set(before);
        result
    }

    /// Remembers where a word was said.
    pub fn called_at(&self, at: Position) {
        *self.last.borrow_mut() = Some(at);
    }

    /// What a panic means that came out of the engine: its own failure, or `None` where a word of ours was at work.
    pub fn failure(&self, script: &Script, phase: &str) -> Option<Error> {
        if self.in_word.replace(false) {
            return None;
        }
        self.failed.set(true);
        let at = self.last.borrow().clone();
        Some(failed(
            "at or after",
            at.unwrap_or_else(|| script.place_of(phase)),
        ))
    }

    /// Whether the engine failed; told once.
    pub fn take_failure(&self) -> bool {
        self.failed.take()
    }

    /// Makes this a pass that only looks for the place of a failure.
    pub fn search(&self) {
        self.searches.set(true);
    }

    /// Whether it is one.
    pub fn is_search(&self) -> bool {
        self.searches.get()
    }

    /// A script begins.
    pub fn begin(&self) {
        self.last.take();
        self.line.set(0);
    }

    /// A line says itself.
    pub fn mark(&self, line: i64) {
        self.line.set(usize::try_from(line).unwrap_or(0));
    }

    /// The last line that said itself; 0: none.
    pub fn line(&self) -> usize {
        self.line.get()
    }
}

/// The engine failed at a place of a script.
pub fn failed(how: &str, at: Position) -> Error {
    Error::script(format!("the script engine failed {how} line {}", at.line))
        .hint("this is a mistake of the engine: say it in another way there")
        .at(at)
}
