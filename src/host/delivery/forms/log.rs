//! `logs/rollback-alerts.log`: compact JSON, one alert a line, in the form of the other logs.

use serde_json::json;

use super::Refusal;
use crate::alert::Shared;
use crate::alert::entry::Entry;
use crate::report::alert::Severity;
use crate::workspace::template::Message;
use crate::workspace::{ALERT_LOG, LOGS};

pub(crate) fn send(shared: &Shared, entry: &Entry, message: &Message) -> Result<String, Refusal> {
    let alert = &entry.alert;
    let level = match alert.severity {
        Severity::Info => "INFO",
        Severity::Warning => "WARN",
        Severity::Critical => "ERROR",
    };
    let line = json!({
        "timestamp": alert.at, "level": level, "event": "alert", "alertId": alert.id, "kind": alert.kind,
        "title": message.title, "text": message.text, "run": alert.run, "heldBack": entry.held_back, "facts": alert.facts,
    });
    let path = shared.root.join(LOGS).join(ALERT_LOG);
    shared.records.append_line(&path, &line.to_string())?;
    Ok(format!("written to `{LOGS}/{ALERT_LOG}`"))
}
