//! No errors in the log of the stack since the run began.

use super::Finding;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::base::wording::plural;
use crate::host::sight::Look;
use crate::log_line::{self, Event, Line, Reader};
use crate::pass::Session;
use crate::workspace::SECURITY_LOG;
use crate::workspace::story::Story;

/// How much of the end of a log is looked at, in bytes.
const LOG_TAIL: usize = 1 << 20;

pub(super) fn are_clean(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let log = view.workspace.place("logs/security.log")?;
    // Past the view, which shows scripts no line of the run itself.
    view.look(Look::Logs, &log)?;
    if view.host.files.stat(&log.absolute)?.is_none() {
        return Ok(Some(Finding::default()));
    }
    let since = log_line::time(&session.since)
        .ok_or_else(|| Error::bug(format!("`{}` is no time", session.since)))?;
    let bytes = view.host.files.read(&log.absolute, u64::MAX)?;
    let cut = bytes.len().saturating_sub(LOG_TAIL);
    let tail = bytes.get(cut..).unwrap_or_default();
    let (mut wrong, mut unread) = (Vec::new(), Unread::default());
    if cut > 0 {
        unread.note("what stands before the end of it was not looked at");
    }
    let mut reader = Reader::in_zone(view.workspace.config().monitor.zone_of(SECURITY_LOG));
    for line in tail.split(|byte| *byte == b'\n') {
        let event = match reader.read(line, since) {
            Line::Empty | Line::Continued => continue,
            Line::Broken => {
                unread.note("it is in no form that is known");
                continue;
            }
            Line::Event(event) => event,
        };
        if event.time().is_some_and(|at| at < since) {
            // Lines are appended: what stands before one of an earlier time is earlier still.
            unread = Unread::default();
            continue;
        }
        let concerns = concerns(&event, story, line);
        if concerns == Some(false) || event.is_error() == Some(false) {
            continue;
        }
        match (&event.at, &event.level, concerns) {
            (Known::Unknown(why), ..) | (_, Known::Unknown(why), _) => unread.note(why),
            (.., None) => unread.note("it does not say whose error it is"),
            (Known::Yes(at), ..) => {
                let name = event.name.as_deref().unwrap_or("an error");
                wrong.push(format!("{} {name}", clock::of_millis(*at)));
            }
        }
    }
    let mut finding = Finding::of(wrong);
    if let Some(why) = unread.why {
        let lines = plural(unread.lines, "line");
        finding
            .unknown
            .push(format!("{lines} of `{log}` could not be read: {why}"));
    }
    Ok(Some(finding))
}

/// Lines that may tell of an error.
#[derive(Default)]
struct Unread {
    lines: u64,
    /// Why the first one does not say so.
    why: Option<String>,
}

impl Unread {
    fn note(&mut self, why: &str) {
        self.lines += 1;
        self.why.get_or_insert_with(|| why.to_owned());
    }
}

/// Whether an event is about a story; `None` where a line of text names nothing that it is about.
fn concerns(event: &Event<'_>, story: &Story, line: &[u8]) -> Option<bool> {
    let names = [&event.story, &event.feature, &event.service];
    let is_ours = event.story.as_deref() == Some(story.id.as_str())
        || story
            .feature
            .as_deref()
            .is_some_and(|feature| names.iter().skip(1).any(|name| name.as_deref() == Some(feature)));
    let says = names.iter().any(|name| name.is_some()) || line.trim_ascii_start().starts_with(b"{");
    (is_ours || says).then_some(is_ours)
}
