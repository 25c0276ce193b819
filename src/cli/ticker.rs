//! How far a long operation is: one line on a terminal that is written over, or JSON lines. Short operations show
//! nothing.

use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::base::wording::{bytes, duration, plural};
use crate::cli::shared::{Everywhere, say};
use crate::host::files::{Meter, Progress};

/// How often the counters are read.
const BEAT: Duration = Duration::from_millis(200);

/// How long an operation goes on before anything is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// The start of the line, and nothing after it.
const CLEAR: &str = "\r\x1b[K";

/// What is shown how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Line,
    Events,
}

/// Shows how far the operation at hand is, while it lives.
pub struct Ticker {
    meter: Arc<Meter>,
    /// Whether a line is on the terminal that is to be written over. Who holds it has the terminal.
    is_shown: Arc<Mutex<bool>>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Begins to watch, where somebody looks.
    #[must_use]
    pub fn start(everywhere: &Everywhere, meter: &Arc<Meter>) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let form = if everywhere.json_events {
            Some(Form::Events)
        } else if everywhere.quiet || everywhere.json || dumb || !std::io::stderr().is_terminal() {
            None
        } else {
            Some(Form::Line)
        };
        let is_shown = Arc::new(Mutex::new(false));
        let mut ticker = Self {
            meter: Arc::clone(meter),
            is_shown: Arc::clone(&is_shown),
            end: None,
            thread: None,
        };
        if let Some(form) = form {
            let (end, ended) = channel();
            let meter = Arc::clone(meter);
            ticker.end = Some(end);
            ticker.thread = Some(std::thread::spawn(move || {
                watch(form, &meter, &is_shown, &ended);
            }));
        }
        ticker
    }

    /// Says something else, in place of the line.
    pub fn say(&self, text: &str) {
        let mut is_shown = self.is_shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *is_shown) {
            say(CLEAR);
        }
        say(text);
    }

    /// The operation is over.
    pub fn rest(&self) {
        self.meter.begin(0);
        self.say("");
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been told by itself; it only showed something.
            let _ = thread.join();
        }
        self.say("");
    }
}

fn watch(form: Form, meter: &Meter, is_shown: &Mutex<bool>, ended: &Receiver<()>) {
    let mut begun: Option<(Instant, Progress)> = None;
    while ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
        let now = meter.read();
        if now.bytes == 0 && now.files == 0 {
            begun = None;
            continue;
        }
        let since = match begun {
            Some((since, before))
                if before.total == now.total && before.bytes <= now.bytes && before.files <= now.files =>
            {
                since
            }
            _ => Instant::now(),
        };
        begun = Some((since, now));
        if since.elapsed() < PATIENCE {
            continue;
        }
        let mut is_shown = is_shown.lock().unwrap_or_else(PoisonError::into_inner);
        let left = left(&now, since.elapsed());
        match form {
            Form::Events => say(&format!(
                "{}\n",
                json!({
                    "event": "progress", "files": now.files, "bytes": now.bytes, "total_bytes": now.total,
                    "seconds_left": left.map(|left| left.as_secs()),
                })
            )),
            Form::Line => {
                *is_shown = true;
                say(&format!("{CLEAR}    {}", rendered(&now, left)));
            }
        }
    }
}

/// The time that the rest takes at this pace.
fn left(now: &Progress, elapsed: Duration) -> Option<Duration> {
    let total = now.total.filter(|total| *total >= now.bytes && now.bytes > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rest = (total - now.bytes) as f64 / now.bytes as f64;
    Some(elapsed.mul_f64(rest.min(1e6)))
}

fn rendered(now: &Progress, left: Option<Duration>) -> String {
    let mut text = plural(now.files, "file");
    match now.total.filter(|total| *total >= now.bytes) {
        Some(total) => text.push_str(&format!(", {} of {}", bytes(now.bytes), bytes(total))),
        None if now.bytes > 0 => text.push_str(&format!(", {}", bytes(now.bytes))),
        None => {}
    }
    if let Some(left) = left {
        // Whole seconds: an estimate has no more.
        text.push_str(&format!(", {} left", duration(left.as_secs() * 1000)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_from_the_pace() {
        let now = Progress {
            bytes: 1 << 20,
            files: 3,
            total: Some(4 << 20),
        };
        let left = left(&now, Duration::from_secs(2));
        assert_eq!(left, Some(Duration::from_secs(6)));
        assert_eq!(rendered(&now, left), "3 files, 1.0 MiB of 4.0 MiB, 6.0 s left");
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let removed = Progress {
            bytes: 0,
            files: 1,
            total: None,
        };
        assert_eq!(left(&removed, Duration::from_secs(1)), None);
        assert_eq!(rendered(&removed, None), "1 file");
        // More than was expected, because a file grew.
        let more = Progress {
            bytes: 2048,
            files: 1,
            total: Some(1024),
        };
        assert_eq!(left(&more, Duration::from_secs(1)), None);
        assert_eq!(rendered(&more, None), "1 file, 2.0 KiB");
    }
}
