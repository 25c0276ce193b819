//! What happens inside, for whoever looks for the reason of something: spans along the way of a call and events where a
//! decision is taken, as lines on stderr and in a file. Off unless it is asked for, and never the audit log: nothing
//! rests on it. Secrets are masked as everywhere, and what others wrote is escaped.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::base::redact::{redact, redact_value};
use crate::base::terminal::escape;
use crate::cli::shared::{Everywhere, Form, say};
use crate::host::private;

/// How the targets of events begin; what people see and type goes without it.
const CRATE: &str = env!("CARGO_CRATE_NAME");

/// The variables that say what is wanted, the first that is set.
const VARIABLES: [&str; 2] = ["ROLLBACK_LOG", "RUST_LOG"];

/// Begins to write diagnostics, as options and variables ask for. Where nothing does, nothing is set up, and each place
/// that could tell something costs one comparison.
///
/// # Errors
/// `usage` for a variable that can't be read; `denied` for a log file that others can read; what the system says.
pub fn begin(everywhere: &Everywhere) -> Result<()> {
    let asked = asked()?;
    let mut sinks = Vec::new();
    let on_stderr = asked.clone().or_else(|| of_flags(everywhere.verbose).map(ours));
    if let Some(targets) = on_stderr.filter(|_| !everywhere.quiet) {
        sinks.push((targets, Sink::Stderr));
    }
    if let Some(path) = &everywhere.log_file {
        let level =
            of_flags(everywhere.verbose).map_or(LevelFilter::DEBUG, |level| level.max(LevelFilter::DEBUG));
        let file = Mutex::new(Some(private::append(path)?));
        sinks.push((asked.unwrap_or_else(|| ours(level)), Sink::File(file)));
    }
    if sinks.is_empty() {
        return Ok(());
    }
    let lines = Lines {
        sinks,
        form: everywhere.log_form(),
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
        .map_err(|_| Error::bug("diagnostics were set up twice"))
}

/// What so many `-v` ask for.
fn of_flags(verbose: u8) -> Option<LevelFilter> {
    match verbose {
        0 => None,
        1 => Some(LevelFilter::INFO),
        2 => Some(LevelFilter::DEBUG),
        _ => Some(LevelFilter::TRACE),
    }
}

/// Our own events up to a level, and nobody else's.
fn ours(level: LevelFilter) -> Targets {
    Targets::new().with_target(CRATE, level)
}

/// What the variables ask for.
fn asked() -> Result<Option<Targets>> {
    for variable in VARIABLES {
        if let Some(text) = std::env::var(variable)
            .ok()
            .filter(|text| !text.trim().is_empty())
        {
            return read(&text)
                .map(Some)
                .ok_or_else(|| {
                    Error::usage(format!("`{variable}` can't be read: `{text}`")).hint(
                        "a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or parts with levels: `host::processes=debug,gate=trace`",
                    )
                });
        }
    }
    Ok(None)
}

/// Levels by part: `debug`, `gate=trace,host::files=debug`, with or without the name of the program in front.
fn read(text: &str) -> Option<Targets> {
    let mut targets = Targets::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, level) = match part.split_once('=') {
            Some((name, level)) => (name.trim(), LevelFilter::from_str(level.trim()).ok()?),
            None => match LevelFilter::from_str(part) {
                Ok(level) => ("", level),
                Err(_) => (part, LevelFilter::TRACE),
            },
        };
        if !name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | ':'))
        {
            return None;
        }
        let rest = name
            .strip_prefix(CRATE)
            .or_else(|| name.strip_prefix("rollback"))
            .unwrap_or(name);
        let target = match rest.strip_prefix("::").unwrap_or(rest) {
            "" => CRATE.to_owned(),
            part => format!("{CRATE}::{part}"),
        };
        targets = targets.with_target(target, level);
    }
    Some(targets)
}

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Stderr,
    /// `None` once it could not be written: that is told, and nothing more is tried.
    File(Mutex<Option<File>>),
}

impl Sink {
    fn write(&self, line: &str) {
        let Self::File(file) = self else {
            return say(line);
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(line.as_bytes()));
        // Nothing rests on it, so what is at work goes on.
        if let Err(error) = written {
            *file = None;
            say(&format!(
                "warning: the log file can't be written, and ends here: {error}\n"
            ));
        }
    }
}

/// Writes spans that end, and events, each to those who asked for them.
#[derive(Debug)]
struct Lines {
    sinks: Vec<(Targets, Sink)>,
    form: Form,
}

/// What is kept of an open span.
#[derive(Debug, Clone)]
struct Open {
    since: Instant,
    fields: Map<String, Value>,
}

/// A span that an event lies in, for people and for programs.
type Around = Vec<(&'static str, Map<String, Value>)>;

/// One thing to tell.
struct Entry<'a> {
    /// RFC 3339 in UTC.
    at: String,
    level: Level,
    around: Around,
    target: &'a str,
    message: &'a str,
    fields: Map<String, Value>,
}

impl Lines {
    fn write(&self, metadata: &Metadata<'_>, around: Around, message: &str, fields: Map<String, Value>) {
        let target = metadata.target();
        let part = target.strip_prefix(CRATE).unwrap_or(target);
        let entry = Entry {
            at: Clock::system().timestamp(),
            level: *metadata.level(),
            around,
            target: part.strip_prefix("::").unwrap_or(part),
            message,
            fields,
        };
        for (targets, sink) in &self.sinks {
            if targets.would_enable(target, metadata.level()) {
                sink.write(&match self.form {
                    Form::Json => entry.json(),
                    Form::Text => entry.text(matches!(sink, Sink::File(_))),
                });
            }
        }
    }
}

impl Entry<'_> {
    fn json(&self) -> String {
        let span = |(name, fields): &(&'static str, Map<String, Value>)| {
            let mut fields = fields.clone();
            fields.insert("span".to_owned(), Value::from(*name));
            Value::Object(fields)
        };
        let mut value = json!({
            "event": "diagnostic", "at": self.at, "level": self.level.as_str().to_ascii_lowercase(),
            "target": self.target, "message": self.message, "fields": self.fields,
            "spans": self.around.iter().map(span).collect::<Vec<_>>(),
        });
        redact_value(&mut value);
        format!("{value}\n")
    }

    /// `debug story{id=1.3}:phase{name=execute}: passed over pid=12 (host::processes::find)`
    fn text(&self, timed: bool) -> String {
        let mut line = if timed {
            format!("{} ", self.at)
        } else {
            String::new()
        };
        let _ = write!(line, "{:<5} ", self.level.as_str().to_ascii_lowercase());
        for (at, (name, fields)) in self.around.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            let _ = write!(line, "{colon}{name}");
            if !fields.is_empty() {
                let _ = write!(line, "{{{}}}", listed(fields));
            }
        }
        let colon = if self.around.is_empty() { "" } else { ": " };
        let _ = write!(line, "{colon}{}", escape(&redact(self.message)));
        if !self.fields.is_empty() {
            let _ = write!(line, " {}", listed(&self.fields));
        }
        let _ = writeln!(line, " ({})", self.target);
        line
    }
}

/// `key=value key="two words"`, without secrets.
fn listed(fields: &Map<String, Value>) -> String {
    let mut fields = Value::Object(fields.clone());
    redact_value(&mut fields);
    let fields = fields.as_object().into_iter().flatten();
    let display = |value: &Value| match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains([' ', '"', '=', '{', '}']) => {
            escape(text).into_owned()
        }
        Some(text) => format!("\"{}\"", escape(text).replace('"', "\\\"")),
        None => value.to_string(),
    };
    fields
        .map(|(key, value)| format!("{key}={}", display(value)))
        .collect::<Vec<_>>()
        .join(" ")
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let mut sinks = self.sinks.iter();
        sinks.any(|(targets, _)| targets.would_enable(metadata.target(), metadata.level()))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Open {
                since: Instant::now(),
                fields: fields.all,
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let around: Option<Around> = context
            .event_scope(event)
            .map(|scope| scope.from_root().filter_map(|span| around(&span)).collect());
        self.write(
            event.metadata(),
            around.unwrap_or_default(),
            &fields.message,
            fields.all,
        );
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let since = span.extensions().get::<Open>().map(|open| open.since);
        let Some(since) = since else { return };
        let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let around = span
            .scope()
            .from_root()
            .filter_map(|span| around(&span))
            .collect();
        let fields = Map::from_iter([("us".to_owned(), Value::from(took))]);
        self.write(span.metadata(), around, "ended", fields);
    }
}

fn around<'a, S: LookupSpan<'a>>(
    span: &tracing_subscriber::registry::SpanRef<'a, S>,
) -> Option<(&'static str, Map<String, Value>)> {
    let extensions = span.extensions();
    let open = extensions.get::<Open>()?;
    Some((span.name(), open.fields.clone()))
}

/// The fields of a span or an event as JSON.
#[derive(Default)]
struct Fields {
    message: String,
    all: Map<String, Value>,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.all.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.all.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.all.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.all.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.all.insert(field.name().to_owned(), Value::from(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_levels_are_read_with_and_without_the_name_in_front() {
        let is_on = |text: &str, target: &str, level| read(text).expect(text).would_enable(target, &level);
        let target = "rollback_manager::host::processes::find";
        for text in [
            "debug",
            "rollback=debug",
            "host::processes=debug",
            "rollback_manager::host=debug",
            "gate=off, host=debug",
        ] {
            assert!(is_on(text, target, Level::DEBUG), "{text}");
            assert!(!is_on(text, target, Level::TRACE), "{text}");
        }
        assert!(is_on("host", target, Level::TRACE));
        assert!(!is_on("gate=trace", target, Level::ERROR));
        assert!(
            !is_on("debug", "rustls", Level::ERROR),
            "others' events are not ours to show"
        );
        for text in ["host=loud", "=debug=", "[run]=debug", "a b"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_line_hides_secrets_and_shows_what_a_terminal_would_obey() {
        let fields = Map::from_iter([
            ("password".to_owned(), Value::from("hunter2hunter2")),
            ("path".to_owned(), Value::from("a\u{1b}[2Jb c")),
            ("count".to_owned(), Value::from(3)),
        ]);
        let entry = Entry {
            at: String::new(),
            level: Level::DEBUG,
            around: vec![(
                "word",
                Map::from_iter([("name".to_owned(), Value::from("remove_path"))]),
            )],
            target: "gate",
            message: "kept token=abcdefghij\n",
            fields,
        };
        assert_eq!(
            entry.text(false),
            "debug word{name=remove_path}: kept token=[redacted]\\n password=[redacted] path=\"a\\u{1b}[2Jb c\" count=3 (gate)\n"
        );
    }
}
