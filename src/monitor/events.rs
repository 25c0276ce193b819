//! A line of a log as an event: when, of which service, how bad, how long. Nothing here knows the present time.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// The longest response time that is believed, in milliseconds.
const LONGEST: f64 = 7.0 * 86_400_000.0;

/// How the names begin of what this program writes itself: it says nothing about a service.
const OWN: [&str; 3] = ["rollback_", "feature_flag_changed", "notification"];

/// Names of events that tell of a crash.
const CRASHES: [&str; 7] = [
    "crash",
    "crashed",
    "process_crashed",
    "service_crashed",
    "uncaught_exception",
    "unhandled_rejection",
    "panic",
];

/// An event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event<'line> {
    /// When, in milliseconds since the epoch; `None` where the line does not say.
    pub at: Option<i64>,
    /// Whose: `service`, else `feature`.
    pub service: Option<Cow<'line, str>>,
    /// Its name.
    pub name: Option<Cow<'line, str>>,
    /// Whether its level is ERROR or worse.
    pub error: bool,
    /// Whether it tells of a crash.
    pub crash: bool,
    /// `duration`, `duration_ms` or `response_time_ms`, in milliseconds.
    pub milliseconds: Option<f64>,
    /// The address that it is about.
    pub address: Option<Cow<'line, str>>,
    /// The account that it is about.
    pub account: Option<Cow<'line, str>>,
}

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'line> {
    /// Nothing stands there.
    Empty,
    /// It is no JSON object.
    Broken,
    /// An event.
    Event(Event<'line>),
}

impl Event<'_> {
    /// Whether this program wrote it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.name
            .as_deref()
            .is_some_and(|name| OWN.iter().any(|own| name.starts_with(own)))
    }
}

/// Reads a line. Bytes that are no UTF-8 are replaced, not refused: what they stand in is rarely what is looked for.
#[must_use]
pub fn read(line: &[u8]) -> Line<'_> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Line::Empty;
    }
    if let Ok(event) = serde_json::from_slice::<Event<'_>>(line) {
        return Line::Event(event);
    }
    if std::str::from_utf8(line).is_ok() {
        return Line::Broken;
    }
    let lossy = String::from_utf8_lossy(line);
    serde_json::from_str::<Event<'_>>(&lossy).map_or(Line::Broken, |event| Line::Event(event.owned()))
}

impl Event<'_> {
    fn owned(self) -> Event<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Event {
            at: self.at,
            service: own(self.service),
            name: own(self.name),
            error: self.error,
            crash: self.crash,
            milliseconds: self.milliseconds,
            address: own(self.address),
            account: own(self.account),
        }
    }
}

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
                .fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, milli) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + milli)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since the epoch in the Gregorian calendar; years are counted from March on, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let since_march = (month + 9) % 12;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (153 * since_march + 2) / 5 + day - 1 - 719_468
}

/// A time as logs write it: RFC 3339 with any zone, with a space for the T, with a comma before the milliseconds, without a
/// zone (then UTC is meant).
fn time(text: &str) -> Option<i64> {
    if let Some(at) = utc(text.as_bytes()) {
        return Some(at);
    }
    let text = text.trim();
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_millis());
    }
    let plain = text.replacen(' ', "T", 1).replacen(',', ".", 1);
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(&plain) {
        return Some(at.timestamp_millis());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f %z"] {
        if let Ok(at) = chrono::DateTime::parse_from_str(&plain, form) {
            return Some(at.timestamp_millis());
        }
    }
    chrono::NaiveDateTime::parse_from_str(&plain, "%Y-%m-%dT%H:%M:%S%.f")
        .ok()
        .map(|at| at.and_utc().timestamp_millis())
}

/// A number of seconds or milliseconds since the epoch, told apart by size.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn epoch(number: f64) -> Option<i64> {
    // Milliseconds of 1973 are seconds of the year 5138: no log of either is looked at.
    const BORDER: f64 = 1e11;
    if !(number.is_finite() && number > 1e8 && number < 1e14) {
        return None;
    }
    Some(if number < BORDER {
        (number * 1000.0) as i64
    } else {
        number as i64
    })
}

/// A value of which a text or a number may be wanted; all else is passed over.
enum Scalar<'line> {
    Text(Cow<'line, str>),
    Number(f64),
    Other,
}

impl<'line> Scalar<'line> {
    fn text(self) -> Option<Cow<'line, str>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => Some(*number),
            Self::Other => None,
        }
    }

    fn time(&self) -> Option<i64> {
        match self {
            Self::Text(text) => time(text),
            Self::Number(number) => epoch(*number),
            Self::Other => None,
        }
    }

    /// ERROR and worse; the numbers of bunyan and pino count too.
    fn is_error(&self) -> bool {
        match self {
            Self::Text(text) => ["ERROR", "FATAL", "CRITICAL"]
                .iter()
                .any(|level| text.trim().eq_ignore_ascii_case(level)),
            Self::Number(number) => *number >= 50.0,
            Self::Other => false,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    #[expect(clippy::cast_precision_loss, reason = "times and durations fit into 53 bits")]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "times and durations fit into 53 bits")]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// A key of which the meaning is known.
enum Key {
    Time,
    Level,
    Name,
    Service,
    Feature,
    Duration,
    Address,
    Account,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "timestamp" | "time" | "ts" | "@timestamp" => Key::Time,
                    "level" | "severity" => Key::Level,
                    "event" => Key::Name,
                    "service" => Key::Service,
                    "feature" => Key::Feature,
                    "duration" | "duration_ms" | "response_time_ms" => Key::Duration,
                    "ip" | "address" | "remote_addr" | "remote_address" | "client_ip" | "source_ip"
                    | "ipAddress" | "sourceIp" | "clientIp" => Key::Address,
                    "user" | "username" | "account" | "userId" | "user_id" => Key::Account,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let mut event = Event::default();
        let mut feature = None;
        while let Some(key) = map.next_key::<Key>()? {
            if matches!(key, Key::Other) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Scalar<'de> = map.next_value()?;
            match key {
                // The first of several that can be read.
                Key::Time => event.at = event.at.or_else(|| value.time()),
                Key::Level => {
                    event.crash |=
                        matches!(&value, Scalar::Text(level) if level.trim().eq_ignore_ascii_case("FATAL"));
                    event.error |= value.is_error();
                }
                Key::Name => event.name = value.text(),
                Key::Service => event.service = value.text(),
                Key::Feature => feature = value.text(),
                Key::Duration => {
                    event.milliseconds = event.milliseconds.or_else(|| {
                        value
                            .number()
                            .filter(|time| time.is_finite() && (0.0..=LONGEST).contains(time))
                    });
                }
                Key::Address => event.address = event.address.or_else(|| value.text()),
                Key::Account => event.account = event.account.or_else(|| value.text()),
                Key::Other => {}
            }
        }
        event.service = event.service.or(feature);
        event.crash |= event
            .name
            .as_deref()
            .is_some_and(|name| CRASHES.iter().any(|crash| name.eq_ignore_ascii_case(crash)));
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(line: &str) -> Event<'_> {
        match read(line.as_bytes()) {
            Line::Event(event) => event,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_of_the_security_log_is_an_event() {
        let event = event(
            r#"{"timestamp":"2026-11-23T01:30:00.250Z","level":"ERROR","event":"query_failed","feature":"duckdb_analytics","duration_ms":12.5}"#,
        );
        assert_eq!(event.at, Some(1_795_397_400_250));
        assert_eq!(event.service.as_deref(), Some("duckdb_analytics"));
        assert_eq!((event.error, event.milliseconds), (true, Some(12.5)));
    }

    #[test]
    fn the_service_goes_before_the_feature_whatever_the_order() {
        for line in [
            r#"{"feature":"a","service":"b"}"#,
            r#"{"service":"b","feature":"a"}"#,
        ] {
            assert_eq!(event(line).service.as_deref(), Some("b"), "{line}");
        }
    }

    #[test]
    fn times_of_all_zones_and_forms_are_one_time() {
        for text in [
            r#""2026-11-23T01:30:00.250Z""#,
            r#""2026-11-23T01:30:00.250000Z""#,
            r#""2026-11-23T02:30:00.250+01:00""#,
            r#""2026-11-22T20:30:00.250-05:00""#,
            r#""2026-11-23 01:30:00,250""#,
            r#""2026-11-23T01:30:00.25""#,
            r#""2026-11-23T02:30:00.250+0100""#,
            "1795397400250",
            "1795397400.25",
        ] {
            let line = format!("{{\"time\":{text}}}");
            assert_eq!(event(&line).at, Some(1_795_397_400_250), "{text}");
        }
        for text in [
            "\"yesterday\"",
            "\"2026-13-01T00:00:00.000Z\"",
            "12",
            "null",
            "[1]",
        ] {
            let line = format!("{{\"timestamp\":{text}}}");
            assert_eq!(event(&line).at, None, "{text}");
        }
    }

    #[test]
    fn levels_of_several_loggers_are_known() {
        for level in ["\"ERROR\"", "\"error\"", "\"FATAL\"", "\"critical\"", "50", "60"] {
            assert!(event(&format!("{{\"level\":{level}}}")).error, "{level}");
        }
        for level in ["\"WARN\"", "\"INFO\"", "\"no error\"", "30", "null", "{}"] {
            assert!(!event(&format!("{{\"level\":{level}}}")).error, "{level}");
        }
    }

    #[test]
    fn durations_that_are_none_do_not_count() {
        for (text, expected) in [
            ("12", Some(12.0)),
            ("\"12.5\"", Some(12.5)),
            ("-1", None),
            ("1e300", None),
            ("\"fast\"", None),
            ("null", None),
            ("\"NaN\"", None),
        ] {
            let line = format!("{{\"duration\":{text}}}");
            assert_eq!(event(&line).milliseconds, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_broken_and_no_event() {
        for line in ["{", "[]", "42", "plain text", "{\"duration\":NaN}", "{\"a\":1}{"] {
            assert_eq!(read(line.as_bytes()), Line::Broken, "{line}");
        }
        assert_eq!(read(b"  \r"), Line::Empty);
    }

    #[test]
    fn a_line_that_is_no_utf_8_still_counts() {
        let line = b"{\"level\":\"ERROR\",\"service\":\"api\",\"message\":\"gr\xfc\xdfe\"}";
        let Line::Event(event) = read(line) else {
            panic!("an event")
        };
        assert_eq!((event.error, event.service.as_deref()), (true, Some("api")));
    }

    proptest! {
        #[test]
        fn the_time_at_the_beginning_is_that_of_the_calendar(seconds in 0_i64..4_102_444_800, milli in 0_i64..1000) {
            let at = seconds * 1000 + milli;
            let text = chrono::DateTime::from_timestamp_millis(at).unwrap()
                .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            let line = format!("{{\"timestamp\":\"{text}\",\"level\":\"INFO\"}}");
            prop_assert_eq!(time_of(line.as_bytes()), Some(at));
            prop_assert_eq!(event(&line).at, Some(at));
        }

        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&line);
            let _ = time_of(&line);
        }
    }
}
