//! Which files could name what is asked for, told by their bytes alone: all others need not be parsed.
//!
//! Scanners take names as they stand and decode nothing (notebooks apart), so the last name of what a text means is a word of
//! the file; where dots alone name it, the file lies below it, and where its end is computed, that holds of its directory.

use std::collections::{BTreeSet, HashMap, HashSet};

use aho_corasick::{AhoCorasick, Input, MatchKind};
use memchr::{memchr_iter, memmem};

use super::names::{self, ancestors, directory_of, join, module_keys, modules_of, python_key};
use crate::base::error::{Error, Result};
use crate::host::packages::Manager;

/// With more names than that, parsing every file takes no longer than searching each for all of them.
const MOST: usize = 2_000;

/// What is to be asked of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Files, modules and directories, relative to the root.
    pub paths: BTreeSet<String>,
    /// Packages by manager and name.
    pub packages: BTreeSet<(Manager, String)>,
}

impl Wanted {
    /// One path.
    #[must_use]
    pub fn path(path: &str) -> Self {
        Self {
            paths: BTreeSet::from([path.to_owned()]),
            ..Self::default()
        }
    }

    /// Whether all of `other` is among these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.paths.is_superset(&other.paths) && self.packages.is_superset(&other.packages)
    }
}

/// A search for all that could name what is wanted.
#[derive(Debug)]
pub(super) struct Needles {
    /// Words, and how each of them counts.
    words: AhoCorasick,
    /// Whether a word is enough by itself; else it names a directory whose files are named by computed texts.
    enough: Vec<bool>,
    /// Pieces of modules of pip, in any case and anywhere: their names are compared in a normal form.
    pip: AhoCorasick,
    /// Directories whose files can name what is wanted by dots alone.
    inside: HashSet<String>,
    /// Directories whose files can name what is wanted by dots and a computed end.
    computed: HashSet<String>,
}

impl Needles {
    /// The needles of what is wanted; none where any file could name it, or it is too much to search for.
    ///
    /// # Errors
    /// Where a search for them can't be made.
    pub(super) fn of(wanted: &Wanted) -> Result<Option<Self>> {
        let mut words: HashMap<&str, bool> = HashMap::new();
        let mut pieces = BTreeSet::new();
        let (mut inside, mut computed) = (HashSet::new(), HashSet::new());
        let paths: Vec<String> = wanted.paths.iter().filter_map(|path| join("", path)).collect();
        for path in paths.iter().filter(|path| !path.is_empty()) {
            let mut keys = module_keys(path);
            keys.extend(python_key(path).map(str::to_owned));
            if keys.iter().any(|key| key.is_empty() || key == "src") {
                return Ok(None);
            }
            let above = directory_of(path);
            let is_package = keys.iter().any(|key| key == above);
            let Some(word) = word_of(if is_package { above } else { stem(path) }) else {
                return Ok(None);
            };
            words.insert(word, true);
            inside.extend(keys.into_iter().filter(|key| key != path));
            if let Some(word) = word_of(above) {
                words.entry(word).or_insert(false);
            } else if !above.is_empty() {
                return Ok(None);
            }
            computed.insert(above.to_owned());
        }
        for (manager, name) in &wanted.packages {
            match manager {
                Manager::Npm => match longest(name, is_word) {
                    Some(word) => {
                        words.insert(word, true);
                    }
                    None => return Ok(None),
                },
                Manager::Pip => {
                    for module in modules_of(&manager.normalise(name)) {
                        match longest(&module, |letter| letter.is_ascii_alphanumeric()) {
                            Some(piece) => pieces.insert(piece.to_owned()),
                            None => return Ok(None),
                        };
                    }
                }
            }
        }
        if words.len() + pieces.len() > MOST {
            return Ok(None);
        }
        let (words, enough): (Vec<&str>, Vec<bool>) = words.into_iter().unzip();
        Ok(Some(Self {
            words: search(&words, false)?,
            enough,
            pip: search(&pieces, true)?,
            inside,
            computed,
        }))
    }

    /// Whether a source of JavaScript could name what is wanted.
    pub(super) fn may_be_in_javascript(&self, file: &str, bytes: &[u8]) -> bool {
        let computes = || {
            let is_near = ancestors(directory_of(file)).any(|above| self.computed.contains(above));
            (is_near || self.has_word(bytes, true)) && may_compute_names(bytes)
        };
        self.may_be_in_configuration(file, bytes) || computes()
    }

    /// Whether a source of Python could name what is wanted.
    pub(super) fn may_be_in_python(&self, file: &str, bytes: &[u8]) -> bool {
        self.may_be_in_configuration(file, bytes) || self.pip.is_match(bytes)
    }

    /// Whether a file of configuration could name what is wanted.
    pub(super) fn may_be_in_configuration(&self, file: &str, bytes: &[u8]) -> bool {
        ancestors(directory_of(file)).any(|above| self.inside.contains(above)) || self.has_word(bytes, false)
    }

    /// Whether a wanted word stands alone anywhere; one that is not enough by itself counts where `any` does.
    fn has_word(&self, bytes: &[u8], any: bool) -> bool {
        let is_part = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(|byte| is_word(char::from(*byte)))
        };
        let mut from = 0;
        while let Some(found) = self.words.find(Input::new(bytes).range(from..)) {
            let alone = !is_part(found.start().checked_sub(1)) && !is_part(Some(found.end()));
            if alone && (any || self.enough.get(found.pattern().as_usize()) == Some(&true)) {
                return true;
            }
            // Needles are words: of those that begin here only the longest can stand alone.
            from = found.start() + 1;
        }
        false
    }
}

fn search<P: AsRef<[u8]>>(needles: impl IntoIterator<Item = P>, any_case: bool) -> Result<AhoCorasick> {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .ascii_case_insensitive(any_case)
        .build(needles)
        .map_err(|error| Error::limit(format!("can't search for what may be named: {error}")))
}

/// Whether a source may name a module by a template with a hole, a sum that begins with a text, or `__dirname`.
fn may_compute_names(bytes: &[u8]) -> bool {
    let has = |needle: &[u8]| memmem::find(bytes, needle).is_some();
    has(b"${")
        || has(b"dirname")
        || memchr_iter(b'+', bytes).any(|at| follows_text(bytes.get(..at).unwrap_or_default()))
}

/// Whether what stands before a plus may be the end of a text: a quote, or a comment behind one.
fn follows_text(before: &[u8]) -> bool {
    let end = before.trim_ascii_end();
    let space = before.get(end.len()..).unwrap_or_default();
    space.contains(&b'\n') || matches!(end.last(), Some(b'"' | b'\'' | b'`' | b'/'))
}

/// The name by which a file is named whatever its extension.
fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file.rsplit_once('.') {
        Some((stem, extension))
            if names::JAVASCRIPT.contains(&extension) || names::PYTHON.contains(&extension) =>
        {
            stem
        }
        _ => file,
    }
}

/// The longest word of a path's last name; none where it has none. Letters beyond ASCII part words: bytes that are no UTF-8
/// are read as such letters.
fn word_of(path: &str) -> Option<&str> {
    longest(path.rsplit('/').next().unwrap_or(path), is_word)
}

fn longest(name: &str, is_part: impl Fn(char) -> bool) -> Option<&str> {
    name.split(|letter| !is_part(letter))
        .max_by_key(|word| word.len())
        .filter(|word| !word.is_empty())
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}
