//! Alerts: what happened is told to people and programs elsewhere, through the channels of `alerts:` in `rollback.yaml`.
//!
//! An alert is on disk in `.rollback/outbox/`, one file for each channel, before `Alerts::raise` returns, and stays
//! there until its channel took it: at least once, with the same id on every attempt.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tracing::debug;

use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::base::redact;
use crate::records::Records;
use crate::report::alert::Alert;
use crate::workspace::secret::{Secret, Source};
use crate::workspace::{Workspace, template};

/// An alert on its way to one channel, as its file holds it.
pub mod entry;

/// The directory of what is on its way.
pub(crate) mod outbox;

/// Rate limits, and groups of equal alerts.
pub(crate) mod quota;

use crate::workspace::alerts_config::{AlertsConfig, Channel};
use entry::{Entry, State};
use outbox::Outbox;
use quota::Verdict;

/// Without secrets, without characters that break out of a line, and not too long.
pub(crate) fn cleaned(mut alert: Alert) -> Alert {
    const TITLE: usize = 200;
    alert.title = template::one_line(&redact::rendered(&alert.title), TITLE);
    alert.text = template::lines(&redact::rendered(&alert.text));
    alert.group = template::one_line(&redact::rendered(&alert.group), TITLE);
    let mut facts = Value::Object(std::mem::take(&mut alert.facts));
    redact::redact_value(&mut facts);
    if let Value::Object(facts) = facts {
        alert.facts = facts;
    }
    alert
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
    pub(crate) shared: Arc<Shared>,
}

/// What the threads of a delivery share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: AlertsConfig,
    pub(crate) outbox: Outbox,
    pub(crate) clock: Clock,
    pub(crate) records: Records,
    pub(crate) root: PathBuf,
    pub(crate) commands: Vec<String>,
    /// What a person typed in place of secrets that are not set.
    pub(crate) typed: Mutex<Vec<(Source, Secret)>>,
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
                commands: workspace.config().policy.commands.programs(),
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
    /// [`crate::base::error::Kind::Failed`] where the outbox can't be written; what was queued by then stays.
    pub fn raise(&self, alert: Alert) -> Result<Raised> {
        let alert = cleaned(alert);
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

    /// How many alerts wait for their channel.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Failed`] where the outbox can't be read.
    pub fn pending(&self) -> Result<usize> {
        Ok(self.held()?.of(State::Pending).count())
    }

    /// What the outbox holds.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Failed`] where it can't be read.
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
        debug!(channel = channel.name, kind = alert.kind.name(), ?became, "alert");
        self.outbox.store_quota(&channel.name, &quota)?;
        Ok(became)
    }

    fn typed(&self) -> std::sync::MutexGuard<'_, Vec<(Source, Secret)>> {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secret of a place: what was typed for it, or what is there.
    pub(crate) fn secret(&self, source: &Source) -> Result<Secret> {
        let typed = self.typed();
        match typed.iter().find(|(place, _)| place == source) {
            Some((_, secret)) => Ok(secret.clone()),
            None => source.read(&self.root),
        }
    }

    /// The channel of this name, while it is configured.
    pub(crate) fn channel(&self, name: &str) -> Option<&Channel> {
        self.config.channels.iter().find(|channel| channel.name == name)
    }
}
