//! Programs: found once in a PATH that nobody else can write to, started without a shell, in a clean environment,
//! with a deadline. Keeps nothing on disk.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tracing::debug;

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::workspace::{CACHE, TEMPORARY};

mod find;
mod invocation;
mod watch;

pub use find::find_program;
use find::safe_entries;
pub use invocation::{Invocation, Ran};
pub(crate) use watch::Watch;
pub use watch::{OUTPUT_LIMIT, Sink};

/// The variables that pass from our environment to a program's.
const PASSED: &[&str] = &["HOME", "LANG", "LC_ALL", "USER", "DOCKER_HOST", "XDG_RUNTIME_DIR"];

/// Whether a variable makes a program load or run something else. Such a variable is never set.
#[must_use]
pub fn takes_over(variable: &str) -> bool {
    const NAMES: &[&str] = &[
        "PATH",
        "IFS",
        "ENV",
        "BASH_ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5LIB",
        "PERL5OPT",
        "RUBYLIB",
        "RUBYOPT",
        "GCONV_PATH",
        "JAVA_TOOL_OPTIONS",
    ];
    NAMES.contains(&variable)
        || ["LD_", "DYLD_", "PYTHON", "BASH_FUNC_", "GIT_"]
            .iter()
            .any(|prefix| variable.starts_with(prefix))
}

/// Makes sure that a variable that a script gives does not take the program over. The host itself sets some of these: a
/// configuration of package managers, where they go.
///
/// # Errors
/// `denied`, with the name.
pub fn check_variable(name: &str, program: &str) -> Result<()> {
    let upper = name.to_ascii_uppercase();
    let steers = upper == "HOME"
        || ["NPM_CONFIG_", "PIP_", "DOCKER_", "XDG_", "NODE_"]
            .iter()
            .any(|prefix| upper.starts_with(prefix));
    if steers || takes_over(&upper) {
        return Err(
            Error::denied(format!("the variable `{name}` can't be given to `{program}`"))
                .hint("it would make the program run something else; leave it out"),
        );
    }
    Ok(())
}

/// Starts a program that changes something, and waits for its end.
///
/// A set `cancel` ends it. What it leaves running in its process group ends with it.
///
/// # Errors
/// `not_found` or `failed` if it can't be started, `denied` for a variable that takes it over, `cancelled`.
/// A bad exit status, a signal and a timeout are no errors here: see [`Ran::succeeded`].
pub fn run(_permit: &Permit, invocation: &Invocation, cancel: Option<&AtomicBool>) -> Result<Ran> {
    start(invocation, cancel, None).map_err(|error| match error.kind() {
        crate::base::error::Kind::Cancelled => error.after_changes(),
        _ => error,
    })
}

/// Like [`run`], for a program that an alert goes to. Needs no permit: the configuration names it, and no script does.
///
/// # Errors
/// As for [`run`].
pub fn tell(invocation: &Invocation) -> Result<Ran> {
    start(invocation, None, None)
}

/// Like [`look`], for a program whose whole output is wanted, whatever its size: it goes to `sink`, and none is kept.
///
/// # Errors
/// As for [`run`]; what `sink` says, at which the program is ended.
pub fn look_through(
    invocation: &Invocation,
    sink: &mut Sink<'_>,
    cancel: Option<&AtomicBool>,
) -> Result<Ran> {
    start(invocation, cancel, Some(sink))
}

/// Like [`run`], for a program that only reads: `npm ls`, `docker ps`. Needs no permit.
///
/// # Errors
/// As for [`run`].
pub fn look(invocation: &Invocation, cancel: Option<&AtomicBool>) -> Result<Ran> {
    start(invocation, cancel, None)
}

fn start(invocation: &Invocation, cancel: Option<&AtomicBool>, sink: Option<&mut Sink<'_>>) -> Result<Ran> {
    check(invocation, cancel)?;
    let began = Instant::now();
    debug!(
        program = %invocation.program.display(),
        arguments = ?invocation.arguments,
        cwd = %invocation.cwd.display(),
        "program starts"
    );
    let child = input(invocation)
        .and_then(|input| command(invocation).stdin(input).spawn())
        .map_err(|error| cannot_start(&invocation.program, &error))?;
    let ran = Watch::over(child, invocation, began).wait_for_end(cancel, sink)?;
    debug!(
        program = %invocation.program.display(),
        status = ran.status,
        signal = ran.signal,
        timed_out = ran.timed_out,
        "program ended"
    );
    Ok(ran)
}

/// Refuses what can't be started, or must not be, before anything is.
pub(crate) fn check(invocation: &Invocation, cancel: Option<&AtomicBool>) -> Result<()> {
    let display = invocation.program.display();
    if !invocation.program.is_absolute() || !invocation.cwd.is_dir() {
        return Err(Error::failed(format!(
            "cannot start `{display}` in `{}`",
            invocation.cwd.display()
        ))
        .hint("the program must be an absolute path, and its working directory must exist"));
    }
    if let Some((name, _)) = invocation.environment.iter().find(|(name, _)| takes_over(name)) {
        return Err(
            Error::denied(format!("the variable `{name}` can't be given to `{display}`"))
                .hint("it would make the program run something else; leave it out"),
        );
    }
    if cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        return Err(Error::cancelled(format!(
            "`{display}` was not started: the run was asked to stop"
        )));
    }
    Ok(())
}

/// What is told where the system starts no program.
pub(crate) fn cannot_start(program: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("start `{}`", program.display()), error)
        .hint("check that the file can be executed, and that its interpreter is installed")
}

/// What a program reads: nothing, or a file in memory, which can't fill up and hold both of us as a pipe could.
pub(crate) fn input(invocation: &Invocation) -> std::io::Result<Stdio> {
    let Some(bytes) = &invocation.input else {
        return Ok(Stdio::null());
    };
    let memory = rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Stdio::from(file))
}

/// The system's description of an invocation: no shell, a clean environment, a process group of its own.
fn command(invocation: &Invocation) -> Command {
    let mut command = prepared(&invocation.program, invocation);
    command.args(&invocation.arguments).current_dir(&invocation.cwd);
    command
}

/// A program with the environment, the pipes and the process group that an invocation has.
#[expect(clippy::disallowed_methods, reason = "this is the place where programs start")]
pub(crate) fn prepared(program: &Path, invocation: &Invocation) -> Command {
    let mut command = Command::new(program);
    let entries = safe_entries(&invocation.root, &std::env::var_os("PATH").unwrap_or_default());
    command
        .env_clear()
        .envs(
            PASSED
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env("PATH", std::env::join_paths(entries).unwrap_or_default())
        // Where the kernel's wall lets it write.
        .env("TMPDIR", invocation.root.join(TEMPORARY))
        .env("XDG_CACHE_HOME", invocation.root.join(CACHE))
        .env("npm_config_cache", invocation.root.join(CACHE).join("npm"))
        .envs(invocation.environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

#[cfg(test)]
mod tests;
