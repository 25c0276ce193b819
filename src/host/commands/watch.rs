//! A child until its end: its output is drained, its deadline and the cancellation are kept, its group ends with it.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::invocation::{Invocation, Ran};
use crate::base::error::{Error, Result};

/// How much of each output stream is kept, in bytes; the rest is read and dropped.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;

/// How long a program may take to end by itself after TERM.
const GRACE: Duration = Duration::from_secs(2);

/// How often a waiting call looks at the cancellation flag.
const TICK: Duration = Duration::from_millis(100);

/// How many times the pipes are read after the program's end: more than they hold, and not for ever, because a
/// daemon that left the group may go on writing.
const ROUNDS_AFTER_END: u32 = 64;

/// Where the output of a program goes, piece by piece.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// A child that is never left alone: dropping it ends its process group and reaps it.
pub(crate) struct Watch<'a> {
    child: Child,
    group: Pid,
    program: &'a Path,
    began: Instant,
    timeout: Duration,
    force: Signal,
    pulse: Option<&'a mut dyn FnMut()>,
    reaped: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// One output stream, drained up to its end; kept up to a limit, or given away.
struct Stream<'s, 'k, R> {
    source: Option<R>,
    kept: Vec<u8>,
    dropped: bool,
    sink: Option<&'s mut Sink<'k>>,
    /// What the sink said; nothing is read after that.
    failed: Option<Error>,
}

impl<'s, 'k, R: Read> Stream<'s, 'k, R> {
    fn new(source: Option<R>, sink: Option<&'s mut Sink<'k>>) -> Self {
        Self {
            source,
            kept: Vec::new(),
            dropped: false,
            sink,
            failed: None,
        }
    }

    /// Reads what is there; the caller knows that it won't block.
    fn drain(&mut self, buffer: &mut [u8]) {
        let Some(source) = self.source.as_mut() else {
            return;
        };
        match source.read(buffer) {
            Ok(0) => self.source = None,
            Ok(count) if self.sink.is_some() => {
                let piece = buffer.get(..count).unwrap_or_default();
                if let Some(Err(error)) = self.sink.as_mut().map(|sink| sink(piece)) {
                    self.failed = Some(error);
                    self.source = None;
                }
            }
            Ok(count) => {
                let room = OUTPUT_LIMIT.saturating_sub(self.kept.len()).min(count);
                self.kept
                    .extend_from_slice(buffer.get(..room).unwrap_or_default());
                self.dropped |= room < count;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => self.source = None,
        }
    }
}

/// Why a child is being ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Deadline,
    Cancelled,
}

impl<'a> Watch<'a> {
    pub(crate) fn over(child: Child, invocation: &'a Invocation, began: Instant) -> Self {
        let group = Pid::from_child(&child);
        Self {
            child,
            group,
            program: &invocation.program,
            began,
            timeout: invocation.timeout,
            force: Signal::KILL,
            pulse: None,
            reaped: false,
        }
    }

    /// The signal by which a child that understands it ends at once, with all that it answers for.
    pub(crate) fn forced_by(mut self, force: Signal) -> Self {
        self.force = force;
        self
    }

    /// What is done now and then while the child runs.
    pub(crate) fn pulse(mut self, pulse: &'a mut dyn FnMut()) -> Self {
        self.pulse = Some(pulse);
        self
    }

    /// Signals the whole group. Its number is ours as long as the leader is not reaped.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }

    pub(crate) fn wait_for_end(
        mut self,
        cancel: Option<&AtomicBool>,
        sink: Option<&mut Sink<'_>>,
    ) -> Result<Ran> {
        let exit = pidfd_open(self.group, PidfdFlags::empty()).map_err(|error| {
            Error::io(format_args!("watch `{}`", self.program.display()), &error.into()).after_changes()
        })?;
        let mut stdout = Stream::new(self.child.stdout.take(), sink);
        let mut stderr = Stream::new(self.child.stderr.take(), None);
        let mut buffer = vec![0_u8; 64 * 1024];
        let mut stop: Option<(Stop, Instant)> = None;
        let mut ended = false;
        let mut rounds_left = ROUNDS_AFTER_END;
        loop {
            // After the leader's end only what it left in the pipes is read: a daemon may hold them open for ever.
            let patience = if ended {
                Duration::ZERO
            } else {
                self.patience(stop)
            };
            let ready = wait(&exit, &stdout, &stderr, patience).map_err(|error| {
                Error::io(format_args!("wait for `{}`", self.program.display()), &error).after_changes()
            })?;
            if ready.stdout {
                stdout.drain(&mut buffer);
            }
            if ready.stderr {
                stderr.drain(&mut buffer);
            }
            if ended {
                rounds_left -= 1;
                if rounds_left == 0 || !(ready.stdout || ready.stderr) {
                    break;
                }
                continue;
            }
            if ready.exit {
                self.signal(Signal::KILL);
                ended = true;
                continue;
            }
            if let Some(pulse) = self.pulse.as_mut() {
                pulse();
            }
            stop = self.stop(stop, cancel);
        }
        let status = self.child.wait();
        self.reaped = status.is_ok();
        let status = status.map_err(|error| {
            Error::io(format_args!("wait for `{}`", self.program.display()), &error).after_changes()
        })?;
        if let Some(error) = stdout.failed {
            return Err(error);
        }
        if matches!(stop, Some((Stop::Cancelled, _))) {
            return Err(Error::cancelled(format!(
                "`{}` was ended: the run was asked to stop",
                self.program.display()
            )));
        }
        Ok(Ran {
            status: status.code(),
            signal: status.signal(),
            truncated: stdout.dropped || stderr.dropped,
            stdout: stdout.kept,
            stderr: stderr.kept,
            timed_out: matches!(stop, Some((Stop::Deadline, _))),
            duration: self.began.elapsed(),
        })
    }

    /// How long to wait before looking at the clock and the flag again.
    fn patience(&self, stop: Option<(Stop, Instant)>) -> Duration {
        let due = stop.map_or(self.timeout.saturating_sub(self.began.elapsed()), |(_, since)| {
            GRACE.saturating_sub(since.elapsed())
        });
        due.clamp(Duration::from_millis(1), TICK)
    }

    /// Asks the group to end when its time is up or the run is cancelled, and makes it end after the grace period.
    fn stop(&self, stop: Option<(Stop, Instant)>, cancel: Option<&AtomicBool>) -> Option<(Stop, Instant)> {
        if let Some((_, since)) = stop {
            if since.elapsed() >= GRACE * 3 {
                self.signal(Signal::KILL);
            } else if since.elapsed() >= GRACE {
                self.signal(self.force);
            }
            return stop;
        }
        let why = if cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            Stop::Cancelled
        } else if self.began.elapsed() >= self.timeout {
            Stop::Deadline
        } else {
            return None;
        };
        self.signal(Signal::TERM);
        Some((why, Instant::now()))
    }
}

/// What [`wait`] found ready.
struct Ready {
    exit: bool,
    stdout: bool,
    stderr: bool,
}

/// Waits until the child has ended, a stream can be read, or the time is up. An interruption counts as the latter.
fn wait<A: AsFd, B: AsFd>(
    exit: &impl AsFd,
    stdout: &Stream<'_, '_, A>,
    stderr: &Stream<'_, '_, B>,
    patience: Duration,
) -> std::io::Result<Ready> {
    let mut watched = vec![PollFd::new(exit, PollFlags::IN)];
    let out = stdout.source.as_ref().map(|source| {
        watched.push(PollFd::new(source, PollFlags::IN));
        watched.len() - 1
    });
    let err = stderr.source.as_ref().map(|source| {
        watched.push(PollFd::new(source, PollFlags::IN));
        watched.len() - 1
    });
    let patience = Timespec::try_from(patience).unwrap_or_default();
    match poll(&mut watched, Some(&patience)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => {
            return Ok(Ready {
                exit: false,
                stdout: false,
                stderr: false,
            });
        }
        Err(error) => return Err(error.into()),
    }
    let happened = |at: Option<usize>| {
        at.and_then(|at| watched.get(at))
            .is_some_and(|fd| !fd.revents().is_empty())
    };
    Ok(Ready {
        exit: happened(Some(0)),
        stdout: happened(out),
        stderr: happened(err),
    })
}
