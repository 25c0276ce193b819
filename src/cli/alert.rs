//! `rollback alert`.

use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::base::wording::plural;
use crate::base::terminal;
use super::Everywhere;
use super::print;
use super::print_json;
use super::render;
use super::say;
use crate::alert::entry::{Entry, State};
use crate::host::delivery::Deliveries;
use crate::alert::{Alerts, Held};
use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::host::confine::Mode;

/// How long a person waits for all channels.
const PATIENCE: Duration = Duration::from_secs(60);

/// `rollback alert`.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Send a test alert now, and show what each channel says
    Test {
        /// The channel; by default all
        channel: Option<String>,
    },
    /// What waits in the outbox, and what was given up
    List,
    /// Try everything that waits or was given up, now
    Retry,
}

/// Tests the channels, shows the outbox, tries it again.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for an unknown channel; [`crate::base::error::Kind::Failed`] where the outbox can't be used.
pub fn alert(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    let context = super::open(everywhere)?;
    if matches!(command, Command::List) {
        super::confine(everywhere, &context, Mode::DryRun)?;
    } else {
        super::confine(everywhere, &context, Mode::Real)?;
    }
    let alerts = &context.host.alerts;
    let deliveries = match command {
        Command::Test { channel } => alerts.test(channel.as_deref(), Instant::now() + PATIENCE)?,
        Command::Retry => alerts.retry(Instant::now() + PATIENCE)?,
        Command::List => Deliveries::default(),
    };
    let held = alerts.held()?;
    if everywhere.json {
        print_json(&document(alerts, &held, &deliveries));
    } else if matches!(command, Command::List) {
        print(&list(alerts, &held));
    } else {
        show(everywhere, &deliveries, &held);
    }
    Ok(if deliveries.all_sent() {
        ExitCode::Done
    } else {
        ExitCode::Failed
    })
}

/// `rollback.alerts/1`.
fn document(alerts: &Alerts, held: &Held, deliveries: &Deliveries) -> Value {
    let channels: Vec<Value> = alerts
        .channels()
        .iter()
        .map(|channel| {
            let count = |state| {
                held.of(state)
                    .filter(|entry| entry.channel == channel.name)
                    .count()
            };
            let mine = held.held_back.iter().find(|(name, _)| *name == channel.name);
            json!({
                "name": channel.name, "type": channel.type_name(), "pending": count(State::Pending),
                "dead": count(State::Dead), "held_back": mine.map_or(0, |(_, count)| *count),
            })
        })
        .collect();
    let entry = |entry: &Entry| {
        json!({
            "id": entry.alert.id, "channel": entry.channel, "state": entry.state, "kind": entry.alert.kind,
            "severity": entry.alert.severity, "at": entry.alert.at, "title": entry.alert.title,
            "run": entry.alert.run, "attempts": entry.attempts, "last_error": entry.last_error,
            "next_attempt": (entry.state == State::Pending).then(|| entry.next_attempt_at()),
        })
    };
    let open = held.entries.iter().filter(|entry| entry.state != State::Sent);
    json!({
        "schema": "rollback.alerts/1", "channels": channels, "alerts": open.map(entry).collect::<Vec<_>>(),
        "attempts": deliveries.attempts, "busy": deliveries.busy, "problems": deliveries.problems,
        "unreadable": held.unreadable,
    })
}

fn list(alerts: &Alerts, held: &Held) -> String {
    let rows: Vec<Vec<String>> = held
        .entries
        .iter()
        .filter(|entry| entry.state != State::Sent)
        .map(|entry| {
            let next = match entry.state {
                State::Pending => entry.next_attempt_at(),
                _ => "given up".to_owned(),
            };
            vec![
                entry.alert.at.clone(),
                entry.channel.clone(),
                entry.alert.kind.name().to_owned(),
                entry.alert.title.clone(),
                entry.attempts.to_string(),
                next,
                entry.last_error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let mut page = crate::base::terminal::table(
        &[
            "raised",
            "channel",
            "kind",
            "title",
            "tried",
            "next",
            "last error",
        ],
        &rows,
    );
    for (channel, count) in &held.held_back {
        page.push_str(&format!(
            "{} held back by the limits of `{channel}`; its next alert tells of it\n",
            plural(*count, "alert")
        ));
    }
    for file in &held.unreadable {
        page.push_str(&format!("`{}` can't be read\n", terminal::escape(file)));
    }
    if !page.is_empty() {
        return page;
    }
    if alerts.has_channels() {
        "nothing waits, and nothing was given up\n".to_owned()
    } else {
        "no channels: `alerts:` of `rollback.yaml` sets them up\n".to_owned()
    }
}

fn show(everywhere: &Everywhere, deliveries: &Deliveries, held: &Held) {
    let mut page = String::new();
    for attempt in &deliveries.attempts {
        let became = match attempt.state {
            State::Sent => "sent",
            State::Pending => "failed",
            State::Dead => "given up",
        };
        page.push_str(&format!(
            "{}: {became} in {} ms: {}\n",
            terminal::escape(&attempt.channel),
            attempt.ms,
            terminal::escape(&attempt.answer)
        ));
    }
    let waiting = held.of(State::Pending).count() as u64;
    if waiting > 0 {
        page.push_str(&format!(
            "{} in the outbox: `rollback alert list`\n",
            plural(waiting, "alert")
        ));
    }
    if page.is_empty() {
        "nothing was to be sent\n".clone_into(&mut page);
    }
    print(&page);
    let style = terminal::Style::of(&std::io::stderr(), everywhere.no_color);
    let told = Deliveries {
        attempts: Vec::new(),
        ..deliveries.clone()
    };
    for warning in told.warnings() {
        say(&render::warning(&warning, &style));
    }
}
