//! `rollback audit show`: a heading a run, a line a record.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::audit::segments;
use crate::base::error::{Error, Result};
use crate::base::terminal::{Ink, Style, escape};
use crate::cli::output::print;
use crate::cli::shared::Everywhere;
use crate::workspace::Workspace;

type Record = Map<String, Value>;

/// Shows the records, or the newest of them.
///
/// # Errors
/// What the system says.
pub(super) fn show(
    everywhere: &Everywhere,
    workspace: &Workspace,
    run: Option<&String>,
    newest: Option<usize>,
) -> Result<()> {
    let directory = workspace.state().join("audit");
    let mut page = Page {
        json: everywhere.json,
        style: Style::of(&std::io::stdout(), everywhere.no_color),
        run: None,
    };
    let mut last: VecDeque<Record> = VecDeque::new();
    let mut take = |record: &Record| match newest {
        None => page.record(record),
        Some(0) => {}
        Some(newest) => {
            if last.len() >= newest {
                last.pop_front();
            }
            last.push_back(record.clone());
        }
    };
    match run {
        Some(run) => {
            let mut is_known = false;
            segments::read_run(&directory, run, |record| {
                is_known = true;
                take(record);
            })?;
            if !is_known {
                return Err(Error::usage(format!("the audit log knows no run `{run}`"))
                    .hint("`rollback history` lists the runs"));
            }
        }
        None => segments::read(&directory, &mut take)?,
    }
    for record in &last {
        page.record(record);
    }
    Ok(())
}

struct Page {
    json: bool,
    style: Style,
    /// The run whose heading was written last.
    run: Option<String>,
}

impl Page {
    fn record(&mut self, record: &Record) {
        if self.json {
            print(&format!("{}\n", Value::Object(record.clone())));
            return;
        }
        let run = text(record, "run");
        if self.run.as_deref() != Some(run) {
            let gap = if self.run.is_some() { "\n" } else { "" };
            let date = text(record, "ts").get(..10).unwrap_or_default();
            let heading = format!("Run {run}, {date} (times in UTC)");
            print(&format!(
                "{gap}{}\n",
                self.style.paint(Ink::Strong, &escape(&heading))
            ));
            self.run = Some(run.to_owned());
        }
        let (event, ink) = event(text(record, "event"));
        let time = text(record, "ts").get(11..23).unwrap_or_default();
        let number = number(record, "n").map_or_else(String::new, |n| n.to_string());
        print(&format!(
            "{:>7}  {}  {} {number:>4}  {}\n",
            number_of(record),
            self.style.paint(Ink::Faint, &escape(&format!("{time:<12}"))),
            self.style.paint(ink, &escape(&format!("{event:<11}"))),
            escape(&about(record)),
        ));
    }
}

fn text<'a>(record: &'a Record, key: &str) -> &'a str {
    record.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(record: &Record, key: &str) -> Option<u64> {
    record.get(key).and_then(Value::as_u64)
}

fn number_of(record: &Record) -> String {
    number(record, "seq").map_or_else(|| "?".to_owned(), |seq| seq.to_string())
}

/// An event in few letters, and what it means.
fn event(name: &str) -> (&str, Ink) {
    match name {
        "run_started" => ("run started", Ink::Strong),
        "run_finished" => ("run ended", Ink::Strong),
        "operation_begun" => ("begun", Ink::Change),
        "operation_finished" => ("finished", Ink::Good),
        "operation_failed" => ("failed", Ink::Danger),
        "operation_denied" => ("denied", Ink::Danger),
        "question_answered" => ("answered", Ink::Plain),
        "recovered" => ("recovered", Ink::Caution),
        other => (other, Ink::Plain),
    }
}

/// What the record is about, in one line.
fn about(record: &Record) -> String {
    let text = |key| text(record, key);
    match text("event") {
        "run_started" => {
            let stories: Vec<&str> = record
                .get("stories")
                .and_then(Value::as_array)
                .map(|stories| stories.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let what = match (text("undoes"), text("word"), stories.join(", ")) {
                ("", "", stories) => format!("{} of {stories}", text("kind")),
                ("", word, _) => word.to_owned(),
                (undoes, ..) => format!("undo of run {undoes}"),
            };
            let by = match (text("user"), text("host")) {
                ("", _) => String::new(),
                (user, host) => format!(", by {user} on {host}"),
            };
            let why = match text("reason") {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            format!("{what}{by}{why}")
        }
        "operation_begun" => text("summary").to_owned(),
        "operation_finished" => text("why").to_owned(),
        "operation_failed" => text("message").to_owned(),
        "operation_denied" => format!("{} {}: {}", text("op"), text("target"), text("message")),
        "question_answered" => format!("{} {}", text("question"), text("answer")),
        "run_finished" => match number(record, "exit_code") {
            Some(code) => format!("{}, exit code {code}", text("outcome")),
            None => text("outcome").to_owned(),
        },
        "recovered" if text("what").is_empty() => {
            format!("{} {}: {}", text("op"), text("target"), text("found"))
        }
        "recovered" => text("what").to_owned(),
        "rotated" => format!("the log goes on in {}", text("next")),
        _ => String::new(),
    }
}
