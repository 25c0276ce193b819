//! A few threads that share one heap of work for the length of one call. They begin inside the call, so that they stand
//! behind the same Landlock wall as their caller, and only where there is more than one thing to do.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::base::error::{Error, Result};

const MOST: usize = 8;

/// How many threads work at once, the caller's own among them.
pub(super) fn hands() -> usize {
    thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .clamp(2, MOST)
}

/// A lock whose holder can't leave anything half-done: a panic elsewhere is told by the thread that had it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work that is waiting. The newest goes first: a tree is then worked off branch by branch, and few directories are
/// open at any time.
pub(super) struct Heap<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    waiting: Vec<J>,
    /// Jobs that are being done; each can bring new ones.
    at_work: usize,
    failure: Option<Error>,
}

impl<J> Heap<J> {
    fn new(first: Vec<J>) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: first,
                at_work: 0,
                failure: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds work.
    pub(super) fn push(&self, job: J) {
        lock(&self.state).waiting.push(job);
        self.changed.notify_one();
    }

    /// The next job; `None` when all is done, or when something failed.
    fn take(&self) -> Option<J> {
        let mut state = lock(&self.state);
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(job) = state.waiting.pop() {
                state.at_work += 1;
                return Some(job);
            }
            if state.at_work == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Settles a job that was taken; the first failure is the one to tell, and ends the rest.
    fn settle(&self, outcome: Result<()>) {
        let mut state = lock(&self.state);
        state.at_work -= 1;
        if let Err(error) = outcome {
            state.failure.get_or_insert(error);
        }
        if state.failure.is_some() || (state.at_work == 0 && state.waiting.is_empty()) {
            self.changed.notify_all();
        }
    }

    fn is_worth_help(&self) -> bool {
        !lock(&self.state).waiting.is_empty()
    }
}

/// Does one job, with what its thread keeps; new ones go on the heap.
type Act<'a, J, S> = dyn Fn(J, &mut S, &Heap<J>) -> Result<()> + Sync + 'a;

/// Does `first` and all that comes of it. Each thread keeps what `own` makes for it; all of that is returned.
///
/// # Errors
/// The first failure; what was begun is then finished, what waited is not.
pub(super) fn work<J: Send, S: Send>(
    first: Vec<J>,
    own: &(dyn Fn() -> S + Sync),
    act: &Act<'_, J, S>,
) -> Result<Vec<S>> {
    let heap = Heap::new(first);
    let mut mine = own();
    let mut all = thread::scope(|scope| {
        let mut helpers = Vec::new();
        while let Some(job) = heap.take() {
            act_on(job, &mut mine, &heap, act);
            if helpers.is_empty() && heap.is_worth_help() {
                helpers.extend((1..hands()).map(|_| {
                    scope.spawn(|| {
                        let mut own = own();
                        while let Some(job) = heap.take() {
                            act_on(job, &mut own, &heap, act);
                        }
                        own
                    })
                }));
            }
        }
        helpers
            .into_iter()
            .map(|helper| helper.join().map_err(|_| Error::bug("a thread panicked")))
            .collect::<Result<Vec<S>>>()
    })?;
    all.push(mine);
    let failure = lock(&heap.state).failure.take();
    match failure {
        Some(error) => Err(error),
        None => Ok(all),
    }
}

/// A job whose thread panics is settled too, or the others would wait for it for ever.
struct Settled<'a, J> {
    heap: &'a Heap<J>,
    outcome: Option<Result<()>>,
}

impl<J> Drop for Settled<'_, J> {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        self.heap
            .settle(outcome.unwrap_or_else(|| Err(Error::bug("a thread panicked"))));
    }
}

fn act_on<J, S>(job: J, own: &mut S, heap: &Heap<J>, act: &Act<'_, J, S>) {
    let mut settled = Settled { heap, outcome: None };
    settled.outcome = Some(act(job, own, heap));
}
