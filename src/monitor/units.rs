//! Numbers of the monitor with their units, for people.

use crate::workspace::monitor_config::Metric;

/// A value of a metric, for people.
#[must_use]
pub fn show(metric: Metric, value: f64) -> String {
    match metric {
        metric if metric.is_share() => percent(value),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bytes of memory fit"
        )]
        Metric::ProcessMemory => bytesize::ByteSize(value as u64).to_string(),
        Metric::Crashes | Metric::Prometheus | Metric::Script => number(value),
        _ => duration(value),
    }
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A number with three places at most.
pub(super) fn number(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

/// A duration in milliseconds.
pub(super) fn duration(milliseconds: f64) -> String {
    if milliseconds >= 1000.0 {
        format!("{:.2} s", milliseconds / 1000.0)
    } else {
        format!("{milliseconds:.0} ms")
    }
}

/// A time in ms, for people.
#[must_use]
pub fn time(milliseconds: i64) -> String {
    let time = std::time::Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    humantime::format_duration(time).to_string()
}

/// How many of what.
pub(super) fn plural(count: u64, what: &str) -> String {
    match (count, what) {
        (1, _) => format!("1 {what}"),
        (_, "crash") => format!("{count} crashes"),
        _ => format!("{count} {what}s"),
    }
}
