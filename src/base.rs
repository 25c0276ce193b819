//! What everything above stands on: errors, what a look gives, words for people, secrets, time. Imports nothing of the
//! program.

/// What can go wrong.
pub mod error;

/// How the program ends.
pub mod exit_code;

/// What a look gives: what was seen, or why nobody can tell.
pub mod known;

/// What becomes of a panic.
pub mod panic;

/// The databases that the stack keeps in files.
pub mod database;

/// Text for people: what of it a terminal may get, widths, and numbers with their units.
pub mod terminal;

/// What is masked before anybody sees or stores it.
pub mod redact;

/// Time.
pub mod clock;

/// Walls of our own that tests take down.
pub mod broken;

/// Words for people.
pub mod wording;
