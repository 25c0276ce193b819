//! What a terminal can show, and what of the world may reach it: colour, width, escaping.
//!
//! Paths, process names and script notes are written by others. They pass `escape` before a person sees them.
//! Keeps nothing on disk.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use unicode_width::UnicodeWidthChar;

/// The widest text that we write, in columns.
pub const WIDEST: usize = 100;

/// The narrowest layout, in columns; a narrower terminal folds the lines itself.
pub const NARROWEST: usize = 60;

/// How text is laid out for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences for colour are written.
    pub colour: bool,
    /// Columns of a line, from [`NARROWEST`] to [`WIDEST`].
    pub width: usize,
}

/// What a piece of text means, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// A heading.
    Strong,
    /// Of little weight.
    Faint,
    /// It went well.
    Good,
    /// It deserves a look.
    Caution,
    /// It failed, or data is gone for good.
    Danger,
    /// A change.
    Change,
    /// As the terminal writes it.
    Plain,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Caution => "33",
            Self::Danger => "1;31",
            Self::Change => "36",
            Self::Plain => "",
        }
    }
}

impl Style {
    /// No colour, the widest lines: for files, pipes and tests.
    pub const PLAIN: Self = Self {
        colour: false,
        width: WIDEST,
    };

    /// The style for a stream: `no_colour` is the flag of the command line; `NO_COLOR` (not empty) and
    /// `TERM=dumb` count as well, and what isn't a terminal gets no colour.
    pub fn of(stream: &(impl IsTerminal + AsFd), no_colour: bool) -> Self {
        let terminal = stream.is_terminal();
        let columns = if terminal {
            rustix::termios::tcgetwinsize(stream).ok().map(|size| size.ws_col)
        } else {
            None
        };
        Self::choose(
            no_colour,
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
            terminal,
            columns,
        )
    }

    fn choose(
        no_colour: bool,
        variable: Option<&OsStr>,
        term: Option<&OsStr>,
        terminal: bool,
        columns: Option<u16>,
    ) -> Self {
        let refused = no_colour
            || variable.is_some_and(|value| !value.is_empty())
            || term.is_some_and(|value| value == "dumb");
        // A terminal that doesn't know its size says 0.
        let width = columns.filter(|&columns| columns > 0).map_or(WIDEST, usize::from);
        Self {
            colour: terminal && !refused,
            width: width.clamp(NARROWEST, WIDEST),
        }
    }

    /// The text in this ink; as it is where there is no colour. It does not escape.
    pub fn paint<'text>(&self, ink: Ink, text: &'text str) -> Cow<'text, str> {
        if self.colour && ink != Ink::Plain && !text.is_empty() {
            Cow::Owned(format!("\u{1b}[{}m{text}\u{1b}[0m", ink.code()))
        } else {
            Cow::Borrowed(text)
        }
    }
}

/// Makes visible what a terminal would obey or hide: control characters, characters that change the direction
/// of writing, and those without width. `\n`, `\r` and `\t` get their short names, others `\u{202e}`.
///
/// Backslashes stay, so that text that passed twice reads the same.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut display = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => display.extend(character.escape_default()),
            _ if hidden(character) => display.extend(character.escape_unicode()),
            _ => display.push(character),
        }
    }
    Cow::Owned(display)
}

/// Whether a terminal obeys or hides this character instead of showing it.
///
/// Controls are those of Unicode's category Cc; the rest are the bidirectional controls, the line and paragraph
/// separators, the interlinear annotations and everything with the property `Default_Ignorable_Code_Point`.
fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}'
            | '\u{034f}'
            | '\u{061c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The columns that a text takes. Escape it first.
pub fn columns(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// Breaks a text at spaces into lines of at most `width` columns; a longer word is cut. Nothing is lost but the
/// one space at each break.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for (position, word) in text.split(' ').enumerate() {
        if position > 0 {
            if used + 1 + columns(word) <= width {
                line.push(' ');
                used += 1;
            } else {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
        }
        for character in word.chars() {
            let wide = character.width().unwrap_or(0);
            if used > 0 && used + wide > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(character);
            used += wide;
        }
    }
    lines.push(line);
    lines
}

/// A table with a head line and no frame; nothing of it can drive a terminal.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row.iter().map(|cell| escape(cell).into_owned()));
    }
    if rows.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(
            escape("a\u{1b}[2Jb\nc\rd\te\u{7f}\u{9b}\u{202e}\u{200b}\0"),
            r"a\u{1b}[2Jb\nc\rd\te\u{7f}\u{9b}\u{202e}\u{200b}\u{0}"
        );
        assert!(matches!(
            escape("größe `データ` \\n"),
            Cow::Borrowed(r"größe `データ` \n")
        ));
    }

    #[test]
    fn colour_needs_a_terminal_and_nobody_against_it() {
        let colour = |flag, variable: Option<&str>, term: Option<&str>, terminal| {
            Style::choose(
                flag,
                variable.map(OsStr::new),
                term.map(OsStr::new),
                terminal,
                None,
            )
            .colour
        };
        assert!(colour(false, None, Some("xterm"), true));
        assert!(colour(false, Some(""), None, true));
        assert!(!colour(true, None, None, true));
        assert!(!colour(false, Some("0"), None, true));
        assert!(!colour(false, None, Some("dumb"), true));
        assert!(!colour(false, None, None, false));
    }

    #[test]
    fn width_follows_the_terminal_within_reason() {
        let width = |columns| Style::choose(false, None, None, true, columns).width;
        assert_eq!(
            [None, Some(0), Some(20), Some(80), Some(300)].map(width),
            [100, 100, 60, 80, 100]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn escaped_text_holds_nothing_hidden(text in any::<String>(), planted in "[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]{1,4}") {
            let whole = format!("{text}{planted}{text}");
            let display = escape(&whole);
            // Unicode's own categories are the oracle; those three format characters are visible signs.
            let invisible = regex::Regex::new(r"[\p{Cc}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}]").unwrap();
            prop_assert!(!invisible.is_match(&display), "{display:?}");
            prop_assert_eq!(escape(&display), display.as_ref());
        }

        #[test]
        fn wrapped_text_fits_and_keeps_its_words(text in "[a-zé漢 ]{0,80}", width in 2_usize..30) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| columns(line) <= width), "{lines:?}");
            let words = |text: &str| text.chars().filter(|&character| character != ' ').collect::<String>();
            prop_assert_eq!(words(&lines.concat()), words(&text));
        }
    }
}
