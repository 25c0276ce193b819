//! `rollback.yaml`: all optional; an unknown key is an error that names the line and the nearest known key.

use std::collections::BTreeMap;
use std::path::Path;
use std::slice::from_ref;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::monitor_config::MonitorConfig;
use crate::base::error::{Error, Position, Result};
use crate::base::wording::{deserialize_duration, nearest, parse_duration};
use crate::pattern::{self, Pattern, Rule};
use crate::workspace::address::{Address, check_pattern};
use crate::workspace::alerts_config::AlertsConfig;
use crate::workspace::commands_config::Commands;

/// The flags file's usual place; it marks a workspace too.
pub const FLAGS_FILE: &str = "config/feature-flags.yaml";

/// Names under which secrets usually lie.
const READ_DENY: [&str; 8] = [
    "**/.env*",
    "**/.npmrc",
    "**/.pypirc",
    "**/.netrc",
    "**/id_{rsa,dsa,ecdsa,ed25519,xmss}*",
    "**/.ssh/id_*",
    "**/*.pem",
    "**/*.key",
];

/// The largest configuration file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What `rollback.yaml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Version of the format; 1.
    pub version: u32,
    /// The flags file, relative to the workspace.
    pub flags_file: String,
    /// The environment file, relative to the workspace.
    pub env_file: String,
    /// The Python environment whose packages may be uninstalled.
    pub python: String,
    /// `docker` or `podman`.
    pub docker: String,
    /// Backups.
    pub backups: Backups,
    /// What a run may do.
    pub policy: Policy,
    /// Additions to stories, by id.
    pub stories: BTreeMap<String, StoryAdditions>,
    /// What the checks of a validation ask for.
    pub validation: Validation,
    /// What is watched, and when it counts as bad.
    pub monitor: MonitorConfig,
    /// Who is told what, and how.
    pub alerts: AlertsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: 1,
            flags_file: FLAGS_FILE.to_owned(),
            env_file: ".env".to_owned(),
            python: ".venv".to_owned(),
            docker: "docker".to_owned(),
            backups: Backups::default(),
            policy: Policy::default(),
            stories: BTreeMap::new(),
            validation: Validation::default(),
            monitor: MonitorConfig::default(),
            alerts: AlertsConfig::default(),
        }
    }
}

/// Where backups go and how long they stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backups {
    /// Directory, relative to the workspace.
    pub dir: String,
    /// How many of a name stay.
    pub keep_last: u32,
    /// How long they stay.
    #[serde(deserialize_with = "retention")]
    pub keep_within: Duration,
    /// Bytes of a run up to which digests are computed at once; 0: never at once.
    #[serde(deserialize_with = "bytes")]
    pub digest_limit: u64,
}

impl Default for Backups {
    fn default() -> Self {
        Self {
            dir: "rollback_backups".to_owned(),
            keep_last: 5,
            keep_within: Duration::from_secs(30 * 86_400),
            digest_limit: 1 << 30,
        }
    }
}

/// What the checks of a validation ask for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// A check that rests on something unknown fails.
    pub strict: bool,
    /// How long a run goes on looking whether a service comes back.
    #[serde(deserialize_with = "deserialize_duration")]
    pub settle: Duration,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            strict: false,
            settle: Duration::from_secs(3),
        }
    }
}

/// What a run may do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Directories below which a run may write, relative to the workspace.
    pub write: Vec<String>,
    /// Patterns, relative to the workspace, of what a run may never change.
    pub deny: Vec<String>,
    /// Patterns, relative to the workspace, of files that a script is never given; whatever the case.
    pub read_deny: Vec<String>,
    /// Programs that `run_command` may start, and what a preview does with them.
    pub commands: Commands,
    /// Which processes may be ended.
    pub processes: Processes,
    /// URL patterns that `http_check` may ask.
    pub http: Vec<String>,
    /// Limits of scripts.
    pub limits: Limits,
    /// Whether the kernel must confine a command as a whole; otherwise what it can't do is warned of.
    pub require_confinement: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            write: vec![".".to_owned()],
            deny: vec![".git/**".to_owned()],
            read_deny: READ_DENY.map(str::to_owned).to_vec(),
            commands: Commands::default(),
            processes: Processes::default(),
            http: vec!["http://127.0.0.1:*".to_owned(), "http://localhost:*".to_owned()],
            limits: Limits::default(),
            require_confinement: false,
        }
    }
}

/// Which processes may be ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Processes {
    /// The scope.
    pub scope: ProcessScope,
}

/// Scope of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessScope {
    /// The same user, and started from the workspace.
    #[default]
    Workspace,
    /// The same user.
    User,
}

impl ProcessScope {
    /// As `rollback.yaml` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::User => "user",
        }
    }
}

/// Limits of scripts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Paths that one word may touch.
    pub max_paths: u64,
    /// Bytes that one word may touch.
    #[serde(deserialize_with = "bytes")]
    pub max_bytes: u64,
    /// Wall-clock time of a story's script.
    #[serde(deserialize_with = "deserialize_duration")]
    pub deadline: Duration,
    /// Operations of the script engine, in one phase.
    pub operations: u64,
    /// Function calls within each other.
    pub call_depth: usize,
    /// Expressions and blocks within each other; half of it inside functions.
    pub expression_depth: usize,
    /// Bytes of all strings in one value.
    #[serde(deserialize_with = "bytes")]
    pub string_size: u64,
    /// Elements of all arrays in one value.
    pub array_size: usize,
    /// Entries of all maps in one value.
    pub map_size: usize,
    /// Variables at one time.
    pub variables: usize,
    /// Modules that are imported.
    pub modules: usize,
    /// Bytes of memory that this program may take while a script runs, beyond what it had before.
    #[serde(deserialize_with = "bytes")]
    pub memory: u64,
    /// Bytes that a script may say in a pass: notes, warnings, titles, reasons, targets.
    #[serde(deserialize_with = "bytes")]
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_paths: 100_000,
            max_bytes: 1 << 40,
            deadline: Duration::from_secs(30 * 60),
            operations: 10_000_000,
            call_depth: 48,
            expression_depth: 64,
            string_size: 8 << 20,
            array_size: 100_000,
            map_size: 100_000,
            variables: 1_000,
            modules: 64,
            memory: 1 << 30,
            output: 4 << 20,
        }
    }
}

impl Limits {
    /// To the engine 0 means "no limit"; to a person it means "none at all". What the engine's own stack can't hold is
    /// no limit either.
    fn check(&self) -> Result<(), String> {
        let limits = [
            ("operations", self.operations, u64::MAX),
            ("call_depth", self.call_depth as u64, 1_000),
            ("expression_depth", self.expression_depth as u64, 1_000),
            ("string_size", self.string_size, 1 << 30),
            ("array_size", self.array_size as u64, 10_000_000),
            ("map_size", self.map_size as u64, 10_000_000),
            ("variables", self.variables as u64, 1_000_000),
            ("modules", self.modules as u64, 1_000),
        ];
        for (key, value, most) in limits {
            if value == 0 || value > most {
                return Err(format!(
                    "policy.limits.{key} is {value}, and must be from 1 to {most}"
                ));
            }
        }
        Ok(())
    }
}

/// Additions to a story's lists.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoryAdditions {
    /// Backup name to the directories that are retired into it.
    pub data: BTreeMap<String, Vec<String>>,
    /// Files and directories that are removed.
    pub paths: Vec<String>,
    /// Other flags files (YAML) to the dotted keys in them that are set to `false`.
    pub flags: BTreeMap<String, Vec<String>>,
}

/// A duration by which data is removed.
fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Number(number) => Ok(number),
        Size::Text(text) => text
            .parse::<bytesize::ByteSize>()
            .map(|size| size.as_u64())
            .map_err(|error| {
                serde::de::Error::custom(format!("`{text}` is not a size such as `1GiB`: {error}"))
            }),
    }
}

impl Config {
    /// Reads `rollback.yaml` below `root`; a missing file means the defaults. Also gives warnings.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Configuration`] with the line.
    pub fn load(root: &Path) -> Result<(Self, Vec<String>)> {
        let path = root.join(super::CONFIG);
        let text = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok((Self::default(), Vec::new()));
            }
            Err(error) => return Err(unreadable(&error)),
            Ok(metadata) if metadata.len() > LIMIT => {
                return Err(Error::configuration(format!(
                    "`{}` is larger than 1 MiB",
                    super::CONFIG
                )));
            }
            Ok(_) => super::text(&path, LIMIT).map_err(|error| unreadable(&error))?,
        };
        Self::parse(&text).map(|config| (config, Vec::new()))
    }

    /// Parses the text of `rollback.yaml`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self> {
        if text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            return Ok(Self::default());
        }
        let config: Self = serde_yaml::from_str(text).map_err(|error| explain(text, &error))?;
        config.check()?;
        config.check_patterns(text)?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Error::configuration(format!("`{}`: {what}", super::CONFIG));
        if self.version != 1 {
            return Err(wrong(format!(
                "version {} is not known; this program knows 1",
                self.version
            )));
        }
        for (key, path) in [
            ("flags_file", &self.flags_file),
            ("env_file", &self.env_file),
            ("backups.dir", &self.backups.dir),
        ] {
            let inside = !path.is_empty()
                && Path::new(path)
                    .components()
                    .all(|part| matches!(part, std::path::Component::Normal(_)));
            if !inside {
                return Err(wrong(format!(
                    "{key} `{path}` must be a plain path below the workspace, without `..`"
                )));
            }
        }
        self.policy.limits.check().map_err(wrong)?;
        self.monitor.check().map_err(wrong)?;
        self.alerts
            .check(&self.policy.commands.programs())
            .map_err(wrong)?;
        Ok(())
    }
}

impl Config {
    /// A rule that nobody understands would refuse, list or find nothing.
    fn check_patterns(&self, text: &str) -> Result<()> {
        type Check = fn(&str) -> Result<()>;
        let rule: Check = |pattern| Rule::parse(pattern).map(|_| ());
        let address: Check = |url| Address::parse(url).map(|_| ());
        let part: Check = |part| {
            if pattern::is_pattern(part) {
                Pattern::parse(part.trim_end_matches('/'))?;
            }
            Ok(())
        };
        let (policy, monitor) = (&self.policy, &self.monitor);
        let policy = [
            ("policy.deny".to_owned(), &policy.deny[..], rule),
            ("policy.read_deny".to_owned(), &policy.read_deny, rule),
            ("policy.http".to_owned(), &policy.http, check_pattern),
        ];
        let stories = self.stories.iter().flat_map(|(id, additions)| {
            let data = additions.data.iter();
            data.map(move |(backup, paths)| (format!("stories.{id}.data.{backup}"), &paths[..], part))
                .chain([(format!("stories.{id}.paths"), &additions.paths[..], part)])
        });
        let probes = monitor.probes.iter().map(|probe| (&probe.service, &probe.url));
        let probes =
            probes.map(|(service, url)| (format!("monitor.probes `{service}`"), from_ref(url), address));
        let series = monitor.prometheus.iter().map(|entry| (&entry.name, &entry.url));
        let series =
            series.map(|(name, url)| (format!("monitor.prometheus `{name}`"), from_ref(url), address));
        let all = policy.into_iter().chain(stories).chain(probes).chain(series);
        for (key, patterns, check) in all {
            for pattern in patterns {
                let Err(error) = check(pattern) else { continue };
                let failure =
                    Error::configuration(format!("`{}`: {key}: {}", super::CONFIG, error.message()));
                let failure = match error.hint_text() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                };
                // Nothing is found of an empty one; credentials of an address are not repeated.
                let is_hidden = pattern.is_empty() || (pattern.contains("://") && pattern.contains('@'));
                return Err(match pattern::place_in(text, super::CONFIG, pattern) {
                    Some(place) if !is_hidden => failure.at(place),
                    _ => failure,
                });
            }
        }
        Ok(())
    }
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::configuration(format!("cannot read `{}`: {error}", super::CONFIG))
        .hint("make it readable, or remove it to use the defaults")
}

fn explain(text: &str, error: &serde_yaml::Error) -> Error {
    let message = error.to_string();
    let mut failure = Error::configuration(format!("`{}`: {message}", super::CONFIG));
    if let Some(near) = nearest_key(&message) {
        failure = failure.hint(format!("did you mean `{near}`?"));
    }
    if let Some(location) = error.location() {
        failure = failure.at(Position {
            file: super::CONFIG.to_owned(),
            line: location.line(),
            column: location.column(),
            source: Some(text.into()),
        });
    }
    failure
}

/// The known key nearest to the unknown one, out of serde's message "unknown field `x`, expected one of `a`, `b`"; the
/// same for a word where only some are known ("unknown variant").
fn nearest_key(message: &str) -> Option<String> {
    let (_, rest) = message
        .split_once("unknown field `")
        .or_else(|| message.split_once("unknown variant `"))?;
    let (unknown, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    nearest(unknown, known.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
        let error = Config::parse("version: 1\nflag_file: x.yaml\n").expect_err("unknown key");
        assert!(error.message().contains("flag_file"), "{error}");
        assert_eq!(error.hint_text(), Some("did you mean `flags_file`?"));
        assert_eq!(error.position().map(|position| position.line), Some(2));
    }

    #[test]
    fn sizes_and_durations_are_read() {
        let config = Config::parse(
            "backups: { digest_limit: 2MiB, keep_within: 10d }\npolicy: { limits: { deadline: 90s, max_bytes: 5 } }",
        )
        .expect("a configuration");
        assert_eq!(config.backups.digest_limit, 2 << 20);
        assert_eq!(config.backups.keep_within, Duration::from_secs(864_000));
        assert_eq!(config.policy.limits.deadline, Duration::from_secs(90));
        assert_eq!(config.policy.limits.max_bytes, 5);
    }

    #[test]
    fn paths_of_the_configuration_stay_inside() {
        assert!(Config::parse("flags_file: ../x.yaml").is_err());
        assert!(Config::parse("backups: { dir: /tmp }").is_err());
        assert!(Config::parse("# nothing\n").is_ok());
    }
}
