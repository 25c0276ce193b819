//! The one thread that stands before the kernel's wall: from it the processes of a rehearsal are started, which under the
//! wall could mount nothing, and it makes and removes layers. It lives as long as anybody may ask it.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::nest::Nest;
use crate::base::error::{Error, Result};

/// What the thread has at hand: the directory of layers, once one was asked for.
#[derive(Debug, Default)]
pub(super) struct Workshop {
    nest: Option<Nest>,
}

impl Workshop {
    /// The directory of layers.
    ///
    /// # Errors
    /// As [`Nest::make`].
    pub(super) fn nest(&mut self, root: &Path) -> Result<&mut Nest> {
        let nest = match self.nest.take() {
            Some(nest) => nest,
            None => Nest::make(root)?,
        };
        Ok(self.nest.insert(nest))
    }
}

type Job = Box<dyn FnOnce(&mut Workshop) + Send>;

/// The way to the thread. With the last one of it the thread ends, and the directory of layers goes.
#[derive(Debug)]
pub(super) struct Outside {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Outside {
    /// Starts the thread. Must be called before the program is confined.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn open() -> Result<Self> {
        let (jobs, ordered) = channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("stage".to_owned())
            .spawn(move || {
                let mut workshop = Workshop::default();
                for job in ordered {
                    job(&mut workshop);
                }
            })
            .map_err(|error| Error::io("start the thread that rehearses commands", &error))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Lets the thread do something; what comes of it comes when it is done.
    pub(super) fn order<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Workshop) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (back, done) = channel();
        let job: Job = Box::new(move |workshop| {
            // Whoever ordered it may have gone.
            let _ = back.send(job(workshop));
        });
        if let Some(jobs) = &self.jobs {
            // Without the thread nothing comes, and the receiver says so.
            let _ = jobs.send(job);
        }
        done
    }

    /// Lets the thread do something, and waits for it.
    ///
    /// # Errors
    /// What comes of it; `Bug` where the thread has gone.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Workshop) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.order(job).recv().map_err(|_| gone())?
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to remove.
            let _ = thread.join();
        }
    }
}

/// What is told where the thread has gone.
pub(super) fn gone() -> Error {
    Error::bug("the thread that rehearses commands has gone")
}
