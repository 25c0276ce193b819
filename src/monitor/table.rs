//! The table on a terminal: a line a service with its rates and the shape of its window, a line a trigger with its verdict.

use super::ledger::Step;
use super::metrics::{Metrics, slots};
use super::units::{show, time};
use super::verdict::Verdict;
use super::watching::Round;
use crate::base::redact::redact;
use crate::base::terminal::{self, Ink, Style, escape};

/// Columns of a sparkline.
const SPARK: i64 = 30;

/// Heights of a sparkline.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Share of errors by part of the window, oldest first; a blank where nothing was logged.
#[must_use]
pub fn sparkline(metrics: &Metrics, service: &str, now: i64, window: i64) -> String {
    let Some(service) = metrics.service(service) else {
        return String::new();
    };
    let series = &service.series;
    let (last, length) = (series.number(now), slots(window, series.width()));
    (0..SPARK)
        .map(|part| {
            let from = last - length + length * part / SPARK;
            let to = last - length + length * (part + 1) / SPARK;
            let totals = series.totals(from, to);
            if totals.levelled() == 0 {
                return ' ';
            }
            let share = totals.errors.saturating_mul(8).div_ceil(totals.levelled()).min(8);
            let height = usize::try_from(share.saturating_sub(1)).unwrap_or(0);
            HEIGHTS.get(height).copied().unwrap_or(' ')
        })
        .collect()
}

/// The services.
#[must_use]
pub fn services(metrics: &Metrics, now: i64, window: i64) -> String {
    let rows: Vec<Vec<String>> = metrics
        .services()
        .map(|(name, _)| {
            let totals = metrics.totals(name, now, window);
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let (events, seconds) = (totals.events as f64, window as f64 / 1000.0);
            let time = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0} ms"));
            vec![
                redact(name),
                format!("{:.1}/s", events / seconds),
                totals
                    .error_rate()
                    .map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0)),
                time(totals.mean()),
                time(totals.quantile(0.95)),
                sparkline(metrics, name, now, window),
            ]
        })
        .collect();
    terminal::table(
        &[
            "service",
            "events",
            "errors",
            "mean",
            "p95",
            "errors in the window",
        ],
        &rows,
    )
}

/// The triggers, a line each with the verdict in front.
#[must_use]
pub fn triggers(round: &Round, style: &Style) -> String {
    let mut text = String::new();
    for assessment in &round.assessments {
        let (ink, word) = match assessment.judgement.verdict {
            Verdict::Healthy => (Ink::Good, "healthy     "),
            Verdict::Breach => (Ink::Danger, "breach      "),
            Verdict::Inconclusive => (Ink::Caution, "inconclusive"),
        };
        let service = assessment
            .service
            .as_deref()
            .map(|service| format!(" of {}", redact(service)))
            .unwrap_or_default();
        let reads = assessment
            .judgement
            .reads
            .as_ref()
            .map(|reads| format!(" ({})", reads.rendered()))
            .unwrap_or_default();
        let step = match &assessment.step {
            Step::Nothing => String::new(),
            Step::Alert(None) => " [told]".to_owned(),
            Step::Alert(Some(held)) => format!(" [told; not rolled back: {held}]"),
            Step::Rollback(story) => format!(" [{story} is rolled back]"),
            Step::Recovery => " [well again]".to_owned(),
        };
        let line = format!(
            "{}{service}: {}{reads}{step}",
            assessment.trigger.name,
            redact(&assessment.judgement.why)
        );
        text.push_str(&format!("{}  {}\n", style.paint(ink, word), escape(&line)));
    }
    for incident in &round.incidents {
        let line = redact(&incident.why);
        text.push_str(&format!(
            "{}  {}\n",
            style.paint(Ink::Danger, "incident    "),
            escape(&line)
        ));
    }
    text
}

/// One line on what is watched.
#[must_use]
pub fn head(round: &Round, interval: i64, window: i64) -> String {
    format!(
        "{}  every {}, window {}\n",
        super::export::timestamp(round.at),
        time(interval),
        time(window)
    )
}

/// A value with its threshold.
#[must_use]
pub fn beside(assessment: &super::Assessment) -> String {
    match assessment.judgement.value {
        Some(value) => format!(
            "{} of {}",
            show(assessment.trigger.metric, value),
            show(assessment.trigger.metric, assessment.judgement.threshold)
        ),
        None => "-".to_owned(),
    }
}
