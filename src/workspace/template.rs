//! Texts with placeholders in braces, for titles and texts of alerts. `{{` and `}}` stand for braces.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::base::wording;
use crate::report::alert::Alert;

/// Placeholders that are fields of an alert.
const FIELDS: [&str; 9] = [
    "title",
    "text",
    "id",
    "kind",
    "severity",
    "at",
    "run",
    "group",
    "held_back",
];

/// Placeholders that are facts; one that an alert doesn't have is empty.
pub const FACTS: [&str; 17] = [
    "story",
    "feature",
    "reason",
    "trigger",
    "outcome",
    "error",
    "report",
    "next",
    "audit_head",
    "user",
    "host",
    "service",
    "metric",
    "value",
    "threshold",
    "samples",
    "window",
];

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(String),
}

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// One line: an unknown placeholder, with those that are known; a brace without its other one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            match letter {
                '{' | '}' if rest.peek() == Some(&letter) => {
                    rest.next();
                    plain.push(letter);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some(letter) => name.push(letter),
                            None => {
                                return Err(format!(
                                    "`{{{name}` has no `}}`; a brace itself is written `{{{{`"
                                ));
                            }
                        }
                    }
                    let known = || FIELDS.iter().chain(&FACTS).copied();
                    if !known().any(|known| known == name) {
                        let near = wording::nearest(&name, known())
                            .map(|near| format!(" (did you mean `{{{near}}}`?)"))
                            .unwrap_or_default();
                        let all: Vec<&str> = known().collect();
                        return Err(format!(
                            "unknown placeholder `{{{name}}}`{near}; known are {}",
                            all.join(", ")
                        ));
                    }
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    pieces.push(Piece::Placeholder(name));
                }
                '}' => return Err("`}` has no `{`; a brace itself is written `}}`".to_owned()),
                other => plain.push(other),
            }
        }
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }

    /// The text of an alert. What is put in is not read again for placeholders.
    #[must_use]
    pub fn fill(&self, alert: &Alert, held_back: u64) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Placeholder(name) => value(alert, held_back, name),
            })
            .collect()
    }
}

fn value(alert: &Alert, held_back: u64, name: &str) -> String {
    match name {
        "title" => alert.title.clone(),
        "text" => alert.text.clone(),
        "id" => alert.id.clone(),
        "kind" => alert.kind.name().to_owned(),
        "severity" => alert.severity.name().to_owned(),
        "at" => alert.at.clone(),
        "run" => alert.run.clone().unwrap_or_default(),
        "group" => alert.group.clone(),
        "held_back" => held_back.to_string(),
        fact => match alert.facts.get(fact) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        },
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A text in one line of at most so many characters: what controls a terminal or ends a header is a space.
#[must_use]
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    let mut line: String = text
        .chars()
        .map(|letter| if breaks_out(letter) { ' ' } else { letter })
        .take(longest)
        .collect();
    if text.chars().count() > longest {
        line.push('…');
    }
    line.trim().to_owned()
}

/// A text in lines, without characters that control a terminal.
#[must_use]
pub(crate) fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars()
        .map(|letter| match letter {
            '\n' | '\t' => letter,
            other if breaks_out(other) => ' ',
            other => other,
        })
        .collect()
}

/// Control characters, line ends of other scripts, and what turns the direction of writing.
fn breaks_out(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What an alert tells a channel: its title and text, by the channel's templates, and what was held back before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// One line.
    pub(crate) title: String,
    /// Some lines.
    pub(crate) text: String,
}

impl Message {
    /// The message of an alert.
    pub(crate) fn of(
        alert: &Alert,
        held_back: u64,
        title: Option<&Template>,
        text: Option<&Template>,
    ) -> Self {
        const TITLE: usize = 300;
        let fill = |template: Option<&Template>, plain: &str| {
            template.map_or_else(|| plain.to_owned(), |template| template.fill(alert, held_back))
        };
        let mut body = lines(&fill(text, &alert.text));
        if held_back > 0 {
            let (alerts, were) = if held_back == 1 {
                ("alert", "was")
            } else {
                ("alerts", "were")
            };
            let _ = write!(body, "\n({held_back} {alerts} {were} held back before this one)");
        }
        Self {
            title: one_line(&fill(title, &alert.title), TITLE),
            text: body,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::base::clock::Clock;
    use crate::report::alert::{Kind, Severity};

    fn alert() -> Alert {
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH);
        Alert::new(
            &clock,
            Kind::Failure,
            Severity::Critical,
            "It {failed}",
            "why\nso",
        )
        .fact("story", "1.3")
        .fact("value", 0.5)
    }

    #[test]
    fn placeholders_are_filled_and_what_is_filled_in_is_not_read_again() {
        let template =
            Template::parse("{{{severity}}} {title}: {story} {value}{reason} {kind}").expect("a template");
        assert_eq!(
            template.fill(&alert(), 0),
            "{critical} It {failed}: 1.3 0.5 failure"
        );
    }

    #[test]
    fn an_unknown_placeholder_names_the_known_ones() {
        let error = Template::parse("{titel}").expect_err("unknown");
        assert!(error.contains("did you mean `{title}`?"), "{error}");
        assert!(error.contains("story, feature, reason"), "{error}");
        for wrong in ["{title", "title}", "{}", "{ title }"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_title_is_one_line_and_a_text_controls_nothing() {
        assert_eq!(one_line("a\r\nBcc: x\u{202e}y\u{1b}[2J", 80), "a  Bcc: x y [2J");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(lines("a\r\nb\rc\u{0}d"), "a\nb c d");
        let message = Message::of(&alert(), 2, None, None);
        assert_eq!(message.text, "why\nso\n(2 alerts were held back before this one)");
    }
}
