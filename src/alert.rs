//! Alerts: what happened is told to people and programs elsewhere, through the channels of `alerts:` in `rollback.yaml`.
//!
//! An alert is on disk in `.rollback/outbox/`, one file for each channel, before `Alerts::raise` returns, and stays
//! there until its channel took it: at least once, with the same id on every attempt.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::gate::redact;
use crate::host::clock::Clock;
use crate::host::records::Records;
use crate::workspace::Workspace;

/// `alerts:` of `rollback.yaml`.
pub mod config;

/// Attempts: each channel by itself, all of them within one deadline.
mod delivery;

/// An alert on its way to one channel, as its file holds it.
pub mod entry;

/// How the four kinds of channels are spoken to.
mod forms;

/// The directory of what is on its way.
mod outbox;

/// Rate limits, and groups of equal alerts.
mod quota;

/// Secrets, and where they are read from.
pub mod secret;

/// Texts with placeholders.
pub mod template;

use config::{AlertsConfig, Channel};
use entry::{Entry, State};
use outbox::Outbox;
use quota::Verdict;
use secret::{Secret, Source};

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A run begins to change something.
    Initiation,
    /// A run did all that it was to do.
    Completion,
    /// A run failed, wholly or in part.
    Failure,
    /// A trigger of the monitor was met.
    Breach,
    /// What a trigger watches is well again.
    Recovery,
    /// A refusal in the middle of a run, or records that were tampered with.
    SecurityIncident,
    /// A script's `notify`.
    Message,
    /// `rollback alert test`.
    Test,
}

impl Kind {
    /// As `rollback.yaml` and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initiation => "initiation",
            Self::Completion => "completion",
            Self::Failure => "failure",
            Self::Breach => "breach",
            Self::Recovery => "recovery",
            Self::SecurityIncident => "security-incident",
            Self::Message => "message",
            Self::Test => "test",
        }
    }
}

/// How much it matters. The order is that of importance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// For the record.
    #[default]
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody has to act.
    Critical,
}

impl Severity {
    /// As `rollback.yaml` and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Something that happened, for people and programs elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its identity, the same on every attempt and channel.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// When it happened, RFC 3339 UTC with milliseconds.
    pub at: String,
    /// One line.
    pub title: String,
    /// Some lines.
    pub text: String,
    /// What programs want to know. Those with the names of placeholders ([`template::FACTS`]) can stand in templates.
    pub facts: Map<String, Value>,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// Alerts of one kind and one group are equal: within `group_within` of a channel only the first is sent.
    pub group: String,
}

impl Alert {
    /// An alert of now, in a group of its own.
    #[must_use]
    pub fn new(
        clock: &Clock,
        kind: Kind,
        severity: Severity,
        title: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        let id = entry::identity(clock);
        Self {
            group: id.clone(),
            id,
            kind,
            severity,
            at: clock.timestamp(),
            title: title.into(),
            text: text.into(),
            facts: Map::new(),
            run: None,
        }
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Says which run it belongs to.
    #[must_use]
    pub fn of_run(mut self, run: &str) -> Self {
        self.run = Some(run.to_owned());
        self
    }

    /// Says which alerts it is equal to: those of the same kind with the same key.
    #[must_use]
    pub fn grouped(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Without secrets, without characters that break out of a line, and not too long.
    fn cleaned(mut self) -> Self {
        const TITLE: usize = 200;
        self.title = template::one_line(&redact::told(&self.title), TITLE);
        self.text = template::lines(&redact::told(&self.text));
        self.group = template::one_line(&redact::told(&self.group), TITLE);
        let mut facts = Value::Object(std::mem::take(&mut self.facts));
        redact::redact_value(&mut facts);
        if let Value::Object(facts) = facts {
            self.facts = facts;
        }
        self
    }
}

/// What became of an alert at one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// It waits in the outbox.
    Queued,
    /// An equal one was sent not long ago; it is counted, and the next one tells of it.
    Grouped,
    /// The channel's rate limit is used up; it is counted, and the next one tells of it.
    Limited,
    /// The channel doesn't want alerts of this kind or severity.
    Unwanted,
}

/// What became of an alert, channel by channel, in the order of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raised {
    /// The alert's id.
    pub id: String,
    /// The channel's name, and what became of it there.
    pub channels: Vec<(String, Became)>,
}

impl Raised {
    /// Whether it waits for at least one channel.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.channels.iter().any(|(_, became)| *became == Became::Queued)
    }
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
        let mut told: Vec<&str> = Vec::new();
        let mut warnings = Vec::new();
        for attempt in self
            .attempts
            .iter()
            .filter(|attempt| attempt.state != State::Sent)
        {
            if told.contains(&attempt.channel.as_str()) {
                continue;
            }
            told.push(&attempt.channel);
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

/// What the outbox holds.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Alerts on their way, in order; sent ones too.
    pub entries: Vec<Entry>,
    /// Files that can't be read.
    pub unreadable: Vec<String>,
    /// How many alerts were held back since the last one that was sent, by channel.
    pub held_back: Vec<(String, u64)>,
}

impl Held {
    /// Those in one state.
    pub fn of(&self, state: State) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.state == state)
    }
}

/// The channels of a workspace, and its outbox.
#[derive(Debug, Clone)]
pub struct Alerts {
    shared: Arc<Shared>,
}

/// What the threads of a delivery share.
#[derive(Debug)]
struct Shared {
    config: AlertsConfig,
    outbox: Outbox,
    clock: Clock,
    records: Records,
    root: PathBuf,
    commands: Vec<String>,
    /// What a person typed in place of secrets that are not set.
    typed: Mutex<Vec<(Source, Secret)>>,
}

impl Alerts {
    /// The channels and the outbox of a workspace. Nothing is made; what the channels keep secret is masked from now on
    /// wherever it turns up.
    ///
    /// # Errors
    /// None yet: the configuration was checked when it was read.
    pub fn open(workspace: &Workspace, clock: &Clock) -> Result<Self> {
        let config = workspace.config().alerts.clone();
        let root = workspace.root().to_path_buf();
        for source in config.secrets() {
            // What can't be read now is told when it is needed.
            if let Ok(secret) = source.read(&root) {
                secret.mask();
            }
        }
        let records = Records::of(workspace);
        Ok(Self {
            shared: Arc::new(Shared {
                outbox: Outbox::of(&records),
                config,
                clock: clock.clone(),
                records,
                root,
                commands: workspace.config().policy.commands.clone(),
                typed: Mutex::default(),
            }),
        })
    }

    /// Whether there is a channel at all.
    #[must_use]
    pub fn has_channels(&self) -> bool {
        !self.shared.config.channels.is_empty()
    }

    /// The channels, in the order of the configuration.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.shared.config.channels
    }

    /// The variables of one channel, or of all, that hold a secret and are not set.
    #[must_use]
    pub fn unset(&self, channel: Option<&str>) -> Vec<Source> {
        let channels = self.channels().iter();
        let wanted = channels.filter(|known| channel.is_none_or(|name| name == known.name));
        let mut unset: Vec<Source> = wanted
            .flat_map(Channel::secrets)
            .filter(|source| matches!(source, Source::Environment(name) if std::env::var_os(name).is_none()))
            .cloned()
            .collect();
        unset.dedup();
        unset
    }

    /// Until the program ends, what was typed is the secret of this place; it is masked wherever it turns up.
    pub fn type_secret(&self, source: Source, typed: String) {
        let secret = Secret::typed(typed);
        secret.mask();
        self.shared.typed().push((source, secret));
    }

    /// Puts an alert into the outbox for each channel that wants it. What is queued is on the disk when this returns.
    ///
    /// # Errors
    /// [`crate::error::Kind::Failed`] where the outbox can't be written; what was queued by then stays.
    pub fn raise(&self, alert: Alert) -> Result<Raised> {
        let alert = alert.cleaned();
        let mut raised = Raised {
            id: alert.id.clone(),
            channels: Vec::new(),
        };
        let shared = &*self.shared;
        if !self.channels().iter().any(|channel| channel.wants(&alert)) {
            let all = self.channels().iter();
            raised.channels = all
                .map(|channel| (channel.name.clone(), Became::Unwanted))
                .collect();
            return Ok(raised);
        }
        shared.outbox.prepare()?;
        let _lock = shared.outbox.lock();
        let mut failed = None;
        for channel in self.channels() {
            if !channel.wants(&alert) {
                raised.channels.push((channel.name.clone(), Became::Unwanted));
                continue;
            }
            // What can't be kept for one channel is kept for the others.
            match shared.queue(channel, &alert) {
                Ok(became) => raised.channels.push((channel.name.clone(), became)),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(raised), Err)
    }

    /// Tries all that is due, each channel in order and beside the others, and comes back at `until` at the latest: what
    /// is still under way then goes on if this program does, and is tried again later if not. Never fails because a
    /// channel does.
    ///
    /// # Errors
    /// [`crate::error::Kind::Failed`] where the outbox can't be read.
    pub fn deliver(&self, until: Instant) -> Result<Deliveries> {
        delivery::deliver(&self.shared, until, None)
    }

    /// How many alerts wait for their channel.
    ///
    /// # Errors
    /// [`crate::error::Kind::Failed`] where the outbox can't be read.
    pub fn pending(&self) -> Result<usize> {
        Ok(self.held()?.of(State::Pending).count())
    }

    /// What the outbox holds.
    ///
    /// # Errors
    /// [`crate::error::Kind::Failed`] where it can't be read.
    pub fn held(&self) -> Result<Held> {
        let (entries, unreadable) = self.shared.outbox.list()?;
        let held_back = self
            .channels()
            .iter()
            .map(|channel| {
                let quota = self.shared.outbox.quota(&channel.name);
                (channel.name.clone(), quota.held_back())
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        Ok(Held {
            entries,
            unreadable,
            held_back,
        })
    }

    /// Sends a test alert to one channel or to all, now, whatever else waits; limits and filters don't count.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] where there is no such channel; [`crate::error::Kind::Failed`] where the outbox
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
        )
        .cleaned();
        shared.outbox.prepare()?;
        let mut names = Vec::new();
        for channel in wanted {
            let entry = Entry::new(&shared.clock, &channel.name, alert.clone(), 0);
            shared.outbox.store(&entry)?;
            names.push(entry.file);
        }
        delivery::deliver(&self.shared, until, Some(&names))
    }

    /// Makes everything that waits or was given up due, and tries it now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Failed`] where the outbox can't be read or written.
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
        let near = crate::workspace::config::nearest(named, known.iter().copied());
        Error::usage(format!("unknown channel `{named}`")).hint(match near {
            Some(near) => format!("did you mean `{near}`? nothing was sent"),
            None => format!("the channels are: {}; nothing was sent", known.join(", ")),
        })
    }
}

impl Shared {
    /// Puts an alert into the outbox of one channel, or counts it as held back; the caller holds the outbox's lock.
    fn queue(&self, channel: &Channel, alert: &Alert) -> Result<Became> {
        let mut quota = self.outbox.quota(&channel.name);
        let key = format!("{}:{}", alert.kind.name(), alert.group);
        let became = match quota.admit(channel, &key, entry::milliseconds(&self.clock)) {
            Verdict::Pass { held_back } => {
                let entry = Entry::new(&self.clock, &channel.name, alert.clone(), held_back);
                self.outbox.store(&entry)?;
                Became::Queued
            }
            Verdict::Equal => Became::Grouped,
            Verdict::TooMany => Became::Limited,
        };
        self.outbox.store_quota(&channel.name, &quota)?;
        Ok(became)
    }

    fn typed(&self) -> std::sync::MutexGuard<'_, Vec<(Source, Secret)>> {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secret of a place: what was typed for it, or what is there.
    fn secret(&self, source: &Source) -> Result<Secret> {
        let typed = self.typed();
        match typed.iter().find(|(place, _)| place == source) {
            Some((_, secret)) => Ok(secret.clone()),
            None => source.read(&self.root),
        }
    }

    /// The channel of this name, while it is configured.
    fn channel(&self, name: &str) -> Option<&Channel> {
        self.config.channels.iter().find(|channel| channel.name == name)
    }
}

/// How long a command waits for the delivery of what its run raised.
pub const DELIVERY: Duration = Duration::from_secs(10);
