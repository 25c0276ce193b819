//! Looking at processes from a confined program. Landlock denies a confined thread what it would have to read of
//! processes outside (their working directories, their open files), so that a dry run would see no service at all. One
//! thread that was started before the wall went up keeps looking; it does nothing but the look-ups of this file.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

use super::stop::{self, Standing};
use super::{Found, Holder, Keeper, OpenFiles, Process, Query, Scope, Witnesses};
use crate::base::error::{Error, Result};
use crate::base::known::Known;

/// A question, and the way back for its answer.
enum Question {
    Find(Query, Scope, Option<Arc<OpenFiles>>, Sender<Result<Found>>),
    Holders(PathBuf, Option<Arc<OpenFiles>>, Sender<Result<Vec<Holder>>>),
    OpenFiles(Sender<Result<OpenFiles>>),
    Look(i32, Sender<Result<Option<Process>>>),
    Family(Box<Process>, Scope, Sender<Result<Found>>),
    Standing(Box<Process>, Sender<Result<Standing>>),
    WrittenBy(Vec<i32>, Sender<Result<Vec<PathBuf>>>),
    Keeper(
        Box<Process>,
        Scope,
        Vec<(i32, u64)>,
        Sender<Result<Option<Keeper>>>,
    ),
    NamedBy(PathBuf, Sender<Result<Known<Option<Process>>>>),
    Witnesses(Vec<PathBuf>, Option<Arc<OpenFiles>>, Sender<Result<Witnesses>>),
}

impl Question {
    fn answer(self) {
        // Whoever asked may have gone; then nobody waits for the answer.
        match self {
            Self::Find(query, scope, open, back) => {
                let _ = back.send(super::find_among(&query, &scope, open.as_deref()));
            }
            Self::Holders(path, open, back) => {
                let _ = back.send(holders(&path, open.as_deref()));
            }
            Self::OpenFiles(back) => {
                let _ = back.send(OpenFiles::look());
            }
            Self::Look(pid, back) => {
                let _ = back.send(super::look(pid));
            }
            Self::Family(process, scope, back) => {
                let _ = back.send(super::family(&process, &scope));
            }
            Self::Standing(process, back) => {
                let _ = back.send(stop::standing(&process));
            }
            Self::WrittenBy(pids, back) => {
                let _ = back.send(super::written_by(&pids));
            }
            Self::Keeper(process, scope, ending, back) => {
                let _ = back.send(super::keeper(&process, &scope, &ending));
            }
            Self::NamedBy(file, back) => {
                let _ = back.send(super::named_by(&file));
            }
            Self::Witnesses(gone, open, back) => {
                let _ = back.send(super::witnesses(&gone, open.as_deref()));
            }
        }
    }
}

fn holders(path: &Path, open: Option<&OpenFiles>) -> Result<Vec<Holder>> {
    match open {
        Some(open) => super::holders_among(path, open),
        None => super::holders(path),
    }
}

/// Looks at processes: directly, or through the thread that stands before the wall.
#[derive(Debug, Default)]
pub struct Broker {
    outside: OnceLock<Sender<Question>>,
}

impl Broker {
    /// Starts the thread. Must be called before the program is confined.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn keep_open(&self) -> Result<()> {
        let (questions, asked) = channel::<Question>();
        std::thread::Builder::new()
            .name("eyes".to_owned())
            .spawn(move || asked.into_iter().for_each(Question::answer))
            .map_err(|error| Error::io("start the thread that looks at processes", &error))?;
        // A second wall needs no second thread.
        let _ = self.outside.set(questions);
        Ok(())
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<Result<T>>) -> Question) -> Result<T> {
        let (back, answer) = channel();
        let question = question(back);
        match self.outside.get() {
            None => question.answer(),
            Some(outside) => outside.send(question).map_err(|_| gone())?,
        }
        answer.recv().map_err(|_| gone())?
    }

    /// As [`super::find_among`].
    ///
    /// # Errors
    /// As there.
    pub fn find(&self, query: &Query, scope: &Scope, open: Option<Arc<OpenFiles>>) -> Result<Found> {
        self.ask(|back| Question::Find(query.clone(), scope.clone(), open, back))
    }

    /// As [`super::holders_among`], or [`super::holders`] without files that were looked at already.
    ///
    /// # Errors
    /// As there.
    pub fn holders(&self, path: &Path, open: Option<Arc<OpenFiles>>) -> Result<Vec<Holder>> {
        self.ask(|back| Question::Holders(path.to_path_buf(), open, back))
    }

    /// As [`OpenFiles::look`].
    ///
    /// # Errors
    /// As there.
    pub fn open_files(&self) -> Result<OpenFiles> {
        self.ask(Question::OpenFiles)
    }

    /// As [`super::look`].
    ///
    /// # Errors
    /// As there.
    pub fn look(&self, pid: i32) -> Result<Option<Process>> {
        self.ask(|back| Question::Look(pid, back))
    }

    /// As [`super::family`].
    ///
    /// # Errors
    /// As there.
    pub fn family(&self, process: &Process, scope: &Scope) -> Result<Found> {
        self.ask(|back| Question::Family(Box::new(process.clone()), scope.clone(), back))
    }

    /// As [`super::written_by`].
    ///
    /// # Errors
    /// As there.
    pub fn written_by(&self, pids: Vec<i32>) -> Result<Vec<PathBuf>> {
        self.ask(|back| Question::WrittenBy(pids, back))
    }

    /// As [`super::keeper()`].
    ///
    /// # Errors
    /// As there.
    pub fn keeper(
        &self,
        process: &Process,
        scope: &Scope,
        ending: Vec<(i32, u64)>,
    ) -> Result<Option<Keeper>> {
        self.ask(|back| Question::Keeper(Box::new(process.clone()), scope.clone(), ending, back))
    }

    /// As [`super::named_by`].
    ///
    /// # Errors
    /// As there.
    pub fn named_by(&self, file: &Path) -> Result<Known<Option<Process>>> {
        self.ask(|back| Question::NamedBy(file.to_path_buf(), back))
    }

    /// As [`super::witnesses`].
    ///
    /// # Errors
    /// As there.
    pub fn witnesses(&self, gone: &[PathBuf], open: Option<Arc<OpenFiles>>) -> Result<Witnesses> {
        self.ask(|back| Question::Witnesses(gone.to_vec(), open, back))
    }

    /// What stands behind the number of a process now. Whoever asks holds its pidfd, so that the answer stays true.
    pub(super) fn standing(&self, process: &Process) -> Result<Standing> {
        self.ask(|back| Question::Standing(Box::new(process.clone()), back))
    }
}

fn gone() -> Error {
    Error::bug("the thread that looks at processes has gone")
}
