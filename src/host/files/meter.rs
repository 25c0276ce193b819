//! How far a long operation is, for whoever watches: counters that the working threads add to.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the operation at hand. They only tell; nothing is decided by them.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    files: AtomicU64,
    total: AtomicU64,
}

/// What the counters said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read, hashed or copied.
    pub bytes: u64,
    /// Files done (or removed).
    pub files: u64,
    /// Bytes of all, where that is known.
    pub total: Option<u64>,
}

impl Meter {
    /// Begins anew; `total` is 0 where it is not known.
    pub fn begin(&self, total: u64) {
        self.bytes.store(0, Ordering::Relaxed);
        self.files.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// What the counters say now.
    #[must_use]
    pub fn read(&self) -> Progress {
        let total = self.total.load(Ordering::Relaxed);
        Progress {
            bytes: self.bytes.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            total: (total > 0).then_some(total),
        }
    }

    pub(super) fn bytes(&self) -> &AtomicU64 {
        &self.bytes
    }

    pub(crate) fn file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }
}
