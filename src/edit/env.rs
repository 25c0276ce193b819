//! Entries of `.env` files by the prefix of their key. Values are skipped, never told.
//!
//! An entry is `KEY=value` with an optional `export`, any indentation, blanks around the `=`, and a quoted value that
//! may take several lines. Where shells and dotenv readers disagree about its end, the entry is in doubt, and a
//! removal that touches it is refused.

use std::ops::Range;

use super::{
    Edited, Splice, apply, cannot_change_only, check_size, line_ranges, split_mark, without_terminator,
};
use crate::error::{Error, Result};

/// The keys that start with the prefix, each once, in the order of the file.
pub fn keys(text: &str, prefix: &str) -> Vec<String> {
    let (_, body) = split_mark(text);
    let mut seen = std::collections::HashSet::new();
    entries(body)
        .into_iter()
        .filter(|entry| entry.key.starts_with(prefix) && seen.insert(entry.key))
        .map(|entry| entry.key.to_owned())
        .collect()
}

/// Removes the entries whose key starts with one of the prefixes, with all lines of their values.
pub fn remove_keys(text: &str, prefixes: &[&str]) -> Result<Edited> {
    check_size(text)?;
    if prefixes.iter().any(|prefix| prefix.is_empty()) {
        return Err(Error::invalid("an empty prefix names every key").hint("say how the keys start"));
    }
    let (mark, body) = split_mark(text);
    let old = entries(body);
    let (gone, kept): (Vec<&Entry<'_>>, Vec<&Entry<'_>>) = old
        .iter()
        .partition(|entry| prefixes.iter().any(|prefix| entry.key.starts_with(prefix)));
    let mut doubts = old
        .iter()
        .filter_map(|entry| Some((entry, entry.doubt.as_ref()?)))
        .peekable();
    // Both lists are in the order of the text; doubts may overlap, and the furthest end counts.
    let mut doubtful: Option<(&Entry<'_>, usize)> = None;
    for entry in &gone {
        while let Some((holder, range)) = doubts.next_if(|(_, range)| range.start <= entry.lines.start) {
            if doubtful.is_none_or(|(_, end)| end < range.end) {
                doubtful = Some((holder, range.end));
            }
        }
        if let Some((holder, end)) = doubtful
            && entry.lines.start < end
        {
            let line = body
                .bytes()
                .take(holder.lines.start)
                .filter(|byte| *byte == b'\n')
                .count()
                + 1;
            return Err(Error::failed(format!(
                "cannot remove `{}` from this file: it is in doubt where the value of `{}` on line {line} ends",
                entry.key, holder.key
            ))
            .hint("the file was left alone; close the quotes on that line, or edit it by hand"));
        }
    }
    if gone.is_empty() {
        return Ok(Edited::Unchanged);
    }
    let splices = gone
        .iter()
        .map(|entry| Splice::delete(entry.lines.clone()))
        .collect();
    let what = prefixes.join("*`, `") + "*";
    let new = apply(body, splices).ok_or_else(|| cannot_change_only(&what))?;
    let new = format!("{mark}{new}");
    let same = {
        // A mark from the middle that is now the first character is read as the file's own.
        let (_, new) = split_mark(&new);
        let left = entries(new);
        left.len() == kept.len()
            && left.iter().zip(&kept).all(|(new_entry, old_entry)| {
                new_entry.key == old_entry.key
                    && new.get(new_entry.lines.clone()) == body.get(old_entry.lines.clone())
            })
    };
    if same {
        Ok(Edited::Changed(new))
    } else {
        Err(cannot_change_only(&what))
    }
}

struct Entry<'a> {
    key: &'a str,
    /// With the terminator of the last one.
    lines: Range<usize>,
    /// Lines that a stricter or a laxer reader takes for this entry's value.
    doubt: Option<Range<usize>>,
}

fn entries(body: &str) -> Vec<Entry<'_>> {
    let lines: Vec<Range<usize>> = line_ranges(body).collect();
    let mut entries = Vec::new();
    let mut quotes = Quotes::new(body);
    let mut at = 0;
    while let Some(range) = lines.get(at) {
        at += 1;
        let line = without_terminator(body.get(range.clone()).unwrap_or_default());
        let Some((exported, key, value)) = split(line) else {
            continue;
        };
        let mut entry = Entry {
            key,
            lines: range.clone(),
            doubt: None,
        };
        let value = value.trim_start_matches([' ', '\t']);
        let start = range.start + line.len() - value.len();
        match value.chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => {
                if let Some(close) = quotes.close(start + 1, quote) {
                    let last = lines.partition_point(|line| line.end <= close);
                    let end = lines.get(last).map_or(body.len(), |line| line.end);
                    let after = without_terminator(body.get(close + 1..end).unwrap_or_default()).trim_start();
                    let clean = after.is_empty() || after.starts_with('#');
                    if last + 1 > at && clean {
                        entry.lines.end = end;
                        at = last + 1;
                    } else if !clean && (last + 1 > at || exported) {
                        entry.doubt = Some(range.start..end);
                    }
                }
            }
            _ if value.ends_with('\\') => {
                let next = lines.get(at).map_or(range.end, |next| next.end);
                entry.doubt = Some(range.start..next);
            }
            // `export A=1 B=2` sets two variables in a shell.
            _ if exported && assigns_more(value) => entry.doubt = Some(range.clone()),
            _ => {}
        }
        entries.push(entry);
    }
    entries
}

/// Whether it was exported, the key, and what follows the `=`.
fn split(line: &str) -> Option<(bool, &str, &str)> {
    let blanks = [' ', '\t'];
    let (left, value) = line.split_once('=')?;
    let left = left.trim_matches(blanks);
    let exported = left
        .strip_prefix("export")
        .filter(|rest| rest.starts_with(blanks));
    let key = exported.map_or(left, |rest| rest.trim_start_matches(blanks));
    let first = |character: char| character.is_ascii_alphabetic() || character == '_';
    let other = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-');
    (key.starts_with(first) && key.chars().all(other)).then_some((exported.is_some(), key, value))
}

fn assigns_more(value: &str) -> bool {
    let value = value.split(" #").next().unwrap_or_default();
    value.split([' ', '\t']).skip(1).any(|word| split(word).is_some())
}

/// Finds closing quotes; remembers where none is left, so that a file full of open quotes is still read in linear time.
struct Quotes<'a> {
    body: &'a str,
    /// For `"`, `'` and `` ` ``: from here on there is none.
    none_from: [usize; 3],
}

impl<'a> Quotes<'a> {
    fn new(body: &'a str) -> Self {
        Self {
            body,
            none_from: [usize::MAX; 3],
        }
    }

    /// The closing quote at or after `from`. A backslash escapes within double quotes.
    fn close(&mut self, from: usize, quote: char) -> Option<usize> {
        let none_from = match quote {
            '"' => &mut self.none_from[0],
            '\'' => &mut self.none_from[1],
            _ => &mut self.none_from[2],
        };
        if from >= *none_from {
            return None;
        }
        let mut escaped = false;
        for (offset, byte) in self.body.get(from..)?.bytes().enumerate() {
            if escaped {
                escaped = false;
            } else if byte == b'\\' && quote == '"' {
                escaped = true;
            } else if char::from(byte) == quote {
                return Some(from + offset);
            }
        }
        *none_from = from;
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "# DUCKDB_OLD=1\nDUCKDB_PATH=/x # c\n  export DUCKDB_KEY = 's3cret'\nOTHER=\"DUCKDB_NOT=1\nDUCKDB_NEITHER=2\"\nDUCKDB_CERT=\"-----\nDUCKDB=in\n-----\" # end\n#DUCKDB_X=1\nduckdb_lower=1\nXDUCKDB_=1\n\nMSG=it's\nDUCKDB_EMPTY=\nLAST='a\\'";

    #[test]
    fn finds_keys() {
        assert_eq!(
            keys(FILE, "DUCKDB_"),
            ["DUCKDB_PATH", "DUCKDB_KEY", "DUCKDB_CERT", "DUCKDB_EMPTY"]
        );
        assert_eq!(keys("A=1\nA=2\nB=1\n", ""), ["A", "B"]);
        assert_eq!(
            keys("\u{feff}A=1\r\nA B=2\n=3\nexport=4\n1A=1\nA", ""),
            ["A", "export"]
        );
    }

    #[test]
    fn removes_whole_entries() {
        let expected = "# DUCKDB_OLD=1\nOTHER=\"DUCKDB_NOT=1\nDUCKDB_NEITHER=2\"\n#DUCKDB_X=1\nduckdb_lower=1\nXDUCKDB_=1\n\nMSG=it's\nLAST='a\\'";
        assert_eq!(
            remove_keys(FILE, &["DUCKDB_"]).unwrap(),
            Edited::Changed(expected.into())
        );
        let (crlf, crlf_expected) = (FILE.replace('\n', "\r\n"), expected.replace('\n', "\r\n"));
        assert_eq!(
            remove_keys(&crlf, &["DUCKDB_"]).unwrap(),
            Edited::Changed(crlf_expected)
        );
        assert_eq!(remove_keys(expected, &["DUCKDB_"]).unwrap(), Edited::Unchanged);
        for (text, expected) in [
            ("\u{feff}D=1\nA=1", "\u{feff}A=1"),
            ("A=1\nD=2", "A=1\n"),
            ("D=\"a\\\"b\nA=1\n\"\nB=1\n", "B=1\n"),
            ("D=\"open\nA=1\n", "A=1\n"),
            ("D='a' 'b'\nA=1\n", "A=1\n"),
            ("export D=1 # A=2\nA=1\n", "A=1\n"),
        ] {
            assert_eq!(
                remove_keys(text, &["D"]).unwrap(),
                Edited::Changed(expected.into()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_what_is_in_doubt_without_telling_values() {
        for text in [
            "A=\"open s3cret\nD=\"closed\"\n",
            "D=\"a\ns3cret\"b\n",
            "D=s3cret\\\nmore\n",
            "A=s3cret\\\nD=1\n",
            "export A=1 D=2\nexport D=s3cret B=2\n",
        ] {
            let error = remove_keys(text, &["D"]).unwrap_err();
            let told = format!("{error} {error:?} {:?}", error.hint_text());
            assert!(!told.contains("s3cret"), "{told}");
        }
        // What is in doubt elsewhere doesn't matter.
        assert!(
            remove_keys("D=1\nA=\"open\nB=\"x\"\n", &["D"])
                .unwrap()
                .is_changed()
        );
        assert!(remove_keys("D=1\n", &["X", ""]).is_err());
    }

    #[test]
    fn many_open_quotes_are_read_fast() {
        let text = format!("{}{}", "A=\"x\n".repeat(200_001), "B='x\n".repeat(200_001));
        assert_eq!(keys(&text, ""), ["A", "B"]);
    }

    fn line() -> impl Strategy<Value = (String, bool)> {
        let key = prop::sample::select(vec!["DUCK_A", "DUCK_B", "A", "ADUCK_", "_X.y"]);
        let before = prop::sample::select(vec!["", " ", "\t", "export ", "  export  ", "# "]);
        let equals = prop::sample::select(vec!["=", " = ", " ="]);
        let value = prop::sample::select(vec![
            "",
            "1",
            "'x'",
            "\"x y\" # c",
            "it's",
            "a=b",
            "'DUCK_Q=1\n2'",
            "\"DUCK_Q=1\n\n\\\"DUCK_A=2\"",
        ]);
        (before, key, equals, value).prop_map(|(before, key, equals, value)| {
            let value = if before == "# " {
                value.replace('\n', "")
            } else {
                value.to_owned()
            };
            (
                format!("{before}{key}{equals}{value}\n"),
                before != "# " && key.starts_with("DUCK_"),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn keeps_exactly_the_other_entries(lines in prop::collection::vec(line(), 0..8), crlf: bool) {
            let newline = if crlf { "\r\n" } else { "\n" };
            let join = |keep: &dyn Fn(bool) -> bool| -> String {
                lines.iter().filter(|(_, gone)| keep(*gone)).map(|(line, _)| line.replace('\n', newline)).collect()
            };
            let (text, expected) = (join(&|_| true), join(&|gone| !gone));
            prop_assert_eq!(remove_keys(&text, &["DUCK_"]).unwrap().or(&text), expected);
            prop_assert_eq!(keys(&text, "DUCK_").is_empty(), lines.iter().all(|(_, gone)| !gone));
        }

        #[test]
        fn never_panics_and_never_lies(text in prop_oneof![any::<String>(), "[AB=\"'`\\\\# \n\r\t]{0,40}"]) {
            if let Ok(edited) = remove_keys(&text, &["A"]) {
                let new = edited.or(&text);
                prop_assert!(keys(&new, "A").is_empty());
                let left: Vec<String> = keys(&text, "").into_iter().filter(|key| !key.starts_with('A')).collect();
                prop_assert_eq!(keys(&new, ""), left);
            }
        }
    }
}
