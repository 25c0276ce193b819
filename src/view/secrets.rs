//! What a script is not given: the environment file and what `policy.read_deny` lists, whatever name leads there. And what
//! it was given in this pass, so that a dry run sends none of it anywhere.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use super::alias::identity;
use super::{Known, View};
use crate::base::error::{Error, Result};
use crate::host::files::{EntryKind, Stat, Step};
use crate::pattern::Rule;
use crate::view::overlay::Seen;
use crate::workspace::{CONFIG, Place, Workspace};

/// The shortest piece of a file that counts as read from it, in bytes.
const PIECE: usize = 6;

/// The most that is remembered of what a script was given, in bytes. From then on everything may come from a file.
const REMEMBERED: usize = 64 << 20;

/// The secrets of a workspace, as one pass knows them.
#[derive(Debug)]
pub(super) struct Secrets {
    /// What the environment file was when the pass began; with what it leads to, where it is a link.
    environment: Vec<(u64, u64)>,
    /// It stays open as long as its identity is asked for: no other file is given its inode, though it be replaced.
    _held: Option<std::fs::File>,
    listed: OnceCell<Vec<Rule>>,
    /// Files with several names of which one is listed.
    linked: OnceCell<HashMap<(u64, u64), String>>,
    known: OnceCell<Known>,
    /// Where the contents of backups came from, by the names of the backups, and whether it was one file.
    sources: RefCell<HashMap<String, (PathBuf, bool)>>,
    given: RefCell<Vec<(String, String)>>,
    given_bytes: Cell<usize>,
    /// What a preview did not send, and why.
    unsent: RefCell<Vec<String>>,
}

/// Why a file is not given.
enum Why {
    Environment,
    Listed(String),
    Own,
}

impl Secrets {
    pub(super) fn of(workspace: &Workspace) -> Self {
        let path = workspace.env_file().absolute;
        let seen = [std::fs::symlink_metadata(&path), std::fs::metadata(&path)];
        Self {
            environment: seen
                .into_iter()
                .flatten()
                .map(|metadata| (metadata.dev(), metadata.ino()))
                .collect(),
            _held: crate::workspace::open(&path).ok(),
            listed: OnceCell::new(),
            linked: OnceCell::new(),
            known: OnceCell::new(),
            sources: RefCell::default(),
            given: RefCell::default(),
            given_bytes: Cell::new(0),
            unsent: RefCell::default(),
        }
    }
}

impl View {
    fn listed(&self) -> &[Rule] {
        self.secrets.listed.get_or_init(|| {
            let texts = &self.workspace.config().policy.read_deny;
            // They were read when the configuration was.
            texts.iter().filter_map(|text| Rule::parse(text).ok()).collect()
        })
    }

    /// Whether a script may be given what stands at a place.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] for the environment file, for what `policy.read_deny` lists, and for what rollback
    /// keeps in `.rollback`.
    pub fn may_read(&self, place: &Place) -> Result<()> {
        let stat = self.stat(&place.absolute)?;
        match self.secret(&place.absolute, stat.as_ref())? {
            Some(why) => Err(refused(place, &why)),
            None => Ok(()),
        }
    }

    /// Whether a tree may be copied (or moved, where `stays` says that each file stays the one that it is): what a script
    /// is not given must not get a name under which it would be. What keeps a listed name may.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] naming the file.
    pub fn may_take(&self, from: &Place, to: &Place, stays: bool) -> Result<()> {
        self.walk(&from.absolute, &mut |path, stat| {
            if stat.kind != EntryKind::File {
                return Ok(());
            }
            let Some(why) = self.secret(path, Some(stat))? else {
                return Ok(());
            };
            let rest = path.strip_prefix(&from.absolute).unwrap_or(path);
            let target: PathBuf = to.absolute.components().chain(rest.components()).collect();
            let is_itself = stays && matches!(why, Why::Environment);
            let is_kept = target == self.workspace.env_file().absolute || self.listed_as(&target).is_some();
            if is_itself || is_kept {
                return Ok(());
            }
            Err(refused(&self.workspace.show(path), &why))
        })
    }

    /// Why a script is not given what stands at a path; `None` where it may be.
    fn secret(&self, path: &Path, stat: Option<&Stat>) -> Result<Option<Why>> {
        let is_environment = |path: &Path| path == self.workspace.env_file().absolute;
        let identity = stat.and_then(identity);
        if is_environment(path) || identity.is_some_and(|each| self.secrets.environment.contains(&each)) {
            return Ok(Some(Why::Environment));
        }
        for name in self.names_of(path)? {
            if is_environment(&name) {
                return Ok(Some(Why::Environment));
            }
            if name.starts_with(self.workspace.state()) {
                return Ok(Some(Why::Own));
            }
            if let Some(pattern) = self.listed_as(&name) {
                return Ok(Some(Why::Listed(pattern)));
            }
        }
        let Some(stat) = stat.filter(|stat| stat.kind == EntryKind::File && stat.links > 1) else {
            return Ok(None);
        };
        let pattern = self.linked()?.get(&(stat.device, stat.inode));
        Ok(pattern.cloned().map(Why::Listed))
    }

    /// The pattern that lists a path, or a directory above it, whatever the case.
    fn listed_as(&self, path: &Path) -> Option<String> {
        let relative = path.strip_prefix(self.workspace.root()).unwrap_or(path);
        let mut listed = self.listed().iter();
        listed
            .find(|rule| rule.covers(relative, true) || rule.covers_absolute(path, true))
            .map(|rule| rule.text().to_owned())
    }

    /// The names by which a path is to be judged: its own; the one by which the directories above it are known; in a
    /// preview the one that it has in truth; in a backup the one that it had.
    fn names_of(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let mut names = vec![path.to_path_buf()];
        if let Seen::Real(real) = self.overlay().seen(path)
            && real != path
        {
            names.push(real);
        }
        for name in names.clone() {
            names.extend(self.alias_of(&name, self.places()?)?);
        }
        for name in names.clone() {
            let Ok(rest) = name.strip_prefix(self.workspace.backups()) else {
                continue;
            };
            let mut parts = rest.components();
            let backup = parts.next().map(|part| part.as_os_str().to_string_lossy());
            if let Some(backup) = backup
                && let Some((source, is_file)) = self.source_of(&backup)?
            {
                let inside = if is_file { Path::new("") } else { parts.as_path() };
                names.push(source.components().chain(inside.components()).collect());
            }
        }
        Ok(names)
    }

    /// Places whose contents are judged, also where they are reached by another name.
    fn places(&self) -> Result<&Known> {
        if let Some(known) = self.secrets.known.get() {
            return Ok(known);
        }
        let mut places = vec![self.workspace.state(), self.workspace.backups()];
        let parts = self.listed().iter().flat_map(Rule::plain_parts);
        places.extend(parts.map(|part| self.workspace.root().join(part)));
        let known = self.known(places)?;
        Ok(self.secrets.known.get_or_init(|| known))
    }

    /// Where the contents of a backup came from, and whether it was one file.
    fn source_of(&self, backup: &str) -> Result<Option<(PathBuf, bool)>> {
        if let Some(known) = self.secrets.sources.borrow().get(backup) {
            return Ok(Some(known.clone()));
        }
        let mut sources = self.secrets.sources.borrow_mut();
        for listed in self.backups()? {
            let text = |key: &str| {
                listed
                    .get(key)
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default()
            };
            let source = self.workspace.root().join(text("source"));
            sources.insert(text("name").to_owned(), (source, text("kind") == "file"));
        }
        Ok(sources.get(backup).cloned())
    }

    /// Files of the workspace that have several names, of which one is listed.
    fn linked(&self) -> Result<&HashMap<(u64, u64), String>> {
        if let Some(linked) = self.secrets.linked.get() {
            return Ok(linked);
        }
        let mut found = HashMap::new();
        for root in self.workspace.roots() {
            self.host.files.walk(root, &mut |entry| {
                self.allowance.check()?;
                let stat = &entry.stat;
                if stat.kind == EntryKind::File
                    && stat.links > 1
                    && let Some(pattern) = self.listed_as(&root.join(entry.relative))
                {
                    found.insert((stat.device, stat.inode), pattern);
                }
                Ok(Step::Continue)
            })?;
        }
        Ok(self.secrets.linked.get_or_init(|| found))
    }

    /// Remembers what a script was given of a file.
    pub fn given(&self, place: &Place, text: &str) {
        let bytes = self.secrets.given_bytes.get().saturating_add(text.len());
        self.secrets.given_bytes.set(bytes);
        if bytes <= REMEMBERED {
            self.secrets
                .given
                .borrow_mut()
                .push((place.display.clone(), text.to_owned()));
        }
    }

    /// Remembers what a preview did not send.
    pub fn leave_unsent(&self, warning: String) {
        self.secrets.unsent.borrow_mut().push(warning);
    }

    /// What this preview did not send, as warnings.
    #[must_use]
    pub fn unsent(&self) -> Vec<String> {
        self.secrets.unsent.borrow().clone()
    }

    /// Why a dry run must not send a text: it holds a piece of what was read, as it is or encoded. What the script itself
    /// holds as it is comes from there. An approximation: whoever takes a text apart far enough is not seen.
    #[must_use]
    pub fn holds_given(&self, text: &str) -> Option<String> {
        let given = self.secrets.given.borrow();
        if given.is_empty() && self.secrets.given_bytes.get() == 0 {
            return None;
        }
        if self.secrets.given_bytes.get() > REMEMBERED {
            return Some("more was read from files than can be compared with it".to_owned());
        }
        let story = self.story.borrow();
        let source = story.as_ref().map_or("", |story| &story.script.source);
        let mut own = BTreeSet::new();
        pieces(source, &mut |piece| {
            own.insert(piece.to_vec());
        });
        let mut asked: HashSet<Vec<u8>> = HashSet::new();
        for form in forms(text) {
            for piece in form.windows(PIECE).filter(|piece| !own.contains(*piece)) {
                asked.insert(piece.to_vec());
            }
        }
        let comes_from = |text: &str| text.as_bytes().windows(PIECE).any(|piece| asked.contains(piece));
        given
            .iter()
            .find(|(_, text)| comes_from(text))
            .map(|(file, _)| format!("it holds what was read from `{file}`"))
    }
}

fn pieces(text: &str, visit: &mut dyn FnMut(&[u8])) {
    text.as_bytes().windows(PIECE).for_each(visit);
}

/// A text as it is, and as it reads once what can be decoded in it is decoded.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![text.as_bytes().to_vec()];
    for _ in 0..2 {
        let last = forms.last().map_or(&[][..], Vec::as_slice);
        let decoded = percent_decoded(last);
        if decoded == last {
            break;
        }
        forms.push(decoded);
    }
    let standard = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    let url_safe = base64::engine::GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
    // A slash can be a digit, or stand between two words.
    let base64s = [(&standard, "+/"), (&standard, "+"), (&url_safe, "-_")];
    for form in forms.clone() {
        for (engine, more) in base64s {
            let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || more.as_bytes().contains(byte);
            for word in words(&form, &is_digit) {
                // What stands before it in the same word shifts it.
                for start in 0..4 {
                    let word = word.get(start..).unwrap_or_default();
                    let whole = word.get(..word.len() - word.len() % 4).unwrap_or_default();
                    forms.extend([word, whole].iter().filter_map(|word| engine.decode(word).ok()));
                }
            }
        }
        for word in words(&form, &u8::is_ascii_hexdigit) {
            forms.extend((0..2).filter_map(|start| hexadecimal(word.get(start..)?)));
        }
    }
    forms
}

fn words<'a>(text: &'a [u8], is_digit: &'a dyn Fn(&u8) -> bool) -> impl Iterator<Item = &'a [u8]> {
    let words = text.split(|byte| !is_digit(byte));
    words.filter(|word| word.len() >= PIECE)
}

const LENIENT: base64::engine::GeneralPurposeConfig = base64::engine::GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let pair = after.get(..2).filter(|_| *first == b'%').and_then(hexadecimal);
        if let Some([byte]) = pair.as_deref() {
            decoded.push(*byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            decoded.push(if *first == b'+' { b' ' } else { *first });
            rest = after;
        }
    }
    decoded
}

/// The bytes of the hexadecimal digits at the beginning; `None` where there are none.
fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes: Vec<u8> = text
        .chunks_exact(2)
        .map_while(|pair| match pair {
            [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
            _ => None,
        })
        .collect();
    (!bytes.is_empty()).then_some(bytes)
}

fn refused(place: &Place, why: &Why) -> Error {
    match why {
        Why::Environment => Error::denied(format!("`{place}` holds secrets: a script can't read or copy it"))
            .hint("env_keys(\"PREFIX_\") gives the names of its keys, remove_env_keys() removes some"),
        Why::Listed(pattern) => Error::denied(format!(
            "`{place}` may hold secrets (policy.read_deny: {pattern}): a script can't read or copy it"
        ))
        .hint(format!(
            "remove_path() and retire_dir() take it all the same; if a script may read it, change policy.read_deny in `{CONFIG}`"
        )),
        Why::Own => Error::denied(format!("`{place}` belongs to rollback itself: a script can't read or copy it"))
            .hint("`rollback show` and `rollback history` tell of runs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_pieces_are_seen() {
        let secret = b"hunter2-long-enough";
        let standard = base64::engine::general_purpose::STANDARD.encode(secret);
        let shifted = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([b"xy", &secret[..]].concat());
        let hex = "68756e746572322d6c6f6e672d656e6f756768";
        for text in [
            "http://h/?q=hunter2-long-enough".to_owned(),
            "http://h/?q=%68%75%6e%74%65%72%32-long".to_owned(),
            "http://h/?q=%2568%2575%256e%2574er2-long".to_owned(),
            format!("http://h/{standard}"),
            format!("http://h/?q={shifted}"),
            format!("http://h/?q=abc{standard}"),
            format!("http://h/{shifted}"),
            format!("http://h/p/{standard}/r"),
            format!("http://h/{hex}"),
            format!("http://h/f{hex}"),
        ] {
            let is_seen = forms(&text).iter().any(|form| {
                form.windows(PIECE)
                    .any(|piece| secret.windows(PIECE).any(|own| own == piece))
            });
            assert!(is_seen, "{text}");
        }
    }
}
