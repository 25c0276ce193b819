//! Attempts: each channel in a thread of its own, its alerts in order; all within one deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::entry::{Entry, State, milliseconds};
use super::forms::{self, Refusal};
use super::{Attempt, Deliveries, Kind, Shared};
use crate::base::error::Error;
use crate::base::error::Result;
use crate::base::redact;

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
pub(super) fn deliver(shared: &Arc<Shared>, until: Instant, only: Option<&[String]>) -> Result<Deliveries> {
    let mut told = Deliveries::default();
    let (entries, unreadable) = shared.outbox.list()?;
    for file in &unreadable {
        match shared.outbox.set_aside(file) {
            Ok(name) => told.set_aside.extend(name),
            Err(error) => told.problems.push(error.message().to_owned()),
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
            told.problems.push(error.message().to_owned());
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
            told.problems.push(
                Error::io("start a thread for alerts", &error)
                    .message()
                    .to_owned(),
            );
        }
    }
    drop(tell);
    while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
        match event {
            Event::Attempt(attempt) => told.attempts.push(attempt),
            Event::Problem(problem) => told.problems.push(problem),
            Event::Busy(name) => told.busy.push(name),
            Event::End(name) => open.retain(|other| *other != name),
        }
    }
    told.busy.extend(open);
    told.busy.sort();
    told.busy.dedup();
    if let Err(error) = shared.outbox.prune(shared.config.keep_sent) {
        told.problems.push(error.message().to_owned());
    }
    let (entries, _) = shared.outbox.list()?;
    told.left = entries
        .iter()
        .filter(|entry| entry.state == State::Pending)
        .count();
    Ok(told)
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
    let answer = super::template::one_line(&redact::told(&answer), 300);
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
