//! A program of `policy.commands`: the alert's JSON on its standard input, a clean environment, a deadline.

use std::time::Duration;

use super::{Refusal, document};
use crate::alert::Shared;
use crate::alert::entry::Entry;
use crate::base::error::Error;
use crate::host::commands::{self, Invocation};
use crate::workspace::template::Message;

pub(crate) fn send(
    shared: &Shared,
    argv: &[String],
    entry: &Entry,
    message: &Message,
    timeout: Duration,
) -> Result<String, Refusal> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| Error::invalid("the command names no program"))?;
    if !shared.commands.contains(program) {
        return Err(Error::denied(format!("`{program}` is not listed in policy.commands")).into());
    }
    let input = document(entry, message).to_string() + "\n";
    let invocation = Invocation::new(commands::find_program(program, &shared.root)?, &shared.root)
        .arguments(arguments)
        .variable("ROLLBACK_ALERT_ID", &entry.alert.id)
        .input(input.into_bytes())
        .timeout(timeout);
    let ran = commands::tell(&invocation)?;
    if ran.succeeded() {
        return Ok("exit status 0".to_owned());
    }
    Err(Refusal {
        why: format!("`{program}` failed: {}", ran.failure()),
        answered: !ran.timed_out,
        retry_after: None,
    })
}
