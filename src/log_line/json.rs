//! Lines that are JSON objects, in one pass and without copies: of what is not looked for nothing is kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::levels::{Level, Scale};
use super::zone::Open;
use super::{Event, text, times};
use crate::base::known::Known;

/// The longest response time that is believed, in milliseconds.
const LONGEST: f64 = 7.0 * 86_400_000.0;

/// How much of a level that nobody knows is told, in bytes.
const TOLD: usize = 40;

/// Reads a line; `None` where it is no object.
pub(super) fn read(line: &[u8], open: Open) -> Option<Event<'_>> {
    if !line.starts_with(b"{") {
        return None;
    }
    // Filled where they stand: they are large, and a copy a line is felt.
    let mut fields = Fields::of(open);
    let mut text = serde_json::Deserializer::from_slice(line);
    text.deserialize_map(Top(&mut fields)).ok()?;
    text.end().ok()?;
    Some(fields.finish())
}

/// A value of which a text or a number may be wanted; all else is passed over.
pub(super) enum Scalar<'line> {
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

    fn time(&self, open: Open) -> Option<i64> {
        match self {
            Self::Text(text) => times::time_of_log(text, open),
            Self::Number(number) => times::epoch(*number),
            Self::Other => None,
        }
    }
}

/// A key of which the meaning is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Time,
    /// A time that counts where there is no other.
    SecondTime,
    Level,
    /// A number of this scale.
    Number(Scale),
    /// What tells whose scale the number of a level is.
    Mark(Mark),
    Name,
    Service,
    Feature,
    Story,
    Duration,
    Address,
    Account,
    /// Of an object inside, whose keys have a meaning of their own.
    Inside(Place),
    Other,
}

/// What tells whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Pid,
    Hostname,
    Version,
    Message,
    Python,
    Gelf,
}

/// An object of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    /// ECS: `log.level`.
    Log,
    /// dbt: `info.level`, `info.ts`.
    Info,
    /// loguru: `record.level`, `record.time`.
    Record,
    RecordLevel,
    RecordTime,
    /// ECS: `service.name`.
    Service,
}

impl Key {
    /// What a key means at the top of a line.
    pub(super) fn at_top(key: &str) -> Self {
        match key {
            "timestamp"
            | "time"
            | "ts"
            | "@timestamp"
            | "Timestamp"
            | "asctime"
            | "timeUnixNano"
            | "time_unix_nano"
            | "__REALTIME_TIMESTAMP" => Self::Time,
            "created" | "datetime" | "observedTimeUnixNano" | "observed_timestamp" => Self::SecondTime,
            "level" | "severity" | "lvl" | "log.level" | "levelname" | "loglevel" | "log_level"
            | "severityText" | "severity_text" | "SeverityText" => Self::Level,
            "PRIORITY" => Self::Number(Scale::Syslog),
            "levelno" | "level_number" => Self::Number(Scale::Python),
            "severityNumber" | "severity_number" | "SeverityNumber" => Self::Number(Scale::OpenTelemetry),
            "pid" => Self::Mark(Mark::Pid),
            "hostname" => Self::Mark(Mark::Hostname),
            "v" => Self::Mark(Mark::Version),
            "msg" => Self::Mark(Mark::Message),
            "logger" | "lineno" | "funcName" | "pathname" => Self::Mark(Mark::Python),
            "short_message" => Self::Mark(Mark::Gelf),
            "log" => Self::Inside(Place::Log),
            "info" => Self::Inside(Place::Info),
            "record" => Self::Inside(Place::Record),
            "event" => Self::Name,
            // A text, or an object with the name.
            "service" | "service.name" => Self::Inside(Place::Service),
            "feature" => Self::Feature,
            "storyId" => Self::Story,
            "duration" | "duration_ms" | "response_time_ms" => Self::Duration,
            "ip" | "address" | "remote_addr" | "remote_address" | "client_ip" | "source_ip" | "ipAddress"
            | "sourceIp" | "clientIp" => Self::Address,
            "user" | "username" | "account" | "userId" | "user_id" => Self::Account,
            _ => Self::Other,
        }
    }

    fn at(place: Place, key: &str) -> Self {
        match (place, key) {
            (Place::Top, key) => Self::at_top(key),
            (Place::Log | Place::Info, "level") | (Place::RecordLevel, "name") => Self::Level,
            (Place::Info, "ts") | (Place::RecordTime, "timestamp" | "repr") => Self::Time,
            (Place::Info, "name") => Self::Name,
            (Place::Record, "level") => Self::Inside(Place::RecordLevel),
            (Place::Record, "time") => Self::Inside(Place::RecordTime),
            (Place::RecordLevel, "no") => Self::Number(Scale::Python),
            (Place::Service, "name") => Self::Service,
            _ => Self::Other,
        }
    }
}

/// What a line says of its level.
#[derive(Debug, Default)]
struct Levels {
    /// The worst one that is known.
    level: Option<Level>,
    /// A number whose scale the rest of the line tells.
    number: Option<f64>,
    /// A word that nobody knows.
    word: Option<String>,
}

/// What was found in a line.
#[derive(Debug, Default)]
pub(super) struct Fields<'line> {
    event: Event<'line>,
    /// At the top, and in an object of it: that counts only where the top says nothing.
    levels: [Levels; 2],
    second_time: Option<i64>,
    /// A time that can't be read.
    no_time: bool,
    marks: [bool; 6],
    numeric_time: bool,
    open: Open,
}

impl<'line> Fields<'line> {
    /// Nothing yet, of a log that leaves this open.
    pub(super) fn of(open: Open) -> Self {
        Self {
            open,
            ..Self::default()
        }
    }

    /// Takes a value of a key at the top.
    pub(super) fn take(&mut self, key: Key, value: Scalar<'line>) {
        self.take_at(Place::Top, key, value);
    }

    fn take_at(&mut self, place: Place, key: Key, value: Scalar<'line>) {
        let event = &mut self.event;
        match key {
            // The first of several that can be read.
            Key::Time | Key::SecondTime => match value.time(self.open) {
                Some(at) if place == Place::Top && key == Key::Time => {
                    self.numeric_time |= matches!(value, Scalar::Number(_));
                    if matches!(event.at, Known::Unknown(_)) {
                        event.at = Known::Yes(at);
                    }
                }
                Some(at) => self.second_time = self.second_time.or(Some(at)),
                None => self.no_time |= !matches!(value, Scalar::Other),
            },
            Key::Level => self.levels(place).take(&value),
            Key::Number(scale) => {
                let level = value.number().and_then(|number| Level::of_number(number, scale));
                let levels = self.levels(place);
                levels.level = levels.level.max(level);
                if level.is_none() {
                    levels.take(&value);
                }
            }
            Key::Mark(mark) => self.mark(mark),
            Key::Name => {
                if place == Place::Top || event.name.is_none() {
                    event.name = value.text();
                }
            }
            Key::Service | Key::Inside(Place::Service) => {
                event.service = value.text().or(event.service.take());
            }
            Key::Feature => event.feature = value.text(),
            Key::Story => event.story = value.text(),
            Key::Duration => {
                event.milliseconds = event.milliseconds.or_else(|| {
                    value
                        .number()
                        .filter(|time| time.is_finite() && (0.0..=LONGEST).contains(time))
                });
            }
            Key::Address => event.address = event.address.take().or_else(|| value.text()),
            Key::Account => event.account = event.account.take().or_else(|| value.text()),
            Key::Inside(_) | Key::Other => {}
        }
    }

    fn levels(&mut self, place: Place) -> &mut Levels {
        let [top, inner] = &mut self.levels;
        if place == Place::Top { top } else { inner }
    }

    fn mark(&mut self, mark: Mark) {
        if let Some(seen) = self.marks.get_mut(mark as usize) {
            *seen = true;
        }
    }

    fn has(&self, mark: Mark) -> bool {
        self.marks.get(mark as usize).copied().unwrap_or_default()
    }

    /// Whose number a `level` is.
    fn scale(&self) -> Scale {
        let pino = self.has(Mark::Version)
            || (self.has(Mark::Pid) && self.has(Mark::Hostname))
            || (self.has(Mark::Message) && self.numeric_time);
        match (pino, self.has(Mark::Python), self.has(Mark::Gelf)) {
            (true, false, false) => Scale::Pino,
            (false, true, false) => Scale::Python,
            (false, false, true) => Scale::Syslog,
            _ => Scale::Unknown,
        }
    }

    /// The event that the line tells of.
    pub(super) fn finish(self) -> Event<'line> {
        let scale = self.scale();
        let [top, inner] = &self.levels;
        let levels = if top.is_there() { top } else { inner };
        let mut event = self.event;
        if let Some(level) = levels.level(scale) {
            event.level = level;
        }
        if matches!(event.at, Known::Unknown(_)) {
            if let Some(at) = self.second_time {
                event.at = Known::Yes(at);
            } else if self.no_time {
                event.at = Known::Unknown("its time is in no form that is known".to_owned());
            }
        }
        event.service = event.service.or_else(|| event.feature.clone());
        event
    }
}

impl Levels {
    fn take(&mut self, value: &Scalar<'_>) {
        match value {
            Scalar::Number(number) => self.number = Some(*number),
            Scalar::Text(word) => {
                let plain = text::without_colours(word.trim());
                match (Level::of_word(&plain), plain.parse()) {
                    (Some(level), _) => self.level = self.level.max(Some(level)),
                    (None, Ok(number)) => self.number = Some(number),
                    (None, Err(_)) => {
                        let rendered = plain.get(..plain.floor_char_boundary(TOLD)).unwrap_or_default();
                        self.word = Some(rendered.to_owned());
                    }
                }
            }
            Scalar::Other => {}
        }
    }

    fn is_there(&self) -> bool {
        self.level.is_some() || self.number.is_some() || self.word.is_some()
    }

    /// A word that is known goes before a number, and the worst of several before the others.
    fn level(&self, scale: Scale) -> Option<Known<Level>> {
        if let Some(level) = self.level {
            return Some(Known::Yes(level));
        }
        if let Some(number) = self.number {
            return Some(Level::of_number(number, scale).map_or_else(
                || Known::Unknown(format!("nobody can tell on which scale its level is {number}")),
                Known::Yes,
            ));
        }
        let word = self.word.as_ref()?;
        Some(Known::Unknown(format!("`{word}` is no level that is known")))
    }
}

/// Reads a line's object into the fields.
struct Top<'a, 'line>(&'a mut Fields<'line>);

impl<'de> Visitor<'de> for Top<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        walk(map, Place::Top, self.0)
    }
}

fn walk<'de, A: MapAccess<'de>>(mut map: A, place: Place, fields: &mut Fields<'de>) -> Result<(), A::Error> {
    while let Some(key) = map.next_key_seed(Named(place))? {
        match key {
            Key::Other => {
                map.next_value::<IgnoredAny>()?;
            }
            Key::Mark(mark) => {
                fields.mark(mark);
                map.next_value::<IgnoredAny>()?;
            }
            key => map.next_value_seed(Found { place, key, fields })?,
        }
    }
    Ok(())
}

/// Reads the name of a key.
struct Named(Place);

impl<'de> DeserializeSeed<'de> for Named {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Named {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
        Ok(Key::at(self.0, key))
    }
}

/// Reads a value into the fields.
struct Found<'a, 'line> {
    place: Place,
    key: Key,
    fields: &'a mut Fields<'line>,
}

impl<'line> Found<'_, 'line> {
    fn take<E>(self, value: Scalar<'line>) -> Result<(), E> {
        self.fields.take_at(self.place, self.key, value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Found<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Found<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<(), E> {
        self.take(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.take(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    #[expect(clippy::cast_precision_loss, reason = "times and durations fit into 53 bits")]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.take(Scalar::Number(number as f64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "nanoseconds are kept to less than a microsecond"
    )]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.take(Scalar::Number(number as f64))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.take(Scalar::Number(number))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.take(Scalar::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.take(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Key::Inside(place) = self.key {
            return walk(map, place, self.fields);
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.take(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.take(Scalar::Other)
    }
}
