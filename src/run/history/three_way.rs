//! A three-way merge by whole lines. Changes of neighbouring lines are no conflict: an entry of a list and the one after it
//! are edited by different programs. Changes of the same lines, or additions at the same place, are.

use std::ops::Range;

use diffy::DiffOptions;

/// Lines of the common text, what stands in their place, and where that stands in the changed text; from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change<'text> {
    lines: Range<usize>,
    new: Vec<&'text str>,
    at: Range<usize>,
    /// The neighbouring lines that were changed with it, and its own.
    around: Range<usize>,
}

impl<'text> Change<'text> {
    /// Whether both want the same lines to be something, or to stand at the same place.
    fn meets(&self, other: &Self) -> bool {
        let inside = |place: usize, change: &Self| change.around.start < place && place < change.around.end;
        let (one, two) = (&self.lines, &other.lines);
        match (one.is_empty(), two.is_empty()) {
            (true, true) => one.start == two.start,
            (true, false) => inside(one.start, other),
            (false, true) => inside(two.start, self),
            (false, false) => one.start < two.end && two.start < one.end,
        }
    }

    /// As many lines for as many: each for itself, so that what both did to one of them is known.
    fn by_lines(self) -> Vec<Self> {
        if self.lines.len() != self.new.len() {
            return vec![self];
        }
        let single = |(offset, new): (usize, &'text str)| Self {
            lines: self.lines.start + offset..self.lines.start + offset + 1,
            new: vec![new],
            at: self.at.start + offset..self.at.start + offset + 1,
            around: self.around.clone(),
        };
        self.new.iter().copied().enumerate().map(single).collect()
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn changes<'text>(common: &str, changed: &'text str) -> Vec<Change<'text>> {
    let all = lines(changed);
    // An empty range is told by the line before it.
    let from_zero = |range: diffy::HunkRange| {
        let start = if range.is_empty() {
            range.start()
        } else {
            range.start().saturating_sub(1)
        };
        start..start + range.len()
    };
    DiffOptions::new()
        .set_context_len(0)
        .create_patch(common, changed)
        .hunks()
        .iter()
        .map(|hunk| {
            let at = from_zero(hunk.new_range());
            let lines = from_zero(hunk.old_range());
            Change {
                around: lines.clone(),
                lines,
                new: all.get(at.clone()).unwrap_or_default().to_vec(),
                at,
            }
        })
        .collect()
}

/// The common text with the changes of both; `None` where they meet.
#[must_use]
pub fn merge(common: &str, one: &str, other: &str) -> Option<String> {
    let by_lines = |changed| changes(common, changed).into_iter().flat_map(Change::by_lines);
    let mut all: Vec<Change<'_>> = by_lines(one).collect();
    for theirs in by_lines(other) {
        // What both did is done once.
        if all
            .iter()
            .any(|ours| (&ours.lines, &ours.new) == (&theirs.lines, &theirs.new))
        {
            continue;
        }
        all.push(theirs);
    }
    all.sort_by_key(|change| (change.lines.start, change.lines.end));
    if all
        .iter()
        .zip(all.iter().skip(1))
        .any(|(left, right)| left.meets(right))
    {
        return None;
    }
    let common = lines(common);
    let mut merged = String::new();
    let mut next = 0;
    for change in &all {
        merged.extend(
            common
                .get(next..change.lines.start)
                .unwrap_or_default()
                .iter()
                .copied(),
        );
        // A last line without its end would run into what comes after it.
        if !merged.is_empty() && !merged.ends_with('\n') && !change.new.is_empty() {
            return None;
        }
        merged.extend(change.new.iter().copied());
        next = change.lines.end;
    }
    let rest = common.get(next..).unwrap_or_default();
    if !merged.is_empty() && !merged.ends_with('\n') && !rest.is_empty() {
        return None;
    }
    merged.extend(rest.iter().copied());
    Some(merged)
}

/// Which lines of the changed text differ from the common one: "line 3", "lines 3 and 7-9"; "nothing" where none does.
#[must_use]
pub fn changed_lines(common: &str, changed: &str) -> String {
    let mut rendered: Vec<String> = changes(common, changed)
        .into_iter()
        .map(|change| match change.at.len() {
            0 => format!("what stood before {}", change.at.start + 1),
            1 => format!("{}", change.at.start + 1),
            _ => format!("{}-{}", change.at.start + 1, change.at.end),
        })
        .collect();
    let lead = match rendered.as_slice() {
        [] => return "nothing".to_owned(),
        [one] if !one.contains('-') && !one.contains(' ') => "line",
        _ => "lines",
    };
    let last = rendered.pop().unwrap_or_default();
    if rendered.is_empty() {
        return format!("{lead} {last}");
    }
    format!("{lead} {} and {last}", rendered.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_no_conflict_and_the_same_line_is() {
        let after = "a: off\nb: off\nc: off\n";
        let before = "a: on\nb: off\nc: off\n";
        assert_eq!(
            merge(after, before, "a: off\nb: on\nc: off\n").as_deref(),
            Some("a: on\nb: on\nc: off\n")
        );
        assert_eq!(merge(after, before, "a: off # mine\nb: off\nc: off\n"), None);
        // Added behind what we had added at the end, or in it.
        assert_eq!(
            merge("old\nours\n", "old\n", "old\nours\ntheirs\n").as_deref(),
            Some("old\ntheirs\n")
        );
        assert_eq!(merge("old\no1\no2\n", "old\n", "old\no1\ntheirs\no2\n"), None);
        // A line that we had taken out, and another one at the same place.
        assert_eq!(merge("a\nc\n", "a\nb\nc\n", "a\nx\nc\n"), None);
        // Taken out by hand already.
        assert_eq!(merge("old\nours\n", "old\n", "old\n").as_deref(), Some("old\n"));
        // A file that we made, to which somebody added.
        assert_eq!(merge("ours\n", "", "ours\ntheirs\n").as_deref(), Some("theirs\n"));
        assert_eq!(merge("ours", "ours\n", "ours theirs"), None);
        // Put back by hand already, together with the line before it.
        assert_eq!(
            merge("a: off\nb: off\n", "a: off\nb: on\n", "a: on\nb: on\n").as_deref(),
            Some("a: on\nb: on\n")
        );
        // Two lines that we had changed as one, and another between them.
        assert_eq!(merge("A\nB\n", "a\nb\n", "A\nx\nB\n"), None);
    }

    #[test]
    fn changed_lines_are_named_as_they_stand_now() {
        assert_eq!(changed_lines("a\nb\nc\nd\n", "a\nB\nc\nd\n"), "line 2");
        assert_eq!(
            changed_lines("a\nb\nc\nd\n", "a\nB\nc\nd\ne\nf\n"),
            "lines 2 and 5-6"
        );
        assert_eq!(changed_lines("a\n", "a\n"), "nothing");
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec("[abc]", 0..12)
            .prop_map(|lines| lines.iter().flat_map(|line| [line, "\n"]).collect())
    }

    proptest! {
        #[test]
        fn without_changes_of_others_our_own_is_all_there_is((common, one) in (text(), text())) {
            prop_assert_eq!(merge(&common, &one, &common), Some(one.clone()));
            prop_assert_eq!(merge(&common, &common, &one), Some(one.clone()));
            prop_assert_eq!(merge(&common, &one, &one), Some(one));
        }

        /// No line of either is lost or doubled: each change is there as a whole, and nothing else.
        #[test]
        fn a_merge_has_the_lines_of_both((common, one, other) in (text(), text(), text())) {
            if let Some(merged) = merge(&common, &one, &other) {
                let count = |text: &str| text.lines().count();
                let same: Vec<Change<'_>> = changes(&common, &one).into_iter().filter(|ours| {
                    changes(&common, &other).iter().any(|theirs| (&ours.lines, &ours.new) == (&theirs.lines, &theirs.new))
                }).collect();
                let put: usize = same.iter().map(|change| change.new.len()).sum();
                let taken: usize = same.iter().map(|change| change.lines.len()).sum();
                prop_assert_eq!(
                    count(&merged) + count(&common) + put,
                    count(&one) + count(&other) + taken
                );
            }
        }
    }
}
