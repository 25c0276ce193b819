//! `rollback audit`: the log, whether it holds, and copies of it for others.

use clap::Subcommand;

use super::render;
use crate::audit::{anchors, chain, record};
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::{terminal, wording};
use crate::cli::output::{print, print_json};
use crate::cli::shared::{Everywhere, say};
use crate::workspace::Workspace;

/// Copies for other programs.
mod export;

/// The log as a person reads it.
mod show;

/// What to do with the log.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// What was recorded, run by run
    Show {
        /// Only this run
        #[arg(conflicts_with = "only")]
        run: Option<String>,
        /// Only this run
        #[arg(long = "run", value_name = "RUN")]
        only: Option<String>,
        /// Only the newest N records
        #[arg(short = 'n', long = "newest", value_name = "N")]
        newest: Option<usize>,
    },
    /// Check the whole chain; exit code 8 where it was damaged
    Verify {
        /// A head that was kept elsewhere: a report's or a log line's hash
        #[arg(long, value_name = "HASH", value_parser = hash)]
        expect_head: Option<String>,
        /// Fail where a place that may keep heads of the log could not be looked at
        #[arg(long)]
        strict: bool,
    },
    /// Write the records out: as they are, or as a table; exit code 8 where the log was damaged
    Export(export::Arguments),
}

fn hash(text: &str) -> std::result::Result<String, String> {
    let text = text.to_ascii_lowercase();
    record::unhex(&text)
        .map(|_| text)
        .ok_or_else(|| "a hash has 64 hexadecimal digits".to_owned())
}

/// Shows, verifies or exports the log.
///
/// # Errors
/// What the system says; [`crate::base::error::Kind::Corrupt`] where the log is damaged.
pub fn audit(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    let workspace = Workspace::find(everywhere.workspace.as_deref())?;
    match command {
        Command::Show { run, only, newest } => {
            show::show(everywhere, &workspace, run.as_ref().or(only.as_ref()), *newest)?;
            Ok(ExitCode::Done)
        }
        Command::Verify { expect_head, strict } => {
            verify(everywhere, &workspace, expect_head.as_deref(), *strict)
        }
        Command::Export(arguments) => export::export(everywhere, &workspace, arguments),
    }
}

fn check(workspace: &Workspace, expected: Option<&str>) -> Result<chain::Verified> {
    let (anchors, unseen) = anchors::collect(workspace.root());
    let verified = chain::verify_against(&workspace.state().join("audit"), expected, &anchors)?;
    Ok(chain::Verified { unseen, ..verified })
}

fn verify(
    everywhere: &Everywhere,
    workspace: &Workspace,
    expected: Option<&str>,
    strict: bool,
) -> Result<ExitCode> {
    let verified = check(workspace, expected)?;
    if everywhere.json {
        print_json(&verified.to_json());
        return Ok(match verified.verdict() {
            Some(false) => ExitCode::Corrupt,
            None if strict => ExitCode::Failed,
            _ => ExitCode::Done,
        });
    }
    for damage in &verified.damage {
        print(&format!("{}\n", terminal::escape(&rendered(damage))));
    }
    if verified.more > 0 {
        print(&format!("and {} more places\n", verified.more));
    }
    let head = verified
        .head
        .as_ref()
        .map(|head| format!(", head {}", head.hash))
        .unwrap_or_default();
    print(&format!(
        "{}{head}\n",
        wording::plural(verified.records, "record")
    ));
    if verified.anchors > 0 {
        print(&format!(
            "held against {} that reports and `logs/` keep\n",
            wording::plural(verified.anchors, "head")
        ));
    }
    if verified.earlier > 0 {
        print(&format!(
            "{} there of another log\n",
            wording::plural_as(verified.earlier, "head is", "heads are")
        ));
    }
    for why in &verified.unseen {
        print(&format!("unknown: {}\n", terminal::escape(why)));
    }
    match verified.verdict() {
        Some(false) => Err(damaged(&verified)),
        None if strict => Err(Error::unknown(format!(
            "whether the audit log is whole is unknown: {} could not be looked at",
            wording::plural(verified.unseen.len() as u64, "place")
        ))
        .hint("make the places readable that are named above, or leave --strict out")),
        _ => Ok(ExitCode::Done),
    }
}

/// One finding in words.
fn rendered(damage: &chain::Damage) -> String {
    let chain::Damage { segment, seq, .. } = damage;
    let what = match damage.kind {
        "torn-tail" => "a torn last line (a crash, not tampering)",
        "truncated" => "truncated: this record and what followed are missing",
        "replaced" => "replaced: it belongs to another log",
        kind => kind,
    };
    let against = match damage.against.as_deref() {
        Some("head") => ", as `.rollback/audit/head` tells".to_owned(),
        Some(place) => format!(", as `{place}` tells"),
        None => String::new(),
    };
    if segment == "head" {
        return format!(".rollback/audit/head (record {seq}): {what}{against}");
    }
    format!("{segment}: record {seq}: {what}{against}")
}

fn damaged(verified: &chain::Verified) -> Error {
    let places = verified.damage.len() as u64 + verified.more;
    Error::corrupt(format!(
        "the audit log is damaged in {}",
        wording::plural(places, "place")
    ))
    .hint("keep the file as it is; compare with the heads in reports and in `logs/`")
}

/// Says on stderr that what follows is not to be trusted.
fn warn_of_damage(everywhere: &Everywhere, verified: &chain::Verified) {
    let style = terminal::Style::of(&std::io::stderr(), everywhere.no_color);
    for why in &verified.unseen {
        say(&render::warning(why, &style));
    }
    for damage in verified.damage.iter().take(5) {
        say(&render::warning(&rendered(damage), &style));
    }
    if !verified.is_sound() {
        let message = format!(
            "{}: `rollback audit verify` tells more",
            damaged(verified).message()
        );
        say(&render::warning(&message, &style));
    }
}
