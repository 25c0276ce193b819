//! `rollback` rolls back what was rolled out: a script asks, a host decides, acts, remembers, and can take it back.
//!
//! The modules stand in the order of one call:
//!
//! ```text
//! script -> primitive -> operation -> gate [policy > demands > overlay > confirm > audit] -> host -> report
//! ```

/// The command line: one file a command.
pub mod cli;

/// Where things are: root, configuration, paths, lock, stories and their order.
pub mod workspace;

/// A run: preview, approval, real pass, validation, report.
pub mod run;

/// The Rhai engine and its limits, story headers, the embedded library, diagnostics.
pub mod script;

/// One file a word.
pub mod primitives;

/// What was asked for, as data.
pub mod operation;

/// The only way in: policy, overlay, confirmation, audit.
pub mod gate;

/// What a script sees: the world, with what this run has pretended so far.
pub mod view;

/// The only module that changes the world.
pub mod host;

/// Backups: manifest, copy, verification.
pub mod backup;

/// Edits of text files that change only the asked-for bytes.
pub mod edit;

/// Which source files name which others.
pub mod references;

/// A line of a log as an event.
pub mod log_line;

/// Watching: metrics, triggers, verdicts, and what they set off.
pub mod monitor;

/// What happened, told to people and programs elsewhere.
pub mod alert;

/// A run as told to people and programs.
pub mod report;

/// A throw-away workspace in which all stories are deployed.
pub mod demo;

/// The one language of patterns.
pub mod pattern;

/// How a test that can't run says so.
#[cfg(test)]
#[path = "../tests/skipped.rs"]
mod skipped;

/// What everything stands on: errors, words for people, secrets, time.
pub mod base;

/// Every intent is on disk before the act, every outcome after it.
pub mod audit;

/// What is kept durably below `.rollback`.
pub mod records;

/// One pass of a run, as the words of a script see it.
pub mod pass;
