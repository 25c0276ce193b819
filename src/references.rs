//! Which source files name which others, and which packages they import: what a "safe delete" must leave alone.
//! Scans text and understands no program, so it errs on the side of finding a reference. Keeps nothing on disk, and in
//! memory what those files name that could name what is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::base::error::{Error, Result};
use crate::host::packages::Manager;

mod config;
mod javascript;
mod names;
mod needles;
mod python;

use names::{ancestors, directory_of, is_relative, join, module_keys, npm_package, python_key};
use needles::Needles;
pub use needles::Wanted;

/// A larger file is not looked into, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// How many source files an index may hold.
const MOST_FILES: usize = 100_000;

/// How much of a source line is shown, in characters.
const SHOWN: usize = 120;

/// Directories that hold nobody's sources.
const SKIPPED: &[&str] = &[
    "node_modules",
    ".git",
    ".venv",
    "rollback_backups",
    "rollback_reports",
    ".rollback",
    "target",
    "logs",
    "__pycache__",
];

/// A place where a source file names something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The file that names it, relative to the root.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The line's text, or the name alone where the line is long.
    pub text: String,
}

/// What a scanner found in a file.
#[derive(Debug, PartialEq, Eq)]
struct Mention {
    /// The line, from 1.
    line: usize,
    /// The text that names it.
    text: String,
    /// What it names.
    names: Named,
}

/// What a text names, before any file system is asked.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// A module of JavaScript, as written: `./x`, `yaml/sub`, `@scope/name`.
    Module(String),
    /// A module of JavaScript whose name is computed: all that is known is how it begins.
    ModuleStart(String),
    /// A module of Python: how many directories up (0: not relative) and the dotted names below.
    Python {
        /// Leading dots.
        level: usize,
        /// The names between dots.
        parts: Vec<String>,
    },
    /// A path, if there is a file of this name.
    Path(String),
}

/// The references of a tree, scanned once.
#[derive(Debug, Default)]
pub struct Index {
    /// What may be asked; nothing where all may be.
    wanted: Option<Wanted>,
    found: Vec<Reference>,
    /// Path without regard to extension and `index`, as JavaScript names it.
    modules: BTreeMap<String, Vec<usize>>,
    /// The beginning of such a path.
    module_starts: BTreeMap<String, Vec<usize>>,
    /// Path of a Python module without extension and `__init__`.
    python: BTreeMap<String, Vec<usize>>,
    /// Dotted names of two parts and more, as a path: found below any directory.
    python_ends: BTreeMap<String, Vec<usize>>,
    /// Path as it stands.
    paths: BTreeMap<String, Vec<usize>>,
    /// Packages by manager and normalised name.
    packages: BTreeMap<(Manager, String), Vec<usize>>,
    unread: Vec<String>,
    files: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    JavaScript,
    Python,
    Notebook,
    Json,
    Yaml,
}

impl Language {
    /// The language of a file, by its path; none for what holds no program and is loaded by none.
    fn of(path: &str) -> Option<Self> {
        let file = path.rsplit('/').next().unwrap_or_default();
        if file.starts_with(".rollback-") {
            return None;
        }
        let (stem, extension) = file.rsplit_once('.')?;
        match extension {
            "js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx" | "vue" | "svelte" => {
                Some(Self::JavaScript)
            }
            extension if names::PYTHON.contains(&extension) => Some(Self::Python),
            "ipynb" => Some(Self::Notebook),
            "json" | "jsonc" | "json5" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
        .filter(|_| !stem.is_empty() || extension == "json")
        .filter(|language| match language {
            Self::Json | Self::Yaml => config::is_loaded(path),
            _ => true,
        })
    }

    /// Whether a file could name what is looked for.
    fn may_name(self, needles: &Needles, file: &str, bytes: &[u8]) -> bool {
        match self {
            Self::JavaScript => needles.may_be_in_javascript(file, bytes),
            Self::Python => needles.may_be_in_python(file, bytes),
            // Its cells are texts of JSON, in pieces: a name may be written in numbers, or over two of them.
            Self::Notebook => true,
            Self::Json | Self::Yaml => needles.may_be_in_configuration(file, bytes),
        }
    }

    fn scan(self, file: &str, text: &str) -> Vec<Mention> {
        match self {
            Self::JavaScript => javascript::scan(text),
            Self::Python => python::scan(text),
            Self::Notebook => python::scan_notebook(text),
            Self::Json => config::scan_json(file, text),
            Self::Yaml => config::scan_yaml(file, text),
        }
    }
}

impl Index {
    /// Scans the sources below `root`. Rules of git do not count: an ignored file needs its modules as well.
    ///
    /// # Errors
    /// `limit` for more than 100,000 source files: an incomplete index would say that nothing needs a file.
    pub fn scan(root: &Path) -> Result<Self> {
        Self::scan_with(root, &[], &|path| root.join(path).is_file(), Vec::new(), None)
    }

    /// As [`Index::scan`], of a world that differs from the disk: without `skipped` (relative to the root, with all that
    /// is below), with the `pretended` sources (path, and contents where they can be known), where `is_file` tells which paths
    /// lead to files. With `wanted`, nothing else may be asked.
    ///
    /// # Errors
    /// As there.
    pub fn scan_with(
        root: &Path,
        skipped: &[&str],
        is_file: &dyn Fn(&str) -> bool,
        pretended: Vec<(String, Option<Vec<u8>>)>,
        wanted: Option<Wanted>,
    ) -> Result<Self> {
        let needles = match &wanted {
            Some(wanted) => Needles::of(wanted)?,
            None => None,
        };
        let mut index = Self {
            wanted: wanted.filter(|_| needles.is_some()),
            ..Self::default()
        };
        let mut sources = Vec::new();
        let apart: Vec<PathBuf> = skipped.iter().map(|skipped| root.join(skipped)).collect();
        let walk = WalkDir::new(root).sort_by_file_name().into_iter();
        let walk = walk.filter_entry(|entry| {
            entry.depth() == 0
                || !entry.file_type().is_dir()
                || !(SKIPPED.iter().any(|skipped| entry.file_name() == *skipped)
                    || apart.iter().any(|apart| entry.path() == apart)
                    || entry.path().join("pyvenv.cfg").exists())
        });
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    index.unread.push(error.to_string());
                    continue;
                }
            };
            let Ok(relative) = entry.path().strip_prefix(root) else {
                continue;
            };
            let display = relative.to_string_lossy();
            let Some(language) = Language::of(&display).filter(|_| entry.file_type().is_file()) else {
                continue;
            };
            let Some(relative) = relative.to_str() else {
                index.unread.push(display.into_owned());
                continue;
            };
            index.files += 1;
            if index.files > MOST_FILES {
                return Err(Error::limit(format!(
                    "more than {MOST_FILES} source files below `{}`",
                    root.display()
                ))
                .hint("run in a smaller workspace, or move what is not source out of it"));
            }
            sources.push((relative.to_owned(), language));
        }
        let look = |bytes: &mut Vec<u8>, (file, language): &(String, Language)| {
            let text = read(&root.join(file), bytes)?;
            let may_matter = needles
                .as_ref()
                .is_none_or(|needles| language.may_name(needles, file, text));
            Some(if may_matter {
                scan(file, *language, &String::from_utf8_lossy(text))
            } else {
                Vec::new()
            })
        };
        let scanned: Vec<_> = sources.par_iter().map_init(Vec::new, look).collect();
        for ((file, _), mentions) in sources.into_iter().zip(scanned) {
            match mentions {
                Some(mentions) => index.add(&file, mentions, is_file),
                None => index.unread.push(file),
            }
        }
        for (file, bytes) in pretended {
            let Some(language) = Language::of(&file) else {
                continue;
            };
            index.files += 1;
            match bytes.as_deref().and_then(text_of) {
                Some(text) => {
                    let mentions = scan(&file, language, &String::from_utf8_lossy(text));
                    index.add(&file, mentions, is_file);
                }
                None => index.unread.push(file),
            }
        }
        Ok(index)
    }

    /// Whether an index holds what a file of this path names.
    #[must_use]
    pub fn is_source(path: &str) -> bool {
        Language::of(path).is_some()
    }

    /// Whether no index looks at this path, nor below it: nobody's sources are there.
    #[must_use]
    pub fn skips(path: &str) -> bool {
        path.split('/').any(|name| SKIPPED.contains(&name))
    }

    /// Whether this may be asked.
    #[must_use]
    pub fn answers(&self, wanted: &Wanted) -> bool {
        self.wanted.as_ref().is_none_or(|known| known.covers(wanted))
    }

    /// How many source files were looked into.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files
    }

    /// What was not looked into: too large, binary or unreadable. References from there are not known.
    #[must_use]
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// Enters what a file names. Paths are settled: only those of files that exist are left, relative to the root.
    fn add(&mut self, file: &str, mentions: Vec<(Named, Reference)>, is_file: &dyn Fn(&str) -> bool) {
        let directory = directory_of(file);
        for (named, reference) in mentions {
            let settled = match named {
                Named::Path(path) => [join(directory, &path), join("", &path)]
                    .into_iter()
                    .flatten()
                    .filter(|path| is_file(path))
                    .map(Named::Path)
                    .collect(),
                other => vec![other],
            };
            for named in settled {
                let at = self.found.len();
                if self.enter(directory, named, at) {
                    self.found.push(reference.clone());
                }
            }
        }
    }

    /// Notes what is named under all keys by which it may be asked for; false if it can't be asked for.
    fn enter(&mut self, directory: &str, named: Named, at: usize) -> bool {
        match &named {
            Named::Module(module) if is_relative(module) => {
                let Some(path) = join(directory, module) else {
                    return false;
                };
                note(&mut self.modules, path, at);
            }
            Named::Module(module) => {
                if let Some(package) = npm_package(module) {
                    note(&mut self.packages, (Manager::Npm, package.to_owned()), at);
                }
                // An alias of the build, or a base directory: `@/x`, `~/x`, `src/x`, `/x`.
                let alias = module.strip_prefix("@/").or_else(|| module.strip_prefix("~/"));
                let bare = alias.unwrap_or(module).trim_start_matches('/');
                if bare.contains('/') || alias.is_some() || module.starts_with('/') {
                    if let Some(path) = join("", bare) {
                        note(&mut self.modules, path, at);
                    }
                    if let Some(path) = alias.and_then(|alias| join("src", alias)) {
                        note(&mut self.modules, path, at);
                    }
                }
            }
            Named::ModuleStart(start) if !is_relative(start) => {
                let Some(package) = start.contains('/').then(|| npm_package(start)).flatten() else {
                    return false;
                };
                note(&mut self.packages, (Manager::Npm, package.to_owned()), at);
            }
            Named::ModuleStart(start) => {
                let (before, last) = start.rsplit_once('/').unwrap_or(("", start));
                let Some(path) = join(directory, before) else {
                    return false;
                };
                // `./` alone names every neighbour and so says nothing.
                if path == directory && last.is_empty() {
                    return false;
                }
                let start = if path.is_empty() {
                    last.to_owned()
                } else {
                    format!("{path}/{last}")
                };
                note(&mut self.module_starts, start, at);
            }
            Named::Python { level: 0, parts } => {
                if let Some(top) = parts.first() {
                    note(
                        &mut self.packages,
                        (Manager::Pip, Manager::Pip.normalise(top)),
                        at,
                    );
                }
                // Importing a module runs the packages that it lies in.
                for end in 1..=parts.len() {
                    let path = parts.get(..end).unwrap_or_default().join("/");
                    for base in ancestors(directory).chain(["src"]) {
                        let path = if base.is_empty() {
                            path.clone()
                        } else {
                            format!("{base}/{path}")
                        };
                        note(&mut self.python, path, at);
                    }
                    if end > 1 {
                        let known = self.python_ends.entry(path).or_default();
                        if known.last() != Some(&at) {
                            known.push(at);
                        }
                    }
                }
            }
            Named::Python { level, parts } => {
                let Some(base) = ancestors(directory).nth(level - 1) else {
                    return false;
                };
                for end in 0..=parts.len() {
                    let below = parts.get(..end).unwrap_or_default().join("/");
                    let path = [base, below.as_str()]
                        .into_iter()
                        .filter(|part| !part.is_empty())
                        .collect::<Vec<_>>();
                    note(&mut self.python, path.join("/"), at);
                }
            }
            Named::Path(path) => note(&mut self.paths, path.clone(), at),
        }
        true
    }

    /// Where other files name this file or module, or anything below this directory. Relative to the root; sorted.
    #[must_use]
    pub fn references_to(&self, path: &str) -> Vec<Reference> {
        let Some(path) = join("", path).filter(|path| !path.is_empty()) else {
            return Vec::new();
        };
        let mut hits: BTreeSet<usize> = BTreeSet::new();
        let mut take = |found: Option<&Vec<usize>>| hits.extend(found.into_iter().flatten());
        take(self.paths.get(&path));
        for key in module_keys(&path) {
            take(self.modules.get(&key));
        }
        for end in path
            .char_indices()
            .map(|(at, character)| at + character.len_utf8())
        {
            let (start, rest) = path.split_at(end);
            if !rest.contains('/') {
                take(self.module_starts.get(start));
            }
        }
        // A directory is a package under its own name.
        let key = python_key(&path).unwrap_or(&path);
        take(self.python.get(key));
        let ends = key
            .match_indices('/')
            .filter_map(|(at, _)| key.get(at + 1..))
            .chain([key]);
        for end in ends {
            take(self.python_ends.get(end));
            let below = format!("{end}/");
            for (_, found) in self
                .python_ends
                .range(below.clone()..)
                .take_while(|(key, _)| key.starts_with(&below))
            {
                take(Some(found));
            }
        }
        let below = format!("{path}/");
        for keys in [&self.modules, &self.module_starts, &self.python, &self.paths] {
            for (_, found) in keys
                .range(below.clone()..)
                .take_while(|(key, _)| key.starts_with(&below))
            {
                take(Some(found));
            }
        }
        self.references(&hits, |file| file != path && !file.starts_with(&below))
    }

    /// Where a package is imported. For pip by the modules that are known to come from it, else by its own name.
    #[must_use]
    pub fn packages_needed_by(&self, manager: Manager, name: &str) -> Vec<Reference> {
        let name = manager.normalise(name);
        let modules = match manager {
            Manager::Npm => vec![name],
            Manager::Pip => names::modules_of(&name),
        };
        let found = modules
            .into_iter()
            .filter_map(|module| self.packages.get(&(manager, module)));
        let hits = found.flatten().copied().collect();
        self.references(&hits, |_| true)
    }

    fn references(&self, hits: &BTreeSet<usize>, wanted: impl Fn(&str) -> bool) -> Vec<Reference> {
        let found = hits
            .iter()
            .filter_map(|at| self.found.get(*at))
            .filter(|found| wanted(&found.file));
        let unique: BTreeSet<&Reference> = found.collect();
        unique.into_iter().cloned().collect()
    }
}

/// What a file names, with the place for people.
fn scan(file: &str, language: Language, text: &str) -> Vec<(Named, Reference)> {
    let mentions = language.scan(file, text);
    if mentions.is_empty() {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for mention in mentions {
        let line = lines
            .get(mention.line.saturating_sub(1))
            .map_or("", |line| line.trim());
        // A line of configuration may hold a secret beside the path.
        let whole_line = matches!(language, Language::JavaScript | Language::Python) && line.len() <= SHOWN;
        let display = if whole_line { line } else { &mention.text };
        let reference = Reference {
            file: file.to_owned(),
            line: mention.line,
            text: display.chars().take(SHOWN).collect(),
        };
        found.push((mention.names, reference));
    }
    found
}

/// The text of a file, if it is one of reasonable size, read into `bytes`. Bytes that are no UTF-8 hide no import: they are
/// replaced.
fn read<'a>(path: &Path, bytes: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    bytes.clear();
    crate::workspace::open(path)
        .ok()?
        .take(LARGEST + 1)
        .read_to_end(bytes)
        .ok()?;
    text_of(bytes)
}

fn text_of(bytes: &[u8]) -> Option<&[u8]> {
    (bytes.len() as u64 <= LARGEST && memchr::memchr(0, bytes).is_none()).then_some(bytes)
}

fn note<K: Ord>(map: &mut BTreeMap<K, Vec<usize>>, key: K, at: usize) {
    map.entry(key).or_default().push(at);
}

#[cfg(test)]
mod tests;
