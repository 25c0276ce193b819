//! `rollback` rolls back what was rolled out: a script asks, a host decides, acts, remembers, and can take it back.
//!
//! The rooms stand in one order, and an import only goes down:
//!
//! cli > demo > monitor > run > script > primitives > pass > gate > operation > view > backup > references > host > alert >
//! audit > records > workspace > report > edit > log_line > pattern > base
//!
//! The way of one call goes down them, and `docs/architecture.md` walks it function by function:
//!
//! ```text
//! script -> primitive -> operation -> gate [policy > demands > overlay > confirm > audit] -> host -> report
//! ```

/// The command line: one file a command.
pub mod cli;

/// A throw-away workspace in which all stories are deployed.
pub mod demo;

/// Watching: metrics, triggers, verdicts, and what they set off.
pub mod monitor;

/// A run (preview, approval, real pass, validation, report), and how runs are taken back.
pub mod run;

/// Scripts: compiled under limits, run by an engine whose words are the primitives.
pub mod script;

/// The words of the script language: their contract, and one file a word.
pub mod primitives;

/// One pass of a run, as the words of a script see it.
pub mod pass;

/// The only way in: policy, overlay, confirmation, audit, then the host.
pub mod gate;

/// What was asked for: pretended on the overlay, or executed on the host.
pub mod operation;

/// What a script sees: the world, with what this run has pretended so far.
pub mod view;

/// Backups: manifest, copy, verification.
pub mod backup;

/// Which source files name which others.
pub mod references;

/// The only room that changes the world.
pub mod host;

/// The outbox of alerts.
pub mod alert;

/// Every intent is on disk before the act, every outcome after it.
pub mod audit;

/// What is kept durably below `.rollback`.
pub mod records;

/// Where things are: root, configuration, paths, lock, stories and flags.
pub mod workspace;

/// What happened, as data and as told to people and programs.
pub mod report;

/// Edits of text files that change only the asked-for bytes.
pub mod edit;

/// A line of a log as an event.
pub mod log_line;

/// The one language of patterns.
pub mod pattern;

/// What everything stands on: errors, words for people, secrets, time.
pub mod base;

/// How a test that can't run says so.
#[cfg(test)]
#[path = "../tests/skipped.rs"]
mod skipped;
