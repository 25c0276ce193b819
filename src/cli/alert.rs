//! `rollback alert`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

use super::render;
use crate::alert::entry::{Entry, State};
use crate::alert::{Alerts, Held};
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::terminal;
use crate::base::wording::plural;
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere, say};
use crate::gate::prompt::Terminal;
use crate::host::confine::Mode;
use crate::host::delivery::Deliveries;

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
    let context = shared::open(everywhere)?;
    if matches!(command, Command::List) {
        shared::confine(everywhere, &context, Mode::DryRun)?;
    } else {
        shared::confine(everywhere, &context, Mode::Real)?;
    }
    if let Command::Test { channel } = command {
        type_secrets(everywhere, &context.host.alerts, channel.as_deref())?;
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

/// Lets a person type the secrets of which the variables are not set, for this test alone.
fn type_secrets(everywhere: &Everywhere, alerts: &Alerts, channel: Option<&str>) -> Result<()> {
    let unset = alerts.unset(channel);
    if unset.is_empty() || everywhere.no_input || !Terminal::is_there() {
        return Ok(());
    }
    if let Some(terminal) = Terminal::open() {
        for source in unset {
            let question = format!("{source} is not set; its secret, for this test alone (Enter: none)");
            if let Some(typed) = terminal.secret(&question)? {
                alerts.type_secret(source, typed);
            }
        }
    }
    // From here on a signal ends the program again.
    for (signal, code) in [
        (SIGINT, ExitCode::Interrupted),
        (SIGTERM, ExitCode::Terminated),
        (SIGHUP, ExitCode::Terminated),
    ] {
        let always = Arc::new(AtomicBool::new(true));
        register_conditional_shutdown(signal, i32::from(code.number()), always)
            .map_err(|error| Error::io("watch for signals", &error))?;
    }
    Ok(())
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
    let mut page = terminal::table(
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
    let deliveries = Deliveries {
        attempts: Vec::new(),
        ..deliveries.clone()
    };
    for warning in deliveries.warnings() {
        say(&render::warning(&warning, &style));
    }
}
