//! Starting a run from a program that is confined more tightly than a run may be. One thread that was started before the
//! wall went up starts `rollback run` of this same program, and does nothing else; the run then puts up its own wall.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that starts this program itself"
)]

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::base::error::{Error, Result};
use crate::base::redact;

/// A run to start.
#[derive(Debug, Clone)]
pub struct Order {
    /// The story's id.
    pub story: String,
    /// The word of `--trigger`.
    pub trigger: String,
    /// The text of `--reason`.
    pub reason: String,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Its report, or its error, as JSON.
    pub document: serde_json::Value,
    /// The end of what it said to people.
    pub output: String,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Launcher {
    orders: Sender<(Order, Sender<Result<Ended>>)>,
}

impl Launcher {
    /// Starts the thread for the workspace at `root`. Must be called before the program is confined.
    ///
    /// # Errors
    /// Where no thread can be started, or this program can't be found again.
    pub fn start(root: &Path) -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|error| Error::io("find this program, to start a run with it", &error))?;
        let root = root.to_path_buf();
        let (orders, ordered) = channel::<(Order, Sender<Result<Ended>>)>();
        std::thread::Builder::new()
            .name("launcher".to_owned())
            .spawn(move || {
                for (order, back) in ordered {
                    // Whoever ordered it may have gone.
                    let _ = back.send(run(&program, &root, &order));
                }
            })
            .map_err(|error| Error::io("start the thread that starts runs", &error))?;
        Ok(Self { orders })
    }

    /// Starts a run; how it ended comes when it has.
    #[must_use]
    pub fn launch(&self, order: Order) -> Receiver<Result<Ended>> {
        let (back, ended) = channel();
        // Without the thread nothing comes, and the receiver says so.
        let _ = self.orders.send((order, back));
        ended
    }
}

fn run(program: &PathBuf, root: &Path, order: &Order) -> Result<Ended> {
    const OUTPUT: usize = 2000;
    let mut arguments: Vec<OsString> = [
        "run",
        "--yes",
        "--no-input",
        "--json",
        "--trigger",
        &order.trigger,
    ]
    .map(OsString::from)
    .to_vec();
    arguments.push("--reason".into());
    arguments.push(order.reason.clone().into());
    arguments.push("--workspace".into());
    arguments.push(root.into());
    arguments.push("--".into());
    arguments.push(order.story.clone().into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .env_remove("ROLLBACK_REASON")
        .env_remove("ROLLBACK_WORKSPACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at the terminal of the monitor ends the monitor, not a run half done.
        .process_group(0)
        .output()
        .map_err(|error| Error::io("start the rollback", &error))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let begin = messages.floor_char_boundary(messages.len().saturating_sub(OUTPUT));
    Ok(Ended {
        code: output.status.code(),
        document: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        output: redact::redact(messages.get(begin..).unwrap_or_default().trim()),
    })
}
