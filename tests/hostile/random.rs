//! Random text as a script: the compiler and the reader of headers neither panic nor hang.

use proptest::prelude::*;
use rollback_manager::script::engine;
use rollback_manager::workspace::story::Story;
use rollback_manager::workspace::story::{Origin, Script};

/// What scripts are made of, and what they should not be made of.
const TOKENS: &[&str] = &[
    "const",
    "STORY",
    "=",
    "#{",
    "}",
    "{",
    "(",
    ")",
    "[",
    "]",
    "id",
    ":",
    "\"1.3\"",
    ",",
    "title",
    "\"x\"",
    ";",
    "fn",
    "execute",
    "import",
    "\"std/story\"",
    "as",
    "story",
    "::",
    "global",
    "if",
    "else",
    "loop",
    "while",
    "for",
    "in",
    "switch",
    "=>",
    "try",
    "catch",
    "throw",
    "return",
    "|",
    "||",
    "&&",
    "??",
    "?.",
    "..",
    "..=",
    "**",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "<<",
    ">>",
    "~",
    "1",
    "0xff",
    "1e999",
    "99999999999999999999",
    "'a'",
    "`${",
    "`",
    "\"",
    "\\u",
    "/*",
    "*/",
    "//",
    "\n",
    "#!",
    "this",
    "Fn",
    "eval",
    "curry",
    "remove_path",
    "private",
    "export",
    "let",
    "true",
    "()",
    "_",
    "$",
    "\u{0}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "😀",
    "do",
    "until",
    "break",
    "continue",
    "is",
    "@",
    "#",
];

fn read(text: &str) {
    if let Ok(script) = Script::compile(&engine::reader(), "random.rhai", Origin::Embedded, text) {
        let _ = script.has_phase("execute");
        // What has no header is refused, and says so.
        if let Err(error) = Story::of(script, &std::collections::BTreeMap::new()) {
            assert!(!error.message().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tokens(words in prop::collection::vec(prop::sample::select(TOKENS), 0..120), gap in "[ \n]?") {
        read(&words.join(&gap));
    }

    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn headers(words in prop::collection::vec(prop::sample::select(TOKENS), 0..30)) {
        read(&format!("const STORY = #{{ id: \"1.3\", title: \"x\", {} }};\nfn execute() {{ }}\n", words.join(" ")));
    }
}
