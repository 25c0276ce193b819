//! Tests of windows, slots and samples.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers of the tests are small"
)]

use proptest::prelude::*;

use super::*;

#[test]
fn a_window_holds_what_lies_in_it_and_nothing_else() {
    let mut series = Series::new(1000, 10_000);
    for second in 0..20_i64 {
        series
            .at(second * 1000)
            .expect("now")
            .count(Some(second % 2 == 0), false, None);
    }
    let totals = series.totals(14, 19);
    assert_eq!((totals.events, totals.errors), (5, 2));
    assert!(series.at(0).is_none(), "too long ago");
    assert!(series.at(12_000).is_some(), "late, and still in");
    series.forget_after(15_500);
    assert_eq!(series.totals(0, 100).events, 8);
}

#[test]
fn slots_of_an_earlier_program_are_read_and_their_lines_are_none() {
    let old = r#"{"width":1000,"keep":12,"first":5,"slots":[3,[[1,4,2,0,0,0,0.0,[]]]]}"#;
    let series: Series = serde_json::from_str(old).expect("a series");
    let totals = series.totals(0, 100);
    assert_eq!(
        (totals.events, totals.errors, totals.lines(), totals.levelled()),
        (4, 2, 4, 4)
    );
    let mut series = Series::new(1000, 10_000);
    let slot = series.at(0).expect("now");
    (slot.unlevelled, slot.unreadable, slot.untimed, slot.future) = (1, 2, 3, 4);
    let text = serde_json::to_string(&series).expect("text");
    let read: Series = serde_json::from_str(&text).expect("a series");
    assert_eq!(read.totals(-1, 1), series.totals(-1, 1));
    assert_eq!(read.totals(-1, 1).unplaced(), 9);
}

#[test]
fn a_long_gap_forgets_all_before_it() {
    let mut series = Series::new(1000, 10_000);
    series.at(0).expect("now").count(Some(true), false, None);
    series
        .at(86_400_000)
        .expect("now")
        .count(Some(false), false, None);
    assert_eq!(series.totals(-1, 86_400).events, 1);
}

#[test]
fn a_gauge_forgets_the_old_and_what_a_clock_took_back() {
    let mut gauge = Gauge::default();
    for at in 0..10 {
        gauge.add(at, 1.0, 5);
    }
    gauge.add(10, f64::NAN, 5);
    assert_eq!(gauge.between(-1, 100).count(), 6);
    gauge.add(6, 2.0, 5);
    assert_eq!(gauge.newest(), Some((6, 2.0)));
}

proptest! {
    /// The sums of the slots are those of a list of all events.
    #[test]
    fn totals_are_those_of_a_plain_list(
        events in proptest::collection::vec((0_i64..600, any::<bool>(), proptest::option::of(0.0..1e6_f64)), 1..300),
        after in -10_i64..600, length in 1_i64..400,
    ) {
        let mut series = Series::new(1000, 1_000_000);
        for (second, error, time) in &events {
            series.at(second * 1000 + 7).expect("kept").count(Some(*error), false, *time);
        }
        let last = after + length;
        let inside: Vec<_> = events.iter().filter(|(second, ..)| *second > after && *second <= last).collect();
        let totals = series.totals(after, last);
        prop_assert_eq!(totals.events, inside.len() as u64);
        prop_assert_eq!(totals.errors, inside.iter().filter(|(_, error, _)| *error).count() as u64);
        let times: Vec<f64> = inside.iter().filter_map(|(.., time)| *time).collect();
        if times.is_empty() {
            prop_assert_eq!(totals.mean(), None);
        } else {
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            prop_assert!((totals.mean().expect("a mean") - mean).abs() < 0.01);
        }
        let text = serde_json::to_string(&series).expect("text");
        let read: Series = serde_json::from_str(&text).expect("a series");
        let read = read.totals(after, last);
        prop_assert_eq!((read.events, read.errors, read.timed, read.micros), (totals.events, totals.errors, totals.timed, totals.micros));
    }

    /// A percentile is near the one of the sorted list.
    #[test]
    fn percentiles_are_near_those_of_a_sorted_list(times in proptest::collection::vec(1.0..1e6_f64, 1..200)) {
        let mut slot = Slot::default();
        for time in &times {
            slot.count(Some(false), false, Some(*time));
        }
        let mut totals = Totals::default();
        totals.add(&slot);
        let mut sorted = times.clone();
        sorted.sort_by(f64::total_cmp);
        for share in [0.5_f64, 0.9, 0.95, 0.99] {
            let exact = sorted[(((times.len() as f64) * share).ceil() as usize).max(1) - 1];
            let near = totals.quantile(share).expect("a percentile");
            prop_assert!((near / exact - 1.0).abs() < 0.026, "{} for {}", near, exact);
        }
        totals.take(&slot);
        prop_assert_eq!(totals.quantile(0.5), None);
    }
}
