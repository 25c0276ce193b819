//! Whose word counts: what a pid file says of a person's own programs, who is in the person's own session, what a
//! process makes of TERM, and whose configuration is obeyed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::sandbox::{Finished, InTime as _, Sandbox, assert_says, assert_unchanged, ended};
use crate::skipped::skipped;

mod processes;
mod strangers;
mod waits;

/// A story that stops what a query finds.
fn story(query: &str) -> String {
    format!(
        "const STORY = #{{ id: \"9.1\", title: \"A service\" }};\nfn execute() {{ stop_processes({query}); }}\n"
    )
}

/// The operations of a report.
fn operations(report: &Value) -> &Vec<Value> {
    report["operations"].as_array().unwrap()
}
