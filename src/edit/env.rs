//! Entries of `.env` files by the prefix of their key. Values are skipped, never told.
//!
//! Programs that read such files differ: where a quoted value ends, whether it may take several lines, whether one line
//! sets several keys. What they differ on is refused with its line, so that no value of another key is ever cut.

mod readers;

use super::{Edited, Splice, apply, cannot_change_only, check_size, line_ranges, split_mark};
use crate::base::error::{Error, Result};
use readers::{Statement, readings};

/// The keys that start with the prefix, each once, in the order of the file.
///
/// # Errors
/// `Failed` where programs differ on what is such a key; the message names the line.
pub fn keys(text: &str, prefix: &str) -> Result<Vec<String>> {
    let (_, body) = split_mark(text);
    let mut seen = std::collections::HashSet::new();
    Ok(agreed(body, &readings(body), &[prefix])?
        .into_iter()
        .flat_map(|statement| &statement.keys)
        .filter(|key| seen.insert(**key))
        .map(|key| (*key).to_owned())
        .collect())
}

/// Removes the entries whose key starts with one of the prefixes, with all lines of their values.
///
/// # Errors
/// `Invalid` for an empty prefix; `Failed` where programs differ on what is such an entry, with the line.
pub fn remove_keys(text: &str, prefixes: &[&str]) -> Result<Edited> {
    check_size(text)?;
    if prefixes.iter().any(|prefix| prefix.is_empty()) {
        return Err(Error::invalid("an empty prefix names every key").hint("say how the keys start"));
    }
    let (mark, body) = split_mark(text);
    let old = readings(body);
    let gone = agreed(body, &old, prefixes)?;
    if gone.is_empty() {
        return Ok(Edited::Unchanged);
    }
    let splices = gone
        .iter()
        .map(|statement| Splice::delete(statement.lines.clone()))
        .collect();
    let what = prefixes.join("*`, `") + "*";
    let new = apply(body, splices).ok_or_else(|| cannot_change_only(&what))?;
    let new = format!("{mark}{new}");
    // A mark from the middle that is now the first character is read as the file's own.
    let (_, after) = split_mark(&new);
    let left = readings(after);
    // A shell may be able to read it now, for the first time.
    let same = left.len() >= old.len()
        && left.iter().zip(&old).all(|(left, old)| {
            let kept = old.iter().filter(|statement| !names(statement, prefixes));
            let text =
                |body: &str, statement: &Statement<'_>| body.get(statement.lines.clone()).map(str::to_owned);
            left.iter()
                .map(|statement| (&statement.keys, text(after, statement)))
                .eq(kept.map(|statement| (&statement.keys, text(body, statement))))
        });
    // And what it makes of the rest must not be something else again.
    let agrees = |body: &str, readings: &[Vec<Statement<'_>>]| agreed(body, readings, &[""]).is_ok();
    let is_gone = agreed(after, &left, prefixes).is_ok_and(|left| left.is_empty());
    if same && is_gone && (agrees(after, &left) || !agrees(body, &old)) {
        Ok(Edited::Changed(new))
    } else {
        Err(cannot_change_only(&what))
    }
}

/// Keys that name the same thing in other words: what a prefix starts with, and how related keys start.
const RELATED: [(&str, &[&str]); 6] = [
    ("DUCKDB", &["MOTHERDUCK"]),
    ("AIRBYTE", &["PYAIRBYTE", "OCTAVIA"]),
    ("PYAIRBYTE", &["AIRBYTE"]),
    ("DAGSTER", &["DAGIT"]),
    ("JUPYTER", &["IPYTHON", "NOTEBOOK"]),
    ("EDA", &["JUPYTER", "IPYTHON", "NOTEBOOK"]),
];

/// Keys that do not start with any of the prefixes, but look as if they belonged to what those name: in other letters
/// (`duckdb_path`), with more before it (`MY_DUCKDB_PATH`), or under a related name (`MOTHERDUCK_TOKEN`).
pub fn alike(text: &str, prefixes: &[&str]) -> Vec<String> {
    let (_, body) = split_mark(text);
    let words: Vec<String> = prefixes
        .iter()
        .map(|prefix| prefix.trim_matches('_').to_ascii_uppercase())
        .filter(|word| !word.is_empty())
        .collect();
    let related = RELATED
        .iter()
        .filter(|(word, _)| words.iter().any(|own| own == word));
    let related: Vec<&str> = related.flat_map(|(_, names)| names.iter().copied()).collect();
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for statement in readings(body).iter().flatten() {
        for key in &statement.keys {
            let upper = format!("_{}_", key.to_ascii_uppercase().replace(['.', '-'], "_"));
            let looks = words.iter().any(|word| {
                upper.contains(&format!("_{word}_"))
                    || word.len() > 3 && upper.starts_with(&format!("_{word}"))
            }) || related.iter().any(|name| upper.starts_with(&format!("_{name}")));
            let is_asked = prefixes.iter().any(|prefix| key.starts_with(prefix));
            if looks && !is_asked && seen.insert(*key) {
                found.push((*key).to_owned());
            }
        }
    }
    found
}

fn names(statement: &Statement<'_>, prefixes: &[&str]) -> bool {
    let is_named = |key: &&str| prefixes.iter().any(|prefix| key.starts_with(prefix));
    statement.keys.iter().any(is_named)
}

/// What a program says of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing.
    Nothing,
    /// It belongs to a statement that stays.
    Stays,
    /// A statement that is asked for begins there.
    Begins,
    /// It is a further line of such a statement.
    Goes,
}

/// The statements that are asked for, of which all programs must say the same.
fn agreed<'r, 'a>(
    body: &str,
    readings: &'r [Vec<Statement<'a>>],
    prefixes: &[&str],
) -> Result<Vec<&'r Statement<'a>>> {
    let Some((first, others)) = readings.split_first() else {
        return Ok(Vec::new());
    };
    let starts: Vec<usize> = line_ranges(body).map(|range| range.start).collect();
    let lines = |statements: &[Statement<'_>]| {
        let mut lines = vec![Line::Nothing; starts.len()];
        for statement in statements {
            let from = starts.partition_point(|start| *start < statement.lines.start);
            let to = starts.partition_point(|start| *start < statement.lines.end);
            let goes = names(statement, prefixes);
            let covered = lines.get_mut(from..to).unwrap_or_default();
            for (index, line) in covered.iter_mut().enumerate() {
                *line = match (goes, index == 0) {
                    (false, _) => Line::Stays,
                    (true, true) => Line::Begins,
                    (true, false) => Line::Goes,
                };
            }
        }
        lines
    };
    let ours = lines(first);
    for other in others {
        let differing = ours
            .iter()
            .zip(lines(other))
            .position(|(ours, theirs)| match ours {
                Line::Begins => matches!(theirs, Line::Stays | Line::Nothing),
                Line::Goes => theirs == Line::Stays,
                Line::Stays | Line::Nothing => matches!(theirs, Line::Begins | Line::Goes),
            });
        if let Some(line) = differing {
            return Err(differ(line, &starts, readings));
        }
    }
    // One statement of a shell may set several keys.
    let mixed = readings.iter().flatten().find(|statement| {
        names(statement, prefixes)
            && !statement
                .keys
                .iter()
                .all(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
    });
    if let Some(mixed) = mixed {
        let line = starts.partition_point(|start| *start < mixed.lines.start);
        return Err(differ(line, &starts, readings));
    }
    Ok(first
        .iter()
        .filter(|statement| names(statement, prefixes))
        .collect())
}

/// Programs differ on a line (from 0).
fn differ(line: usize, starts: &[usize], readings: &[Vec<Statement<'_>>]) -> Error {
    let at = starts.get(line).copied().unwrap_or_default();
    let within = readings
        .iter()
        .flatten()
        .find(|statement| statement.lines.start < at && at < statement.lines.end);
    let rendered = match within {
        Some(holder) => {
            let of = starts.partition_point(|start| *start <= holder.lines.start);
            let key = holder
                .keys
                .first()
                .map_or(String::new(), |key| format!(" `{key}`"));
            format!(
                "line {} is an entry of its own to some programs that read such files, and to others a part of the entry{key} on line {of}",
                line + 1
            )
        }
        None => format!(
            "programs that read such files differ on what line {} sets",
            line + 1
        ),
    };
    Error::failed(rendered).hint("the file was left alone; write each entry on one line, or edit it by hand")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "# DUCKDB_OLD=1\nDUCKDB_PATH=/x # c\n  export DUCKDB_KEY = 's3cret'\nOTHER=\"NOT=1\nNEITHER=2\"\nDUCKDB_CERT=\"-----\nMIIB\n-----\" # end\n#DUCKDB_X=1\nduckdb_lower=1\nXDUCKDB_=1\n\nMSG=it's\nDUCKDB_EMPTY=\nLAST=a\\b";

    #[test]
    fn finds_keys() {
        assert_eq!(
            keys(FILE, "DUCKDB_").unwrap(),
            ["DUCKDB_PATH", "DUCKDB_KEY", "DUCKDB_CERT", "DUCKDB_EMPTY"]
        );
        assert_eq!(keys("A=1\nA=2\nB=1\n", "").unwrap(), ["A", "B"]);
        assert_eq!(
            keys("\u{feff}A=1\r\nA B=2\n=3\nexport=4\n1A=1\nA", "").unwrap(),
            ["A", "export"]
        );
    }

    #[test]
    fn removes_whole_entries() {
        let expected = "# DUCKDB_OLD=1\nOTHER=\"NOT=1\nNEITHER=2\"\n#DUCKDB_X=1\nduckdb_lower=1\nXDUCKDB_=1\n\nMSG=it's\nLAST=a\\b";
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
            ("D=\"a\\\"b\nA 1\n\"\nB=1\n", "B=1\n"),
            ("D=\"a\nD=1\n\"\nB=1\n", "B=1\n"),
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
    fn two_meanings_of_one_thing_what_readers_differ_on_is_refused_with_its_line() {
        let other =
            "an entry of its own to some programs that read such files, and to others a part of the entry";
        for (text, rendered) in [
            (
                "A=1\nB=\"x\nD=1\ny\"\n",
                format!("line 3 is {other} `B` on line 2"),
            ),
            ("B='it\\'s\nD=1\n'\n", format!("line 2 is {other} `B` on line 1")),
            ("B=\"a\\\"\nD=1\n\"\n", format!("line 2 is {other} `B` on line 1")),
            ("B=`x\nD=1\n`\n", format!("line 2 is {other} `B` on line 1")),
            ("D=\"a\n\nB=1\n\"\n", format!("line 3 is {other} `D` on line 1")),
            (
                "MSG=it's\nD=1\nC=don't\n",
                format!("line 2 is {other} `MSG` on line 1"),
            ),
            ("echo \"\nD=1\n\"\n", format!("line 2 is {other} on line 1")),
            (
                "A=1\nB=2 D=3\n",
                "programs that read such files differ on what line 2 sets".to_owned(),
            ),
            (
                "D=2 B=3\n",
                "programs that read such files differ on what line 1 sets".to_owned(),
            ),
            (
                "D: 1\n",
                "programs that read such files differ on what line 1 sets".to_owned(),
            ),
        ] {
            assert_eq!(
                remove_keys(text, &["D"]).unwrap_err().message(),
                rendered,
                "{text:?}"
            );
            assert_eq!(keys(text, "D").unwrap_err().message(), rendered, "{text:?}");
            assert_eq!(remove_keys(text, &["E"]).unwrap(), Edited::Unchanged, "{text:?}");
        }
    }

    #[test]
    fn not_looking_is_not_passing_keys_that_look_as_if_they_belonged_are_found() {
        let text = "DUCKDB_PATH=1\nMOTHERDUCK_TOKEN=s\nmotherduck_token=s\nduckdb_path=1\nMY_DUCKDB=1\nDuckDBPath=1\nDUCK=1\n\
                    EQUALITY=1\nQA_X=1\nqa.x=1\n";
        let alike = |prefixes: &[&str]| alike(text, prefixes);
        assert_eq!(
            alike(&["DUCKDB_"]),
            [
                "MOTHERDUCK_TOKEN",
                "motherduck_token",
                "duckdb_path",
                "MY_DUCKDB",
                "DuckDBPath"
            ]
        );
        assert_eq!(alike(&["QA_"]), ["qa.x"]);
        assert_eq!(
            alike(&["DUCKDB_", "MOTHERDUCK_", "_"]),
            ["motherduck_token", "duckdb_path", "MY_DUCKDB", "DuckDBPath"]
        );
        for (word, _) in RELATED {
            assert_eq!(word, word.to_ascii_uppercase());
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
            let rendered = format!("{error} {error:?} {:?}", error.hint_text());
            assert!(!rendered.contains("s3cret"), "{rendered}");
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
    fn what_programs_agreed_on_before_an_edit_they_agree_on_after_it() {
        // A shell can't read it before, and would take the second entry for a part of the first line after.
        let text = "A='''\n''`\nB=`";
        assert_eq!(keys(text, "").unwrap(), ["A", "B"]);
        assert!(remove_keys(text, &["A"]).is_err());
    }

    #[test]
    fn many_open_quotes_are_read_fast() {
        let text = format!("{}{}", "A=\"x\n".repeat(200_001), "B='x\n".repeat(200_001));
        assert!(keys(&text, "A").is_err());
        assert_eq!(keys(&text, "C").unwrap(), Vec::<String>::new());
        let text = format!("A=\"{}\n", "\\\"".repeat(1 << 20));
        assert_eq!(keys(&text, "A").unwrap(), ["A"]);
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
            "a=b",
            "'q 1\n2'",
            "\"q\n\n\\\"r\"",
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
            prop_assert_eq!(keys(&text, "DUCK_").unwrap().is_empty(), lines.iter().all(|(_, gone)| !gone));
        }

        #[test]
        fn never_panics_and_never_lies(text in prop_oneof![any::<String>(), "[AB=\"'`\\\\# \n\r\t]{0,40}"]) {
            if let Ok(edited) = remove_keys(&text, &["A"]) {
                let new = edited.or(&text);
                prop_assert!(keys(&new, "A").unwrap().is_empty());
                if let Ok(all) = keys(&text, "") {
                    let left: Vec<String> = all.into_iter().filter(|key| !key.starts_with('A')).collect();
                    prop_assert_eq!(keys(&new, "").unwrap(), left);
                }
            }
        }
    }
}
