//! The integration tests: the real binary on throw-away workspaces.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests work in temporary directories, fail by panicking"
)]

mod alerts;
mod apply;
mod approved;
mod architecture;
mod backups;
mod bad_input;
mod choosing;
mod commands;
mod copies;
mod databases;
mod diagnostics;
mod disk;
mod doctor;
mod edits;
mod faults;
mod figures;
mod fuzzed;
mod headers;
mod history;
mod hostile;
mod interrupted;
mod json;
mod kernel_rights;
mod legacy;
mod monitor;
mod packages;
mod patterns;
mod primitives;
mod processes;
mod prompts;
mod properties;
mod proven;
mod prune;
#[cfg(feature = "real-stack")]
mod real_stack;
mod records;
mod rehearsals;
mod removals;
mod rules;
mod sandbox;
mod script_check;
mod script_test;
mod second_program;
mod secrets;
mod services;
mod skipped;
mod stdout;
mod stories;
mod switches;
mod tamper;
mod traced;
mod transaction;
mod undo;
mod unknown;
#[cfg(feature = "broken-walls")]
mod walls;
mod whose;
mod worlds;
