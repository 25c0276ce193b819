//! Which of many things made over time are kept: the newest few of each group, and what is young.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// What a person wants kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest of each group; 0: none for being among them.
    pub keep_last: u32,
    /// What is not older than this.
    pub keep_within: Option<Duration>,
    /// Whether the last backup of a source may go.
    pub allow_last: bool,
}

impl Policy {
    /// Whether it would keep nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keep_last == 0 && self.keep_within.is_none_or(|within| within.is_zero())
    }
}

/// Something that may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Things of one group are counted together: backups of one source.
    pub group: String,
    /// When it was made.
    pub created: SystemTime,
    /// Whether it is among those that are counted; others go with the ones that they came after.
    pub counts: bool,
}

/// For each candidate, in the order in which they were made whatever the clock said, why it is kept, or nothing where it
/// goes.
#[must_use]
pub fn decide(policy: &Policy, now: SystemTime, candidates: &[Candidate]) -> Vec<Option<String>> {
    // How many of its group that count came after each.
    let mut after: HashMap<&str, u32> = HashMap::new();
    let mut kept: Vec<Option<String>> = candidates
        .iter()
        .rev()
        .map(|candidate| {
            let newer = after.entry(candidate.group.as_str()).or_default();
            let rank = *newer + 1;
            *newer += u32::from(candidate.counts);
            if rank <= policy.keep_last {
                return Some(match (rank, candidate.counts) {
                    (1, true) => "the newest".to_owned(),
                    (rank, true) => format!("number {rank} of the {} newest", policy.keep_last),
                    (_, false) => format!("not older than the {} newest", policy.keep_last),
                });
            }
            // A clock that went back makes things from the future: they are young.
            let age = now.duration_since(candidate.created).unwrap_or_default();
            policy
                .keep_within
                .filter(|within| age <= *within)
                .map(|within| format!("made within {}", humantime::format_duration(within)))
        })
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn made(group: &str, days_ago: u32) -> Candidate {
        Candidate {
            group: group.to_owned(),
            created: now() - DAY * days_ago,
            counts: true,
        }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    fn kept(policy: Policy, candidates: &[Candidate]) -> Vec<bool> {
        decide(&policy, now(), candidates)
            .iter()
            .map(Option::is_some)
            .collect()
    }

    #[test]
    fn each_group_keeps_its_newest_by_their_order_whatever_the_clock_said() {
        let policy = Policy {
            keep_last: 2,
            ..Policy::default()
        };
        let all = [made("a", 9), made("a", 1), made("b", 50), made("a", 5)];
        assert_eq!(kept(policy, &all), [false, true, true, true]);
        // The last was made while the clock was a year behind.
        let all = [made("a", 9), made("a", 1), made("a", 365)];
        assert_eq!(kept(policy, &all), [false, true, true]);
    }

    #[test]
    fn what_does_not_count_goes_with_what_it_came_after() {
        let policy = Policy {
            keep_last: 1,
            ..Policy::default()
        };
        let helper = Candidate {
            counts: false,
            ..made("a", 3)
        };
        let all = [
            helper.clone(),
            made("a", 2),
            helper.clone(),
            made("a", 1),
            helper.clone(),
        ];
        assert_eq!(kept(policy, &all), [false, false, false, true, true]);
        assert_eq!(kept(policy, std::slice::from_ref(&helper)), [true]);
    }

    #[test]
    fn what_is_young_or_from_the_future_is_kept() {
        let policy = Policy {
            keep_within: Some(DAY * 30),
            ..Policy::default()
        };
        let future = Candidate {
            group: "a".to_owned(),
            created: now() + DAY,
            counts: true,
        };
        let all = [made("a", 30), made("a", 31), future];
        assert_eq!(kept(policy, &all), [true, false, true]);
        assert_eq!(
            decide(&policy, now(), &all).first().cloned().flatten().as_deref(),
            Some("made within 30days")
        );
    }

    #[test]
    fn a_policy_that_keeps_nothing_is_empty() {
        let policy = |keep_last, days: Option<u32>| Policy {
            keep_last,
            keep_within: days.map(|days| DAY * days),
            ..Policy::default()
        };
        assert!(policy(0, None).is_empty() && policy(0, Some(0)).is_empty());
        assert!(!policy(1, None).is_empty() && !policy(0, Some(1)).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn more_is_never_kept_by_wanting_less(
            ages in proptest::collection::vec((0_u32..100, 0_usize..3), 0..40),
            last in 0_u32..6,
            days in 0_u32..100,
        ) {
            let all: Vec<Candidate> = ages.iter().map(|(age, group)| made(["a", "b", "c"][*group], *age)).collect();
            let less = kept(Policy { keep_last: last, keep_within: Some(DAY * days), allow_last: false }, &all);
            let more = kept(Policy { keep_last: last + 1, keep_within: Some(DAY * (days + 1)), allow_last: false }, &all);
            proptest::prop_assert!(less.iter().zip(&more).all(|(less, more)| !less || *more));
            // Against the definition, counted plainly.
            for (place, candidate) in all.iter().enumerate() {
                let newer = all.iter().skip(place + 1).filter(|each| each.group == candidate.group).count();
                let young = ages[place].0 <= days;
                proptest::prop_assert_eq!(less[place], newer < last as usize || young);
            }
        }
    }
}
