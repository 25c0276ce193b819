//! Which file of the program imports which, by the tokens of its product lines: uses, paths in expressions and in macros;
//! what is re-exported counts where it is defined.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module: the names from the crate's root.
pub type Module = Vec<String>;

/// What a module takes from elsewhere: a path without its first word, and the module at which it begins.
type Named = (Module, Vec<String>);

/// The imports between the files of the program.
pub struct Imports {
    /// Each file, and those from which it takes something.
    pub arrows: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl Imports {
    /// Reads `src`; `skip` tells files that are of tests.
    pub fn of(sources: &[(PathBuf, String)], skip: impl Fn(&Path) -> bool) -> Self {
        let product = || {
            sources
                .iter()
                .filter(|(path, _)| !skip(path) && path != Path::new("main.rs"))
        };
        let files: BTreeMap<Module, PathBuf> = product()
            .map(|(path, _)| (module_of(path), path.clone()))
            .collect();
        let mut named = BTreeMap::new();
        let mut exported = BTreeMap::new();
        for (path, text) in product() {
            let stream =
                TokenStream::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut scan = Scan {
                module: module_of(path),
                files: &files,
                named: Vec::new(),
                exported: Vec::new(),
                locals: BTreeMap::new(),
            };
            scan.stream(stream);
            for (name, target) in scan.exported {
                exported.insert((scan.module.clone(), name), target);
            }
            named.insert(path.clone(), scan.named);
        }
        let mut arrows: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for (path, targets) in named {
            let to = targets.into_iter().filter_map(|target| {
                let mut target = resolve(&files, target);
                // What is exported again is looked for where it comes from; a name that leads to itself ends there.
                for _ in 0..4 {
                    let (module, rest) = &target;
                    let Some(name) = rest.first() else { break };
                    let Some(next) = exported.get(&(module.clone(), name.clone())) else {
                        break;
                    };
                    target = resolve(&files, next.clone());
                }
                files.get(&target.0).cloned()
            });
            let to: BTreeSet<PathBuf> = to.filter(|to| *to != path).collect();
            arrows.insert(path, to);
        }
        Self { arrows }
    }

    /// Files that import each other in a circle, the largest circle first.
    pub fn circles(&self) -> Vec<Vec<&Path>> {
        let reach: BTreeMap<&Path, BTreeSet<&Path>> = self
            .arrows
            .keys()
            .map(|file| (file.as_path(), self.reachable(file)))
            .collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for file in self.arrows.keys().filter(|file| *file != Path::new("lib.rs")) {
            let file = file.as_path();
            if seen.contains(file) || !reach[file].contains(file) {
                continue;
            }
            let circle: Vec<&Path> = reach[file]
                .iter()
                .copied()
                .filter(|other| reach.get(other).is_some_and(|back| back.contains(file)))
                .collect();
            seen.extend(circle.iter().copied());
            circles.push(circle);
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }

    fn reachable(&self, from: &Path) -> BTreeSet<&Path> {
        let mut found = BTreeSet::new();
        let mut pending: Vec<&Path> = self
            .arrows
            .get(from)
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect();
        while let Some(next) = pending.pop() {
            if found.insert(next) {
                pending.extend(self.arrows.get(next).into_iter().flatten().map(PathBuf::as_path));
            }
        }
        found
    }
}

/// The lines of a file without the items behind `#[cfg(test)]`, which are no part of the program.
pub fn without_tests(text: &str) -> String {
    let mut cut = Vec::new();
    find_tests(
        TokenStream::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")),
        &mut cut,
    );
    let lines = text.lines().enumerate();
    let kept = lines.filter(|(index, _)| {
        !cut.iter()
            .any(|lines: &RangeInclusive<usize>| lines.contains(&(index + 1)))
    });
    kept.flat_map(|(_, line)| [line, "\n"]).collect()
}

fn find_tests(stream: TokenStream, cut: &mut Vec<RangeInclusive<usize>>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if is_sign(token, '#') && is_of_tests(tokens.get(at + 1)) {
            let end = end_of_item(&tokens, at + 2);
            let last = tokens.get(end - 1).unwrap_or(token);
            cut.push(token.span().start().line..=last.span().end().line);
            at = end;
            continue;
        }
        if let TokenTree::Group(group) = token {
            find_tests(group.stream(), cut);
        }
        at += 1;
    }
}

/// The module of a file: `a/b.rs` is `a::b`.
pub fn module_of(path: &Path) -> Module {
    let without = path.with_extension("");
    let names = without.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "lib").collect()
}

/// The deepest module on the way, and what is left.
fn resolve(files: &BTreeMap<Module, PathBuf>, (mut module, rest): Named) -> Named {
    let mut rest = rest.into_iter().peekable();
    while let Some(name) = rest.peek() {
        module.push(name.clone());
        if !files.contains_key(&module) {
            module.pop();
            break;
        }
        rest.next();
    }
    (module, rest.collect())
}

struct Scan<'a> {
    module: Module,
    files: &'a BTreeMap<Module, PathBuf>,
    named: Vec<Named>,
    exported: Vec<(String, Named)>,
    /// Names that a `use` of this file brought in, modules among them.
    locals: BTreeMap<String, Named>,
}

impl Scan<'_> {
    fn stream(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Punct(sign) if sign.as_char() == '#' && is_of_tests(tokens.get(at + 1)) => {
                    at = end_of_item(&tokens, at + 2);
                    continue;
                }
                TokenTree::Ident(word) if word == "use" => {
                    let exports = at > 0
                        && (is_word(&tokens[at - 1], "pub")
                            || is_group(&tokens[at - 1], Delimiter::Parenthesis));
                    let mut end = at + 1;
                    while tokens.get(end).is_some_and(|token| !is_sign(token, ';')) {
                        end += 1;
                    }
                    self.tree(&tokens[at + 1..end], None, exports);
                    at = end;
                    continue;
                }
                TokenTree::Ident(word) if is_path(&tokens, at) => {
                    let mut names = Vec::new();
                    while is_path(&tokens, at) {
                        at += 3;
                        names.extend(
                            tokens
                                .get(at)
                                .filter(|token| matches!(token, TokenTree::Ident(_)))
                                .map(ToString::to_string),
                        );
                    }
                    if let Some((start, mut rest)) = self.start(&word.to_string()) {
                        rest.extend(names);
                        self.named.push(upward(start, rest));
                    }
                    continue;
                }
                TokenTree::Group(group) => self.stream(group.stream()),
                _ => {}
            }
            at += 1;
        }
    }

    /// Where a path begins that starts with this word; nothing where it is of another crate.
    fn start(&self, word: &str) -> Option<Named> {
        match word {
            "crate" => Some((Vec::new(), Vec::new())),
            "self" => Some((self.module.clone(), Vec::new())),
            "super" => Some((self.module.split_last()?.1.to_vec(), Vec::new())),
            _ => {
                let mut child = self.module.clone();
                child.push(word.to_owned());
                if self.files.contains_key(&child) {
                    return Some((child, Vec::new()));
                }
                self.locals.get(word).cloned()
            }
        }
    }

    /// One branch of a `use`.
    fn tree(&mut self, tokens: &[TokenTree], before: Option<Named>, exports: bool) {
        let mut path = before;
        let mut at = 0;
        let mut last = None;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    last = tokens.get(at + 1).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    path = match path {
                        None => match self.start(&word) {
                            Some(start) => Some(start),
                            None => return,
                        },
                        Some(path) if word == "self" => Some(path),
                        Some((start, mut rest)) => {
                            rest.push(word.clone());
                            Some(upward(start, rest))
                        }
                    };
                    if word != "self" {
                        last = Some(word);
                    }
                }
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in inner.split(|token| is_sign(token, ',')) {
                        self.tree(branch, path.clone(), exports);
                    }
                    return;
                }
                _ => {}
            }
            at += 1;
        }
        if let Some(path) = path {
            if let Some(name) = last {
                if exports {
                    self.exported.push((name.clone(), path.clone()));
                }
                self.locals.insert(name, path.clone());
            }
            self.named.push(path);
        }
    }
}

/// A path whose next words are `super`.
fn upward(mut start: Module, mut rest: Vec<String>) -> Named {
    while rest.first().is_some_and(|word| word == "super") {
        start.pop();
        rest.remove(0);
    }
    (start, rest)
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(other) if other.as_char() == sign)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(other) if other == word)
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

/// Whether the word here has `::` behind it.
fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Ident(_)))
        && tokens.get(at + 1).is_some_and(|token| is_sign(token, ':'))
        && tokens.get(at + 2).is_some_and(|token| is_sign(token, ':'))
}

/// Whether an attribute is `#[cfg(test)]`.
fn is_of_tests(attribute: Option<&TokenTree>) -> bool {
    attribute.is_some_and(|token| {
        is_group(token, Delimiter::Bracket) && token.to_string().replace(' ', "") == "[cfg(test)]"
    })
}

/// Behind the item that begins here: its braces, or its semicolon.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        at += 1;
        if is_sign(token, ';') || is_sign(token, ',') || is_group(token, Delimiter::Brace) {
            break;
        }
    }
    at
}
