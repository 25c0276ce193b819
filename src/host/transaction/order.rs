//! What the processes of a rehearsal say to each other: the order as arguments of this same program, and the lines by which
//! they report. Both ends read and write it here.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use rustix::io::Errno;

/// The first argument by which this program knows that it is to set a rehearsal up.
pub(super) const OUTER: &str = "rehearse-outside-of-the-namespace";

/// And that it is the first process of its namespace.
pub(super) const INNER: &str = "rehearse-inside-of-the-namespace";

/// Below the directory of a layer: what was written, what the kernel needs for it, and what is told.
pub(super) const UPPER: &str = "upper";
pub(super) const WORK: &str = "work";
pub(super) const REPORT: &str = "report";
pub(super) const SOCKETS: &str = "sockets";

/// What is pretended before the command begins: the list of it, the contents of its files, and the layer that it becomes.
pub(super) const SEEDS: &str = "seeds";
pub(super) const SEED_CONTENTS: &str = "contents";
pub(super) const SEEDED: &str = "seeded";
pub(super) const SEED_WORK: &str = "seed-work";

/// How overlays and namespaces are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    /// A user namespace is needed first.
    pub(super) own_users: bool,
    /// The overlay keeps its notes in attributes that everybody may write.
    pub(super) open_notes: bool,
}

impl Rights {
    /// The beginning of the names of the overlay's own attributes.
    pub(super) const fn notes(self) -> &'static str {
        if self.open_notes {
            "user.overlay."
        } else {
            "trusted.overlay."
        }
    }
}

/// What is to be rehearsed. Without a program the namespaces are only tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// The process that must live.
    pub(super) parent: i32,
    /// When that one started, in clock ticks since boot.
    pub(super) parent_started: u64,
    pub(super) rights: Rights,
    /// The directory of the layer.
    pub(super) layer: PathBuf,
    /// The workspace.
    pub(super) root: PathBuf,
    pub(super) cwd: PathBuf,
    pub(super) program: Option<PathBuf>,
    pub(super) arguments: Vec<OsString>,
}

impl Order {
    /// The order as arguments, the word for whom it is first.
    pub(super) fn to_arguments(&self, word: &str) -> Vec<OsString> {
        let flag = |is: bool| OsString::from(if is { "1" } else { "0" });
        let mut arguments = vec![
            word.into(),
            self.parent.to_string().into(),
            self.parent_started.to_string().into(),
            flag(self.rights.own_users),
            flag(self.rights.open_notes),
            self.layer.clone().into(),
            self.root.clone().into(),
            self.cwd.clone().into(),
        ];
        if let Some(program) = &self.program {
            arguments.push(program.clone().into());
            arguments.extend(self.arguments.iter().cloned());
        }
        arguments
    }

    /// What stands behind the word; `None` for what nobody of us wrote.
    pub(super) fn of_arguments(arguments: &[OsString]) -> Option<Self> {
        let text = |at: usize| arguments.get(at).and_then(|word: &OsString| word.to_str());
        let path = |at: usize| arguments.get(at).map(PathBuf::from);
        Some(Self {
            parent: text(0)?.parse().ok()?,
            parent_started: text(1)?.parse().ok()?,
            rights: Rights {
                own_users: text(2)? == "1",
                open_notes: text(3)? == "1",
            },
            layer: path(4)?,
            root: path(5)?,
            cwd: path(6)?,
            program: path(7),
            arguments: arguments.get(8..).unwrap_or_default().to_vec(),
        })
    }

    /// A path below the directory of the layer.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.layer.join(name)
    }
}

/// What was being set up when the system refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Which step, for people: "make namespaces".
    pub(super) step: String,
    /// What the system said, by its number; 0 where it was no system call.
    pub(super) errno: i32,
}

impl Refused {
    /// A step that a system call refused.
    pub(super) fn by(step: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        move |error| Self {
            step: step.into(),
            errno: error.raw_os_error(),
        }
    }

    /// As [`Self::by`], for the errors of the standard library.
    pub(super) fn io(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self {
            step: step.into(),
            errno: error.raw_os_error().unwrap_or_default(),
        }
    }

    /// A step that we refuse ourselves.
    pub(super) fn because(step: impl Into<String>) -> Self {
        Self {
            step: step.into(),
            errno: 0,
        }
    }

    /// The step, and what the system said.
    pub(super) fn reason(&self) -> String {
        if self.errno == 0 {
            self.step.clone()
        } else {
            let message = std::io::Error::from_raw_os_error(self.errno);
            format!("{}: {message}", self.step)
        }
    }
}

/// What the inner process tells of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was started: the system refused a step.
    Refused(Refused),
    /// Everything stands, and the command begins.
    Ready,
    /// The system did not start the command, by this number.
    NotStarted(i32),
    /// It ended with this status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Progress {
    /// Its line.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Refused(refused) => {
                format!("refused {} {}\n", refused.errno, refused.step.replace('\n', " "))
            }
            Self::Ready => "ready\n".to_owned(),
            Self::NotStarted(errno) => format!("not-started {errno}\n"),
            Self::Status(status) => format!("status {status}\n"),
            Self::Signal(signal) => format!("signal {signal}\n"),
        }
    }

    /// The last thing that was told; `None` where nothing was.
    pub(super) fn last(report: &str) -> Option<Self> {
        let line = report.lines().rev().find(|line| !line.is_empty())?;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "refused" => {
                let (errno, step) = rest.split_once(' ')?;
                Some(Self::Refused(Refused {
                    step: step.to_owned(),
                    errno: errno.parse().ok()?,
                }))
            }
            "ready" => Some(Self::Ready),
            "not-started" => rest.parse().ok().map(Self::NotStarted),
            "status" => rest.parse().ok().map(Self::Status),
            "signal" => rest.parse().ok().map(Self::Signal),
            _ => None,
        }
    }
}

/// The order in the arguments of a program, and whether it is for the inner process.
pub(super) fn ordered(arguments: &[OsString]) -> Option<(bool, Option<Order>)> {
    let word = arguments.get(1)?;
    let inner = match word.as_os_str() {
        word if word == OsStr::new(OUTER) => false,
        word if word == OsStr::new(INNER) => true,
        _ => return None,
    };
    Some((inner, Order::of_arguments(arguments.get(2..).unwrap_or_default())))
}

/// The path by which the kernel finds an open descriptor of this process.
pub(super) fn by_descriptor(open: &impl std::os::fd::AsRawFd) -> String {
    format!("/proc/self/fd/{}", open.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn an_order_comes_back_from_its_arguments() {
        let order = Order {
            parent: 17,
            parent_started: 4711,
            rights: Rights {
                own_users: true,
                open_notes: false,
            },
            layer: "/a layer".into(),
            root: PathBuf::from(OsString::from_vec(b"/w\xff,:".to_vec())),
            cwd: "/w/sub".into(),
            program: Some("/bin/sh".into()),
            arguments: vec!["-c".into(), OsString::from_vec(b"\xfe\n".to_vec()), "".into()],
        };
        let mut arguments = vec![OsString::from("rollback")];
        arguments.extend(order.to_arguments(INNER));
        assert_eq!(ordered(&arguments), Some((true, Some(order.clone()))));
        let tried = Order {
            program: None,
            arguments: Vec::new(),
            ..order
        };
        let mut arguments = vec![OsString::from("rollback")];
        arguments.extend(tried.to_arguments(OUTER));
        assert_eq!(ordered(&arguments), Some((false, Some(tried))));
        assert_eq!(ordered(&["rollback".into(), "run".into()]), None);
        assert_eq!(ordered(&["rollback".into(), OUTER.into()]), Some((false, None)));
    }

    #[test]
    fn the_last_line_of_a_report_counts() {
        for progress in [
            Progress::Ready,
            Progress::Status(3),
            Progress::Signal(9),
            Progress::NotStarted(2),
            Progress::Refused(Refused {
                step: "make namespaces".to_owned(),
                errno: 1,
            }),
        ] {
            let report = format!("{}{}", Progress::Ready.line(), progress.line());
            assert_eq!(Progress::last(&report), Some(progress));
        }
        assert_eq!(Progress::last(""), None);
        assert_eq!(Progress::last("rea"), None);
    }
}
