//! What Python names: `import a.b`, `from .a import b`, `import_module("a")`, also in the cells of notebooks.

use serde_json::Value;

use super::{Mention, Named, SHOWN};

/// Finds what a source names.
pub(super) fn scan(text: &str) -> Vec<Mention> {
    if !text.contains("import") {
        return Vec::new();
    }
    let mut mentions = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let start = line.trim_start();
        if start.starts_with('#') || !(line.contains("import") || start.starts_with("from ")) {
            continue;
        }
        let mut statement = code(line).to_owned();
        // A statement goes on after a backslash, and a list of names up to its closing parenthesis.
        let mut open = start.starts_with("from") && statement.contains('(') && !statement.contains(')');
        while statement.ends_with('\\') || open {
            // What begins anew was no part of it: the text above was no code. After a backslash it can't begin.
            let is_code =
                statement.ends_with('\\') && ["from", "import"].iter().any(|word| start.starts_with(word));
            let begins = |next: &str| {
                ["import ", "from "]
                    .iter()
                    .any(|word| next.trim_start().starts_with(word))
            };
            let goes_on = |next: &str| is_code || !begins(next);
            let Some((_, next)) = lines.next_if(|(_, next)| goes_on(next)) else {
                break;
            };
            if statement.ends_with('\\') {
                statement.pop();
            }
            statement.push(' ');
            statement.push_str(code(next).trim());
            open &= !next.contains(')');
        }
        for part in statements(&statement) {
            read_statement(part, number + 1, &mut mentions);
        }
        read_calls(&statement, number + 1, &mut mentions);
    }
    mentions
}

/// Finds what the code cells of a notebook name. Lines are those of the file where the text is found there, else 1.
pub(super) fn scan_notebook(text: &str) -> Vec<Mention> {
    let notebook: Value = serde_json::from_str(text).unwrap_or_default();
    let cells = notebook.get("cells").and_then(Value::as_array);
    let mut mentions = Vec::new();
    for cell in cells
        .into_iter()
        .flatten()
        .filter(|cell| cell.get("cell_type").is_some_and(|kind| kind == "code"))
    {
        let source = match cell.get("source") {
            Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(source)) => source.clone(),
            _ => String::new(),
        };
        mentions.extend(scan(&source));
    }
    for mention in &mut mentions {
        mention.line = text
            .lines()
            .position(|line| line.contains(&mention.text))
            .map_or(1, |at| at + 1);
    }
    mentions
}

/// A line without its comment. A `#` in quotes cuts a string, which holds no import.
fn code(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim_end()
}

/// The statements of a line: `try: import a`, `import a; import b`.
fn statements(line: &str) -> impl Iterator<Item = &str> {
    line.split([';', ':'])
        .map(str::trim)
        .filter(|part| part.starts_with("import") || part.starts_with("from"))
}

fn read_statement(statement: &str, line: usize, mentions: &mut Vec<Mention>) {
    let text: String = statement.chars().take(SHOWN).collect();
    let mut push = |level: usize, parts: Vec<String>| {
        if level > 0 || !parts.is_empty() {
            mentions.push(Mention {
                line,
                text: text.clone(),
                names: Named::Python { level, parts },
            });
        }
    };
    if let Some(modules) = statement
        .strip_prefix("import")
        .filter(|rest| rest.starts_with([' ', '\t']))
    {
        for module in modules.split(',') {
            push(0, parts(module));
        }
        return;
    }
    let Some((module, names)) = statement.strip_prefix("from").and_then(split_import) else {
        return;
    };
    let module = module.trim();
    let level = module.chars().take_while(|character| *character == '.').count();
    let base = parts(module.trim_start_matches('.'));
    if level == 0 && base.is_empty() {
        return;
    }
    // Each name may be a module in the package.
    for name in names.trim().trim_matches(['(', ')']).split(',') {
        let mut whole = base.clone();
        whole.extend(parts(name));
        push(level, whole);
    }
}

/// `.a.b import c` into `.a.b` and `c`; in `from . import c` and `from .import c` too.
fn split_import(rest: &str) -> Option<(&str, &str)> {
    if !rest.starts_with([' ', '\t', '.']) {
        return None;
    }
    rest.match_indices("import").find_map(|(at, word)| {
        let (before, after) = (rest.get(..at)?, rest.get(at + word.len()..)?);
        let fits = before.ends_with([' ', '\t', '.']) && after.starts_with([' ', '\t', '(', '*']);
        fits.then_some((before, after))
    })
}

/// The dotted names at the start of a text, without what follows (`as x`); none if it is no module.
fn parts(text: &str) -> Vec<String> {
    let module = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .trim_matches(['(', ')', ',']);
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|character| character.is_alphanumeric() || character == '_')
    };
    if module.split('.').all(is_name) {
        module.split('.').map(str::to_owned).collect()
    } else {
        Vec::new()
    }
}

/// `importlib.import_module("a.b")` and `__import__("a")`.
fn read_calls(statement: &str, line: usize, mentions: &mut Vec<Mention>) {
    for call in ["import_module(", "__import__("] {
        for (at, _) in statement.match_indices(call) {
            let rest = statement.get(at + call.len()..).unwrap_or_default().trim_start();
            let Some(quote) = rest.chars().next().filter(|quote| "'\"".contains(*quote)) else {
                continue;
            };
            let name = rest.split(quote).nth(1).unwrap_or_default();
            let level = name.chars().take_while(|character| *character == '.').count();
            let parts = parts(name.trim_start_matches('.'));
            if level > 0 || !parts.is_empty() {
                mentions.push(Mention {
                    line,
                    text: call.to_owned() + name,
                    names: Named::Python { level, parts },
                });
            }
        }
    }
}
