//! Watching for a while whether something comes back: what restarts a service does so in its own time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};

use crate::base::error::{Error, Result};

/// Between two looks.
const BEAT: Duration = Duration::from_millis(200);

/// Looks until something is seen, or for at most `time`; at least once, and once more at the end.
///
/// # Errors
/// What `look` says; of kind `Cancelled` where a signal came meanwhile.
pub fn watch<T>(
    time: Duration,
    cancelled: &AtomicBool,
    look: &mut dyn FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let start = Instant::now();
    loop {
        let left = time.saturating_sub(start.elapsed());
        if let Some(seen) = look()? {
            return Ok(Some(seen));
        }
        if left.is_zero() {
            return Ok(None);
        }
        if cancelled.load(Ordering::Relaxed) {
            return Err(Error::cancelled(
                "a signal came while it was watched whether anything comes back",
            ));
        }
        let pause = left.min(BEAT);
        let pause = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        // Nothing tells that a process begins: there is nothing to wait on but the time. A signal ends it early.
        let _ = poll(&mut [], Some(&pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_seen_and_what_does_not_is_watched_to_the_end() {
        let calm = AtomicBool::new(false);
        let mut looks = 0;
        let mut late = || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        };
        assert_eq!(
            watch(Duration::from_secs(60), &calm, &mut late).expect("a look"),
            Some(3)
        );
        let start = Instant::now();
        let never = watch(BEAT, &calm, &mut || Ok(None::<u32>)).expect("a look");
        assert!(never.is_none() && start.elapsed() >= BEAT);
        let mut looks = 0;
        let mut once = || {
            looks += 1;
            Ok(None::<u32>)
        };
        assert!(watch(Duration::ZERO, &calm, &mut once).expect("a look").is_none());
        assert_eq!(looks, 1, "a preview looks once");
    }

    #[test]
    fn a_signal_ends_the_watch() {
        let cancelled = AtomicBool::new(true);
        let error = watch(Duration::from_secs(60), &cancelled, &mut || Ok(None::<u32>)).expect_err("ended");
        assert_eq!(error.kind(), crate::base::error::Kind::Cancelled);
    }
}
