//! Which of many things made over time are kept: the newest few of each group, and what is young.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// What a person wants kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The newest of each group; 0: none for being among them.
    pub keep_last: u32,
    /// What is not older than this.
    pub keep_within: Option<Duration>,
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
}

/// For each candidate why it is kept, or nothing where it goes.
#[must_use]
pub fn decide(policy: &Policy, now: SystemTime, candidates: &[Candidate]) -> Vec<Option<String>> {
    let mut newest_first: Vec<usize> = (0..candidates.len()).collect();
    let created = |place: &usize| candidates.get(*place).map(|candidate| candidate.created);
    newest_first.sort_by(|left, right| (created(right), right).cmp(&(created(left), left)));
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut kept = vec![None; candidates.len()];
    for place in newest_first {
        let (Some(candidate), Some(kept)) = (candidates.get(place), kept.get_mut(place)) else {
            continue;
        };
        let rank = seen.entry(candidate.group.as_str()).or_default();
        *rank += 1;
        *kept = if *rank <= policy.keep_last {
            Some(match *rank {
                1 => "the newest".to_owned(),
                rank => format!("number {rank} of the {} newest", policy.keep_last),
            })
        } else {
            // A clock that went back makes things from the future: they are young.
            let age = now.duration_since(candidate.created).unwrap_or_default();
            policy
                .keep_within
                .filter(|within| age <= *within)
                .map(|within| format!("made within {}", humantime::format_duration(within)))
        };
    }
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
    fn each_group_keeps_its_newest_whatever_the_order() {
        let policy = Policy {
            keep_last: 2,
            keep_within: None,
        };
        let all = [made("a", 9), made("a", 1), made("b", 50), made("a", 5)];
        assert_eq!(kept(policy, &all), [false, true, true, true]);
    }

    #[test]
    fn what_is_young_or_from_the_future_is_kept() {
        let policy = Policy {
            keep_last: 0,
            keep_within: Some(DAY * 30),
        };
        let future = Candidate {
            group: "a".to_owned(),
            created: now() + DAY,
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
            let less = kept(Policy { keep_last: last, keep_within: Some(DAY * days) }, &all);
            let more = kept(Policy { keep_last: last + 1, keep_within: Some(DAY * (days + 1)) }, &all);
            proptest::prop_assert!(less.iter().zip(&more).all(|(less, more)| !less || *more));
            // Against the definition, counted plainly.
            for (place, candidate) in all.iter().enumerate() {
                let newer = all.iter().enumerate().filter(|(other, each)| {
                    each.group == candidate.group && (each.created, *other) > (candidate.created, place)
                }).count();
                let young = ages[place].0 <= days;
                proptest::prop_assert_eq!(less[place], newer < last as usize || young);
            }
        }
    }
}
