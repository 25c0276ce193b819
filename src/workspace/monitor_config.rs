//! `monitor:` of `rollback.yaml`: what is watched, and when it counts as bad. What is out of range is an error.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::base::wording::deserialize_duration;
use crate::log_line::Zone;
use crate::pattern::Name;

/// What is measured.
mod metric;

pub use metric::Metric;

/// The longest window, baseline, cooldown or other time.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// What `monitor:` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorConfig {
    /// Time between two judgements.
    #[serde(deserialize_with = "deserialize_duration")]
    pub interval: Duration,
    /// Time over which a metric is taken, where a trigger names none.
    #[serde(deserialize_with = "deserialize_duration")]
    pub window: Duration,
    /// How long a breach must hold before anything is done, where a trigger does not say.
    #[serde(deserialize_with = "deserialize_duration")]
    pub sustained_for: Duration,
    /// Samples below which nothing is judged, where a trigger does not say. Counts for metrics of events alone.
    pub min_samples: u64,
    /// Time after an action in which it is not done again, where a trigger does not say.
    #[serde(deserialize_with = "deserialize_duration")]
    pub cooldown: Duration,
    /// Automatic rollbacks in an hour, of all triggers together.
    pub max_rollbacks: u32,
    /// Share of the lines of a log beyond which nothing is judged where they can't be read, 0 to 1.
    pub unreadable: Threshold,
    /// Loopback address and port of `/metrics` and `/healthz`.
    pub listen: Option<String>,
    /// Whether the triggers `error-rate`, `memory` and `response-time` stand beside those that are listed.
    pub default_triggers: bool,
    /// The triggers.
    pub triggers: Vec<TriggerConfig>,
    /// Addresses that are asked, for `availability`.
    pub probes: Vec<ProbeConfig>,
    /// Processes that are looked at, for `process_memory` and `crashes`.
    pub processes: Vec<ProcessConfig>,
    /// Values of Prometheus text endpoints, for `prometheus`.
    pub prometheus: Vec<PrometheusConfig>,
    /// Patterns of the security log.
    pub security: SecurityConfig,
    /// What the times in logs leave open; the first that names a log counts.
    pub logs: Vec<LogConfig>,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            window: Duration::from_mins(5),
            sustained_for: Duration::from_mins(1),
            min_samples: 20,
            cooldown: Duration::from_mins(30),
            max_rollbacks: 1,
            unreadable: Threshold::Value(0.2),
            listen: None,
            default_triggers: true,
            triggers: Vec::new(),
            probes: Vec::new(),
            processes: Vec::new(),
            prometheus: Vec::new(),
            security: SecurityConfig::default(),
            logs: Vec::new(),
        }
    }
}

/// What the times in a log leave open.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Which logs: a pattern of the names of directories below `logs/`, or of `security.log`.
    pub name: String,
    /// In which zone a time is meant that names none.
    #[serde(deserialize_with = "timezone")]
    pub timezone: Zone,
}

fn timezone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zone, D::Error> {
    let text = String::deserialize(deserializer)?;
    Zone::parse(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is no timezone: write `UTC`, `local`, or an offset such as `+02:00`"
        ))
    })
}

/// When a value is bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Beyond this value.
    Value(f64),
    /// Beyond so many times what it was before.
    Baseline(f64),
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(value) => Ok(Self::Value(value)),
            Written::Text(text) => Self::parse(&text).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "`{text}` is no threshold: write a number, `10 %`, `5s`, `512MiB` or `5 x baseline`"
                ))
            }),
        }
    }
}

impl Threshold {
    /// Reads `5 x baseline`, `10 %`, `5s` (in milliseconds), `512MiB` (in bytes).
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(value) = text.parse() {
            return Some(Self::Value(value));
        }
        if let Some(factor) = text.strip_suffix("baseline") {
            let factor = factor.trim_end().strip_suffix(['x', '*'])?.trim();
            return factor.parse().ok().map(Self::Baseline);
        }
        if let Some(percent) = text.strip_suffix('%') {
            return percent
                .trim()
                .parse::<f64>()
                .ok()
                .map(|share| Self::Value(share / 100.0));
        }
        if let Ok(time) = humantime::parse_duration(text) {
            return Some(Self::Value(time.as_secs_f64() * 1000.0));
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a size that a person writes has few digits"
        )]
        text.parse::<bytesize::ByteSize>()
            .ok()
            .map(|size| Self::Value(size.as_u64() as f64))
    }
}

/// How much an alert matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

/// What a sustained breach does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Somebody is told.
    #[default]
    Alert,
    /// The story is rolled back, where the monitor was started with `--auto`.
    Rollback,
}

/// One trigger.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerConfig {
    /// Its name; the metric's by default. `error-rate`, `memory` and `response-time` replace the default ones.
    #[serde(default)]
    pub name: Option<String>,
    /// What is measured.
    pub metric: Metric,
    /// Which services: a pattern of names; all by default.
    #[serde(default)]
    pub service: Option<String>,
    /// When it is bad.
    #[serde(default)]
    pub threshold: Option<Threshold>,
    /// The value that ends a breach; the threshold by default.
    #[serde(default)]
    pub clear: Option<Threshold>,
    /// Time over which the metric is taken.
    #[serde(default, deserialize_with = "optional_duration")]
    pub window: Option<Duration>,
    /// How long a breach must hold before anything is done.
    #[serde(default, deserialize_with = "optional_duration")]
    pub sustained_for: Option<Duration>,
    /// Samples below which nothing is judged.
    #[serde(default)]
    pub min_samples: Option<u64>,
    /// Time after an action in which it is not done again.
    #[serde(default, deserialize_with = "optional_duration")]
    pub cooldown: Option<Duration>,
    /// Time before the window over which the baseline is taken.
    #[serde(default, deserialize_with = "optional_duration")]
    pub baseline: Option<Duration>,
    /// What a threshold of `N x baseline` never lies below.
    #[serde(default)]
    pub at_least: Option<Threshold>,
    /// How much its alert matters.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// The story that it is about; for `script` the one that holds the function.
    #[serde(default)]
    pub story: Option<String>,
    /// What a sustained breach does.
    #[serde(default)]
    pub action: Wanted,
    /// For `prometheus`: the name of the entry of `prometheus:`.
    #[serde(default)]
    pub source: Option<String>,
}

/// An address that is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// The service that it speaks for.
    pub service: String,
    /// Its address.
    pub url: String,
    /// Time between two questions.
    #[serde(default = "probe_interval", deserialize_with = "deserialize_duration")]
    pub interval: Duration,
    /// How long an answer may take.
    #[serde(default = "probe_timeout", deserialize_with = "deserialize_duration")]
    pub timeout: Duration,
    /// The status of a good answer; any below 400 by default.
    #[serde(default)]
    pub status: Option<u16>,
}

/// Processes that are looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// The service that they are.
    pub service: String,
    /// The exact name of the program.
    #[serde(default)]
    pub name: Option<String>,
    /// The first words of the command line.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// A TCP port that it listens on.
    #[serde(default)]
    pub port: Option<u16>,
    /// A file with its number, relative to the workspace.
    #[serde(default)]
    pub pid_file: Option<String>,
}

/// A value of a Prometheus text endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// What triggers call it.
    pub name: String,
    /// The service that it speaks for.
    #[serde(default)]
    pub service: Option<String>,
    /// The endpoint.
    pub url: String,
    /// The series: `queue_depth` or `queue_depth{queue="mail"}`; each that matches is judged by itself.
    pub series: String,
    /// Whether what matches is added up, which only numbers can be that are parts of one.
    #[serde(default)]
    pub sum: bool,
    /// Whether the series is a counter, whose growth a second is meant.
    #[serde(default)]
    pub rate: bool,
    /// Time between two questions.
    #[serde(default = "probe_interval", deserialize_with = "deserialize_duration")]
    pub interval: Duration,
    /// How long an answer may take.
    #[serde(default = "probe_timeout", deserialize_with = "deserialize_duration")]
    pub timeout: Duration,
}

/// Patterns of the security log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityConfig {
    /// Time over which is counted.
    #[serde(deserialize_with = "deserialize_duration")]
    pub window: Duration,
    /// Authentication failures of one address beyond which it is an incident.
    pub medium: u32,
    /// Beyond which it is a serious one.
    pub high: u32,
    /// Refused accesses of one address beyond which it is an incident.
    pub refused: u32,
    /// Accounts that one address failed to get into beyond which it is a serious incident.
    pub accounts: u32,
    /// Time in which the same incident is told once.
    #[serde(deserialize_with = "deserialize_duration")]
    pub cooldown: Duration,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_mins(5),
            medium: 5,
            high: 10,
            refused: 20,
            accounts: 5,
            cooldown: Duration::from_mins(30),
        }
    }
}

fn probe_interval() -> Duration {
    Duration::from_secs(15)
}

fn probe_timeout() -> Duration {
    Duration::from_secs(5)
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize_duration(deserializer).map(Some)
}

impl MonitorConfig {
    /// In which zone a log's times are meant that name none: those of a service by its name, or `security.log`.
    #[must_use]
    pub fn zone_of(&self, name: &str) -> Zone {
        // What is no pattern was refused when the configuration was read.
        let mut named = self.logs.iter();
        let named = named.find(|log| Name::parse(&log.name).is_ok_and(|pattern| pattern.matches(name)));
        named.map_or(Zone::Utc, |log| log.timezone)
    }

    /// Refuses what is out of range, and what does not go together.
    pub(super) fn check(&self) -> Result<(), String> {
        let within = |key: &str, time: Duration, least: Duration| {
            if time < least || time > LONGEST {
                return Err(format!(
                    "monitor.{key} is {}, and must be from {} to {}",
                    humantime::format_duration(time),
                    humantime::format_duration(least),
                    humantime::format_duration(LONGEST)
                ));
            }
            Ok(())
        };
        let second = Duration::from_secs(1);
        within("interval", self.interval, second)?;
        within("window", self.window, second)?;
        within("sustained_for", self.sustained_for, Duration::ZERO)?;
        within("cooldown", self.cooldown, Duration::ZERO)?;
        within("security.window", self.security.window, second)?;
        within("security.cooldown", self.security.cooldown, Duration::ZERO)?;
        if self.security.high < self.security.medium {
            return Err(format!(
                "monitor.security.high is {}, and must not lie below medium, which is {}",
                self.security.high, self.security.medium
            ));
        }
        if !matches!(self.unreadable, Threshold::Value(share) if (0.0..=1.0).contains(&share)) {
            return Err("monitor.unreadable must be a share from 0 to 1, or `20 %`".to_owned());
        }
        if let Some(listen) = &self.listen {
            listen_address(listen)?;
        }
        for log in &self.logs {
            Name::parse(&log.name).map_err(|error| format!("monitor.logs: name: {error}"))?;
        }
        for entry in self.prometheus.iter().filter(|entry| entry.sum) {
            if let Some(why) = entry.not_additive() {
                return Err(format!("monitor.prometheus: `{}`: {why}", entry.name));
            }
        }
        let mut names = Vec::new();
        for trigger in &self.triggers {
            let name = trigger.name();
            if names.contains(&name) {
                return Err(format!("monitor.triggers: the name `{name}` stands twice"));
            }
            trigger
                .check(self)
                .map_err(|why| format!("monitor.triggers: `{name}`: {why}"))?;
            for (key, time, least) in [
                ("window", trigger.window, second),
                ("sustained_for", trigger.sustained_for, Duration::ZERO),
                ("cooldown", trigger.cooldown, Duration::ZERO),
                ("baseline", trigger.baseline, Duration::from_mins(1)),
            ] {
                if let Some(time) = time {
                    within(&format!("triggers: `{name}`: {key}"), time, least)?;
                }
            }
            names.push(name);
        }
        for (key, interval, timeout) in self
            .probes
            .iter()
            .map(|probe| ("probes", probe.interval, probe.timeout))
            .chain(
                self.prometheus
                    .iter()
                    .map(|entry| ("prometheus", entry.interval, entry.timeout)),
            )
        {
            within(&format!("{key}: interval"), interval, second)?;
            within(&format!("{key}: timeout"), timeout, Duration::from_millis(1))?;
        }
        for process in &self.processes {
            if process.name.is_none()
                && process.command.is_none()
                && process.port.is_none()
                && process.pid_file.is_none()
            {
                return Err(format!(
                    "monitor.processes: `{}` names no process: give name, command, port or pid_file",
                    process.service
                ));
            }
        }
        Ok(())
    }
}

/// The address of `listen`, on this machine alone.
///
/// # Errors
/// What is wrong with it.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("monitor.listen `{text}` is no address and port such as `127.0.0.1:9187`"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "monitor.listen `{text}` is not on the loopback interface: use 127.0.0.1 or [::1], and a proxy for others"
        ))
    }
}

impl PrometheusConfig {
    /// Why the values of the series can't be added up, as far as its name tells.
    fn not_additive(&self) -> Option<String> {
        let name = self.series.split('{').next().unwrap_or_default().trim();
        let ends = ["_ratio", "_percent", "_percentage", "_average", "_mean", "_info"];
        let end = ends.iter().find(|end| name.ends_with(**end))?;
        Some(format!(
            "a series whose name ends with `{end}` can't be summed: leave `sum` out, and each is judged by itself"
        ))
    }
}

impl TriggerConfig {
    /// Its name, or what stands for one.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| match &self.service {
            Some(service) => format!("{}-{service}", self.metric.name()),
            None => self.metric.name().to_owned(),
        })
    }

    fn check(&self, all: &MonitorConfig) -> Result<(), String> {
        match self.threshold {
            None if self.metric != Metric::Script => return Err("it has no threshold".to_owned()),
            Some(Threshold::Baseline(factor)) if !(factor.is_finite() && factor > 1.0) => {
                return Err(format!("a threshold of {factor} x baseline must be above 1 x"));
            }
            Some(Threshold::Baseline(_)) if !self.metric.is_of_events() => {
                return Err(format!("`{}` has no baseline", self.metric.name()));
            }
            _ => {}
        }
        for (key, value) in [
            ("threshold", self.threshold),
            ("clear", self.clear),
            ("at_least", self.at_least),
        ] {
            let Some(Threshold::Value(value)) = value else {
                continue;
            };
            let most = if self.metric.is_share() { 1.0 } else { f64::MAX };
            let free = self.metric == Metric::Prometheus;
            if !value.is_finite() || (!free && !(0.0..=most).contains(&value)) {
                return Err(format!(
                    "{key} is {value}, and must be {}",
                    if self.metric.is_share() {
                        "from 0 to 1"
                    } else {
                        "a number from 0 on"
                    }
                ));
            }
        }
        if let (Some(Threshold::Value(threshold)), Some(clear)) = (self.threshold, self.clear) {
            let Threshold::Value(clear) = clear else {
                return Err("clear must be a value".to_owned());
            };
            let wrong = if self.metric.is_bad_below() {
                clear < threshold
            } else {
                clear > threshold
            };
            if wrong {
                return Err(format!(
                    "clear is {clear}: it must lie on the good side of the threshold {threshold}"
                ));
            }
        }
        if self.min_samples == Some(0) {
            return Err("min_samples is 0: without a sample there is nothing to judge".to_owned());
        }
        if self.action == Wanted::Rollback && self.story.is_none() {
            return Err("action: rollback needs the story that is rolled back".to_owned());
        }
        if self.metric == Metric::Script && self.story.is_none() {
            return Err("metric: script needs the story that holds `fn trigger(metrics)`".to_owned());
        }
        if self.metric == Metric::Prometheus
            && !all
                .prometheus
                .iter()
                .any(|entry| Some(&entry.name) == self.source.as_ref())
        {
            return Err(
                "metric: prometheus needs `source`, the name of an entry of monitor.prometheus".to_owned(),
            );
        }
        if let Some(service) = &self.service {
            Name::parse(service).map_err(|error| format!("service: {error}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
