//! What happens in a run, as it happens: lines for people, or JSON lines, on stderr.

use std::sync::Arc;

use serde_json::json;

use super::render;
use super::ticker::Ticker;
use crate::base::error::Result;
use crate::base::terminal::{Ink, Style, escape};
use crate::cli::shared::{Everywhere, say};
use crate::gate::prompt::{Ask, Terminal};
use crate::host::files::Meter;
use crate::pass::{Listener, Silent};
use crate::report::effect::Outcome;
use crate::report::text::{self, Telling};
use crate::report::{CheckRecord, OperationRecord, Report};
use crate::run::{Audience, Context};

/// The person who started the program.
pub struct Person {
    everywhere: Everywhere,
    style: Style,
    telling: Telling,
    asks: bool,
    meter: Arc<Meter>,
}

impl Person {
    /// The person behind these options; `asks` is false where every answer was given.
    #[must_use]
    pub fn of(everywhere: &Everywhere, context: &Context, telling: Telling, asks: bool) -> Self {
        Self {
            meter: Arc::clone(context.host.files.meter()),
            style: Style::of(&std::io::stderr(), everywhere.no_color),
            everywhere: everywhere.clone(),
            telling,
            asks,
        }
    }
}

impl Audience for Person {
    fn show_plan(&self, plan: &Report) -> Result<()> {
        if !self.everywhere.quiet && !self.everywhere.json_events && !self.everywhere.json {
            // What to type next is the answer to the question that follows.
            let plan = Report {
                next: Vec::new(),
                ..plan.clone()
            };
            say(&text::plan(&plan, &self.style, &self.telling));
            say("\n");
        }
        Ok(())
    }

    fn person(&self) -> Option<Box<dyn Ask>> {
        if self.everywhere.no_input || !self.asks {
            return None;
        }
        Terminal::open().map(|terminal| Box::new(terminal) as Box<dyn Ask>)
    }

    fn listener(&self) -> Box<dyn Listener> {
        if self.everywhere.json_events {
            Box::new(Events(Ticker::start(&self.everywhere, &self.meter)))
        } else if self.everywhere.quiet || self.everywhere.json {
            Box::new(Silent)
        } else {
            Box::new(Lines {
                style: self.style,
                verbose: self.everywhere.verbose > 0,
                ticker: Ticker::start(&self.everywhere, &self.meter),
            })
        }
    }
}

/// Lines for people.
struct Lines {
    style: Style,
    verbose: bool,
    ticker: Ticker,
}

impl Lines {
    fn line(&self, ink: Ink, text: &str) {
        self.ticker
            .say(&format!("{}\n", self.style.paint(ink, &escape(text))));
    }
}

impl Listener for Lines {
    fn phase(&self, story: &str, phase: &str) {
        if phase == "before" {
            self.line(Ink::Strong, &format!("Story {story}"));
        }
    }

    fn step(&self, title: &str) {
        self.line(Ink::Plain, &format!("  {title}"));
    }

    fn operation(&self, record: &OperationRecord) {
        self.ticker.rest();
        let why = record
            .why
            .as_deref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        match record.outcome {
            Outcome::Done => self.line(Ink::Good, &format!("    done     {}{why}", record.summary)),
            Outcome::Kept => self.line(Ink::Caution, &format!("    kept     {}{why}", record.target)),
            Outcome::Unknown => self.line(Ink::Caution, &format!("    unknown  {}{why}", record.target)),
            Outcome::Failed => self.line(Ink::Danger, &format!("    failed   {}{why}", record.summary)),
            Outcome::Denied => self.line(Ink::Danger, &format!("    refused  {}{why}", record.summary)),
            Outcome::NotPresent if self.verbose => {
                self.line(Ink::Faint, &format!("    -        {}{why}", record.target));
            }
            Outcome::NotPresent | Outcome::Planned => {}
        }
        for each in &record.paths {
            self.line(Ink::Plain, &format!("               {}", each.sized));
        }
    }

    fn note(&self, text: &str) {
        self.line(Ink::Plain, &format!("    note     {text}"));
    }

    fn warning(&self, text: &str) {
        self.ticker.say(&render::warning(text, &self.style));
    }
}

/// JSON lines.
struct Events(Ticker);

impl Events {
    fn event(&self, value: &serde_json::Value) {
        self.0.say(&format!("{value}\n"));
    }
}

impl Listener for Events {
    fn phase(&self, story: &str, phase: &str) {
        self.event(&json!({ "event": "phase", "story": story, "phase": phase }));
    }

    fn step(&self, title: &str) {
        self.event(&json!({ "event": "step", "title": title }));
    }

    fn operation(&self, record: &OperationRecord) {
        self.0.rest();
        self.event(&json!({ "event": "operation", "operation": record }));
    }

    fn check(&self, record: &CheckRecord) {
        self.event(&json!({ "event": "check", "check": record }));
    }

    fn note(&self, text: &str) {
        self.event(&json!({ "event": "note", "text": text }));
    }

    fn warning(&self, text: &str) {
        self.event(&json!({ "event": "warning", "text": text }));
    }
}
