//! The one renderer of failures: for a person, with the line of the script; for a program, as `rollback.error/1`.
//!
//! Keeps nothing on disk.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use crate::base::error::{Error, Position};
use crate::base::redact::{redact, rendered};
use crate::base::terminal::{Ink, Style, escape};

/// A failure for a person, with a newline at the end. Lines are not wrapped, so that they can be searched for.
///
/// The order is: where, what, what state it left, what to do. Each line is nearer to the next thing that the
/// person does, and the last one stands right above the cursor: the command to type, or, where there is none,
/// whether anything was changed.
pub fn error(error: &Error, style: &Style) -> String {
    error_with_causes(error, style, false)
}

/// As [`error`]; with what it comes from, where `causes` are wanted: a line each, but for one that ends the line before.
pub fn error_with_causes(error: &Error, style: &Style, causes: bool) -> String {
    let mut page = error.position().map(|at| excerpt(at, style)).unwrap_or_default();
    let state = if error.changed_something() {
        "something was changed"
    } else {
        "nothing was changed"
    };
    let ink = if error.changed_something() {
        Ink::Caution
    } else {
        Ink::Plain
    };
    page.push_str(&line("error", Ink::Danger, &rendered(error.message()), style));
    let mut before = error.message().to_owned();
    for cause in anyhow::Chain::new(error).skip(1).filter(|_| causes) {
        let cause = cause.to_string();
        if !before.ends_with(&cause) {
            page.push_str(&line("caused by", Ink::Plain, &rendered(&cause), style));
            before = cause;
        }
    }
    page.push_str(&line("note", ink, state, style));
    if let Some(hint) = error.hint_text() {
        page.push_str(&line("hint", Ink::Change, &rendered(hint), style));
    }
    page
}

/// A warning for a person, in one line with a newline at the end.
pub fn warning(message: &str, style: &Style) -> String {
    line("warning", Ink::Caution, &rendered(message), style)
}

/// A failure for a program: `rollback.error/1`.
pub fn error_json(error: &Error) -> Value {
    json!({
        "schema": "rollback.error/1",
        "code": error.kind().code(),
        "kind": error.kind().name(),
        "message": rendered(error.message()),
        "at": error.position(),
        "changed": error.changed_something(),
        "hint": error.hint_text().map(rendered),
        "exit_code": error.exit_code(),
    })
}

fn line(label: &str, ink: Ink, text: &str, style: &Style) -> String {
    format!("{}: {}\n", style.paint(ink, label), escape(text))
}

/// The line of the file with a caret below the place, or the place alone where the line isn't known.
fn excerpt(at: &Position, style: &Style) -> String {
    let display = at
        .source
        .as_deref()
        .zip(at.line.checked_sub(1))
        .and_then(|(source, index)| source.lines().nth(index));
    let margin = " ".repeat(at.line.to_string().len());
    let head = format!("{margin}{} {}\n", style.paint(Ink::Change, "-->"), place(at));
    // A line that holds a secret is not shown: masked, it is another line, and the caret points elsewhere.
    let Some(text) = display.filter(|text| redact(text) == **text) else {
        return head;
    };
    let (before, marked, after) = split(text, at.column);
    // Escaped in three parts: the caret points into what is shown, which can be longer than what stands there.
    let start = escape(before).len();
    let end = start + escape(marked).len();
    let source = format!("{}{}{}", escape(before), escape(marked), escape(after));
    let mut snippet = Snippet::source(source).line_start(at.line).fold(false);
    if at.column > 0 {
        snippet = snippet.annotation(AnnotationKind::Primary.span(start..end));
    }
    let renderer = if style.colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    // Without its path: the place of the caret in what is shown isn't its place in the file.
    let page = renderer
        .term_width(style.width)
        .render(&[Group::with_level(Level::ERROR).element(snippet)]);
    format!("{head}{page}\n")
}

fn place(at: &Position) -> String {
    let mut place = escape(&at.file).into_owned();
    for number in [at.line, at.column].into_iter().take_while(|&number| number > 0) {
        place.push(':');
        place.push_str(&number.to_string());
    }
    place
}

/// What stands before a column (in characters, from 1), the word or character there, and what follows.
fn split(text: &str, column: usize) -> (&str, &str, &str) {
    let start = text
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(start, _)| start);
    let (before, rest) = text.split_at(start);
    let word = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
    let length = match word {
        // Not a word: mark the one character.
        Some(0) => rest.chars().next().map_or(0, char::len_utf8),
        Some(length) => length,
        None => rest.len(),
    };
    let (marked, after) = rest.split_at(length);
    (before, marked, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "fn execute() {\n    step(\"Remove\", || remove_pth(\"data\"));\n}\n";

    fn at(line: usize, column: usize, source: Option<&str>) -> Position {
        Position {
            file: "rollback/1.3.rhai".to_string(),
            line,
            column,
            source: source.map(Into::into),
        }
    }

    #[test]
    fn script_error_shows_the_line_and_ends_with_the_hint() {
        let failure = Error::script("unknown function `remove_pth`")
            .hint("did you mean `remove_path`?")
            .at(at(2, 23, Some(SCRIPT)));
        insta::assert_snapshot!(error(&failure, &Style::PLAIN), @r#"
         --> rollback/1.3.rhai:2:23
          |
        2 |     step("Remove", || remove_pth("data"));
          |                       ^^^^^^^^^^
        error: unknown function `remove_pth`
        note: nothing was changed
        hint: did you mean `remove_path`?
        "#);
    }

    #[test]
    fn causes_are_told_where_they_are_wanted_and_not_twice() {
        let refused = std::io::Error::from_raw_os_error(13);
        let inner = Error::io("read `a\rb`", &refused).hint("of the inner one");
        let failure = Error::unknown("the state of `x` is not known")
            .hint("look at it")
            .caused_by(inner)
            .after_changes();
        assert!(!error(&failure, &Style::PLAIN).contains("caused by"));
        insta::assert_snapshot!(error_with_causes(&failure, &Style::PLAIN, true), @r"
        error: the state of `x` is not known
        caused by: cannot read `a\rb`: Permission denied (os error 13)
        note: something was changed
        hint: look at it
        ");
        let secret =
            Error::failed("it failed").caused_by(Error::failed("no way to postgres://me:hunter2@h/d"));
        let page = error_with_causes(&secret, &Style::PLAIN, true);
        assert!(
            page.contains("caused by: no way to") && !page.contains("hunter2"),
            "{page}"
        );
    }

    #[test]
    fn place_without_its_text_is_named() {
        let failure = Error::configuration("unknown key `polcy`")
            .at(at(7, 0, None))
            .after_changes();
        insta::assert_snapshot!(error(&failure, &Style::PLAIN), @"
         --> rollback/1.3.rhai:7
        error: unknown key `polcy`
        note: something was changed
        ");
    }

    #[test]
    fn odd_positions_are_shown_as_well_as_they_can_be() {
        let long = format!("{SCRIPT}{}let x = {};", "\n".repeat(8), "1 + ".repeat(100));
        let odd = [(0, 0), (1, 0), (1, 99), (3, 1), (9, 1)]
            .map(|(line, column)| excerpt(&at(line, column, Some(&long)), &Style::PLAIN));
        insta::assert_snapshot!(odd.join("\n"), @"
         --> rollback/1.3.rhai

         --> rollback/1.3.rhai:1
          |
        1 | fn execute() {
          |

         --> rollback/1.3.rhai:1:99
          |
        1 | fn execute() {
          |               ^

         --> rollback/1.3.rhai:3:1
          |
        3 | }
          | ^

         --> rollback/1.3.rhai:9:1
          |
        9 |
          | ^
        ");
    }

    #[test]
    fn long_line_is_cut_around_the_caret() {
        let source = format!("let x = {}oops;", "1 + ".repeat(100));
        let page = excerpt(&at(1, 409, Some(&source)), &Style::PLAIN);
        assert!(page.lines().all(|line| line.chars().count() <= 110), "{page}");
        assert!(page.contains("oops") && page.contains("^^^^"), "{page}");
    }

    #[test]
    fn world_cannot_write_to_the_terminal() {
        let source = "let a = \"\u{202e}\u{1b}[2J\"; bad\n";
        let failure = Error::script("cannot use `\u{1b}]0;x\u{7}`\nnothing was changed")
            .hint("see `a\rb`")
            .at(at(1, 18, Some(source)));
        let page = error(&failure, &Style::PLAIN);
        assert_eq!(page.replace('\n', ""), escape(&page.replace('\n', "")));
        insta::assert_snapshot!(page, @r#"
         --> rollback/1.3.rhai:1:18
          |
        1 | let a = "\u{202e}\u{1b}[2J"; bad
          |                              ^^^
        error: cannot use `\u{1b}]0;x\u{7}`\nnothing was changed
        note: nothing was changed
        hint: see `a\rb`
        "#);
    }

    #[test]
    fn colour_only_where_style_says() {
        let failure = Error::denied("`rm` isn't listed").at(at(2, 23, Some(SCRIPT)));
        assert!(!error(&failure, &Style::PLAIN).contains('\u{1b}'));
        assert!(
            error(
                &failure,
                &Style {
                    colour: true,
                    width: 80
                }
            )
            .contains("\u{1b}[1;31merror\u{1b}[0m: `rm`")
        );
    }

    #[test]
    fn json_tells_the_same() {
        let failure = Error::denied("`rm` isn't listed")
            .hint("list it")
            .at(at(3, 5, Some(SCRIPT)));
        insta::assert_snapshot!(error_json(&failure), @r#"{"schema":"rollback.error/1","code":"RB0301","kind":"denied","message":"`rm` isn't listed","at":{"file":"rollback/1.3.rhai","line":3,"column":5},"changed":false,"hint":"list it","exit_code":3}"#);
    }
}
