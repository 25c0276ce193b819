//! Heads of the audit log that are kept outside it: in the lines of `logs/` and in the reports. Whoever cuts the log
//! and its head back together has to find these, too.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;
use walkdir::WalkDir;

use crate::report::AuditHead;
use crate::workspace::REPORTS;

/// The longest line or report that is read, in bytes.
const LIMIT: u64 = 16 << 20;

/// A head that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The file that keeps it, relative to the workspace.
    pub place: String,
    /// When it was kept, RFC 3339 UTC.
    pub at: String,
    /// The head.
    pub head: AuditHead,
}

/// All heads that a workspace keeps outside the log, oldest first, and why some may be missing: what could not be looked at.
/// What holds no head keeps none: other programs write into `logs/` as well.
#[must_use]
pub fn collect(root: &Path) -> (Vec<Anchor>, Vec<String>) {
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    for (directory, ending) in [("logs", ".log"), (REPORTS, ".json")] {
        let walk = WalkDir::new(root.join(directory)).min_depth(1).max_depth(1);
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let why = error.io_error().map(std::io::Error::kind);
                    if why != Some(ErrorKind::NotFound) {
                        unseen.push(format!("cannot look for heads in `{directory}`: {error}"));
                    }
                    continue;
                }
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            // A pipe would keep us waiting for ever.
            if !name.ends_with(ending) || !entry.file_type().is_file() {
                continue;
            }
            let place = format!("{directory}/{name}");
            let read = crate::workspace::open(entry.path()).and_then(|file| {
                if directory == REPORTS {
                    of_report(&place, file, &mut found)
                } else {
                    of_log(&place, file, &mut found)
                }
            });
            if let Err(error) = read {
                unseen.push(format!("cannot look for heads in `{place}`: {error}"));
            }
        }
    }
    found.sort_by(|left, right| (&left.at, left.head.seq).cmp(&(&right.at, right.head.seq)));
    found.dedup_by(|right, left| right.head == left.head);
    (found, unseen)
}

/// What is longer than is read may hold a head.
fn too_long(what: &str) -> std::io::Error {
    std::io::Error::new(
        ErrorKind::FileTooLarge,
        format!("{what} is longer than {LIMIT} bytes"),
    )
}

fn of_report(place: &str, file: File, found: &mut Vec<Anchor>) -> std::io::Result<()> {
    #[derive(Deserialize)]
    struct Report {
        finished: String,
        audit_head: AuditHead,
    }
    if file.metadata()?.len() > LIMIT {
        return Err(too_long("it"));
    }
    match serde_json::from_reader::<_, Report>(BufReader::new(file.take(LIMIT))) {
        Ok(report) => found.push(Anchor {
            place: place.to_owned(),
            at: report.finished,
            head: report.audit_head,
        }),
        Err(error) if error.is_io() => return Err(error.into()),
        Err(_) => {}
    }
    Ok(())
}

fn of_log(place: &str, file: File, found: &mut Vec<Anchor>) -> std::io::Result<()> {
    #[derive(Deserialize)]
    struct Line {
        timestamp: String,
        #[serde(rename = "auditHead")]
        head: AuditHead,
    }
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    let mut whole = Ok(());
    loop {
        line.clear();
        if reader.by_ref().take(LIMIT).read_until(b'\n', &mut line)? == 0 {
            return whole;
        }
        if line.len() as u64 >= LIMIT && !line.ends_with(b"\n") {
            whole = Err(too_long("a line of it"));
        }
        if memchr::memmem::find(&line, b"\"auditHead\"").is_none() {
            continue;
        }
        if let Ok(line) = serde_json::from_slice::<Line>(&line) {
            found.push(Anchor {
                place: place.to_owned(),
                at: line.timestamp,
                head: line.head,
            });
        }
    }
}
