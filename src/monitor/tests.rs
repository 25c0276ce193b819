//! Single rules of the judge, each in the smallest scene that shows it.

/// Tables at the boundary values.
mod arithmetic;

use super::ledger::{Powers, Step};
use super::verdict::Verdict;
use super::{Assessment, Watch};
use crate::base::known::Known;
use crate::log_line::{Event, Level};
use crate::workspace::config::Config;

const NOW: i64 = 1_795_397_400_000;

fn watch(trigger: &str) -> Watch {
    let text = format!("monitor:\n  default_triggers: false\n  triggers: [{{ {trigger} }}]\n");
    let config = Config::parse(&text).expect("a configuration").monitor;
    Watch::new(&config, &[]).0
}

/// Events of `api`, one a second from `from` to `to` seconds after NOW: bad ones by `is_bad`, with a response time by `time`.
fn events(
    watch: &mut Watch,
    (from, to): (i64, i64),
    is_bad: impl Fn(i64) -> bool,
    time: impl Fn(i64) -> Option<f64>,
) {
    for second in from..to {
        let at = NOW + second * 1000;
        let event = Event {
            at: Known::Yes(at),
            service: Some("api".into()),
            level: Known::Yes(if is_bad(second) { Level::Error } else { Level::Info }),
            milliseconds: time(second),
            ..Event::default()
        };
        watch.event(&event, None, at);
    }
}

fn powers() -> Powers {
    Powers {
        auto: true,
        max_rollbacks: 1,
        ..Powers::default()
    }
}

fn judge(watch: &mut Watch, second: i64) -> Assessment {
    judge_with(watch, &powers(), second)
}

fn judge_with(watch: &mut Watch, powers: &Powers, second: i64) -> Assessment {
    let mut rendered = watch.judge(powers, NOW + second * 1000);
    assert_eq!(rendered.len(), 1, "{rendered:?}");
    rendered.remove(0)
}

const NO_TIME: fn(i64) -> Option<f64> = |_| None;

#[test]
fn a_breach_ends_below_clear_and_that_is_told_once_it_lasts() {
    let mut watch = watch("metric: error_rate, threshold: 0.5, clear: 0.1, window: 60s, sustained_for: 10s");
    events(&mut watch, (0, 120), |_| true, NO_TIME);
    assert_eq!(judge(&mut watch, 119).step, Step::Alert(None));
    // Three of ten: below the threshold, above what ends it.
    events(&mut watch, (120, 240), |second| second % 10 < 3, NO_TIME);
    let still = judge(&mut watch, 239);
    assert_eq!(
        (still.judgement.verdict, still.step),
        (Verdict::Breach, Step::Nothing)
    );
    assert!(
        still.judgement.why.contains("which ends it"),
        "{}",
        still.judgement.why
    );
    events(&mut watch, (240, 400), |_| false, NO_TIME);
    assert_eq!(judge(&mut watch, 380).step, Step::Nothing);
    assert_eq!(judge(&mut watch, 391).step, Step::Recovery);
    assert_eq!(judge(&mut watch, 392).step, Step::Nothing);
}

#[test]
fn a_breach_acts_when_it_has_lasted_and_goes_on() {
    let mut watch = watch("metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 30s");
    events(&mut watch, (-60, 0), |_| false, NO_TIME);
    events(&mut watch, (0, 10), |_| true, NO_TIME);
    let young = judge(&mut watch, 9);
    assert_eq!(
        (young.judgement.verdict, young.judgement.sustained),
        (Verdict::Breach, false)
    );
    // Ten seconds of errors weigh on the window for a minute, and are over.
    events(&mut watch, (10, 50), |_| false, NO_TIME);
    let over = judge(&mut watch, 49);
    assert_eq!(
        (over.judgement.verdict, over.step),
        (Verdict::Breach, Step::Nothing)
    );
    assert!(
        over.judgement.why.contains("not in the last 10s"),
        "{}",
        over.judgement.why
    );
    events(&mut watch, (50, 90), |_| true, NO_TIME);
    assert_eq!(judge(&mut watch, 89).step, Step::Alert(None));
}

#[test]
fn without_events_an_alarm_is_neither_kept_up_nor_ended() {
    let mut watch =
        watch("metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 10s, service: api");
    events(&mut watch, (0, 120), |_| true, NO_TIME);
    assert_eq!(judge(&mut watch, 119).step, Step::Alert(None));
    for second in [300, 3_000, 30_000] {
        let rendered = judge(&mut watch, second);
        assert_eq!(
            (rendered.judgement.verdict, rendered.step),
            (Verdict::Inconclusive, Step::Nothing),
            "{second}"
        );
    }
}

#[test]
fn a_clock_that_goes_back_hides_nothing_and_repeats_nothing() {
    let mut watch =
        watch("metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 10s, cooldown: 10m");
    events(&mut watch, (3600, 3720), |_| true, NO_TIME);
    assert_eq!(judge(&mut watch, 3719).step, Step::Alert(None));
    // An hour back; what was counted of the hour that is now in the future is gone.
    assert_eq!(judge(&mut watch, 0).judgement.verdict, Verdict::Inconclusive);
    events(&mut watch, (0, 120), |_| true, NO_TIME);
    let rendered = judge(&mut watch, 119);
    assert_eq!(
        (rendered.judgement.verdict, rendered.step),
        (Verdict::Breach, Step::Nothing)
    );
}

#[test]
fn a_baseline_is_what_was_before_the_window_and_without_one_nothing_is_told() {
    let rule = "metric: response_time, threshold: 5 x baseline, baseline: 10m, at_least: 50, window: 60s, sustained_for: 10s";
    let mut young = watch(rule);
    events(&mut young, (0, 80), |_| false, |_| Some(1000.0));
    let rendered = judge(&mut young, 79);
    assert_eq!(rendered.judgement.verdict, Verdict::Inconclusive);
    assert!(
        rendered.judgement.why.contains("for a baseline"),
        "{}",
        rendered.judgement.why
    );
    let mut watch = watch(rule);
    events(&mut watch, (-800, 0), |_| false, |_| Some(20.0));
    let usual = judge(&mut watch, -1).judgement;
    assert_eq!(usual.verdict, Verdict::Healthy);
    assert!((usual.threshold - 100.0).abs() < 1.0, "{usual:?}");
    events(&mut watch, (0, 80), |_| false, |_| Some(150.0));
    assert_eq!(judge(&mut watch, 79).step, Step::Alert(None));
}

#[test]
fn a_percentile_sees_the_slow_ones_and_a_mean_of_one_slow_answer_is_no_cause_to_roll_back() {
    let slow = |second: i64| Some(if second % 10 == 0 { 8_000.0 } else { 20.0 });
    let mut high = watch("metric: response_time_p95, threshold: 5s, window: 60s, sustained_for: 10s");
    events(&mut high, (0, 120), |_| false, slow);
    assert_eq!(judge(&mut high, 119).judgement.verdict, Verdict::Breach);
    let mut middle = watch("metric: response_time_p50, threshold: 5s, window: 60s, sustained_for: 10s");
    events(&mut middle, (0, 120), |_| false, slow);
    assert_eq!(judge(&mut middle, 119).judgement.verdict, Verdict::Healthy);
    let mut mean = watch("metric: response_time, threshold: 5s, window: 60s, sustained_for: 0s");
    events(
        &mut mean,
        (0, 60),
        |_| false,
        |second| Some(if second == 59 { 600_000.0 } else { 20.0 }),
    );
    let rendered = judge(&mut mean, 59).judgement;
    assert_eq!(
        (rendered.verdict, rendered.sure),
        (Verdict::Breach, false),
        "{rendered:?}"
    );
}

const AUTOMATIC: &str = "metric: error_rate, threshold: 0.1, window: 60s, sustained_for: 10s, cooldown: 10m, story: '1.7', \
                         action: rollback";

#[test]
fn a_rollback_happens_once_and_what_led_to_it_does_not_count_again() {
    let mut watch = watch(AUTOMATIC);
    events(&mut watch, (0, 120), |_| true, NO_TIME);
    assert_eq!(judge(&mut watch, 119).step, Step::Rollback("1.7".to_owned()));
    let next = judge(&mut watch, 120);
    assert_eq!(
        (next.judgement.verdict, next.step),
        (Verdict::Inconclusive, Step::Nothing)
    );
    // It did not help: people are told, and nothing else.
    events(&mut watch, (120, 301), |_| true, NO_TIME);
    assert!(
        matches!(judge(&mut watch, 300).step, Step::Alert(Some(held)) if held.contains("within the cooldown"))
    );
    events(&mut watch, (301, 800), |_| true, NO_TIME);
    assert!(matches!(judge(&mut watch, 799).step, Step::Nothing));
    // The cooldown is over, but the hour is not.
    events(&mut watch, (800, 1000), |_| true, NO_TIME);
    assert!(matches!(judge(&mut watch, 999).step, Step::Alert(Some(held)) if held.contains("max_rollbacks")));
}

#[test]
fn what_holds_a_rollback_back_is_told() {
    for (powers, named) in [
        (
            Powers {
                auto: false,
                ..powers()
            },
            "--auto",
        ),
        (
            Powers {
                busy: Some("another run is at work".to_owned()),
                ..powers()
            },
            "another run",
        ),
        (
            Powers {
                max_rollbacks: 0,
                ..powers()
            },
            "max_rollbacks",
        ),
    ] {
        let mut watch = watch(AUTOMATIC);
        events(&mut watch, (0, 120), |_| true, NO_TIME);
        let step = judge_with(&mut watch, &powers, 119).step;
        assert!(
            matches!(&step, Step::Alert(Some(held)) if held.contains(named)),
            "{named}: {step:?}"
        );
    }
    // Four errors among twenty may be chance.
    let mut watch = watch(AUTOMATIC);
    events(&mut watch, (0, 120), |second| second % 8 == 7, NO_TIME);
    let step = judge(&mut watch, 119).step;
    assert!(
        matches!(&step, Step::Alert(Some(held)) if held.contains("by chance")),
        "{step:?}"
    );
}

#[test]
fn a_sample_that_is_too_old_tells_nothing() {
    let mut watch = watch("metric: availability, threshold: 0.9, min_samples: 1, sustained_for: 0s");
    watch.memory.metrics.gauge("availability/web", NOW, 0.0);
    watch.memory.metrics.keep_fresh("availability/web", 45_000);
    assert_eq!(judge(&mut watch, 45).judgement.verdict, Verdict::Breach);
    let old = judge(&mut watch, 46).judgement;
    assert_eq!(old.verdict, Verdict::Inconclusive);
    assert!(old.why.contains("46s old"), "{}", old.why);
}

#[test]
fn what_is_remembered_survives_a_restart_whole() {
    let mut watch = watch(AUTOMATIC);
    events(&mut watch, (0, 120), |_| true, NO_TIME);
    assert_eq!(judge(&mut watch, 119).step, Step::Rollback("1.7".to_owned()));
    let text = serde_json::to_string(&watch.memory).expect("text");
    let mut next = self::watch(AUTOMATIC);
    assert!(next.remember(serde_json::from_str(&text).expect("a memory")));
    events(&mut next, (120, 200), |_| true, NO_TIME);
    assert!(matches!(judge(&mut next, 199).step, Step::Alert(Some(_))));
}

/// Equal alerts are held back for a while: what says something else is no equal one.
#[test]
fn that_a_story_is_rolled_back_is_no_repetition_of_a_breach_of_which_nothing_followed() {
    use super::notice::Notice;
    let group = |rendered: &Assessment| {
        Notice::of(rendered, rendered.alarmed.unwrap_or(NOW))
            .alert()
            .group
    };
    let mut watch = watch(AUTOMATIC);
    events(&mut watch, (0, 120), |_| true, NO_TIME);
    let busy = Powers {
        busy: Some("another run is at work".to_owned()),
        ..powers()
    };
    let held = judge_with(&mut watch, &busy, 119);
    assert!(matches!(held.step, Step::Alert(Some(_))), "{held:?}");
    let rolled = judge(&mut watch, 121);
    assert_eq!(rolled.step, Step::Rollback("1.7".to_owned()));
    assert_ne!(group(&held), group(&rolled));
}
