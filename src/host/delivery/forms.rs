//! How the four kinds of channels are spoken to.

use std::time::Duration;

use crate::alert::Shared;
use crate::alert::entry::Entry;
use crate::base::error::Error;
use crate::report::alert::Severity;
use crate::workspace::alerts_config::Channel;
use crate::workspace::template::Message;

/// A listed program.
mod command;

/// `logs/rollback-alerts.log`.
mod log;

/// A mail server.
mod mail;

/// An HTTP receiver.
mod webhook;

/// Why a receiver did not take an alert.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Why, for people.
    pub(crate) why: String,
    /// Whether it answered: then the next alert may be tried at once.
    pub(crate) answered: bool,
    /// How long it wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            why: error.message().to_owned(),
            answered: false,
            retry_after: None,
        }
    }
}

/// Sends an alert; gives what the receiver answered.
pub(crate) fn send(
    shared: &Shared,
    channel: &Channel,
    entry: &Entry,
    timeout: Duration,
) -> Result<String, Refusal> {
    let message = Message::of(
        &entry.alert,
        entry.held_back,
        channel.title.as_ref(),
        channel.text.as_ref(),
    );
    if let Some(webhook) = &channel.webhook {
        return webhook::send(shared, webhook, entry, &message, timeout);
    }
    if let Some(mail) = &channel.mail {
        return mail::send(shared, mail, entry, &message, timeout);
    }
    if let Some(argv) = &channel.command {
        return command::send(shared, argv, entry, &message, timeout);
    }
    log::send(shared, entry, &message)
}

/// The alert as `rollback.alert/1`.
fn document(entry: &Entry, message: &Message) -> serde_json::Value {
    let alert = &entry.alert;
    serde_json::json!({
        "schema": "rollback.alert/1", "id": alert.id, "kind": alert.kind, "severity": alert.severity, "at": alert.at,
        "title": message.title, "text": message.text, "facts": alert.facts, "run": alert.run, "group": alert.group,
        "held_back": entry.held_back,
    })
}

/// How urgent it is, for people.
const fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    }
}
