//! `rollback audit`: the log, and whether it holds.

use clap::Subcommand;
use serde_json::Value;

use super::{Everywhere, print, print_json, terminal};
use crate::error::{Error, Result};
use crate::exit_code::ExitCode;
use crate::gate::audit::chain;

/// What to do with the log.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Every record, a line each
    Show {
        /// Only this run
        run: Option<String>,
    },
    /// Check the whole chain; exit code 8 where it was damaged
    Verify {
        /// A head that was kept elsewhere: a report's or a log line's hash
        #[arg(long, value_name = "HASH")]
        expect_head: Option<String>,
    },
}

/// Shows or verifies the log.
///
/// # Errors
/// What the system says; [`crate::error::Kind::Corrupt`] where the log is damaged.
pub fn audit(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    let workspace = crate::workspace::Workspace::find(everywhere.workspace.as_deref())?;
    let directory = workspace.state().join("audit");
    match command {
        Command::Show { run } => {
            chain::read(&directory, |record| {
                let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
                if run.as_ref().is_some_and(|run| text("run") != run) {
                    return;
                }
                if everywhere.json {
                    print(&format!("{}\n", Value::Object(record.clone())));
                    return;
                }
                let seq = record.get("seq").and_then(Value::as_u64).unwrap_or(0);
                let about = [
                    "summary", "message", "question", "target", "found", "outcome", "what",
                ]
                .iter()
                .map(|key| text(key))
                .find(|text| !text.is_empty())
                .unwrap_or_default();
                let answer = text("answer");
                let answer = if answer.is_empty() {
                    String::new()
                } else {
                    format!(": {answer}")
                };
                let line = format!(
                    "{seq:>6}  {}  {:<19}  {}  {about}{answer}",
                    text("ts"),
                    text("event"),
                    text("run")
                );
                print(&format!("{}\n", terminal::escape(&line)));
            })?;
            Ok(ExitCode::Done)
        }
        Command::Verify { expect_head } => {
            let verified = chain::verify(&directory, expect_head.as_deref())?;
            if everywhere.json {
                print_json(&verified.to_json());
            } else {
                for damage in &verified.damage {
                    let what = match damage.kind {
                        "torn-tail" => "a torn last line (a crash, not tampering)",
                        kind => kind,
                    };
                    print(&format!("{}: record {}: {what}\n", damage.segment, damage.seq));
                }
                let head = verified
                    .head
                    .as_ref()
                    .map(|head| format!(", head {}", head.hash))
                    .unwrap_or_default();
                print(&format!(
                    "{}{head}\n",
                    terminal::plural(verified.records, "record")
                ));
            }
            if verified.is_sound() {
                return Ok(ExitCode::Done);
            }
            if everywhere.json {
                return Ok(ExitCode::Corrupt);
            }
            Err(Error::corrupt(format!(
                "the audit log is damaged in {}",
                terminal::plural(verified.damage.len() as u64, "place")
            ))
            .hint("keep the file as it is; compare with the heads in reports and in `logs/`"))
        }
    }
}
