//! How much stands at a place.

use std::path::{Path, PathBuf};

use super::View;
use crate::base::error::{Error, Result};
use crate::base::wording::{bytes, plural};
use crate::host::files::{EntryKind, is_copied};
use crate::workspace::Place;

/// Sizes of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Paths, the top included.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes of regular files.
    pub bytes: u64,
}

impl Size {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl View {
    /// Sizes of a tree.
    ///
    /// # Errors
    /// As [`View::walk`].
    pub fn size(&self, place: &Path) -> Result<Size> {
        let mut size = Size::default();
        self.walk_across(place, &mut |_, stat| {
            size.entries += 1;
            if stat.kind == EntryKind::File {
                size.files += 1;
                size.bytes += stat.size;
            }
            Ok(())
        })?;
        if size.bytes > self.limits().max_bytes {
            return Err(Error::invalid(format!(
                "`{}` holds {} bytes, more than the limit of {}",
                self.workspace.show(place),
                size.bytes,
                self.limits().max_bytes
            ))
            .hint("policy.limits.max_bytes sets the limit"));
        }
        Ok(size)
    }

    /// A place with how much stands there, for a plan: "`data/duckdb` (3 files, 1.2 MiB)".
    ///
    /// # Errors
    /// As [`View::size`].
    pub fn sized(&self, place: &Place) -> Result<String> {
        self.described(place, self.size(&place.absolute)?)
    }

    /// As [`View::sized`], with sizes that are known already.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub fn described(&self, place: &Place, size: Size) -> Result<String> {
        let kind = self.stat(&place.absolute)?.map(|stat| stat.kind);
        Ok(match kind {
            Some(EntryKind::Directory) => format!(
                "`{place}` ({}, {})",
                plural(size.files, "file"),
                bytes(size.bytes)
            ),
            Some(EntryKind::Symlink) => format!("the link `{place}`"),
            _ => format!("`{place}` ({})", bytes(size.bytes)),
        })
    }

    /// Sizes of what a copy of a tree would hold, and the sockets that it would leave out, by the path from the top.
    ///
    /// # Errors
    /// As [`View::size`]; as the copy itself for what can't be copied.
    pub fn size_of_copy(&self, place: &Place) -> Result<(Size, Vec<PathBuf>)> {
        let mut left_out = Vec::new();
        self.walk(&place.absolute, &mut |path, stat| {
            let inside = path.strip_prefix(&place.absolute).unwrap_or(path);
            let display = self.workspace.show(path).display;
            if !is_copied(Path::new(&display), stat.kind, inside.components().count())? {
                left_out.push(inside.to_path_buf());
            }
            Ok(())
        })?;
        let mut size = self.size(&place.absolute)?;
        size.entries = size.entries.saturating_sub(left_out.len() as u64);
        Ok((size, left_out))
    }
}
