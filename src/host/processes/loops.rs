//! Shell loops: whether the code that a shell runs starts a program again and again. Nothing here looks at the world.

use std::path::Path;

/// What the loops of a shell's code have in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The program, by its name.
    Names,
    /// A command that stands in a variable: it may be any.
    Variable,
}

/// What stands in the loops of `code` that concerns a program of one of these names; `None` where nothing does.
pub(super) fn body(code: &str, names: &[String]) -> Option<Body> {
    let mut depth = 0_usize;
    let mut begins = true;
    let mut found = None;
    for word in words(code) {
        match word.as_str() {
            "do" => depth += 1,
            "done" => depth = depth.saturating_sub(1),
            _ if depth > 0 => {
                let name = Path::new(&word).file_name().and_then(|name| name.to_str());
                if name.is_some_and(|name| names.iter().any(|known| known == name)) {
                    return Some(Body::Names);
                }
                if begins && word.starts_with('$') {
                    found = Some(Body::Variable);
                }
            }
            _ => {}
        }
        begins = BEFORE_A_COMMAND.contains(&word.as_str())
            || (begins && word.contains('=') && !word.starts_with('$'));
    }
    found
}

/// After these a command begins.
const BEFORE_A_COMMAND: [&str; 15] = [
    ";", "&", "|", "(", "{", "!", "do", "then", "else", "elif", "exec", "nohup", "setsid", "env", "time",
];

/// The words of shell code and the signs between commands; without quotes and comments.
fn words(code: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut comment = false;
    for letter in code.chars() {
        if comment && letter != '\n' {
            continue;
        }
        comment = false;
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, '#') if word.is_empty() => comment = true,
            (None, '\n' | ';' | '&' | '|' | '(' | ')' | ' ' | '\t' | '\r') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                match letter {
                    '\n' | ';' | ')' => words.push(";".to_owned()),
                    '&' | '|' | '(' => words.push(letter.to_string()),
                    _ => {}
                }
            }
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_again_and_again_stands_in_a_loop() {
        let names = ["svc.js".to_owned()];
        for (code, expected) in [
            ("while true; do node svc.js; sleep 0.3; done", Some(Body::Names)),
            (
                "until false\ndo\n  node /ws/app/svc.js --port 1 # the service\ndone",
                Some(Body::Names),
            ),
            (
                "while :; do if true; then node 'svc.js'; fi; done",
                Some(Body::Names),
            ),
            ("while :; do \"$@\"; sleep 1; done", Some(Body::Variable)),
            ("while :; do A=1 exec $COMMAND; done", Some(Body::Variable)),
            ("node svc.js & while read -r line; do :; done", None),
            ("until [ -s $FILE ]; do sleep $TIME; done; node svc.js", None),
            ("while :; do echo $1; done", None),
            ("# while true; do node svc.js; done\nnode svc.js", None),
            ("while :; do node my-svc.js; node svc.js.bak; done", None),
            ("node svc.js", None),
            ("", None),
        ] {
            assert_eq!(body(code, &names), expected, "{code}");
        }
    }
}
