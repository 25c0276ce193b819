//! `notify(message)`.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::base::redact::redact;
use crate::host::Host;
use crate::host::files::Demand;
use crate::operation::{Operation, Proposal};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::alert::{Alert, Kind, Severity};
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::View;
use crate::view::overlay::Overlay;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "notify",
    parameters: &[Parameter::needed("message", Type::Text)],
    returns: Type::Nothing,
    about: "Tells stakeholders: a line of level INFO and event `notification` in `logs/security.log`, and an alert of kind `message` through the channels that want it.",
    example: r#"notify("DuckDB was rolled back")"#,
    action: Action::Change(propose),
};

#[derive(Debug)]
struct Notify {
    message: String,
    story: String,
}

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let message = redact(&arguments.text(0));
    if message.trim().is_empty() {
        return Err(Error::invalid("`notify` takes a message").hint("notify(\"what happened\")"));
    }
    let story = view
        .story
        .borrow()
        .as_ref()
        .map(|story| story.id.clone())
        .unwrap_or_default();
    let summary = format!("notify: {message}");
    Ok(vec![Proposal::act(
        WORD.name,
        "logs/security.log",
        summary,
        Notify { message, story },
    )])
}

impl Operation for Notify {
    fn risk(&self) -> Risk {
        Risk::None
    }

    fn needs(&self) -> Vec<Capability> {
        vec![Capability::Notify]
    }

    fn demands(&self) -> Vec<Demand> {
        Vec::new()
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: "what was said can't be unsaid".to_owned(),
        }
    }

    fn effect(&self) -> Value {
        json!({ "notify": blake3::hash(self.message.as_bytes()).to_hex().to_string() })
    }

    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    fn pretend(&self, _overlay: &mut Overlay) -> Result<Done> {
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        host.logs
            .notification(&self.story, &self.message, permit.head())?;
        let title = match self.story.as_str() {
            "" => "message".to_owned(),
            story => format!("message of {story}"),
        };
        let alert = Alert::new(&host.clock, Kind::Message, Severity::Info, title, &self.message)
            .fact("story", self.story.as_str())
            .grouped(format!("{}: {}", self.story, self.message));
        // The line is written; a channel holds up no rollback.
        let why = host.alerts.raise(alert).err().map(|error| {
            format!("it stands in `logs/security.log`, and could not be kept for the channels: {error}")
        });
        Ok(Done {
            why,
            ..Done::default()
        })
    }
}
