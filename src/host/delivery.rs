//! Attempts: each channel in a thread of its own, its alerts in order; all within one deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::alert::entry::{Entry, State, milliseconds};
use crate::alert::{Alerts, Shared, cleaned};
use crate::base::{redact, wording};
use crate::report::alert::{Alert, Kind, Severity};
use crate::workspace::alerts_config::Channel;
use crate::workspace::template;
use serde::Serialize;

use crate::base::error::{Error, Result};

/// How the four kinds of channels are spoken to.
pub mod forms;

use forms::Refusal;

/// The longest wait that a receiver may ask for.
const LONGEST_WISH: Duration = Duration::from_hours(1);

/// What a channel's thread tells.
enum Event {
    Attempt(Attempt),
    Problem(String),
    Busy(String),
    End(String),
}

/// Tries what is due; with `only`, these files, whatever their time.
pub(crate) fn deliver(shared: &Arc<Shared>, until: Instant, only: Option<&[String]>) -> Result<Deliveries> {
    let mut deliveries = Deliveries::default();
    let (entries, unreadable) = shared.outbox.list()?;
    for file in &unreadable {
        match shared.outbox.set_aside(file) {
            Ok(name) => deliveries.set_aside.extend(name),
            Err(error) => deliveries.problems.push(error.message().to_owned()),
        }
    }
    let now = milliseconds(&shared.clock);
    let mut due: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let wanted = only.map_or_else(|| entry.is_due(now), |only| only.contains(&entry.file));
        if !wanted {
            continue;
        }
        if shared.channel(&entry.channel).is_some() {
            due.entry(entry.channel).or_default().push(entry.file);
        } else if let Err(error) = without_channel(shared, entry, now) {
            deliveries.problems.push(error.message().to_owned());
        }
    }
    let mut open: Vec<String> = due.keys().cloned().collect();
    let (tell, events) = channel();
    for (name, files) in due {
        let (shared, tell) = (Arc::clone(shared), tell.clone());
        let forced = only.is_some();
        let started = std::thread::Builder::new()
            .name(format!("alert-{name}"))
            .spawn(move || {
                // Nobody listens any more after the deadline.
                if let Err(error) = work(&shared, &name, &files, until, forced, &tell) {
                    let _ = tell.send(Event::Problem(error.message().to_owned()));
                }
                let _ = tell.send(Event::End(name));
            });
        if let Err(error) = started {
            deliveries.problems.push(
                Error::io("start a thread for alerts", &error)
                    .message()
                    .to_owned(),
            );
        }
    }
    drop(tell);
    while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
        match event {
            Event::Attempt(attempt) => deliveries.attempts.push(attempt),
            Event::Problem(problem) => deliveries.problems.push(problem),
            Event::Busy(name) => deliveries.busy.push(name),
            Event::End(name) => open.retain(|other| *other != name),
        }
    }
    deliveries.busy.extend(open);
    deliveries.busy.sort();
    deliveries.busy.dedup();
    if let Err(error) = shared.outbox.prune(shared.config.keep_sent) {
        deliveries.problems.push(error.message().to_owned());
    }
    let (entries, _) = shared.outbox.list()?;
    deliveries.left = entries
        .iter()
        .filter(|entry| entry.state == State::Pending)
        .count();
    Ok(deliveries)
}

/// An alert whose channel is no longer configured is kept until it would be given up anyway.
fn without_channel(shared: &Shared, mut entry: Entry, now: u64) -> Result<()> {
    if !entry.is_too_old(now, shared.config.give_up_after) {
        return Ok(());
    }
    entry.last_error = Some("its channel is no longer configured".to_owned());
    entry.settle(State::Dead, now);
    shared.outbox.store(&entry)
}

/// Delivers to one channel until everything was tried, the time is up, or nobody answers there.
fn work(
    shared: &Shared,
    name: &str,
    files: &[String],
    until: Instant,
    forced: bool,
    tell: &Sender<Event>,
) -> Result<()> {
    let Some(_lock) = shared.outbox.lock_channel(name)? else {
        let _ = tell.send(Event::Busy(name.to_owned()));
        return Ok(());
    };
    for file in files {
        let left = until.saturating_duration_since(Instant::now());
        // What another process sent meanwhile is no longer due.
        let Some(entry) = shared.outbox.read(file) else {
            continue;
        };
        let due = entry.state == State::Pending && (forced || entry.is_due(milliseconds(&shared.clock)));
        if !due {
            continue;
        }
        if left.is_zero() {
            return Ok(());
        }
        let (attempt, answered) = try_once(shared, entry, left)?;
        let _ = tell.send(Event::Attempt(attempt));
        if !answered {
            return Ok(());
        }
    }
    Ok(())
}

/// One attempt, counted before it is made. Says too whether anybody answered.
fn try_once(shared: &Shared, mut entry: Entry, left: Duration) -> Result<(Attempt, bool)> {
    let channel = shared
        .channel(&entry.channel)
        .ok_or_else(|| Error::bug("an alert without a channel is due"))?;
    entry.attempt(milliseconds(&shared.clock));
    shared
        .outbox
        .store(&entry)
        .map_err(|error| error.context(format!("channel `{}` was not tried", entry.channel)))?;
    let began = Instant::now();
    let sent = forms::send(shared, channel, &entry, channel.timeout.min(left));
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let now = milliseconds(&shared.clock);
    let (answer, answered) = match sent {
        Ok(answer) => {
            entry.last_error = None;
            entry.settle(State::Sent, now);
            (answer, true)
        }
        Err(Refusal {
            why,
            answered,
            retry_after,
        }) => {
            let wish = retry_after.unwrap_or_default().min(LONGEST_WISH);
            let wish = u64::try_from(wish.as_millis()).unwrap_or(0);
            entry.next_attempt = entry.next_attempt.max(now + wish);
            if entry.is_too_old(now, shared.config.give_up_after) {
                entry.settle(State::Dead, now);
            }
            (why, answered)
        }
    };
    let answer = template::one_line(&redact::rendered(&answer), 300);
    if entry.state != State::Sent {
        entry.last_error = Some(answer.clone());
    }
    let attempt = Attempt {
        channel: entry.channel.clone(),
        id: entry.alert.id.clone(),
        state: entry.state,
        answer,
        ms,
    };
    // A test that nobody took is told at once, and is of no use later.
    if entry.alert.kind == Kind::Test && entry.state != State::Sent {
        shared.outbox.remove(&entry)?;
    } else {
        shared
            .outbox
            .store(&entry)
            .map_err(|error| error.context(format!("what channel `{}` said is not kept", entry.channel)))?;
    }
    Ok((attempt, answered))
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The channel's name.
    pub channel: String,
    /// The alert's id.
    pub id: String,
    /// What became of it: `sent`; `pending`, to be tried again; `dead`, given up.
    pub state: State,
    /// What the receiver answered, or why it did not take it; without secrets.
    pub answer: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// What a delivery did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Deliveries {
    /// The attempts; those of one channel are in order.
    pub attempts: Vec<Attempt>,
    /// Channels that another process is delivering to, or that did not come to an end in time.
    pub busy: Vec<String>,
    /// Files of the outbox that could not be read and were set aside.
    pub set_aside: Vec<String>,
    /// What could not be recorded.
    pub problems: Vec<String>,
    /// How many alerts still wait.
    pub left: usize,
}

impl Deliveries {
    /// Whether each alert that was due was taken.
    #[must_use]
    pub fn all_sent(&self) -> bool {
        let failed = self.attempts.iter().any(|attempt| attempt.state != State::Sent);
        !failed && self.busy.is_empty() && self.problems.is_empty()
    }

    /// One line for each channel that failed, and for whatever else a person has to see to.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut rendered: Vec<&str> = Vec::new();
        let mut warnings = Vec::new();
        for attempt in self
            .attempts
            .iter()
            .filter(|attempt| attempt.state != State::Sent)
        {
            if rendered.contains(&attempt.channel.as_str()) {
                continue;
            }
            rendered.push(&attempt.channel);
            let next = match attempt.state {
                State::Dead => "it was given up: `rollback alert retry` tries it again",
                _ => "it stays in the outbox and is tried again (`rollback alert list`)",
            };
            warnings.push(format!(
                "channel `{}` did not take the alert: {}; {next}",
                attempt.channel, attempt.answer
            ));
        }
        for channel in &self.busy {
            warnings.push(format!(
                "channel `{channel}` is still being delivered to: what is left stays in the outbox (`rollback alert list`)"
            ));
        }
        for file in &self.set_aside {
            warnings.push(format!(
                "`{file}` could not be read, so it was set aside: look at it, then remove it"
            ));
        }
        warnings.extend(self.problems.iter().cloned());
        warnings
    }
}

impl Alerts {
    /// Tries all that is due, each channel in order and beside the others, and comes back at `until` at the latest: what
    /// is still under way then goes on if this program does, and is tried again later if not. Never fails because a
    /// channel does.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Failed`] where the outbox can't be read.
    pub fn deliver(&self, until: Instant) -> Result<Deliveries> {
        deliver(&self.shared, until, None)
    }

    /// Sends a test alert to one channel or to all, now, whatever else waits; limits and filters don't count.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] where there is no such channel; [`crate::base::error::Kind::Failed`] where the outbox
    /// can't be written.
    pub fn test(&self, channel: Option<&str>, until: Instant) -> Result<Deliveries> {
        let wanted: Vec<&Channel> = self
            .channels()
            .iter()
            .filter(|known| channel.is_none_or(|name| name == known.name))
            .collect();
        if wanted.is_empty() {
            return Err(self.no_channel(channel));
        }
        let shared = &*self.shared;
        let alert = Alert::new(
            &shared.clock,
            Kind::Test,
            Severity::Info,
            "Test alert of rollback",
            "This alert was sent by `rollback alert test`. Nothing happened.",
        );
        let alert = cleaned(alert);
        shared.outbox.prepare()?;
        let mut names = Vec::new();
        for channel in wanted {
            let entry = Entry::new(&shared.clock, &channel.name, alert.clone(), 0);
            shared.outbox.store(&entry)?;
            names.push(entry.file);
        }
        deliver(&self.shared, until, Some(&names))
    }

    /// Makes everything that waits or was given up due, and tries it now.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Failed`] where the outbox can't be read or written.
    pub fn retry(&self, until: Instant) -> Result<Deliveries> {
        let shared = &*self.shared;
        let (entries, _) = shared.outbox.list()?;
        for entry in entries.iter().filter(|entry| entry.state != State::Sent) {
            // A channel that is being delivered to is tried already.
            let Some(_lock) = shared.outbox.lock_channel(&entry.channel)? else {
                continue;
            };
            let Some(mut entry) = shared.outbox.read(&entry.file) else {
                continue;
            };
            if entry.state != State::Sent {
                entry.revive(&shared.clock);
                shared.outbox.store(&entry)?;
            }
        }
        self.deliver(until)
    }

    fn no_channel(&self, named: Option<&str>) -> Error {
        let known: Vec<&str> = self.channels().iter().map(|known| known.name.as_str()).collect();
        let Some(named) = named.filter(|_| !known.is_empty()) else {
            return Error::usage("`alerts:` of `rollback.yaml` has no channels")
                .hint("`docs/alerts.md` shows how to set one up; nothing was sent");
        };
        let near = wording::nearest(named, known.iter().copied());
        Error::usage(format!("unknown channel `{named}`")).hint(match near {
            Some(near) => format!("did you mean `{near}`? nothing was sent"),
            None => format!("the channels are: {}; nothing was sent", known.join(", ")),
        })
    }
}

/// How long a command waits for the delivery of what its run raised.
pub const DELIVERY: Duration = Duration::from_secs(10);
