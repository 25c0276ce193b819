//! What a copy saw of its original, in 65 bytes a path however long its name is: a copy of a million files is
//! remembered in 65 MB.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::host::files::Stat;

/// Half of a BLAKE3: nobody has two different things with the same.
type Short = [u8; 16];

/// The paths of a copy, each as it was when it was copied, by the path from the top; the top itself is the empty path.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// One for each thread that copied, each sorted.
    parts: Vec<Vec<Copied>>,
    top: Option<Stat>,
}

/// One path of the original, as it was when it was copied.
#[derive(Debug, Clone)]
pub struct Copied {
    path: Short,
    version: Short,
    digest: [u8; 32],
    is_file: bool,
}

impl Copied {
    pub(super) fn new(relative: &Path, stat: &Stat, digest: Option<blake3::Hash>) -> Self {
        Self {
            path: name(relative),
            version: version(stat),
            digest: digest.map_or([0; 32], Into::into),
            is_file: digest.is_some(),
        }
    }

    /// BLAKE3 of a regular file's contents.
    #[must_use]
    pub fn digest(&self) -> Option<blake3::Hash> {
        self.is_file.then(|| self.digest.into())
    }

    /// Whether this is the same, unmodified thing ([`Stat::same_version`]).
    #[must_use]
    pub fn is(&self, stat: &Stat) -> bool {
        self.version == version(stat)
    }
}

impl Record {
    pub(super) fn add(&mut self, mut part: Vec<Copied>) {
        part.sort_unstable_by_key(|copied| copied.path);
        self.parts.push(part);
    }

    pub(super) fn set_top(&mut self, top: Stat) {
        self.top = Some(top);
    }

    /// The top as it was when it was copied.
    #[must_use]
    pub fn top(&self) -> Option<&Stat> {
        self.top.as_ref()
    }

    /// What was copied from a path.
    #[must_use]
    pub fn get(&self, relative: &Path) -> Option<&Copied> {
        let path = name(relative);
        self.parts.iter().find_map(|part| {
            let at = part.binary_search_by_key(&path, |copied| copied.path).ok()?;
            part.get(at)
        })
    }

    /// Paths, the top among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Whether nothing was copied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn short(hash: blake3::Hash) -> Short {
    let mut short = Short::default();
    short
        .iter_mut()
        .zip(hash.as_bytes())
        .for_each(|(to, from)| *to = *from);
    short
}

fn name(relative: &Path) -> Short {
    short(blake3::hash(relative.as_os_str().as_bytes()))
}

/// All that tells one version of a thing from another.
fn version(stat: &Stat) -> Short {
    let mut hasher = blake3::Hasher::new();
    hasher.update(stat.kind.name().as_bytes());
    for number in [stat.inode, stat.device, stat.size] {
        hasher.update(&number.to_le_bytes());
    }
    for time in [stat.mtime_ns, stat.ctime_ns] {
        hasher.update(&time.to_le_bytes());
    }
    short(hasher.finalize())
}
