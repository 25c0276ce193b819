//! Tests of the configuration of the monitor.

use crate::workspace::config::Config;

use super::*;

fn parse(monitor: &str) -> Result<MonitorConfig, crate::base::error::Error> {
    Config::parse(&format!("monitor:\n  {}\n", monitor.replace('\n', "\n  "))).map(|config| config.monitor)
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = MonitorConfig::default();
    assert_eq!(config.window, Duration::from_secs(300));
    assert_eq!(config.sustained_for, Duration::from_secs(60));
    assert_eq!(config.cooldown, Duration::from_secs(1800));
    assert_eq!((config.min_samples, config.max_rollbacks), (20, 1));
}

#[test]
fn the_first_entry_that_names_a_log_tells_its_zone() {
    let config = parse(
        "logs: [{ name: security.log, timezone: UTC }, { name: 'jupyter*', timezone: +02:00 }, { name: '*', timezone: local }]",
    )
    .expect("a configuration");
    let zone = |service| config.zone_of(service);
    assert_eq!(zone("security.log"), Zone::Utc);
    assert_eq!(Some(zone("jupyter-lab")), Zone::parse("+02:00"));
    assert_eq!(zone("dagster"), Zone::Local);
    assert_eq!(MonitorConfig::default().zone_of("dagster"), Zone::Utc);
}

#[test]
fn thresholds_have_their_units() {
    for (text, expected) in [
        ("0.1", Threshold::Value(0.1)),
        ("10 %", Threshold::Value(0.1)),
        ("5s", Threshold::Value(5000.0)),
        ("512MiB", Threshold::Value(536_870_912.0)),
        ("5 x baseline", Threshold::Baseline(5.0)),
    ] {
        let read: Threshold = serde_yaml::from_str(&format!("\"{text}\"")).expect(text);
        assert_eq!(read, expected, "{text}");
    }
    assert!(serde_yaml::from_str::<Threshold>("\"much\"").is_err());
}

#[test]
fn what_is_out_of_range_or_unknown_is_an_error_that_names_it() {
    for (text, named) in [
        (
            "triggers: [{ metric: error_rate, threshold: 1.5 }]",
            "from 0 to 1",
        ),
        (
            "triggers: [{ metric: error_rate, threshold: .nan }]",
            "from 0 to 1",
        ),
        ("triggers: [{ metric: error_rate }]", "no threshold"),
        (
            "logs: [{ name: web, timezone: Berlin }]",
            "`Berlin` is no timezone: write `UTC`, `local`, or an offset such as `+02:00`",
        ),
        ("logs: [{ name: 'web[', timezone: UTC }]", "monitor.logs: name"),
        ("logs: [{ name: web }]", "timezone"),
        (
            "triggers: [{ metric: error_rate, threshold: 0.1, clear: 0.2 }]",
            "good side",
        ),
        (
            "triggers: [{ metric: availability, threshold: 0.9, clear: 0.8 }]",
            "good side",
        ),
        (
            "triggers: [{ metric: error_rate, threshold: 0.1, action: rollback }]",
            "needs the story",
        ),
        (
            "triggers: [{ metric: error_rate, threshold: 0.1, min_samples: 0 }]",
            "min_samples",
        ),
        (
            "triggers: [{ metric: error_rate, threshold: 1 x baseline }]",
            "above 1 x",
        ),
        (
            "triggers: [{ metric: memory, threshold: 2 x baseline }]",
            "no baseline",
        ),
        ("triggers: [{ metric: prometheus, threshold: 1 }]", "source"),
        ("triggers: [{ metric: error_rate, treshold: 0.1 }]", "treshold"),
        ("listen: 0.0.0.0:9187", "loopback"),
        ("listen: here", "no address"),
        ("window: 0s", "window"),
        ("security: { medium: 5, high: 3 }", "high"),
        ("processes: [{ service: api }]", "names no process"),
        ("unreadable: 1.5", "unreadable"),
        ("unreadable: 2 x baseline", "unreadable"),
        (
            "prometheus: [{ name: d, url: 'http://127.0.0.1', series: disk_used_ratio, sum: true }]",
            "can't be summed",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.message().contains(named), "{text}: {error}");
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
    let error = parse("interval: 5s\ncooldwn: 1m").expect_err("unknown");
    assert_eq!(error.hint_text(), Some("did you mean `cooldown`?"));
    assert_eq!(error.position().map(|position| position.line), Some(3));
}
