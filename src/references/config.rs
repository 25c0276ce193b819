//! What configuration names: values of JSON and YAML that are paths.

use super::{Mention, Named};

/// Longer values are no paths of ours.
const LONGEST: usize = 512;

/// Values of JSON, comments allowed: every text in quotes that is not a key.
pub(super) fn scan_json(text: &str) -> Vec<Mention> {
    let mut mentions = Vec::new();
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => line += 1,
            b'"' => {
                let from = at + 1;
                at = from;
                while let Some(byte) = bytes.get(at).filter(|byte| !matches!(byte, b'"' | b'\n')) {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                let rest = text.get(at + 1..).unwrap_or_default();
                if bytes.get(at) == Some(&b'"') && !rest.trim_start().starts_with(':') {
                    mention(&mut mentions, line, text.get(from..at).unwrap_or_default());
                }
                // The end of the line is counted above.
                if bytes.get(at) == Some(&b'\n') {
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    mentions
}

/// Values of YAML: what follows `key: ` or `- `, and the items of `[a, b]`.
pub(super) fn scan_yaml(text: &str) -> Vec<Mention> {
    let mut mentions = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') || !line.contains(['/', '.']) {
            continue;
        }
        let line = line.split(" #").next().unwrap_or_default();
        let mut value = line.trim();
        while let Some(rest) = value.strip_prefix("- ") {
            value = rest.trim_start();
        }
        if let Some((_, rest)) = value.split_once(": ") {
            value = rest.trim();
        }
        for item in value.split([',', '[', ']', '{', '}']) {
            let item = item.rsplit(": ").next().unwrap_or_default();
            mention(&mut mentions, number + 1, item.trim().trim_matches(['"', '\'']));
        }
    }
    mentions
}

/// Notes a value that may be a path: whether there is such a file is asked later.
fn mention(mentions: &mut Vec<Mention>, line: usize, value: &str) {
    let looks_like_a_path = value.contains(['/', '.'])
        && value.len() <= LONGEST
        && !value.contains("://")
        && !value.starts_with('/')
        && !value.contains(['\\', '*', '\0'])
        && value.contains(|character: char| character.is_ascii_alphabetic());
    if looks_like_a_path {
        mentions.push(Mention {
            line,
            text: value.to_owned(),
            names: Named::Path(value.to_owned()),
        });
    }
}
