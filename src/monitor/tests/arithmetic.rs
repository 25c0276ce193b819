//! The arithmetic of verdicts, by tables, at the values where a verdict changes: one more or one less is another verdict.

use super::{NO_TIME, NOW, events, judge, judge_with, powers, watch};
use crate::base::known::Known;
use crate::log_line::{Event, Level};
use crate::monitor::Watch;
use crate::monitor::ledger::{Powers, RolledBack, Step};
use crate::monitor::verdict::{Judgement, Verdict};

/// Counts so many events of `api` at a second after NOW.
fn count(watch: &mut Watch, second: i64, count: u64, level: Level, milliseconds: Option<f64>) {
    let at = NOW + second * 1000;
    for _ in 0..count {
        let event = Event {
            at: Known::Yes(at),
            level: Known::Yes(level),
            service: Some("api".into()),
            milliseconds,
            ..Event::default()
        };
        watch.event(&event, None, at);
    }
}

fn near(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-6
}

#[test]
fn a_baseline_is_multiplied_and_never_lies_below_at_least() {
    for (before, at_least, expected) in [
        (20.0, "at_least: 99", 100.0),
        (20.0, "at_least: 100", 100.0),
        (20.0, "at_least: 101", 101.0),
        (1.0, "at_least: 0", 5.0),
        // What it is where nothing is said.
        (1.0, "min_samples: 20", 100.0),
        (21.0, "min_samples: 20", 105.0),
    ] {
        let rule = format!(
            "metric: response_time, threshold: 5 x baseline, baseline: 10m, {at_least}, window: 60s, sustained_for: 0s"
        );
        for (beyond, verdict) in [(0.0, Verdict::Healthy), (0.5, Verdict::Breach)] {
            let mut watch = watch(&rule);
            count(&mut watch, -300, 20, Level::Info, Some(before));
            count(&mut watch, 0, 20, Level::Info, Some(expected + beyond));
            let judgement = judge(&mut watch, 0).judgement;
            assert!(near(judgement.threshold, expected), "{rule}: {judgement:?}");
            assert_eq!(judgement.verdict, verdict, "{rule} {beyond}: {judgement:?}");
        }
    }
}

#[test]
fn the_default_of_at_least_depends_on_the_metric() {
    for (metric, expected) in [
        ("error_rate", 0.02),
        ("crashes", 1.0),
        ("response_time_p95", 100.0),
    ] {
        let mut watch = watch(&format!(
            "metric: {metric}, threshold: 5 x baseline, baseline: 10m, window: 60s, sustained_for: 0s"
        ));
        count(&mut watch, -300, 20, Level::Info, Some(0.2));
        count(&mut watch, 0, 20, Level::Info, Some(0.2));
        let judgement = judge(&mut watch, 0).judgement;
        assert!(near(judgement.threshold, expected), "{metric}: {judgement:?}");
    }
}

#[test]
fn a_baseline_of_few_samples_is_none() {
    for (samples, known) in [(0, false), (1, false), (19, false), (20, true), (21, true)] {
        let mut watch = watch(
            "metric: error_rate, threshold: 5 x baseline, baseline: 10m, window: 60s, sustained_for: 0s, min_samples: 20",
        );
        count(&mut watch, -300, samples, Level::Info, None);
        count(&mut watch, 0, 20, Level::Info, None);
        let judgement = judge(&mut watch, 0).judgement;
        assert_eq!(
            judgement.verdict != Verdict::Inconclusive,
            known,
            "{samples}: {judgement:?}"
        );
        assert_eq!(
            judgement.why.contains("for a baseline"),
            !known,
            "{samples}: {judgement:?}"
        );
    }
}

/// Slots of a baseline are ten seconds wide. It ends before the window and `sustained_for`, and is as long as it says.
#[test]
fn a_baseline_lies_before_the_window_and_is_as_long_as_it_says() {
    for (second, counts) in [
        // Of ten minutes that end 60 s + 30 s before now, less the slot in which they end.
        (-80, false),
        (-90, false),
        (-91, true),
        (-100, true),
        (-690, true),
        (-691, false),
        (-701, false),
    ] {
        let mut watch = watch(
            "metric: error_rate, threshold: 5 x baseline, baseline: 10m, window: 60s, sustained_for: 30s, min_samples: 20",
        );
        count(&mut watch, second, 20, Level::Info, None);
        count(&mut watch, 0, 20, Level::Info, None);
        let judgement = judge(&mut watch, 0).judgement;
        assert_eq!(
            judgement.verdict != Verdict::Inconclusive,
            counts,
            "{second}: {judgement:?}"
        );
    }
}

#[test]
fn crashes_of_a_baseline_are_scaled_to_one_window() {
    for (baseline, window, crashes, expected) in [
        ("10m", 60, 20, 4.0),
        ("10m", 60, 40, 8.0),
        ("10m", 120, 20, 8.0),
        ("20m", 60, 20, 2.0),
        // A window that is longer than the baseline is no part of one.
        ("60s", 120, 3, 6.0),
        ("60s", 60, 3, 6.0),
    ] {
        for (now, verdict) in [(0, Verdict::Healthy), (1, Verdict::Breach)] {
            let mut watch = watch(&format!(
                "metric: crashes, threshold: 2 x baseline, baseline: {baseline}, at_least: 0, window: {window}s, \
                 sustained_for: 0s, min_samples: 1"
            ));
            count(&mut watch, -window - 30, crashes, Level::Fatal, None);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small and whole"
            )]
            count(&mut watch, 0, expected as u64 + now, Level::Fatal, None);
            let judgement = judge(&mut watch, 0).judgement;
            assert!(
                near(judgement.threshold, expected),
                "{baseline} {window}: {judgement:?}"
            );
            assert_eq!(
                judgement.verdict, verdict,
                "{baseline} {window} {now}: {judgement:?}"
            );
        }
    }
}

#[test]
fn a_share_at_the_threshold_is_none_and_one_more_error_is() {
    for (errors, events, verdict) in [
        (2, 20, Verdict::Healthy),
        (3, 20, Verdict::Breach),
        (10, 100, Verdict::Healthy),
        (11, 100, Verdict::Breach),
        (19, 19, Verdict::Inconclusive),
        (20, 20, Verdict::Breach),
    ] {
        let mut watch =
            watch("metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 0s, min_samples: 20");
        count(&mut watch, 0, errors, Level::Error, None);
        count(&mut watch, 0, events - errors, Level::Warning, None);
        let judgement = judge(&mut watch, 0).judgement;
        assert_eq!(judgement.verdict, verdict, "{errors} of {events}: {judgement:?}");
        assert_eq!(judgement.samples, events);
    }
}

#[test]
fn a_window_holds_as_many_seconds_as_it_says() {
    for (second, counts) in [(0, true), (-1, true), (-59, true), (-60, false), (-61, false)] {
        let mut watch =
            watch("metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 0s, min_samples: 20");
        count(&mut watch, second, 20, Level::Info, None);
        let judgement = judge(&mut watch, 0).judgement;
        assert_eq!(judgement.samples, if counts { 20 } else { 0 }, "{second}");
    }
}

#[test]
fn a_breach_is_sustained_from_the_last_second_of_that_time_on() {
    for (begin, sustained) in [(0, false), (-9, false), (-10, true), (-11, true)] {
        let mut watch =
            watch("metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 10s, min_samples: 20");
        for second in begin..=0 {
            count(&mut watch, second, 20, Level::Error, None);
        }
        let judgement = judge(&mut watch, 0).judgement;
        assert_eq!(
            (judgement.verdict, judgement.sustained),
            (Verdict::Breach, sustained),
            "{begin}"
        );
        assert_eq!(judgement.held, begin.abs().min(10) * 1000, "{begin}");
    }
}

#[test]
fn an_excess_beyond_chance_begins_where_the_interval_leaves_the_threshold() {
    // Four sigma: 12 of 20 lie above 20 %, 11 of 20 do not.
    for (errors, sure) in [(11, false), (12, true)] {
        let mut watch =
            watch("metric: error_rate, threshold: 0.2, window: 60s, sustained_for: 0s, min_samples: 20");
        count(&mut watch, 0, errors, Level::Error, None);
        count(&mut watch, 0, 20 - errors, Level::Info, None);
        let judgement = judge(&mut watch, 0).judgement;
        assert_eq!(
            (judgement.verdict, judgement.sure),
            (Verdict::Breach, sure),
            "{errors}: {judgement:?}"
        );
    }
}

#[test]
fn an_alert_is_repeated_when_its_cooldown_is_over_and_not_before() {
    for (second, step) in [(599, Step::Nothing), (600, Step::Alert(None))] {
        let mut watch = watch(
            "metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 0s, cooldown: 10m, min_samples: 20",
        );
        count(&mut watch, 0, 20, Level::Error, None);
        assert_eq!(judge(&mut watch, 0).step, Step::Alert(None));
        count(&mut watch, second, 20, Level::Error, None);
        assert_eq!(judge(&mut watch, second).step, step, "{second}");
    }
}

const AUTOMATIC: &str = "metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 0s, cooldown: 10m, min_samples: 20, \
                         story: '1.7', action: rollback";

#[test]
fn rollbacks_are_counted_over_an_hour_and_a_storys_over_its_cooldown() {
    for (ago, story, most, expected) in [
        (599, "1.7", 9, Some("cooldown")),
        (600, "1.7", 9, None),
        (3_599, "1.8", 1, Some("max_rollbacks")),
        (3_600, "1.8", 1, None),
        (3_599, "1.8", 2, None),
    ] {
        let mut watch = watch(AUTOMATIC);
        let text = serde_json::to_value(&watch.memory.ledger).expect("a ledger");
        let rolled = RolledBack {
            at: NOW - ago * 1000,
            story: story.to_owned(),
            trigger: "t".to_owned(),
            uptime: None,
        };
        let mut text = text;
        text["rollbacks"] = serde_json::json!([rolled]);
        watch.memory.ledger = serde_json::from_value(text).expect("a ledger");
        count(&mut watch, 0, 40, Level::Error, None);
        let powers = Powers {
            max_rollbacks: most,
            ..powers()
        };
        match (judge_with(&mut watch, &powers, 0).step, expected) {
            (Step::Rollback(_), None) => {}
            (Step::Alert(Some(held)), Some(named)) => assert!(held.contains(named), "{ago}: {held}"),
            (step, _) => panic!("{ago} {story} {most}: {step:?}"),
        }
    }
}

/// Lines that were counted, and whether a verdict may rest on them.
fn with_lines(bad: u64, good: u64, spoil: impl Fn(&mut Watch)) -> Judgement {
    let mut watch =
        watch("metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 0s, min_samples: 20");
    count(&mut watch, 0, good, Level::Info, None);
    for _ in 0..bad {
        spoil(&mut watch);
    }
    judge(&mut watch, 0).judgement
}

#[test]
fn a_share_of_lines_that_tell_nothing_is_no_verdict_from_the_configured_share_on() {
    type Spoil = fn(&mut Watch);
    let kinds: [(&str, Spoil); 4] = [
        ("unreadable", |watch| {
            watch.unplaced(Some("api"), crate::monitor::Unplaced::Broken, NOW, NOW);
        }),
        ("without a time", |watch| {
            let event = Event {
                service: Some("api".into()),
                ..Event::default()
            };
            watch.event(&event, None, NOW);
        }),
        ("in the future", |watch| {
            let event = Event {
                at: Known::Yes(NOW + 3_600_000),
                service: Some("api".into()),
                ..Event::default()
            };
            watch.event(&event, None, NOW);
        }),
        ("of an unknown level", |watch| {
            let event = Event {
                at: Known::Yes(NOW),
                service: Some("api".into()),
                ..Event::default()
            };
            watch.event(&event, None, NOW);
        }),
    ];
    for (kind, spoil) in kinds {
        for (bad, verdict) in [
            (0, Verdict::Healthy),
            (20, Verdict::Healthy),
            (21, Verdict::Inconclusive),
            (80, Verdict::Inconclusive),
        ] {
            let judgement = with_lines(bad, 80, spoil);
            assert_eq!(judgement.verdict, verdict, "{kind} {bad}: {judgement:?}");
            let reads = judgement.reads.expect("lines");
            assert_eq!(reads.lines, 80 + bad, "{kind}");
            assert_eq!(
                bad > 0,
                reads.rendered().contains(&format!("{bad} {kind}")),
                "{}",
                reads.rendered()
            );
        }
    }
}

#[test]
fn what_a_shared_log_loses_is_a_share_of_that_log() {
    // Twenty lines of a service among a thousand; ten that nobody can read.
    for (lost, verdict) in [(10, Verdict::Healthy), (300, Verdict::Inconclusive)] {
        let judgement = {
            let mut watch = watch(
                "metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 0s, service: api, min_samples: 20",
            );
            count(&mut watch, 0, 20, Level::Info, None);
            for _ in 0..980 {
                let event = Event {
                    at: Known::Yes(NOW),
                    level: Known::Yes(Level::Info),
                    service: Some("other".into()),
                    ..Event::default()
                };
                watch.event(&event, None, NOW);
            }
            for _ in 0..lost {
                watch.unplaced(None, crate::monitor::Unplaced::Broken, NOW, NOW);
            }
            judge(&mut watch, 0).judgement
        };
        assert_eq!(judgement.verdict, verdict, "{lost}: {judgement:?}");
        assert_eq!(judgement.reads.expect("lines").lines, 20 + lost);
    }
}

#[test]
fn response_times_need_no_levels() {
    let mut watch =
        watch("metric: response_time, threshold: 1s, window: 60s, sustained_for: 0s, min_samples: 20");
    for _ in 0..20 {
        let event = Event {
            at: Known::Yes(NOW),
            service: Some("api".into()),
            milliseconds: Some(5.0),
            ..Event::default()
        };
        watch.event(&event, None, NOW);
    }
    assert_eq!(judge(&mut watch, 0).judgement.verdict, Verdict::Healthy);
}

#[test]
fn what_was_written_while_nobody_watched_alerts_and_never_acts() {
    use crate::monitor::watched::Watched;
    let rule = AUTOMATIC.replace("sustained_for: 0s", "sustained_for: 10s");
    let mut watch = watch(&rule);
    for second in -60..=0 {
        count(&mut watch, second, 20, Level::Error, None);
    }
    let since = |watch: &mut Watch, second: i64| {
        watch.memory.watched = Some(Watched {
            since: NOW,
            last: NOW + second * 1000,
        });
    };
    since(&mut watch, 0);
    let step = judge(&mut watch, 0).step;
    assert!(
        matches!(&step, Step::Alert(Some(held)) if held.contains("nobody watched")),
        "{step:?}"
    );
    // It goes on, and what is seen of it has to hold by itself as long as any breach.
    for second in 1..=10 {
        count(&mut watch, second, 20, Level::Error, None);
        since(&mut watch, second);
        assert_eq!(judge(&mut watch, second).step, Step::Nothing, "{second}");
    }
    count(&mut watch, 11, 20, Level::Error, None);
    since(&mut watch, 11);
    assert_eq!(judge(&mut watch, 11).step, Step::Rollback("1.7".to_owned()));
}

#[test]
fn a_script_acts_only_where_the_whole_window_that_it_was_given_was_watched() {
    use crate::monitor::watched::Watched;
    let config = crate::workspace::config::Config::parse(
        "monitor:\n  default_triggers: false\n  triggers: [{ name: own, metric: script, story: '1.7', action: rollback, \
         threshold: 0, window: 60s, sustained_for: 0s }]\n",
    )
    .expect("a configuration")
    .monitor;
    for (second, acts) in [(59, false), (60, true)] {
        let (mut watch, _) = Watch::new(&config, &[]);
        watch.memory.watched = Some(Watched {
            since: NOW,
            last: NOW + second * 1000,
        });
        watch.memory.metrics.gauge("script/own", NOW + second * 1000, 1.0);
        let step = judge(&mut watch, second).step;
        assert_eq!(
            step == Step::Rollback("1.7".to_owned()),
            acts,
            "{second}: {step:?}"
        );
    }
}

#[test]
fn series_of_one_selector_are_judged_one_by_one_the_worst_first() {
    let config = crate::workspace::config::Config::parse(
        "monitor:\n  default_triggers: false\n  prometheus: [{ name: disk, url: 'http://127.0.0.1:1/', series: disk_used_ratio }]\n  \
         triggers: [{ name: full, metric: prometheus, source: disk, threshold: 0.9, sustained_for: 0s }]\n",
    )
    .expect("a configuration")
    .monitor;
    let (mut watch, _) = Watch::new(&config, &[]);
    for (mount, value) in [("a", 0.4), ("b", 0.4), ("c", 0.4)] {
        let gauge = format!("prometheus/disk{{mount=\"{mount}\"}}");
        watch.memory.metrics.gauge(&gauge, NOW, value);
    }
    let assessment = watch.judge(&powers(), NOW);
    let seen: Vec<_> = assessment
        .iter()
        .map(|assessment| {
            (
                assessment.service.as_deref(),
                assessment.judgement.verdict,
                assessment.judgement.value,
            )
        })
        .collect();
    let healthy = |mount: &'static str| (Some(mount), Verdict::Healthy, Some(0.4));
    assert_eq!(
        seen,
        [
            healthy("{mount=\"a\"}"),
            healthy("{mount=\"b\"}"),
            healthy("{mount=\"c\"}")
        ]
    );
    watch
        .memory
        .metrics
        .gauge("prometheus/disk{mount=\"c\"}", NOW + 400_000, 0.95);
    watch
        .memory
        .metrics
        .gauge("prometheus/disk{mount=\"a\"}", NOW + 400_000, 0.4);
    let assessment = watch.judge(&powers(), NOW + 400_000);
    let seen: Vec<_> = assessment
        .iter()
        .map(|assessment| (assessment.service.as_deref(), assessment.judgement.verdict))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("{mount=\"c\"}"), Verdict::Breach),
            (Some("{mount=\"b\"}"), Verdict::Inconclusive),
            (Some("{mount=\"a\"}"), Verdict::Healthy)
        ]
    );
}

#[test]
fn availability_is_bad_below_its_threshold_and_not_at_it() {
    for (up, verdict) in [
        (89, Verdict::Breach),
        (90, Verdict::Healthy),
        (91, Verdict::Healthy),
    ] {
        let mut watch = watch("metric: availability, threshold: 0.9, window: 60s, sustained_for: 0s");
        for sample in 0..100 {
            let value = if sample < up { 1.0 } else { 0.0 };
            watch
                .memory
                .metrics
                .gauge("availability/web", NOW + sample * 500, value);
        }
        assert_eq!(judge(&mut watch, 50).judgement.verdict, verdict, "{up}");
    }
}

#[test]
fn a_breach_that_had_too_few_samples_when_it_began_has_not_lasted() {
    let trigger = "metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 10s, min_samples: 20";
    let mut watch = watch(trigger);
    events(&mut watch, (0, 21), |_| true, NO_TIME);
    let assessment = judge(&mut watch, 20);
    assert_eq!(
        (assessment.judgement.verdict, assessment.judgement.sustained),
        (Verdict::Breach, false)
    );
    events(&mut watch, (21, 32), |_| true, NO_TIME);
    assert!(judge(&mut watch, 31).judgement.sustained);
}
