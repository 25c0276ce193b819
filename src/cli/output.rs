//! Standard output: the one place that writes it. What can't be written is remembered, and ends the program with 1.
//!
//! A reader that has seen enough (`| head`) is no failure of a command that only shows something. It is one of a command
//! that may have changed something: nobody was told what. Keeps nothing on disk.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::base::error::Error;
use crate::base::exit_code::ExitCode;

/// What became of standard output so far.
struct State {
    failed: Option<Errno>,
    may_change: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    failed: None,
    may_change: false,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard output without a buffer; its first failure is remembered.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not the library's own stream: that one takes a descriptor which can't be written for an empty one.
        let stdout = io::stdout().lock();
        loop {
            match rustix::io::write(&stdout, bytes) {
                Err(Errno::INTR) => {}
                // Somebody else made it non-blocking.
                Err(Errno::AGAIN) => {
                    let mut waiting = [PollFd::new(&stdout, PollFlags::OUT)];
                    match poll(&mut waiting, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(remember(error)),
                    }
                }
                written => return written.map_err(remember),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn remember(error: Errno) -> io::Error {
    state().failed.get_or_insert(error);
    error.into()
}

/// Writes data.
pub(crate) fn print(text: &str) {
    // A failure is remembered, and told by `settle`.
    let _ = Stdout.write_all(text.as_bytes());
}

/// Writes a JSON document.
pub(crate) fn print_json(value: &serde_json::Value) {
    print(&format!(
        "{}\n",
        serde_json::to_string_pretty(value).unwrap_or_default()
    ));
}

/// Writes a page of the command line's own: help or version.
pub(crate) fn print_page(page: &clap::Error) {
    let text = page.render();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !plain {
        print(&text.ansi().to_string());
    } else {
        print(&text.to_string());
    }
}

/// From here on the command may change something.
pub(crate) fn may_change() {
    state().may_change = true;
}

/// Whether something that was to be written was not, for whatever reason.
pub(crate) fn is_incomplete() -> bool {
    state().failed.is_some()
}

/// What could not be written so far, for people; nothing where the reader of data has gone away.
pub(crate) fn failure() -> Option<Error> {
    let State { failed, may_change } = *state();
    let failed = failed.filter(|errno| may_change || *errno != Errno::PIPE)?;
    let error = Error::io("write to standard output", &failed.into());
    Some(if may_change { error.after_changes() } else { error })
}

/// The exit code of a command that ended with `code`, and what is to be told where its output is incomplete.
pub(crate) fn settle(code: ExitCode) -> (ExitCode, Option<Error>) {
    let Some(error) = failure() else {
        return (code, None);
    };
    if code != ExitCode::Done {
        return (code, Some(error));
    }
    let error = if error.changed_something() {
        error.hint("the command did what it was asked for, and that stands: `rollback history` and `rollback status` tell it")
    } else {
        error
    };
    (ExitCode::Failed, Some(error))
}
