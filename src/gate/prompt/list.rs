//! Choosing from a list: dialoguer's, behind a guard.
//!
//! dialoguer reads keys in a thread of its own, because a signal doesn't wake it. The guard forgets what was typed ahead,
//! waits for the thread or a signal, and leaves the terminal as it was on every way out. Ctrl-D does nothing in a list.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dialoguer::MultiSelect;
use dialoguer::console::Term;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{LineMode, Terminal, show};
use crate::base::error::{Error, Kind, Result};
use crate::base::panic;
use crate::base::terminal::{columns, escape};

/// The smallest terminal that a list is shown in, in rows and columns: a page, and room for a name.
const SMALLEST: (u16, u16) = (3, 20);

/// What stands before each label, in columns: the place of the cursor and the box.
const BOX: usize = 6;

/// Makes the cursor visible.
const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// How often, each a millisecond later, it is looked whether the thread has come to rest.
const LOOKS: usize = 1000;

impl Terminal {
    /// Lets the person choose any of the labels, none of which is chosen before; gives their positions, in order. An empty
    /// choice is a choice.
    ///
    /// # Errors
    /// `usage` where the terminal is too small or can't move its cursor; `cancelled` after Esc, `q` or a signal;
    /// `not_approved` where the terminal goes away; `failed` where it can't be written or read.
    pub fn choose(&self, text: &str, labels: &[String]) -> Result<Vec<usize>> {
        let width = self.width()?;
        let labels: Vec<String> = labels.iter().map(|label| cut(&escape(label), width)).collect();
        let prompt = escape(text).into_owned();
        self.write("(space: choose or not, a: all or none, Enter: go on, Esc: leave)\n")?;
        match self.guarded(prompt, labels) {
            Ok(chosen) => chosen.ok_or_else(|| Error::cancelled("nothing was chosen; nothing was changed")),
            // It became too small while the list stood.
            Err(error) if error.kind() == Kind::Bug => self.width().and(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// The columns of a terminal that a list can be shown in.
    fn width(&self) -> Result<usize> {
        let size = rustix::termios::tcgetwinsize(&self.output)
            .map_err(|error| Error::io("read the size of the terminal", &error.into()))?;
        // A terminal that doesn't know its size says 0; dialoguer takes that for 24 rows and 80 columns.
        let (rows, width) = match (size.ws_row, size.ws_col) {
            (0, _) | (_, 0) => (24, 80),
            known => known,
        };
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if dumb || rows < SMALLEST.0 || width < SMALLEST.1 {
            return Err(Error::usage(
                "this terminal is too small to choose in, or can't move its cursor",
            ));
        }
        Ok(usize::from(width))
    }

    /// Has dialoguer ask, in a thread of its own, until it has an answer or a signal comes; `None` after Esc.
    fn guarded(&self, prompt: String, labels: Vec<String>) -> Result<Option<Vec<usize>>> {
        let cannot = |error: IoError| Error::io("ask at the terminal", &error);
        let settings = LineMode::set(&self.input, true)?;
        let _cursor = Cursor(self);
        let (done, end) = UnixStream::pair().map_err(cannot)?;
        let open = Arc::new(AtomicBool::new(true));
        let screen = Screen {
            output: self.output.try_clone().map_err(cannot)?,
            open: Arc::clone(&open),
        };
        let input = File::from(self.input.try_clone().map_err(cannot)?);
        self.forget_typed()?;
        let asking = std::thread::Builder::new()
            .name("question".to_owned())
            .spawn(move || {
                let _end = end;
                panic::guard(|| {
                    let term = Term::read_write_pair(input, screen);
                    let list = MultiSelect::new().with_prompt(prompt).items(labels);
                    list.report(false)
                        .interact_on_opt(&term)
                        .map_err(|dialoguer::Error::IO(error)| failure(&error))
                })
            })
            .map_err(cannot)?;
        let failed = loop {
            let mut ready = [
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&done, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => break Some(Error::io("wait for an answer", &error.into())),
            }
            match ready.map(|descriptor| !descriptor.revents().is_empty()) {
                [true, _] => break Some(self.interrupted("at the question")),
                [false, true] => break None,
                [false, false] => {}
            }
        };
        let Some(error) = failed else {
            return asking
                .join()
                .unwrap_or_else(|_| Err(Error::bug("a question ended without an answer")));
        };
        // From now on it shows nothing; the thread itself ends with its key, or with the program.
        open.store(false, Ordering::SeqCst);
        settle(&settings, &done);
        Err(error)
    }
}

/// Waits until the thread has ended, or has set the terminal for the key that it waits for: from then on it sets nothing
/// but what was set before that.
fn settle(settings: &LineMode, done: &UnixStream) {
    const PAUSE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    for _ in 0..LOOKS {
        let waits = rustix::termios::tcgetattr(settings.input)
            .is_ok_and(|now| now.local_modes != settings.wanted.local_modes);
        let ended = poll(&mut [PollFd::new(done, PollFlags::IN)], Some(&PAUSE)).is_ok_and(|count| count > 0);
        if waits || ended {
            return;
        }
    }
}

/// dialoguer has raised SIGINT for a Ctrl-C that it read as a key.
fn failure(error: &IoError) -> Error {
    let gone = error.raw_os_error() == Some(Errno::IO.raw_os_error());
    match error.kind() {
        ErrorKind::Interrupted => Error::cancelled("interrupted at the question"),
        ErrorKind::UnexpectedEof => Error::not_approved("no answer: the input ended"),
        _ if gone => Error::not_approved("no answer: the input ended"),
        _ => Error::io("ask at the terminal", error),
    }
}

/// A label that fits into one line; dialoguer counts bytes where it clears one.
fn cut(label: &str, width: usize) -> String {
    let fits = |text: &str| columns(text) + BOX < width && text.len() < width;
    if fits(label) {
        return label.to_owned();
    }
    let mut cut = label.to_owned();
    while cut.pop().is_some() {
        let display = format!("{cut}…");
        if fits(&display) {
            return display;
        }
    }
    cut
}

/// Shows the cursor when it is dropped.
struct Cursor<'terminal>(&'terminal Terminal);

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away has no cursor.
        let _ = self.0.write(SHOW_CURSOR);
    }
}

/// Where dialoguer writes, until the guard closes it.
#[derive(Debug)]
struct Screen {
    output: OwnedFd,
    open: Arc<AtomicBool>,
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.open.load(Ordering::SeqCst) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        show(&self.output, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl AsRawFd for Screen {
    fn as_raw_fd(&self) -> RawFd {
        self.output.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_is_cut_to_one_line() {
        assert_eq!(cut("1.3  DuckDB", 40), "1.3  DuckDB");
        assert_eq!(cut("1.3  DuckDB analytics", 20), "1.3  DuckDB …");
        for width in 20..60 {
            let display = cut(&"データ".repeat(20), width);
            assert!(
                columns(&display) + BOX < width && display.len() < width,
                "{display}"
            );
        }
    }
}
