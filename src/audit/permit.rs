//! The proof that an operation passed the gate. Only `audit.begin` makes one, after the intent is on disk.

use crate::report::AuditHead;

/// Permission for one operation. Every function of the host that changes the world takes `&Permit`.
///
/// It can't be built, cloned or kept past its operation: `audit.finish` consumes it.
#[derive(Debug)]
pub struct Permit {
    head: AuditHead,
}

impl Permit {
    /// `head` is the audit record that this permit rests on.
    pub(super) fn new(head: AuditHead) -> Self {
        Self { head }
    }

    /// The audit record of the intent.
    #[must_use]
    pub fn head(&self) -> &AuditHead {
        &self.head
    }

    /// A permit for unit tests of host functions, on paths below a temporary directory.
    #[cfg(any(test, feature = "broken-walls"))]
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            head: AuditHead {
                log_id: String::new(),
                seq: 0,
                hash: String::new(),
            },
        }
    }
}
