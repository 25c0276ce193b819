//! Pid files: evidence that a process was meant, never the truth about it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use super::table::{Seen, Table};
use super::{PassedOver, Process};
use crate::base::error::Result;
use crate::base::known::Known;

/// How much later than its pid file a process may have started: file times are coarse, and so are start times.
const SLACK: Duration = Duration::from_secs(2);

/// The most of a pid file that is read, in bytes.
const PID_FILE: usize = 4 << 10;

/// The longest first line, in bytes.
const LINE: usize = 64;

/// What a pid file says.
#[derive(Debug)]
pub(super) struct PidFile {
    /// The number in it.
    pub pid: i32,
    written: SystemTime,
}

impl PidFile {
    /// `None` where there is no file; the reason where it is no pid file.
    pub fn read(path: &Path) -> std::result::Result<Option<Self>, String> {
        // Without `NONBLOCK` a named pipe in its place would hold us for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(format!("cannot be opened: {error}")),
        };
        let about = file
            .metadata()
            .map_err(|error| format!("cannot be read: {error}"))?;
        if !about.is_file() {
            return Err("is not a file".to_owned());
        }
        let mut bytes = Vec::new();
        file.take(PID_FILE as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot be read: {error}"))?;
        let pid = Self::number(&bytes).ok_or("does not begin with a process number")?;
        let written = about
            .modified()
            .map_err(|error| format!("has no modification time: {error}"))?;
        Ok(Some(Self { pid, written }))
    }

    /// One decimal number, alone on the first line; what programs write after it (a directory, a port) tells nothing.
    fn number(bytes: &[u8]) -> Option<i32> {
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        if line.len() > LINE {
            return None;
        }
        let text = std::str::from_utf8(line).ok()?.trim_ascii();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse().ok().filter(|pid| *pid > 0)
    }

    /// Why the process is not the one that the file was written for.
    pub fn doubt(&self, table: &Table, seen: &Seen) -> Option<String> {
        let started = table.time(seen.stat()?.started_ticks);
        let limit = self.written.checked_add(SLACK).unwrap_or(self.written);
        (started > limit).then(|| {
            "it started after the pid file was written: the file is stale, and the number now another process's"
                .to_owned()
        })
    }

    /// Says what became of a number that gave no process.
    pub fn explain(&self, table: &Table, file: &Path) -> PassedOver {
        let file = file.display();
        let unseen = |why: String| PassedOver {
            pid: Some(self.pid),
            started_ticks: None,
            command: String::new(),
            why,
            doubtful: false,
        };
        if table.is_own(self.pid) {
            return unseen(format!("pid file `{file}` names this run itself"));
        }
        match Seen::open(self.pid).and_then(|seen| table.whatever_it_runs(&seen)) {
            // It lives, and may be the service all the same.
            Some(process) => PassedOver {
                pid: Some(self.pid),
                started_ticks: Some(process.started_ticks),
                command: process.describe(),
                why: format!("pid file `{file}` names it, but it does not match the rest"),
                doubtful: true,
            },
            None => unseen(format!("pid file `{file}` is stale: there is no such process")),
        }
    }
}

/// The living process that a pid file names; `None` where there is no file, or it is stale. Whether that is the service is
/// another question.
///
/// # Errors
/// `/proc` cannot be read.
pub fn named_by(file: &Path) -> Result<Known<Option<Process>>> {
    let table = Table::open()?;
    let named = match PidFile::read(file) {
        Ok(None) => return Ok(Known::Yes(None)),
        Ok(Some(named)) => named,
        Err(why) => return Ok(Known::Unknown(format!("it {why}"))),
    };
    let is_there = |seen: &Seen| {
        let stat = seen.stat();
        stat.is_some_and(|stat| stat.is_alive() && !stat.is_kernel()) && named.doubt(&table, seen).is_none()
    };
    let open = || Seen::open(named.pid).filter(is_there);
    let Some(seen) = open() else {
        return Ok(Known::Yes(None));
    };
    Ok(match table.whatever_it_runs(&seen) {
        Some(process) => Known::Yes(Some(process)),
        None if open().is_none() => Known::Yes(None),
        None => Known::Unknown(format!(
            "it names process {}, which cannot be inspected",
            named.pid
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::super::trial::Trial;
    use super::*;

    #[test]
    fn what_is_not_one_number_is_no_pid_file() {
        let refused = [
            "",
            " ",
            "12 13",
            "-1",
            "+1",
            "0",
            "1.0",
            "0x10",
            "99999999999",
            "\n1",
            "1\0\n",
            "١",
        ];
        for bytes in refused {
            assert_eq!(PidFile::number(bytes.as_bytes()), None, "{bytes:?}");
        }
        assert_eq!(PidFile::number(&[b'1'; LINE + 1]), None);
        assert_eq!(PidFile::number(b" 0012 \r\n"), Some(12));
    }

    #[test]
    fn what_follows_the_first_line_tells_nothing() {
        for rest in ["/srv/data\n", "13\n14\n", "\0", "\u{fffd}", &"x".repeat(PID_FILE)] {
            assert_eq!(
                PidFile::number(format!("12\n{rest}").as_bytes()),
                Some(12),
                "{rest:?}"
            );
        }
        let trial = Trial::new();
        let long = trial.write("long.pid", &format!("12\n{}", "x".repeat(2 * PID_FILE)));
        assert_eq!(
            PidFile::read(&long).expect("a pid file").expect("a number").pid,
            12
        );
    }

    #[test]
    fn a_pid_file_names_who_lives_and_nobody_else() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let now = SystemTime::now();
        let named =
            |text: &str, written| named_by(&trial.pid_file(text, written)).expect("a proc file system");
        let number = child.pid().to_string();
        assert!(
            matches!(named(&format!("{number}\n/srv\n"), now), Known::Yes(Some(is)) if is.pid == child.pid())
        );
        assert!(matches!(named("evidence", now), Known::Unknown(why) if why.contains("process number")));
        assert_eq!(named(&number, now - Duration::from_hours(1)), Known::Yes(None));
        child.end();
        assert_eq!(named(&number, now), Known::Yes(None));
    }

    #[test]
    fn what_is_no_file_is_no_pid_file() {
        let trial = Trial::new();
        let pipe = trial.root().join("pipe.pid");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .expect("a pipe");
        for path in [pipe, trial.root()] {
            assert_eq!(PidFile::read(&path).expect_err("refused"), "is not a file");
        }
        let words = trial.write("words.pid", "evidence");
        assert!(
            PidFile::read(&words)
                .expect_err("refused")
                .contains("begin with a process number")
        );
        assert!(
            PidFile::read(&trial.root().join("none.pid"))
                .expect("no file")
                .is_none()
        );
    }
}
