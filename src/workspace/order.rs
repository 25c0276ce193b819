//! In which order stories are rolled back: what depends on others goes first; among equals, the higher number.

use std::cmp::Ordering;

/// Compares ids by their numbers: `1.2` before `1.10`.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    let mut left_parts = left.split('.');
    let mut right_parts = right.split('.');
    loop {
        match (left_parts.next(), right_parts.next()) {
            (None, None) => return left.cmp(right),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(other)) => {
                let ordering = match (one.parse::<u64>(), other.parse::<u64>()) {
                    (Ok(one), Ok(other)) => one.cmp(&other),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    (Err(_), Err(_)) => one.cmp(other),
                };
                if ordering != Ordering::Equal {
                    return ordering;
                }
            }
        }
    }
}

/// Sorts ids so that each comes before everything that it depends on. `depends(a, b)` tells whether `a` depends on
/// `b`, directly or not. A circle falls back to the number.
pub fn reverse_dependency<T>(
    mut stories: Vec<T>,
    id: impl Fn(&T) -> &str,
    depends: impl Fn(&T, &T) -> bool,
) -> Vec<T> {
    stories.sort_by(|left, right| compare(id(right), id(left)));
    let mut ordered = Vec::with_capacity(stories.len());
    while !stories.is_empty() {
        let free = stories
            .iter()
            .position(|candidate| {
                !stories
                    .iter()
                    .any(|other| id(other) != id(candidate) && depends(other, candidate))
            })
            .unwrap_or(0);
        ordered.push(stories.remove(free));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut ids = ["1.10", "1.2", "1.9", "2.1", "1.2.1", "1.x"];
        ids.sort_by(|left, right| compare(left, right));
        assert_eq!(ids, ["1.2", "1.2.1", "1.9", "1.10", "1.x", "2.1"]);
    }

    #[test]
    fn dependants_go_first_whatever_their_number() {
        let depends = |left: &&str, right: &&str| (*left, *right) == ("1.2", "1.8");
        let ordered = reverse_dependency(vec!["1.2", "1.8", "1.10"], |id| *id, depends);
        assert_eq!(ordered, ["1.10", "1.2", "1.8"]);
    }

    #[test]
    fn a_circle_ends() {
        let ordered = reverse_dependency(vec!["1.2", "1.8"], |id| *id, |_, _| true);
        assert_eq!(ordered, ["1.8", "1.2"]);
    }
}
