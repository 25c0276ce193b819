//! Levels: the words of the usual loggers, and their numbers, each by the scale of whoever writes them.

/// How bad an event is. Finer steps are one here: nothing is decided by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault: trace, debug, verbose.
    Debug,
    /// What is usual: info, notice.
    Info,
    /// What may become bad.
    Warning,
    /// What went wrong: error, critical, alert.
    Error,
    /// What ended the program: fatal, panic, emergency.
    Fatal,
}

/// Who numbers levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// RFC 5424 and journald: 0 emergency to 7 debug.
    Syslog,
    /// pino and bunyan: 10 trace to 60 fatal.
    Pino,
    /// Python's `logging` and what builds on it: 10 debug to 50 critical.
    Python,
    /// OpenTelemetry: 1 trace to 24 fatal.
    OpenTelemetry,
    /// Nobody knows.
    Unknown,
}

impl Level {
    /// The level of a word, in any case.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        let mut lower = [0_u8; 16];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"trce" | b"trc" | b"debug" | b"debug2" | b"debug3" | b"debug4" | b"dbug" | b"dbg"
            | b"verbose" | b"silly" | b"sill" | b"fine" | b"finer" | b"finest" => Self::Debug,
            b"info" | b"information" | b"informational" | b"inf" | b"notice" | b"success" | b"log"
            | b"http" | b"timing" | b"help" | b"data" => Self::Info,
            b"warning" | b"warn" | b"wrn" => Self::Warning,
            b"error" | b"err" | b"erro" | b"severe" | b"critical" | b"crit" | b"alert" | b"dpanic"
            | b"fail" => Self::Error,
            b"fatal" | b"ftl" | b"panic" | b"emerg" | b"emergency" => Self::Fatal,
            // `ERROR2` and the like of OpenTelemetry.
            [word @ .., b'2'..=b'4'] => {
                let word = std::str::from_utf8(word).ok()?;
                return matches!(word, "trace" | "info" | "warn" | "error" | "fatal")
                    .then(|| Self::of_word(word))
                    .flatten();
            }
            _ => return None,
        })
    }

    /// The level of a number. Where the scale is not known, only what all that may be meant agree on.
    pub(super) fn of_number(number: f64, scale: Scale) -> Option<Self> {
        let whole = (number.fract() == 0.0 && (0.0..=100.0).contains(&number))
            .then(|| format!("{number:.0}").parse::<u8>().ok())
            .flatten()?;
        let level = match scale {
            Scale::Syslog => match whole {
                0 => Self::Fatal,
                1..=3 => Self::Error,
                4 => Self::Warning,
                5..=6 => Self::Info,
                7 => Self::Debug,
                _ => return None,
            },
            Scale::Pino => match whole {
                1..=29 => Self::Debug,
                30..=39 => Self::Info,
                40..=49 => Self::Warning,
                50..=59 => Self::Error,
                60.. => Self::Fatal,
                _ => return None,
            },
            Scale::Python => match whole {
                1..=19 => Self::Debug,
                20..=29 => Self::Info,
                30..=39 => Self::Warning,
                40.. => Self::Error,
                _ => return None,
            },
            Scale::OpenTelemetry => match whole {
                1..=8 => Self::Debug,
                9..=12 => Self::Info,
                13..=16 => Self::Warning,
                17..=20 => Self::Error,
                21..=24 => Self::Fatal,
                _ => return None,
            },
            // pino's and Python's: 40 is a warning of the one and an error of the other.
            Scale::Unknown => match whole {
                10 => Self::Debug,
                20 | 30 => Self::Info,
                50 | 60 => Self::Error,
                _ => return None,
            },
        };
        Some(level)
    }
}
