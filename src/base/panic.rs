//! What becomes of a panic: a failure of kind `Bug`, told in one line. A panic is a mistake of ours; a person must not see
//! a trace instead of an answer, and a run in which it happens must be closed like any other.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

use crate::base::error::{Error, Result};

thread_local! {
    /// Where the last panic of this thread was.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic prints nothing; [`guard`] tells of it.
pub fn silence() {
    set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|place| format!(" ({}:{})", place.file(), place.line()));
        LAST.with(|last| *last.borrow_mut() = place);
    }));
}

/// Does the work; a panic in it becomes a failure.
///
/// # Errors
/// What the work says; [`crate::base::error::Kind::Bug`] for a panic.
pub fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let place = LAST.with(|last| last.borrow_mut().take()).unwrap_or_default();
        Err(Error::bug(format!("this is a bug in rollback{place}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure_and_work_goes_on() {
        let error = guard(|| -> Result<()> { panic!("mistake") }).expect_err("a panic");
        assert_eq!(error.kind(), crate::base::error::Kind::Bug);
        assert!(
            error.message().starts_with("this is a bug in rollback"),
            "{error}"
        );
        assert_eq!(guard(|| Ok(1)).expect("no panic"), 1);
        assert_eq!(
            guard(|| -> Result<()> { Err(Error::failed("x")) })
                .expect_err("its own")
                .message(),
            "x"
        );
    }
}
