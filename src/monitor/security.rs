//! What the security log says beyond single services: who fails to get in, who is refused, who attacks. Bounded, whatever
//! the log says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::metrics::AHEAD;
use super::trigger::ms;
use super::units::time;
use crate::log_line::Event;
use crate::workspace::monitor_config::SecurityConfig;

/// Addresses that are followed at most.
const ADDRESSES: usize = 4096;

/// Times and accounts that are kept of an address at most.
const EACH: usize = 256;

/// The longest address or account, in bytes.
const NAME: usize = 80;

/// How serious an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// To be looked at.
    Medium,
    /// To be looked at now.
    High,
}

/// What kind of events are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Failures to get in.
    AuthenticationFailures,
    /// One address, many accounts.
    ManyAccounts,
    /// Access that was refused.
    RefusedAccess,
    /// Injection, path traversal and the like.
    Attack,
    /// Records or data that were tampered with; more rights than are due.
    Tampering,
}

impl Pattern {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthenticationFailures => "authentication failures",
            Self::ManyAccounts => "authentication failures for many accounts",
            Self::RefusedAccess => "refused accesses",
            Self::Attack => "attacks",
            Self::Tampering => "signs of tampering",
        }
    }

    /// What an event's name tells of.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&["tamper", "integrity_violation", "privilege_escalation"]) {
            return Some(Self::Tampering);
        }
        if has(&[
            "injection",
            "traversal",
            "xss",
            "csrf",
            "brute_force",
            "bruteforce",
        ]) {
            return Some(Self::Attack);
        }
        let bad = has(&["fail", "invalid", "denied", "reject", "refused", "bad_"]);
        if has(&["unauthorized", "unauthorised", "forbidden"])
            || (bad && has(&["access", "permission", "authoriz", "authoris"]))
        {
            return Some(Self::RefusedAccess);
        }
        (bad && has(&[
            "auth",
            "login",
            "logon",
            "signin",
            "sign_in",
            "password",
            "credential",
        ]))
        .then_some(Self::AuthenticationFailures)
    }
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// What kind.
    pub pattern: Pattern,
    /// How serious.
    pub severity: Level,
    /// Whose.
    pub address: String,
    /// How many events in the window.
    pub count: u64,
    /// One line.
    pub why: String,
    /// Whether it is told by this judgement; else it was told before, within the cooldown.
    pub new: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Trail {
    times: VecDeque<i64>,
    accounts: BTreeMap<String, i64>,
}

/// What was seen of each address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Security {
    trails: BTreeMap<Pattern, BTreeMap<String, Trail>>,
    /// When each incident was last reported; `told` on disk.
    #[serde(rename = "told")]
    reported: BTreeMap<String, i64>,
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(NAME))
        .unwrap_or(text)
        .to_owned()
}

impl Security {
    /// Counts an event of the security log, seen at `now` (ms).
    pub fn note(&mut self, event: &Event<'_>, now: i64, window: i64) {
        let Some(pattern) = event.name.as_deref().and_then(Pattern::of) else {
            return;
        };
        let Some(at) = event.time() else { return };
        if at > now.saturating_add(AHEAD) || at < now.saturating_sub(window) {
            return;
        }
        let address = event
            .address
            .as_deref()
            .map_or_else(|| "no address".to_owned(), cut);
        let trails = self.trails.entry(pattern).or_default();
        if !trails.contains_key(&address) && trails.len() >= ADDRESSES {
            // The one of which nothing was heard for the longest goes.
            let stalest = trails
                .iter()
                .min_by_key(|(_, trail)| trail.times.back().copied())
                .map(|(address, _)| address.clone());
            if let Some(stalest) = stalest {
                trails.remove(&stalest);
            }
        }
        let trail = trails.entry(address).or_default();
        let place = trail.times.partition_point(|known| *known <= at);
        trail.times.insert(place, at);
        while trail.times.len() > EACH {
            trail.times.pop_front();
        }
        if let Some(account) = &event.account
            && (trail.accounts.len() < EACH || trail.accounts.contains_key(account.as_ref()))
        {
            trail.accounts.insert(cut(account), at);
        }
    }

    /// The incidents at a time (ms), the worst first. Each is new once in the cooldown.
    pub fn incidents(&mut self, config: &SecurityConfig, now: i64) -> Vec<Incident> {
        let window = ms(config.window);
        let since = now.saturating_sub(window);
        let mut found = Vec::new();
        for (pattern, trails) in &mut self.trails {
            trails.retain(|address, trail| {
                trail
                    .times
                    .retain(|at| *at > since && *at <= now.saturating_add(AHEAD));
                trail.accounts.retain(|_, at| *at > since);
                let count = trail.times.len() as u64;
                let accounts = trail.accounts.len() as u64;
                if let Some(severity) = severity(*pattern, count, config) {
                    found.push((*pattern, severity, address.clone(), count));
                }
                if *pattern == Pattern::AuthenticationFailures && accounts > u64::from(config.accounts) {
                    found.push((Pattern::ManyAccounts, Level::High, address.clone(), accounts));
                }
                !trail.times.is_empty()
            });
        }
        self.reported.retain(|_, at| {
            *at = (*at).min(now);
            now - *at < ms(config.cooldown)
        });
        let mut incidents: Vec<Incident> = found
            .into_iter()
            .map(|(pattern, severity, address, count)| {
                let key = format!("{pattern:?}/{severity:?}/{address}");
                let new = !self.reported.contains_key(&key);
                if new && self.reported.len() < ADDRESSES * 2 {
                    self.reported.insert(key, now);
                }
                let what = if pattern == Pattern::ManyAccounts {
                    format!("{count} accounts")
                } else {
                    format!("{count} events")
                };
                Incident {
                    why: format!("{} from {address}: {what} in {}", pattern.name(), time(window)),
                    pattern,
                    severity,
                    address,
                    count,
                    new,
                }
            })
            .collect();
        incidents.sort_by(|left, right| {
            (right.severity, right.count, &left.address).cmp(&(left.severity, left.count, &right.address))
        });
        incidents
    }

    /// Addresses that are followed.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.trails
            .values()
            .flat_map(BTreeMap::keys)
            .collect::<BTreeSet<_>>()
            .len()
    }
}

fn severity(pattern: Pattern, count: u64, config: &SecurityConfig) -> Option<Level> {
    match pattern {
        Pattern::AuthenticationFailures if count > u64::from(config.high) => Some(Level::High),
        Pattern::AuthenticationFailures if count > u64::from(config.medium) => Some(Level::Medium),
        Pattern::RefusedAccess if count > u64::from(config.refused) => Some(Level::Medium),
        Pattern::Attack if count > 0 => Some(Level::Medium),
        Pattern::Tampering if count > 0 => Some(Level::High),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_397_400_000;

    fn failure(address: &'static str, account: &'static str, at: i64) -> Event<'static> {
        Event {
            at: crate::base::known::Known::Yes(at),
            name: Some("auth_failed".into()),
            address: Some(address.into()),
            account: Some(account.into()),
            ..Event::default()
        }
    }

    /// Kind "a name on disk is part of the format".
    #[test]
    fn what_is_kept_has_the_names_of_its_format() {
        let kept = serde_json::to_value(Security::default()).expect("serialised");
        assert_eq!(kept, serde_json::json!({ "trails": {}, "told": {} }));
    }

    #[test]
    fn failures_are_counted_by_address_and_more_than_five_or_ten_are_incidents() {
        let config = SecurityConfig::default();
        let mut security = Security::default();
        for (address, count) in [
            ("10.0.0.5", 5),
            ("10.0.0.6", 6),
            ("10.0.0.10", 10),
            ("10.0.0.11", 11),
        ] {
            for second in 0..count {
                security.note(
                    &failure(address, "root", NOW - second * 1000),
                    NOW,
                    ms(config.window),
                );
            }
        }
        let rendered = |incidents: Vec<Incident>| -> Vec<(String, Level, bool)> {
            incidents
                .into_iter()
                .map(|one| (one.address, one.severity, one.new))
                .collect()
        };
        let expected = |new| {
            vec![
                ("10.0.0.11".to_owned(), Level::High, new),
                ("10.0.0.10".to_owned(), Level::Medium, new),
                ("10.0.0.6".to_owned(), Level::Medium, new),
            ]
        };
        assert_eq!(rendered(security.incidents(&config, NOW)), expected(true));
        assert_eq!(rendered(security.incidents(&config, NOW + 1000)), expected(false));
        assert_eq!(rendered(security.incidents(&config, NOW + 600_000)), []);
    }

    #[test]
    fn one_address_that_tries_many_accounts_is_an_incident_of_its_own() {
        let config = SecurityConfig::default();
        let mut security = Security::default();
        for account in ["a", "b", "c", "d", "e", "f"] {
            security.note(&failure("10.0.0.1", account, NOW), NOW, ms(config.window));
        }
        let incidents = security.incidents(&config, NOW);
        assert!(
            incidents.iter().any(|one| one.pattern == Pattern::ManyAccounts),
            "{incidents:?}"
        );
    }

    #[test]
    fn names_tell_the_pattern() {
        for (name, pattern) in [
            ("auth_failed", Some(Pattern::AuthenticationFailures)),
            ("LOGIN_FAILURE", Some(Pattern::AuthenticationFailures)),
            ("authentication_failure", Some(Pattern::AuthenticationFailures)),
            ("login_succeeded", None),
            ("access_denied", Some(Pattern::RefusedAccess)),
            ("unauthorized_access", Some(Pattern::RefusedAccess)),
            ("sql_injection_attempt", Some(Pattern::Attack)),
            ("audit_log_tampered", Some(Pattern::Tampering)),
            ("rollback_failed", None),
            ("query_failed", None),
        ] {
            assert_eq!(Pattern::of(name), pattern, "{name}");
        }
    }

    #[test]
    fn a_flood_of_addresses_does_not_take_all_memory() {
        let config = SecurityConfig::default();
        let mut security = Security::default();
        for number in 0..20_000 {
            let mut event = failure("x", "y", NOW);
            event.address = Some(format!("10.0.{}.{}", number / 256, number % 256).into());
            security.note(&event, NOW, ms(config.window));
        }
        assert!(security.addresses() <= ADDRESSES);
    }
}
