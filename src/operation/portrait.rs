//! What a tree looked like when it was put away or made, small enough for the log: an undo compares it with what stands
//! there by then.

use crate::backup::MANIFEST;
use crate::base::error::Result;
use crate::host::files::EntryKind;
use crate::report::undo::Portrait;
use crate::view::View;
use crate::workspace::Place;

/// Single files up to this size are known by their contents, in bytes.
const CONTENTS: u64 = 1 << 20;

impl Portrait {
    /// Looks at a path; nothing where nothing stands there, or where others may still write to it.
    ///
    /// # Errors
    /// What the view says.
    pub fn of(view: &View, place: &Place) -> Result<Option<Self>> {
        let top = &place.absolute;
        let Some(stat) = view.stat(top)? else {
            return Ok(None);
        };
        let mut portrait = Self {
            kind: stat.kind.name().to_owned(),
            entries: 0,
            bytes: 0,
            digest: String::new(),
            contents: None,
        };
        let mut settled = true;
        let mut hasher = blake3::Hasher::new();
        view.walk_across(top, &mut |path, stat| {
            let inside = path.strip_prefix(top).unwrap_or(path);
            settled &= !view.own().is_unsettled(path);
            if stat.kind == EntryKind::Socket || inside == std::path::Path::new(MANIFEST) {
                return Ok(());
            }
            portrait.entries += 1;
            hasher.update(inside.as_os_str().as_encoded_bytes());
            // Who may not give files away loses set-id bits in a copy; a directory's time changes with what comes and goes.
            let mode = stat.mode & 0o1777;
            let seen = match stat.kind {
                EntryKind::Directory => format!("\0{} {mode:o}\n", stat.kind.name()),
                EntryKind::File => {
                    portrait.bytes = portrait.bytes.saturating_add(stat.size);
                    format!("\0file {mode:o} {} {}\n", stat.size, stat.mtime_ns)
                }
                other => format!("\0{} {} {}\n", other.name(), stat.size, stat.mtime_ns),
            };
            hasher.update(seen.as_bytes());
            Ok(())
        })?;
        if stat.kind == EntryKind::File && stat.size <= CONTENTS {
            // What may not be read is known from outside alone.
            portrait.contents = view.digest(place).ok();
        }
        portrait.digest = hasher.finalize().to_hex().to_string();
        Ok(settled.then_some(portrait))
    }
}
