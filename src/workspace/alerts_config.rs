//! `alerts:` of `rollback.yaml`: the channels, who gets what, and how often.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::base::wording::deserialize_duration;
use crate::report::alert::{Alert, Kind, Severity};
use crate::workspace::secret::{Address, Source};
use crate::workspace::template::Template;

/// Channels that can be set up at most; each may be delivered to at the same time.
const CHANNELS: usize = 16;

/// Alerts and channels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// The channels.
    pub channels: Vec<Channel>,
    /// After how long an alert that no one takes is given up. It is kept all the same.
    #[serde(deserialize_with = "deserialize_duration")]
    pub give_up_after: Duration,
    /// How many sent alerts are kept in the outbox.
    pub keep_sent: usize,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            channels: Vec::new(),
            give_up_after: Duration::from_hours(24),
            keep_sent: 100,
        }
    }
}

/// A way to people or programs elsewhere. Exactly one of `webhook`, `mail`, `command` and `log` is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name: small letters, digits and dashes.
    pub name: String,
    /// An HTTP receiver.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// A mail server.
    #[serde(default)]
    pub mail: Option<Mail>,
    /// A program, and its arguments.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// `logs/rollback-alerts.log`.
    #[serde(default)]
    pub log: Option<Log>,
    /// The kinds that it gets.
    #[serde(default = "every_kind")]
    pub on: Vec<Kind>,
    /// The least severity that it gets.
    #[serde(default)]
    pub severity: Severity,
    /// How many alerts it gets at most.
    #[serde(default)]
    pub rate_limit: Rate,
    /// For how long equal alerts are held back after one was sent; 0s: never.
    #[serde(default = "five_minutes", deserialize_with = "deserialize_duration")]
    pub group_within: Duration,
    /// How long one attempt may take.
    #[serde(default = "five_seconds", deserialize_with = "deserialize_duration")]
    pub timeout: Duration,
    /// The title that it gets.
    #[serde(default)]
    pub title: Option<Template>,
    /// The text that it gets.
    #[serde(default)]
    pub text: Option<Template>,
}

fn every_kind() -> Vec<Kind> {
    vec![
        Kind::Initiation,
        Kind::Completion,
        Kind::Failure,
        Kind::Breach,
        Kind::Recovery,
        Kind::SecurityIncident,
        Kind::Message,
    ]
}

fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

/// The form of what an HTTP receiver gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `rollback.alert/1`.
    #[default]
    Generic,
    /// What Slack's incoming webhooks take, and others that follow them.
    Slack,
}

/// An HTTP receiver.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its address.
    pub url: Address,
    /// The form of what it gets.
    #[serde(default)]
    pub form: Form,
    /// The key of the signature.
    #[serde(default)]
    pub signing_key: Option<Source>,
    /// The certificates (PEM) that vouch for it; by default those that everybody trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// Plain first, then always TLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// None; only to this machine.
    None,
}

/// A mail server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Its name.
    pub host: String,
    /// Its port; by default that of its protection: 587, 465, 25.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Protection,
    /// Whom the mail is from.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// Who logs in.
    #[serde(default)]
    pub user: Option<String>,
    /// With which password.
    #[serde(default)]
    pub password: Option<Source>,
    /// The certificates (PEM) that vouch for it; by default those that everybody trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl Mail {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Protection::Starttls => 587,
            Protection::Implicit => 465,
            Protection::None => 25,
        })
    }

    fn check(&self) -> Result<(), String> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-:_".contains(letter);
        if self.host.is_empty() || !self.host.chars().all(plain) {
            return Err("mail.host is no host: give a name such as `smtp.example.org`".to_owned());
        }
        if self.port == Some(0) {
            return Err("mail.port is 0".to_owned());
        }
        let here = self.host == "localhost"
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if self.tls == Protection::None && !here {
            return Err(format!(
                "mail.tls is none, and `{}` is not this machine: use starttls or implicit",
                self.host
            ));
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("mail.user and mail.password go together".to_owned());
        }
        if self.to.is_empty() {
            return Err("mail.to names nobody".to_owned());
        }
        for address in self.to.iter().chain([&self.from]) {
            address
                .parse::<lettre::message::Mailbox>()
                .map_err(|_| format!("`{}` is no mail address", address.escape_debug()))?;
        }
        Ok(())
    }
}

/// `logs/rollback-alerts.log`; there is nothing to set.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {}

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub window: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            count: 60,
            window: Duration::from_hours(1),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            serde::de::Error::custom(format!(
                "`{text}` is not a rate such as `10/h`: a number from 1 to 1000, `/`, and s, m, h or d"
            ))
        };
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        if !(1..=1_000).contains(&count) {
            return Err(wrong());
        }
        Ok(Self {
            count,
            window: Duration::from_secs(seconds),
        })
    }
}

impl Channel {
    /// Where its secrets are.
    pub fn secrets(&self) -> impl Iterator<Item = &Source> {
        let webhook = self.webhook.as_ref();
        let url = webhook.and_then(|webhook| match &webhook.url {
            Address::Secret(source) => Some(source),
            Address::Plain(_) => None,
        });
        let key = webhook.and_then(|webhook| webhook.signing_key.as_ref());
        let password = self.mail.as_ref().and_then(|mail| mail.password.as_ref());
        [url, key, password].into_iter().flatten()
    }

    /// Whether it gets an alert.
    #[must_use]
    pub fn wants(&self, alert: &Alert) -> bool {
        alert.kind == Kind::Test || (self.on.contains(&alert.kind) && alert.severity >= self.severity)
    }

    /// What kind of channel it is.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match (&self.webhook, &self.mail, &self.command) {
            (Some(_), _, _) => "webhook",
            (_, Some(_), _) => "mail",
            (_, _, Some(_)) => "command",
            _ => "log",
        }
    }

    fn check(&self, commands: &[String]) -> Result<(), String> {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if self.name.is_empty() || self.name.len() > 40 || !self.name.chars().all(plain) {
            return Err("the name must be at most 40 small letters, digits and dashes".to_owned());
        }
        let given = [
            self.webhook.is_some(),
            self.mail.is_some(),
            self.command.is_some(),
            self.log.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err("it needs exactly one of `webhook`, `mail`, `command` and `log`".to_owned());
        }
        if self.on.is_empty() {
            return Err("`on` is empty, so it would get nothing: leave it out to get everything".to_owned());
        }
        let longest = Duration::from_mins(1);
        if self.timeout.is_zero() || self.timeout > longest {
            return Err("timeout must be more than 0s and at most 1m".to_owned());
        }
        if let Some(mail) = &self.mail {
            mail.check()?;
        }
        if let Some(command) = &self.command {
            let program = command.first().ok_or("command names no program")?;
            if !commands.contains(program) {
                return Err(format!(
                    "its program `{program}` is not listed in policy.commands"
                ));
            }
        }
        Ok(())
    }
}

impl AlertsConfig {
    /// What does not go together; `commands` is `policy.commands`.
    ///
    /// # Errors
    /// One line that names the channel and the key.
    pub fn check(&self, commands: &[String]) -> Result<(), String> {
        if self.channels.len() > CHANNELS {
            return Err(format!("alerts.channels has more than {CHANNELS} channels"));
        }
        if self.give_up_after.is_zero() {
            return Err("alerts.give_up_after is 0, so nothing would be tried again".to_owned());
        }
        if self.keep_sent > 10_000 {
            return Err("alerts.keep_sent must be at most 10000".to_owned());
        }
        for (index, channel) in self.channels.iter().enumerate() {
            let display = channel.name.escape_debug();
            channel
                .check(commands)
                .map_err(|why| format!("alerts.channels `{display}`: {why}"))?;
            if self
                .channels
                .iter()
                .take(index)
                .any(|other| other.name == channel.name)
            {
                return Err(format!("alerts.channels names `{display}` twice"));
            }
        }
        Ok(())
    }

    /// Where the channels' secrets are.
    pub fn secrets(&self) -> impl Iterator<Item = &Source> {
        self.channels.iter().flat_map(Channel::secrets)
    }
}

#[cfg(test)]
mod tests {
    use crate::workspace::config::Config;

    use super::*;

    fn wrong(channel: &str) -> crate::base::error::Error {
        let text = format!("policy: {{ commands: [tell] }}\nalerts:\n  channels:\n    - {channel}\n");
        Config::parse(&text).expect_err(channel)
    }

    #[test]
    fn channels_are_read() {
        let config = Config::parse(
            "policy: { commands: [tell] }
alerts:
  give_up_after: 2h
  channels:
    - name: ops
      webhook: { url: { env: OPS_URL }, form: slack, signing_key: { file: key } }
      on: [failure, security-incident]
      severity: warning
      rate_limit: 10/h
      title: '{severity}: {title}'
    - name: night
      mail: { host: smtp.example.org, from: Rollback <r@example.org>, to: [a@example.org], user: r, password: { env: P } }
    - { name: pager, command: [tell, --now] }
    - { name: kept, log: {} }
",
        )
        .expect("a configuration");
        let channels = &config.alerts.channels;
        let types: Vec<&str> = channels.iter().map(Channel::type_name).collect();
        assert_eq!(types, ["webhook", "mail", "command", "log"]);
        assert_eq!(config.alerts.secrets().count(), 3);
        assert_eq!(
            channels
                .first()
                .map(|ops| (ops.rate_limit.count, ops.severity, ops.on.len())),
            Some((10, Severity::Warning, 2))
        );
        assert_eq!(
            channels
                .get(1)
                .and_then(|night| night.mail.as_ref())
                .map(Mail::port),
            Some(587)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (channel, named) in [
            ("{ name: a, log: {}, severty: info }", "severty"),
            ("{ name: a }", "exactly one"),
            ("{ name: a, log: {}, command: [tell] }", "exactly one"),
            ("{ name: A b, log: {} }", "small letters"),
            ("{ name: a, command: [other] }", "policy.commands"),
            ("{ name: a, log: {}, rate_limit: often }", "10/h"),
            ("{ name: a, log: {}, title: '{titel}' }", "did you mean `{title}`"),
            ("{ name: a, log: {}, on: [] }", "`on` is empty"),
            ("{ name: a, webhook: { url: 'ftp://x' } }", "ftp://x"),
            (
                "{ name: a, webhook: { url: 'http://h/' }, timeout: 2m }",
                "timeout",
            ),
            (
                "{ name: a, mail: { host: h, tls: none, from: a@b.c, to: [a@b.c] } }",
                "not this machine",
            ),
            (
                "{ name: a, mail: { host: h, from: \"a@b.c\\r\\nBcc: x\", to: [a@b.c] } }",
                "no mail address",
            ),
            (
                "{ name: a, mail: { host: h, from: a@b.c, to: [a@b.c], user: x } }",
                "go together",
            ),
        ] {
            let error = wrong(channel);
            assert!(error.message().contains(named), "{channel}: {error}");
        }
        let error = wrong("{ name: a, log: {}, on: [failur] }");
        assert_eq!(error.hint_text(), Some("did you mean `failure`?"), "{error}");
        assert_eq!(error.position().map(|position| position.line), Some(4));
        let twice = Config::parse("alerts: { channels: [{ name: a, log: {} }, { name: a, log: {} }] }");
        assert!(twice.is_err());
    }

    #[test]
    fn a_secret_that_is_written_out_is_not_repeated() {
        for channel in [
            "{ name: a, webhook: { url: 'http://h/', signing_key: hunter2 } }",
            "{ name: a, mail: { host: h, from: a@b.c, to: [a@b.c], user: x, password: hunter2 } }",
            "{ name: a, webhook: { url: 'http://user:hunter2@h/' } }",
        ] {
            let error = wrong(channel);
            assert!(!error.message().contains("hunter2"), "{error}");
            assert!(error.message().contains("{ env: NAME }"), "{error}");
        }
    }
}
