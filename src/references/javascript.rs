//! What JavaScript and TypeScript name: `require`, `import`, `export .. from`, and calls that load a module.

use super::{Mention, Named};

/// Functions and constructors whose first argument names a module.
const LOADERS: &[&str] = &[
    "require",
    "import",
    "mock",
    "unmock",
    "doMock",
    "dontMock",
    "setMock",
    "requireActual",
    "requireMock",
    "importActual",
    "Worker",
    "fork",
    "importScripts",
    "URL",
];

/// A longer literal names no module; it is read as code.
const LONGEST: usize = 512;

/// How far back a line is looked at, in bytes.
const LOOK_BACK: usize = 256;

/// Finds what a source names. Comments don't count where they are plain to see.
pub(super) fn scan(text: &str) -> Vec<Mention> {
    if !mentions_modules(text) {
        return Vec::new();
    }
    let last_comment_end = text.rfind("*/").unwrap_or(0);
    let mut scanner = Scanner {
        text,
        at: 0,
        line: 1,
        last_comment_end,
    };
    let mut mentions = Vec::new();
    while let Some(byte) = scanner.peek() {
        match byte {
            b'"' | b'\'' | b'/' | b'\n' => scanner.skip_one(),
            byte if is_word(byte) => {
                let word = scanner.word();
                scanner.after_word(word, &mut mentions);
            }
            _ => scanner.at += 1,
        }
    }
    mentions
}

/// Whether any word that we look for is in a text. Most texts have not even the sign that has to follow it.
fn mentions_modules(text: &str) -> bool {
    if text.len() < "URL(".len() {
        return false;
    }
    text.contains("from")
        || text.contains("import")
        || (text.contains('(') && LOADERS.iter().any(|word| text.contains(word)))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Whether what follows this byte is code or a comment for sure, and no part of a text or a regular expression.
fn begins_code(before: u8) -> bool {
    before.is_ascii_whitespace() || b";,(){}=>".contains(&before)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Where the last `*/` stands: none is looked for behind it.
    last_comment_end: usize,
}

/// A piece of text in quotes.
struct Literal<'a> {
    text: &'a str,
    /// Whether the whole is known: a template with a hole ends where the hole begins.
    whole: bool,
}

impl<'a> Scanner<'a> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    fn advance_to(&mut self, to: usize) {
        self.line += self.slice(self.at, to).matches('\n').count();
        self.at = to;
    }

    fn word(&mut self) -> &'a str {
        let from = self.at;
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        self.slice(from, self.at)
    }

    /// Passes a comment, a literal, or one byte.
    fn skip_one(&mut self) {
        if self.skip_comment() {
            return;
        }
        let start = (self.at, self.line);
        // A lone quote (an apostrophe in markup, a regular expression) may pair with a wrong one: what looks like a
        // literal and holds one of our words is read as code. So is a template, which may hold code.
        let passed = matches!(self.peek(), Some(b'"' | b'\''))
            && self
                .literal()
                .is_some_and(|literal| !mentions_modules(literal.text));
        if !passed {
            (self.at, self.line) = start;
            self.advance_to(self.at + 1);
        }
    }

    /// Passes a comment, if one starts here for sure. In doubt it is none: what it hides would not be found.
    fn skip_comment(&mut self) -> bool {
        let before = self
            .at
            .checked_sub(1)
            .and_then(|at| self.byte(at))
            .unwrap_or(b'\n');
        let rest = self.slice(self.at, self.text.len());
        if rest.starts_with("//") && begins_code(before) && !self.is_in_class() {
            let end = rest.find('\n').unwrap_or(rest.len());
            self.advance_to(self.at + end);
            return true;
        }
        if rest.starts_with("/*")
            && self.at < self.last_comment_end
            && begins_code(before)
            && let Some(end) = rest.find("*/")
        {
            self.advance_to(self.at + end + 2);
            return true;
        }
        false
    }

    /// Whether a class of a regular expression (`/[ //]/`) may be open here: two slashes in it are no comment.
    fn is_in_class(&self) -> bool {
        let from = self.at.saturating_sub(LOOK_BACK);
        let before = self.text.as_bytes().get(from..self.at).unwrap_or_default();
        let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let opened = line.iter().rposition(|byte| *byte == b'[');
        opened.is_some_and(|at| {
            let inside = line.get(at..).unwrap_or_default();
            !inside.contains(&b']') && line.get(..at).unwrap_or_default().contains(&b'/')
        })
    }

    fn skip_space(&mut self) {
        loop {
            match self.peek() {
                Some(byte) if byte.is_ascii_whitespace() => self.advance_to(self.at + 1),
                Some(b'/') if self.skip_comment() => {}
                _ => return,
            }
        }
    }

    /// Passes a literal that ends on its line. A template that doesn't is not passed: code may stand in it.
    fn literal(&mut self) -> Option<Literal<'a>> {
        let quote = self.peek().filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
        let from = self.at + 1;
        let mut at = from;
        let mut hole = None;
        loop {
            match self.byte(at)? {
                b'\n' => return None,
                _ if at - from > LONGEST => return None,
                b'\\' => at += 2,
                b'$' if quote == b'`' && self.byte(at + 1) == Some(b'{') => {
                    hole.get_or_insert(at);
                    at += 2;
                }
                byte if byte == quote => break,
                _ => at += 1,
            }
        }
        let text = self.slice(from, hole.unwrap_or(at));
        self.advance_to(at + 1);
        Some(Literal {
            text,
            whole: hole.is_none(),
        })
    }

    fn after_word(&mut self, word: &str, mentions: &mut Vec<Mention>) {
        match word {
            "from" => {
                self.skip_space();
                self.plain(mentions);
            }
            "import" => {
                self.skip_space();
                match self.peek() {
                    Some(b'(') => self.argument(mentions),
                    _ => self.plain(mentions),
                }
            }
            word if LOADERS.contains(&word) => {
                self.skip_space();
                while self.peek() == Some(b'.') {
                    // `require.resolve(..)`
                    self.advance_to(self.at + 1);
                    self.word();
                    self.skip_space();
                }
                if self.peek() == Some(b'<') {
                    // `jest.requireActual<typeof import("./x")>("./x")`: what stands inside is found by itself.
                    return;
                }
                if self.peek() == Some(b'(') {
                    self.argument(mentions);
                }
            }
            _ => {}
        }
    }

    /// A literal that stands here, as a module.
    fn plain(&mut self, mentions: &mut Vec<Mention>) {
        let line = self.line;
        if let Some(literal) = self.literal() {
            mention(mentions, line, literal.text, literal.whole);
        }
    }

    /// The first argument of a call: a literal, a sum that begins with one, or `path.join(__dirname, ..)`.
    fn argument(&mut self, mentions: &mut Vec<Mention>) {
        self.advance_to(self.at + 1);
        self.skip_space();
        let line = self.line;
        if let Some(literal) = self.literal() {
            self.skip_space();
            let whole = literal.whole && self.peek() != Some(b'+');
            mention(mentions, line, literal.text, whole);
            return;
        }
        // `path.join(__dirname, "a", "b")`
        let calls = ["path.join(", "path.resolve(", "join(", "resolve("];
        let ahead = self.slice(self.at, self.text.len());
        let Some(call) = calls.iter().find(|call| ahead.starts_with(**call)) else {
            return;
        };
        self.advance_to(self.at + call.len());
        self.skip_space();
        let ahead = self.slice(self.at, self.text.len());
        let Some(base) = ["__dirname", "import.meta.dirname"]
            .iter()
            .find(|base| ahead.starts_with(**base))
        else {
            return;
        };
        self.advance_to(self.at + base.len());
        self.skip_space();
        let mut path = String::from(".");
        while self.peek() == Some(b',') {
            self.advance_to(self.at + 1);
            self.skip_space();
            let Some(literal) = self.literal() else {
                path.push('/');
                mention(mentions, line, &path, false);
                return;
            };
            path.push('/');
            path.push_str(literal.text);
            if !literal.whole {
                mention(mentions, line, &path, false);
                return;
            }
            self.skip_space();
        }
        mention(mentions, line, &path, true);
    }
}

fn mention(mentions: &mut Vec<Mention>, line: usize, text: &str, whole: bool) {
    // What a bundler is told after a question mark is not part of the name.
    let name = text
        .split(['?', '#'])
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or(text);
    if name.is_empty() || name.contains(char::is_whitespace) {
        return;
    }
    let names = if whole {
        Named::Module(name.to_owned())
    } else {
        Named::ModuleStart(name.to_owned())
    };
    mentions.push(Mention {
        line,
        text: text.to_owned(),
        names,
    });
}
