//! Times as logs write them, in milliseconds since the epoch.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime};

use super::zone::Open;

/// The time at the beginning of a line as `logs/` has it (`{"timestamp":"2026-11-23T01:30:00.000Z"`), without reading
/// the rest.
#[must_use]
pub fn time_of(line: &[u8]) -> Option<i64> {
    let rest = line.strip_prefix(b"{\"timestamp\":\"")?;
    let (time, rest) = rest.split_at_checked(24)?;
    if rest.starts_with(b"\"") { utc(time) } else { None }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ` in milliseconds since the epoch.
fn utc(text: &[u8]) -> Option<i64> {
    let form = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = text.len() == form.len()
        && text.iter().zip(form).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| {
        text.get(from..to).map(|digits| {
            digits
                .iter()
                .fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, milli) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    // A leap second is the first of the next minute.
    let leap = second == 60;
    let time = NaiveTime::from_hms_milli_opt(hour, minute, if leap { 59 } else { second }, milli)?;
    Some(date.and_time(time).and_utc().timestamp_millis() + if leap { 1000 } else { 0 })
}

/// A time as logs write it: RFC 3339 with any zone, with a space for the T, with a comma before the milliseconds, without a
/// zone (then UTC is meant); or a number of it. In milliseconds since the epoch; `None` where it is in none of these forms.
#[must_use]
pub fn time(text: &str) -> Option<i64> {
    time_of_log(text, Open::default())
}

/// As [`time`], where a log says what it leaves open.
pub(super) fn time_of_log(text: &str, open: Open) -> Option<i64> {
    if let Some(at) = utc(text.as_bytes()) {
        return Some(at);
    }
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return epoch(number);
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_millis());
    }
    let plain = text.replacen(' ', "T", 1).replacen(',', ".", 1);
    if let Ok(at) = DateTime::parse_from_rfc3339(&plain) {
        return Some(at.timestamp_millis());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f %z"] {
        if let Ok(at) = DateTime::parse_from_str(&plain, form) {
            return Some(at.timestamp_millis());
        }
    }
    NaiveDateTime::parse_from_str(&plain, "%Y-%m-%dT%H:%M:%S%.f")
        .ok()
        .and_then(|at| open.place(at))
}

/// A number of seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by size.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
pub(super) fn epoch(number: f64) -> Option<i64> {
    // Milliseconds of 1973 are seconds of the year 5138: no log of either is looked at. So it is with the finer ones.
    Some(match number {
        1e8..1e11 => (number * 1000.0).round() as i64,
        1e11..1e14 => number as i64,
        1e14..1e17 => (number / 1e3).round() as i64,
        1e17..1e20 => (number / 1e6).round() as i64,
        _ => return None,
    })
}

/// The time at the beginning of a line of text, and what follows it: a date with a time of day and any zone, or the form of
/// syslog (`Nov 23 01:30:00`), whose year is the nearest one. A time of day alone is none.
pub(super) fn leading(line: &str, open: Open) -> Option<(i64, &str)> {
    let bytes = line.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let of_day = |at: usize| {
        [0, 1, 3, 4, 6, 7].iter().all(|place| digit(at + place)) && is(at + 2, b":") && is(at + 5, b":")
    };
    if !digit(0) {
        return month_first(line, open, of_day);
    }
    let date =
        (0..4).all(digit) && is(4, b"-/") && digit(5) && digit(6) && is(7, b"-/") && digit(8) && digit(9);
    if !(date && is(10, b"T ") && of_day(11)) {
        return None;
    }
    let mut end = 19;
    if is(end, b".,") && digit(end + 1) {
        end += 1;
        while digit(end) {
            end += 1;
        }
    }
    let clock = line.get(..end)?;
    let rest = line.get(end..)?;
    let spaced = rest.strip_prefix(' ').unwrap_or(rest);
    let zone = if let Some(rest) = rest.strip_prefix('Z') {
        Some(("Z", rest))
    } else if let Some(rest) = ["UTC", "GMT"].iter().find_map(|zone| spaced.strip_prefix(zone)) {
        Some(("Z", rest))
    } else {
        offset(spaced)
    };
    let (zone, rest) = zone.unwrap_or(("", rest));
    let at = time_of_log(&format!("{}{zone}", clock.replace('/', "-")), open)?;
    Some((at, rest))
}

/// `+01:00` or `-0500` at the beginning, and what follows.
fn offset(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes
            .get(from..from + 2)
            .is_some_and(|two| two.iter().all(u8::is_ascii_digit))
    };
    if !matches!(bytes.first(), Some(b'+' | b'-')) || !digits(1) {
        return None;
    }
    let minutes = if bytes.get(3) == Some(&b':') { 4 } else { 3 };
    digits(minutes)
        .then(|| text.split_at_checked(minutes + 2))
        .flatten()
}

/// `Nov 23 01:30:00`.
fn month_first(line: &str, open: Open, of_day: impl Fn(usize) -> bool) -> Option<(i64, &str)> {
    if !of_day(7) {
        return None;
    }
    let (stamp, rest) = line.split_at_checked(15)?;
    let year = DateTime::from_timestamp_millis(open.near)?.year();
    let at = (year - 1..=year + 1)
        .filter_map(|year| {
            NaiveDateTime::parse_from_str(&format!("{year} {stamp}"), "%Y %b %e %H:%M:%S").ok()
        })
        .filter_map(|at| open.place(at))
        .min_by_key(|at| at.abs_diff(open.near))?;
    Some((at, rest))
}
