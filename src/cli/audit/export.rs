//! `rollback audit export`: the records as they are, byte for byte, or as a table for a spreadsheet.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::audit::{record, segments};
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::terminal::Style;
use crate::base::{clock, wording};
use crate::cli::output::Stdout;
use crate::cli::render;
use crate::cli::shared::{Everywhere, say};
use crate::host::outputs::new_output;
use crate::workspace::Workspace;

/// What is exported, and how.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The lines of the log as they are, or a table
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Write a new file; one that is there already is never replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only this run
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only from then on: 2026-11-23, 2026-11-23T01:30:00Z, or 36h for the last 36 hours
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<String>,
    /// Only this event (may be given more than once)
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,
}

/// The form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line, byte for byte as in the log
    Jsonl,
    /// A table after RFC 4180, its cells safe to open in a spreadsheet
    Csv,
}

/// The columns of the table; what a record holds beyond them stands in `more`, as JSON.
const COLUMNS: [&str; 21] = [
    "seq", "ts", "log", "run", "event", "n", "story", "phase", "step", "op", "target", "summary", "risk",
    "undo", "kind", "message", "question", "answer", "more", "prev", "hash",
];

/// A time as records write it: they compare as texts.
fn since(text: &str) -> std::result::Result<String, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(clock::timestamp(time.into()));
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(format!("{date}T00:00:00.000Z"));
    }
    humantime::parse_duration(text)
        .ok()
        .and_then(|ago| std::time::SystemTime::now().checked_sub(ago))
        .map(clock::timestamp)
        .ok_or_else(|| "a date, a time with its zone, or a duration such as 36h".to_owned())
}

/// Exports the log, also a damaged one, and says so.
///
/// # Errors
/// What the system says; [`crate::base::error::Kind::Usage`] where the file is there already.
pub(super) fn export(
    everywhere: &Everywhere,
    workspace: &Workspace,
    arguments: &Arguments,
) -> Result<ExitCode> {
    let verified = super::check(workspace, None)?;
    super::warn_of_damage(everywhere, &verified);
    let to_file = arguments.output.is_some();
    let sink: Box<dyn Write> = match &arguments.output {
        Some(path) => Box::new(new_output(path, workspace)?),
        None => Box::new(Stdout),
    };
    let mut export = Export {
        arguments,
        sink: match arguments.format {
            Format::Jsonl => Sink::Lines(BufWriter::new(sink)),
            Format::Csv => Sink::Table(Box::new(table(sink))),
        },
        failed: None,
        left_out: 0,
    };
    if let Sink::Table(table) = &mut export.sink {
        unless(&mut export.failed, || Ok(table.write_record(COLUMNS)?));
    }
    segments::lines(&workspace.state().join("audit"), |line| export.line(line))?;
    let ended = match &mut export.sink {
        Sink::Lines(lines) => lines.flush(),
        Sink::Table(table) => table.flush(),
    };
    // Of standard output it is told at the end of the command.
    if let (Some(error), true) = (export.failed.take().or(ended.err()), to_file) {
        return Err(Error::io("write the export", &error));
    }
    if export.left_out > 0 {
        let message = format!(
            "{} no records, and left out",
            wording::plural_as(export.left_out, "line is", "lines are")
        );
        let style = Style::of(&std::io::stderr(), everywhere.no_color);
        say(&render::warning(&message, &style));
    }
    Ok(if verified.is_sound() {
        ExitCode::Done
    } else {
        ExitCode::Corrupt
    })
}

enum Sink {
    Lines(BufWriter<Box<dyn Write>>),
    Table(Box<csv::Writer<Box<dyn Write>>>),
}

struct Export<'a> {
    arguments: &'a Arguments,
    sink: Sink,
    failed: Option<std::io::Error>,
    left_out: u64,
}

impl Export<'_> {
    fn line(&mut self, line: &[u8]) {
        let all =
            self.arguments.run.is_none() && self.arguments.since.is_none() && self.arguments.event.is_empty();
        let front = std::str::from_utf8(line).ok().and_then(record::front);
        let wanted = match front {
            Some(front) => self.wants(&front),
            // What is no record has no run and no time, and still is part of the log as it is.
            None => all && self.arguments.format == Format::Jsonl,
        };
        let failed = &mut self.failed;
        match &mut self.sink {
            Sink::Lines(lines) if wanted => {
                unless(failed, || {
                    lines.write_all(line).and_then(|()| lines.write_all(b"\n"))
                });
            }
            Sink::Lines(_) => self.left_out += u64::from(front.is_none()),
            Sink::Table(table) => match serde_json::from_slice::<Map<String, Value>>(line) {
                Ok(record) if wanted => unless(failed, || Ok(table.write_record(cells(record))?)),
                Ok(_) if front.is_some() => {}
                _ => self.left_out += 1,
            },
        }
    }

    fn wants(&self, front: &record::Front<'_>) -> bool {
        let Arguments {
            run, since, event, ..
        } = self.arguments;
        run.as_ref().is_none_or(|run| run == front.run)
            && since.as_ref().is_none_or(|since| front.ts >= since.as_str())
            && (event.is_empty() || event.iter().any(|event| event == front.event))
    }
}

/// Writes, unless something could not be written before.
fn unless(failed: &mut Option<std::io::Error>, write: impl FnOnce() -> std::io::Result<()>) {
    if failed.is_none() {
        *failed = write().err();
    }
}

/// A table after RFC 4180.
fn table<W: Write>(sink: W) -> csv::Writer<W> {
    csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(sink)
}

/// The cells of a record's row.
fn cells(mut record: Map<String, Value>) -> Vec<String> {
    record.shift_remove("v");
    let cells = COLUMNS.map(|column| record.shift_remove(column));
    let more = if record.is_empty() {
        String::new()
    } else {
        Value::Object(record).to_string()
    };
    let text = |(column, cell): (&str, Option<Value>)| match cell {
        _ if column == "more" => more.clone(),
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
    };
    COLUMNS.into_iter().zip(cells).map(text).map(harmless).collect()
}

/// A spreadsheet takes what begins so for a formula, which could reach other programs and hosts.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return format!("'{cell}");
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_harmless_and_quoted() {
        for (cell, written) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-n", "'-n"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            (
                "=HYPERLINK(\"http://x\",1)",
                "\"'=HYPERLINK(\"\"http://x\"\",1)\"",
            ),
            ("a=1", "a=1"),
        ] {
            let mut table = table(Vec::new());
            table
                .write_record([harmless(cell.to_owned()), "x".to_owned()])
                .expect("a row");
            let row = table.into_inner().expect("a table");
            assert_eq!(String::from_utf8_lossy(&row), format!("{written},x\r\n"));
        }
    }

    #[test]
    fn times_are_written_as_records_write_them() {
        assert_eq!(since("2026-11-23").as_deref(), Ok("2026-11-23T00:00:00.000Z"));
        assert_eq!(
            since("2026-11-23T01:30:00+02:00").as_deref(),
            Ok("2026-11-22T23:30:00.000Z")
        );
        assert!(since("36h").is_ok_and(|time| time.starts_with("20") && time.len() == 24));
        assert!(since("yesterday").is_err() && since("99999999999999y").is_err());
    }
}
