//! The page that a report is written on: escaping, wrapping, alignment.

use crate::base::terminal::{Ink, NARROWEST, Style, WIDEST, columns, escape, wrap};
use crate::report::Mode;

/// Columns of the right-hand label: `undo compensating`.
const LABEL: usize = 17;

/// Lines of text. Everything that is put on it is escaped here, and only here.
pub(super) struct Page<'style> {
    pub(super) text: String,
    style: &'style Style,
    width: usize,
    /// Whether what stands on it has happened.
    pub(super) mode: Mode,
}

impl<'style> Page<'style> {
    pub(super) fn new(style: &'style Style, mode: Mode) -> Self {
        Self {
            text: String::new(),
            style,
            // A style made by hand may say anything.
            width: style.width.clamp(NARROWEST, WIDEST),
            mode,
        }
    }

    pub(super) fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// One line, not wrapped.
    pub(super) fn line(&mut self, ink: Ink, text: &str) {
        self.push(&self.style.paint(ink, &escape(text)));
    }

    /// A prefix, and a text that is wrapped behind it. The ink is that of the prefix, or of the text without one.
    pub(super) fn hanging(&mut self, prefix: &str, ink: Ink, text: &str) {
        let indent = columns(prefix);
        let inner = if prefix.trim().is_empty() { ink } else { Ink::Plain };
        for (position, line) in wrap(&escape(text), self.width - indent).iter().enumerate() {
            let lead = if position == 0 {
                self.style.paint(ink, prefix).into_owned()
            } else {
                " ".repeat(indent)
            };
            self.push(&format!("{lead}{}", self.style.paint(inner, line)));
        }
    }

    /// A sign, a wrapped text, and a label at the right-hand edge of its first line.
    pub(super) fn row(&mut self, sign: (&str, Ink), text: &str, label: &str, ink: Ink) {
        let width = self.width - 4 - 2 - LABEL;
        for (position, line) in wrap(&escape(text), width).iter().enumerate() {
            if position > 0 {
                self.push(&format!("      {line}"));
                continue;
            }
            let gap = width - columns(line) + 2 + LABEL - columns(label);
            let letter = self.style.paint(sign.1, sign.0);
            self.push(&format!(
                "  {letter} {line}{}{}",
                " ".repeat(gap),
                self.style.paint(ink, label)
            ));
        }
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end_matches(' '));
        self.text.push('\n');
    }
}
