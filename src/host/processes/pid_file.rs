//! Pid files: evidence that a process was meant, never the truth about it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

use super::PassedOver;
use super::table::{Seen, Table};

/// How much later than its pid file a process may have started: file times are coarse, and so are start times.
const SLACK: Duration = Duration::from_secs(2);

/// The most that a pid file may hold, in bytes.
const PID_FILE: usize = 64;

/// What a pid file says.
#[derive(Debug)]
pub(super) struct PidFile {
    /// The number in it.
    pub pid: i32,
    written: SystemTime,
}

impl PidFile {
    /// `None` where there is no file; the reason where it is no pid file.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
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
        file.take(PID_FILE as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot be read: {error}"))?;
        let pid = Self::number(&bytes).ok_or("does not hold one process number")?;
        let written = about
            .modified()
            .map_err(|error| format!("has no modification time: {error}"))?;
        Ok(Some(Self { pid, written }))
    }

    /// One decimal number with blanks around it; nothing else counts.
    fn number(bytes: &[u8]) -> Option<i32> {
        if bytes.len() > PID_FILE {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?.trim_ascii();
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
        let (command, why) = if table.is_own(self.pid) {
            (String::new(), format!("pid file `{file}` names this run itself"))
        } else {
            match Seen::open(self.pid).and_then(|seen| table.process(&seen)) {
                Some(process) => (
                    process.describe(),
                    format!("pid file `{file}` names it, but it does not match the rest"),
                ),
                None => (
                    String::new(),
                    format!("pid file `{file}` is stale: there is no such process"),
                ),
            }
        };
        PassedOver {
            pid: Some(self.pid),
            command,
            why,
            doubtful: false,
        }
    }
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
            "1\n\0",
            "١",
        ];
        for bytes in refused {
            assert_eq!(PidFile::number(bytes.as_bytes()), None, "{bytes:?}");
        }
        assert_eq!(PidFile::number(&[b'1'; PID_FILE + 1]), None);
        assert_eq!(PidFile::number(b" 0012 \r\n"), Some(12));
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
                .contains("one process number")
        );
        assert!(
            PidFile::read(&trial.root().join("none.pid"))
                .expect("no file")
                .is_none()
        );
    }
}
