//! What a script may use up: time, memory, and words to people. A thread keeps the time, so that the engine and the
//! words need to look at one number only.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::error::{Error, Kind, Result};
use crate::host::memory::Own;
use crate::workspace::config::Limits;

/// Between two looks at clock and memory: short against what a script can do to either.
const TICK: Duration = Duration::from_millis(10);

/// What each saying costs beside its bytes, so that empty ones come to an end too.
const SAYING: u64 = 64;

const WITHIN: u8 = 0;
const TIME: u8 = 1;
const MEMORY: u8 = 2;
const WORDS: u8 = 3;

/// The allowance of one pass; its time begins anew with each story.
#[derive(Debug)]
pub struct Allowance {
    over: AtomicU8,
    deadline: Mutex<Option<Instant>>,
    written: AtomicU64,
    words: u64,
}

impl Allowance {
    /// An allowance of words; time and memory are not counted before [`Allowance::begin`].
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            over: AtomicU8::new(WITHIN),
            deadline: Mutex::new(None),
            written: AtomicU64::new(0),
            words: limits.output,
        }
    }

    /// Begins to count time and memory, until what it gives is dropped. What is used up sets `stop` too, which ends
    /// commands.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn begin(self: &Arc<Self>, limits: &Limits, stop: Vec<Arc<AtomicBool>>) -> Result<Counting> {
        let deadline = Instant::now()
            .checked_add(limits.deadline)
            .ok_or_else(|| Error::configuration("policy.limits.deadline is too far away"))?;
        *lock(&self.deadline) = Some(deadline);
        let (end, ended) = mpsc::channel::<()>();
        let (allowance, flags) = (Arc::clone(self), stop.clone());
        let mut own = Own::open()?;
        let ceiling = own.resident().unwrap_or(0).saturating_add(limits.memory);
        let thread = std::thread::Builder::new()
            .name("allowance".to_owned())
            .spawn(move || {
                while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    let over = if Instant::now() >= deadline {
                        TIME
                    } else if own.resident().is_some_and(|bytes| bytes > ceiling) {
                        MEMORY
                    } else {
                        continue;
                    };
                    allowance.exceed(over);
                    for flag in &flags {
                        flag.store(true, Ordering::Relaxed);
                    }
                    return;
                }
            })
            .map_err(|error| Error::io("start the thread that keeps the time", &error))?;
        Ok(Counting {
            allowance: Arc::clone(self),
            stop,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Counts something that is said. Gives false, and ends the script, where it is too much.
    #[must_use]
    pub fn say(&self, bytes: usize) -> bool {
        let cost = (bytes as u64).saturating_add(SAYING);
        let written = self
            .written
            .fetch_add(cost, Ordering::Relaxed)
            .saturating_add(cost);
        if written > self.words {
            self.exceed(WORDS);
        }
        written <= self.words
    }

    /// What was used up, as a failure that no script can catch.
    #[must_use]
    pub fn over(&self) -> Option<Error> {
        match self.over.load(Ordering::Relaxed) {
            TIME => Some(
                Error::limit("the script ran past its deadline")
                    .hint("policy.limits.deadline sets the limit"),
            ),
            MEMORY => Some(
                Error::limit("the script takes too much memory").hint("policy.limits.memory sets the limit"),
            ),
            WORDS => Some(
                Error::limit("the script said too much: notes, warnings, titles, reasons")
                    .hint("policy.limits.output sets the limit"),
            ),
            _ => None,
        }
    }

    /// For long work inside a word.
    ///
    /// # Errors
    /// What was used up.
    pub fn check(&self) -> Result<()> {
        self.over().map_or(Ok(()), Err)
    }

    /// Time that is left; without a script, an hour.
    #[must_use]
    pub fn left(&self) -> Duration {
        lock(&self.deadline).map_or(Duration::from_secs(3600), |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }

    /// The failure of a word: one that was cut short because something was used up says so.
    #[must_use]
    pub fn explain(&self, error: Error) -> Error {
        let Some(over) = self.over().filter(|_| error.kind() == Kind::Cancelled) else {
            return error;
        };
        if error.changed_something() {
            return over.after_changes();
        }
        over
    }

    fn exceed(&self, what: u8) {
        // The first one is told.
        let _ = self
            .over
            .compare_exchange(WITHIN, what, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// While it lives, time and memory are counted.
pub struct Counting {
    allowance: Arc<Allowance>,
    stop: Vec<Arc<AtomicBool>>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    /// Ends the counting; `cancelled` leaves the flags of a run that a signal stopped.
    pub fn end(mut self, cancelled: bool) {
        self.close();
        let over = matches!(self.allowance.over.load(Ordering::Relaxed), TIME | MEMORY);
        if over && !cancelled {
            for flag in &self.stop {
                flag.store(false, Ordering::Relaxed);
            }
            self.allowance.over.store(WITHIN, Ordering::Relaxed);
        }
    }

    fn close(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        *lock(&self.allowance.deadline) = None;
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            deadline: Duration::from_millis(1),
            ..Limits::default()
        }
    }

    #[test]
    fn time_that_is_used_up_stops_commands_until_the_counting_ends() {
        let allowance = Arc::new(Allowance::new(&limits()));
        let stop = Arc::new(AtomicBool::new(false));
        let counting = allowance
            .begin(&limits(), vec![Arc::clone(&stop)])
            .expect("a thread");
        while allowance.check().is_ok() {
            std::thread::yield_now();
        }
        assert!(allowance.left().is_zero());
        while !stop.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let cut = allowance.explain(Error::cancelled("ended").after_changes());
        assert!(cut.message().contains("deadline") && cut.changed_something());
        counting.end(false);
        assert!(!stop.load(Ordering::Relaxed) && allowance.check().is_ok());
    }

    #[test]
    fn words_are_counted_over_the_whole_pass() {
        let allowance = Allowance::new(&Limits {
            output: 200,
            ..limits()
        });
        assert!(allowance.say(100));
        assert!(!allowance.say(0), "a second saying costs too");
        assert_eq!(allowance.check().expect_err("too much").kind(), Kind::Limit);
    }
}
