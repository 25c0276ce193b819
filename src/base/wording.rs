//! Words for people: numbers with their units, durations, and the name that somebody meant.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Deserializer};

/// `1 file`, `2 files`, `0 entries`: the plural by the rules of English spelling. For a word that has its own,
/// see [`plural_as`].
pub fn plural(count: impl TryInto<u64>, one: &str) -> String {
    let many = if let Some(stem) = one.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
    {
        format!("{stem}ies")
    } else if ["s", "x", "z", "ch", "sh"].iter().any(|end| one.ends_with(end)) {
        format!("{one}es")
    } else {
        format!("{one}s")
    };
    plural_as(count, one, &many)
}

/// `1 index`, `2 indices`: a count with the plural as given. A count below zero reads as the largest.
pub fn plural_as(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// A size for people: `48 B`, `1.2 KiB`, rounded to a tenth.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut unit: u128 = 1;
    let mut display = String::new();
    for name in UNITS {
        unit *= 1024;
        let tenths = (u128::from(count) * 10 + unit / 2) / unit;
        display = format!("{}.{} {name}", tenths / 10, tenths % 10);
        // Rounded first, so that just below a mebibyte reads `1.0 MiB` and not `1024.0 KiB`.
        if tenths < 10_240 {
            break;
        }
    }
    display
}

/// A duration for people, from milliseconds: `3 ms`, `1.2 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(ms: u64) -> String {
    let tenths = ms.saturating_add(50) / 100;
    let seconds = ms.saturating_add(500) / 1000;
    let minutes = ms.saturating_add(30_000) / 60_000;
    if ms < 1000 {
        format!("{ms} ms")
    } else if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else if seconds < 3600 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// A duration such as `30d`. `m` and `M` are refused: months and minutes are far apart for what is removed.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    static ONE_LETTER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"([0-9]+)\s*[mM]([^a-zA-Z]|$)").expect("a pattern"));
    if let Some(found) = ONE_LETTER.captures(text) {
        let number = found.get(1).map_or("", |number| number.as_str());
        return Err(format!(
            "`{text}` is minutes to one reader and months to another: say {number}min for minutes, \
             {number}months for months"
        ));
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration such as `30d`: {error}"))
}

/// A duration of the configuration.
///
/// # Errors
/// What is wrong with it, in words.
pub fn deserialize_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!("`{text}` is not a duration such as `30m`: {error}"))
    })
}

/// The candidate most like `word`, if any is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_as_english() {
        let counted = [
            plural(0, "entry"),
            plural(1, "entry"),
            plural(2, "file"),
            plural(3, "process"),
            plural(4, "batch"),
            plural(5, "key"),
            plural(u64::MAX, "byte"),
            plural_as(2, "index", "indices"),
        ];
        assert_eq!(
            counted.join(", "),
            "0 entries, 1 entry, 2 files, 3 processes, 4 batches, 5 keys, 18446744073709551615 bytes, 2 indices"
        );
    }

    #[test]
    fn sizes_round_to_the_next_unit() {
        let sizes = [0, 48, 1023, 1024, 1229, 1_048_575, 1_048_576, 5 << 30, u64::MAX].map(bytes);
        assert_eq!(
            sizes.join(", "),
            "0 B, 48 B, 1023 B, 1.0 KiB, 1.2 KiB, 1.0 MiB, 1.0 MiB, 5.0 GiB, 16.0 EiB"
        );
    }

    #[test]
    fn durations_round_to_the_next_unit() {
        let times = [
            0, 999, 1000, 1249, 59_949, 59_950, 125_000, 3_599_499, 3_599_500, 3_720_000,
        ]
        .map(duration);
        assert_eq!(
            times.join(", "),
            "0 ms, 999 ms, 1.0 s, 1.2 s, 59.9 s, 1 min 00 s, 2 min 05 s, 59 min 59 s, 1 h 00 min, 1 h 02 min"
        );
        assert_eq!(duration(u64::MAX), duration(u64::MAX - 1));
    }

    #[test]
    fn minutes_and_months_are_spelled_out() {
        for (text, minutes, months) in [
            ("30m", "30min", "30months"),
            ("2M", "2min", "2months"),
            ("1d 5 m", "5min", "5months"),
        ] {
            let refused = parse_duration(text).expect_err(text);
            assert!(refused.contains(minutes) && refused.contains(months), "{refused}");
        }
        for text in ["30min", "2months", "30d", "12h", "1d 5min", "500ms", "2weeks"] {
            assert!(parse_duration(text).is_ok(), "{text}");
        }
        assert!(parse_duration("soon").is_err());
    }
}
