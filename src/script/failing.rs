//! Who is at work in a script, its engine or a word of ours, and where: the engine has mistakes too, and a person must be
//! told the line of the script at which one was met.

use std::cell::{Cell, RefCell};

use super::Script;
use crate::error::{Error, Position};

/// What a session knows of the engine at work.
#[derive(Debug)]
pub struct Watch {
    /// A word of ours is at work, and not the engine.
    in_word: Cell<bool>,
    /// Where the last word was said.
    last: RefCell<Option<Position>>,
    /// The engine failed after so many operations of the story.
    failed: Cell<Option<u64>>,
    /// A pass that only looks for the place of such a failure: the story, and the operation at which it ends.
    halt: RefCell<Option<(String, u64)>>,
    /// The same, for the story at hand.
    halts_at: Cell<u64>,
    /// The last operation that was refused for it.
    refused: Cell<u64>,
    /// Where it ended.
    halted: RefCell<Option<Position>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            in_word: Cell::new(false),
            last: RefCell::default(),
            failed: Cell::new(None),
            halt: RefCell::default(),
            halts_at: Cell::new(u64::MAX),
            refused: Cell::new(0),
            halted: RefCell::default(),
        }
    }
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
    pub fn said(&self, at: Position) {
        *self.last.borrow_mut() = Some(at);
    }

    /// What a panic means that came out of the engine: its own failure, or `None` where a word of ours was at work.
    pub fn failure(&self, script: &Script, phase: &str, operations: u64) -> Option<Error> {
        if self.in_word.replace(false) {
            return None;
        }
        self.failed.set(Some(operations));
        let at = self.last.borrow().clone();
        Some(failed("at or after", at.unwrap_or_else(|| script.place_of(phase))))
    }

    /// After how many operations of a story the engine failed, if it did; told once.
    pub fn take_failure(&self) -> Option<u64> {
        self.failed.take()
    }

    /// Makes this a pass that ends at an operation of a story.
    pub fn halt(&self, story: &str, operation: u64) {
        *self.halt.borrow_mut() = Some((story.to_owned(), operation));
    }

    /// Whether this pass only looks for the place of a failure.
    pub fn is_search(&self) -> bool {
        self.halt.borrow().is_some()
    }

    /// A story begins.
    pub fn begin(&self, story: Option<&str>) {
        self.last.take();
        let halt = self.halt.borrow();
        let at = halt.as_ref().filter(|(id, _)| Some(id.as_str()) == story);
        self.halts_at.set(at.map_or(u64::MAX, |(_, operation)| *operation));
    }

    /// Whether this operation of the story is the end of the pass.
    pub fn ends(&self, operation: u64) -> bool {
        let ends = operation >= self.halts_at.get();
        if ends {
            self.refused.set(operation);
        }
        ends
    }

    /// A phase failed: its place is that of the operation, unless somebody went on after it.
    pub fn failed_at(&self, error: &Error) {
        if self.refused.get() == self.halts_at.get() {
            *self.halted.borrow_mut() = error.position().cloned();
        }
    }

    /// Where the pass ended.
    pub fn halted(&self) -> Option<Position> {
        self.halted.borrow().clone()
    }
}

/// The engine failed at a place of a script.
pub fn failed(how: &str, at: Position) -> Error {
    Error::script(format!("the script engine failed {how} line {}", at.line))
        .hint("this is a mistake of the engine: say it in another way there")
        .at(at)
}

/// Fails as the engine would, where a test asked for it.
#[cfg(debug_assertions)]
pub fn fail_for_a_test(text: &str) {
    let asked = std::env::var_os("ROLLBACK_TEST_ENGINE_FAILURE");
    assert!(asked.is_none_or(|asked| asked != text), "asked for by a test");
}
