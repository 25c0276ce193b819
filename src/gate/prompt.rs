//! Asking a person, safely: nothing typed ahead counts as an answer, nothing shown can pose as the question, and
//! every way out of a question other than a clear yes is a no.
//!
//! Lists are dialoguer's, behind a guard of ours (`prompt/list.rs`). Lines are read here: dialoguer's prompts take `yep` for
//! a yes, pass over Ctrl-D, have no limit, and show or lose what is typed right after they ask for a secret.
//!
//! Keeps nothing on disk.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{InputModes, LocalModes, OptionalActions, QueueSelector, Termios};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::terminal::escape;

/// Choosing from a list.
mod list;

/// How often a question is asked again after an answer that is neither yes nor no.
const REPEATS: usize = 3;

/// The longest line that is taken for an answer, in bytes; what a terminal gives in one line is shorter.
const LONGEST: usize = 4096;

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A clear yes.
    Yes,
    /// No, or nothing that is a yes.
    No,
    /// The input ended (Ctrl-D, or the terminal went away): a no.
    EndOfInput,
    /// SIGINT or SIGTERM came before the answer: the run is to end.
    Interrupted,
}

/// Somebody who can be asked. Texts are escaped by whoever shows them.
pub trait Ask {
    /// A question that is answered by yes or no; no is the default.
    ///
    /// # Errors
    /// `failed` where the terminal cannot be written or read.
    fn question(&mut self, text: &str) -> Result<Answer>;

    /// A question that is answered by typing exactly `expected` (spaces around it don't count); everything else is
    /// a no.
    ///
    /// # Errors
    /// `failed` where the terminal cannot be written or read.
    fn typed(&mut self, text: &str, expected: &str) -> Result<Answer>;

    /// A line of text; `default` for an empty one.
    ///
    /// # Errors
    /// `not_approved` at the end of the input, `cancelled` after a signal, `failed` where the terminal cannot be
    /// written or read, `invalid` for a line that isn't UTF-8 or is too long.
    fn line(&mut self, text: &str, default: &str) -> Result<String>;
}

/// A person at a terminal: reads standard input, writes standard error.
///
/// From [`Terminal::open`] until it is dropped, SIGINT and SIGTERM end a question instead of the process, and
/// one that came earlier ends the next question at once. A signal can't be given back to its default after that,
/// so the program has to hold its own handlers for both, as every run does.
#[derive(Debug)]
pub struct Terminal {
    input: OwnedFd,
    output: OwnedFd,
    signals: UnixStream,
    terminated: Arc<AtomicBool>,
    registered: Vec<SigId>,
}

impl Terminal {
    /// Whether standard input and standard error both are a terminal; else nobody is there to ask.
    pub fn is_there() -> bool {
        rustix::termios::isatty(std::io::stdin()) && rustix::termios::isatty(std::io::stderr())
    }

    /// The terminal, if one is there.
    pub fn open() -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        let (input, output) = (std::io::stdin(), std::io::stderr());
        let (signals, sender) = UnixStream::pair().ok()?;
        let mut terminal = Self {
            input: input.as_fd().try_clone_to_owned().ok()?,
            output: output.as_fd().try_clone_to_owned().ok()?,
            signals,
            terminated: Arc::default(),
            registered: Vec::new(),
        };
        // Before the signal wakes anybody, so that it is known which one came.
        let known = signal_hook::flag::register(SIGTERM, Arc::clone(&terminal.terminated)).ok()?;
        terminal.registered.push(known);
        terminal.listen(&sender, &[SIGINT, SIGTERM])?;
        Some(terminal)
    }

    fn listen(&mut self, sender: &UnixStream, signals: &[i32]) -> Option<()> {
        for &signal in signals {
            let end = sender.try_clone().ok()?;
            self.registered
                .push(signal_hook::low_level::pipe::register(signal, end).ok()?);
        }
        Some(())
    }

    fn interrupted(&self, place: &str) -> Error {
        let error = Error::cancelled(format!("interrupted {place}"));
        if self.terminated.load(Ordering::Relaxed) {
            return error.exiting(ExitCode::Terminated);
        }
        error
    }

    /// Asks for a line that is not shown, without spaces around it; `None` for an empty one and at the end of the input.
    ///
    /// # Errors
    /// `cancelled` after a signal, `failed` where the terminal cannot be written or read, `invalid` for a line that isn't
    /// UTF-8 or is too long.
    pub fn secret(&self, text: &str) -> Result<Option<String>> {
        match self.ask(&format!("{}: ", escape(text)), false)? {
            Reply::Line(line) => Ok(Some(words(line, text)?).filter(|line| !line.is_empty())),
            Reply::EndOfInput => Ok(None),
            Reply::Interrupted => Err(self.interrupted(&format!("before an answer to `{text}`"))),
        }
    }

    fn write(&self, text: &str) -> Result<()> {
        show(&self.output, text.as_bytes()).map_err(|error| Error::io("ask at the terminal", &error.into()))
    }

    /// Shows a text and reads one line, typed after the text was shown; without `echo` the line is not.
    fn ask(&self, text: &str, echo: bool) -> Result<Reply> {
        let _settings = LineMode::set(&self.input, echo)?;
        self.forget_typed()?;
        self.write(text)?;
        let reply = self.read()?;
        if !echo || !matches!(reply, Reply::Line(_)) {
            // The cursor still stands behind the question. A terminal that has gone away needs no new line.
            let _ = self.write("\n");
        }
        Ok(reply)
    }

    fn forget_typed(&self) -> Result<()> {
        rustix::termios::tcflush(&self.input, QueueSelector::IFlush)
            .map_err(|error| Error::io("clear what was typed ahead", &error.into()))
    }

    fn read(&self) -> Result<Reply> {
        let mut line = Vec::new();
        loop {
            let mut ready = [
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&self.input, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                // The handler has run: its byte is in the pipe.
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("wait for an answer", &error.into())),
            }
            let [signal, typed] = ready.map(|descriptor| !descriptor.revents().is_empty());
            if signal {
                return Ok(Reply::Interrupted);
            }
            if !typed {
                continue;
            }
            let mut buffer = [0; 512];
            match rustix::io::read(&self.input, &mut buffer) {
                // Ctrl-D on an empty line, or behind a piece of a line: an answer without its Enter is none.
                Ok(0) | Err(Errno::IO) => return Ok(Reply::EndOfInput),
                Ok(length) => line.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(Error::io("read the answer", &error.into())),
            }
            if line.ends_with(b"\n") || line.len() > LONGEST {
                return Ok(Reply::Line(line));
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

impl Ask for Terminal {
    fn question(&mut self, text: &str) -> Result<Answer> {
        let text = format!("{} [y/N] ", escape(text));
        let mut again = String::new();
        for _ in 0..=REPEATS {
            let line = match self.ask(&format!("{again}{text}"), true)? {
                Reply::Line(line) => line,
                Reply::EndOfInput => return Ok(Answer::EndOfInput),
                Reply::Interrupted => return Ok(Answer::Interrupted),
            };
            match line.trim_ascii().to_ascii_lowercase().as_slice() {
                b"y" | b"yes" => return Ok(Answer::Yes),
                b"" | b"n" | b"no" => return Ok(Answer::No),
                _ => again = "please answer `y` or `n`\n".to_string(),
            }
        }
        self.write("taken as no\n")?;
        Ok(Answer::No)
    }

    fn typed(&mut self, text: &str, expected: &str) -> Result<Answer> {
        let expected = expected.trim();
        // An empty line must never be what goes on.
        if expected.is_empty() {
            return Err(Error::bug(
                "a typed answer was asked for, but nothing is to be typed",
            ));
        }
        let question = format!("{}\ntype `{}` to go on: ", escape(text), escape(expected));
        match self.ask(&question, true)? {
            Reply::Line(line) if line.trim_ascii() == expected.as_bytes() => Ok(Answer::Yes),
            Reply::Line(_) => Ok(Answer::No),
            Reply::EndOfInput => Ok(Answer::EndOfInput),
            Reply::Interrupted => Ok(Answer::Interrupted),
        }
    }

    fn line(&mut self, text: &str, default: &str) -> Result<String> {
        let display = if default.is_empty() {
            String::new()
        } else {
            format!(" [{}]", escape(default))
        };
        let line = match self.ask(&format!("{}{display}: ", escape(text)), true)? {
            Reply::Line(line) => line,
            Reply::EndOfInput => {
                return Err(Error::not_approved(format!(
                    "no answer to `{text}`: the input ended"
                )));
            }
            Reply::Interrupted => {
                return Err(self.interrupted(&format!("before an answer to `{text}`")));
            }
        };
        let line = words(line, text)?;
        Ok(if line.is_empty() { default.to_owned() } else { line })
    }
}

/// The answer to `text`, without spaces around it.
fn words(line: Vec<u8>, text: &str) -> Result<String> {
    if line.len() > LONGEST {
        return Err(Error::invalid(format!("the answer to `{text}` is too long")));
    }
    match String::from_utf8(line) {
        Ok(line) => Ok(line.trim().to_owned()),
        Err(_) => Err(Error::invalid(format!("the answer to `{text}` isn't UTF-8"))
            .hint("set the terminal to UTF-8, or give the value by `--param`")),
    }
}

enum Reply {
    Line(Vec<u8>),
    EndOfInput,
    Interrupted,
}

/// Writes all of it. Standard error may share an open file with a program that made it non-blocking.
fn show(output: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(output, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(output, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lines, signals and, where it is wanted, echo while a question stands. A program that died before us may have left the
/// terminal raw.
struct LineMode<'terminal> {
    input: &'terminal OwnedFd,
    before: Termios,
    wanted: Termios,
}

impl<'terminal> LineMode<'terminal> {
    fn set(input: &'terminal OwnedFd, echo: bool) -> Result<Self> {
        let before = rustix::termios::tcgetattr(input)
            .map_err(|error| Error::io("read the settings of the terminal", &error.into()))?;
        let mut wanted = before.clone();
        wanted.local_modes |= LocalModes::ICANON | LocalModes::ISIG;
        wanted.local_modes.set(LocalModes::ECHO, echo);
        wanted.input_modes |= InputModes::ICRNL;
        rustix::termios::tcsetattr(input, OptionalActions::Flush, &wanted)
            .map_err(|error| Error::io("set the terminal", &error.into()))?;
        Ok(Self {
            input,
            before,
            wanted,
        })
    }
}

impl Drop for LineMode<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away has no settings to restore.
        let _ = rustix::termios::tcsetattr(self.input, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use signal_hook::consts::SIGUSR1;

    use super::*;

    /// A pseudo-terminal with somebody at its keyboard, and the other end of the terminal's signal pipe.
    struct Person {
        keyboard: OwnedFd,
        screen: String,
    }

    fn terminal() -> (Terminal, Person, UnixStream) {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let input = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let output = input.try_clone().unwrap();
        let (signals, sender) = UnixStream::pair().unwrap();
        let terminal = Terminal {
            input,
            output,
            signals,
            terminated: Arc::default(),
            registered: Vec::new(),
        };
        (
            terminal,
            Person {
                keyboard,
                screen: String::new(),
            },
            sender,
        )
    }

    impl Person {
        fn types(&self, keys: &str) {
            assert_eq!(
                rustix::io::write(&self.keyboard, keys.as_bytes()).unwrap(),
                keys.len()
            );
        }

        /// Reads the screen until it shows the text for the `times`th time.
        fn sees(&mut self, text: &str, times: usize) {
            while self.screen.matches(text).count() < times {
                let mut buffer = [0; 256];
                let length = rustix::io::read(&self.keyboard, &mut buffer).unwrap();
                self.screen.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        }
    }

    /// Asks, and answers each time that the question is shown.
    fn answered(answers: &[&str]) -> (Answer, String) {
        let (mut terminal, mut person, _sender) = terminal();
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || {
                let answer = terminal.question("Roll back 1.3?").unwrap();
                (answer, terminal)
            });
            for (position, answer) in answers.iter().enumerate() {
                person.sees("[y/N] ", position + 1);
                person.types(answer);
            }
            let (answer, terminal) = asking.join().unwrap();
            terminal.write("end of test").unwrap();
            person.sees("end of test", 1);
            (answer, person.screen)
        })
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for (typed, answer) in [
            ("y\n", Answer::Yes),
            ("  YES \n", Answer::Yes),
            ("n\n", Answer::No),
            ("No\n", Answer::No),
            ("\n", Answer::No),
            ("\u{4}", Answer::EndOfInput),
            ("y\u{4}\u{4}", Answer::EndOfInput),
        ] {
            assert_eq!(answered(&[typed]).0, answer, "{typed:?}");
        }
    }

    #[test]
    fn unclear_answer_is_asked_for_again_but_not_for_ever() {
        assert_eq!(answered(&["yep\n", "y\n"]).0, Answer::Yes);
        let (answer, screen) = answered(&["1\n", "2\n", "3\n", "4\n"]);
        assert_eq!(answer, Answer::No);
        insta::assert_snapshot!(screen.replace("\r\n", "\n"), @"
        Roll back 1.3? [y/N] 1
        please answer `y` or `n`
        Roll back 1.3? [y/N] 2
        please answer `y` or `n`
        Roll back 1.3? [y/N] 3
        please answer `y` or `n`
        Roll back 1.3? [y/N] 4
        taken as no
        end of test
        ");
    }

    #[test]
    fn what_was_typed_ahead_is_no_answer() {
        let (mut terminal, mut person, _sender) = terminal();
        person.types("y\ny\nye");
        // The echo shows that the terminal has taken the keys.
        person.sees("y\r\ny\r\nye", 1);
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || terminal.question("Roll back 1.3?").unwrap());
            person.sees("[y/N] ", 1);
            person.types("n\n");
            assert_eq!(asking.join().unwrap(), Answer::No);
        });
    }

    #[test]
    fn typed_answer_matches_exactly() {
        for (typed, answer) in [
            ("1.3\n", Answer::Yes),
            (" 1.3\t\n", Answer::Yes),
            ("1.30\n", Answer::No),
            ("y\n", Answer::No),
            ("\n", Answer::No),
            ("\u{4}", Answer::EndOfInput),
        ] {
            let (mut terminal, mut person, _sender) = terminal();
            std::thread::scope(|scope| {
                let asking = scope.spawn(move || terminal.typed("This loses data for good.", "1.3").unwrap());
                person.sees("type `1.3` to go on: ", 1);
                person.types(typed);
                assert_eq!(asking.join().unwrap(), answer, "{typed:?}");
            });
        }
    }

    #[test]
    fn line_has_a_default_and_an_end() {
        for (typed, expected) in [
            ("\n", Ok("30d")),
            (" 7d \n", Ok("7d")),
            ("\u{4}", Err("not_approved")),
        ] {
            let (mut terminal, mut person, _sender) = terminal();
            std::thread::scope(|scope| {
                let asking = scope.spawn(move || terminal.line("Keep for?", "30d"));
                person.sees("Keep for? [30d]: ", 1);
                person.types(typed);
                let line = asking.join().unwrap();
                assert_eq!(
                    line.as_deref().map_err(|error| error.kind().name()),
                    expected,
                    "{typed:?}"
                );
            });
        }
    }

    #[test]
    fn secret_is_not_shown() {
        for (typed, expected) in [
            (" s3cret\n", Some("s3cret")),
            ("\n", None),
            ("\u{4}", None),
            ("s3cret\u{4}\u{4}", None),
        ] {
            let (terminal, mut person, _sender) = terminal();
            std::thread::scope(|scope| {
                let asking = scope.spawn(move || (terminal.secret("The key").unwrap(), terminal));
                person.sees("The key: ", 1);
                person.types(typed);
                let (secret, terminal) = asking.join().unwrap();
                assert_eq!(secret.as_deref(), expected, "{typed:?}");
                terminal.write("end of test").unwrap();
                person.sees("\r\nend of test", 1);
                assert!(!person.screen.contains("s3cret"), "{}", person.screen);
                let after = rustix::termios::tcgetattr(&terminal.input).unwrap();
                assert!(after.local_modes.contains(LocalModes::ECHO));
            });
        }
    }

    #[test]
    fn question_cannot_be_forged() {
        let (mut terminal, mut person, _sender) = terminal();
        std::thread::scope(|scope| {
            let asking =
                scope.spawn(move || terminal.question("Remove `a\u{1b}[2K\rKeep\u{202e}`?").unwrap());
            person.sees(r"Remove `a\u{1b}[2K\rKeep\u{202e}`? [y/N] ", 1);
            person.types("n\n");
            assert_eq!(asking.join().unwrap(), Answer::No);
        });
    }

    #[test]
    fn signal_ends_the_question_and_those_after_it() {
        let (mut terminal, mut person, sender) = terminal();
        // Not SIGINT: the test process is shared with tests that listen to that.
        terminal.listen(&sender, &[SIGUSR1]).unwrap();
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || {
                let first = terminal.question("Roll back 1.3?").unwrap();
                let second = terminal.typed("Roll back 1.3?", "1.3").unwrap();
                let third = terminal.line("Keep for?", "30d").unwrap_err().kind().name();
                (first, second, third)
            });
            person.sees("[y/N] ", 1);
            signal_hook::low_level::raise(SIGUSR1).unwrap();
            assert_eq!(
                asking.join().unwrap(),
                (Answer::Interrupted, Answer::Interrupted, "cancelled")
            );
        });
    }

    #[test]
    fn terminal_that_goes_away_is_a_no() {
        let (mut terminal, mut person, _sender) = terminal();
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || terminal.question("Roll back 1.3?").unwrap());
            person.sees("[y/N] ", 1);
            drop(person);
            assert_eq!(asking.join().unwrap(), Answer::EndOfInput);
        });
    }

    #[test]
    fn raw_terminal_is_usable_and_left_as_it_was() {
        let (mut terminal, mut person, _sender) = terminal();
        let mut raw = rustix::termios::tcgetattr(&terminal.input).unwrap();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal.input, OptionalActions::Now, &raw).unwrap();
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || (terminal.question("Roll back 1.3?").unwrap(), terminal));
            person.sees("[y/N] ", 1);
            person.types("y\r");
            let (answer, terminal) = asking.join().unwrap();
            assert_eq!(answer, Answer::Yes);
            let after = rustix::termios::tcgetattr(&terminal.input).unwrap();
            assert_eq!(
                (after.local_modes, after.input_modes),
                (raw.local_modes, raw.input_modes)
            );
        });
    }
}
