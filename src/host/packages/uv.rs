//! uv, for environments that have no pip: made by `uv venv`, mostly.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::pip;
use crate::base::error::Result;
use crate::host::commands::Invocation;

/// uv for one environment, without what could change where it acts: no configuration, no other Python, a cache of ours.
fn uv(program: &Path, environment: &Path, root: &Path, cache: &Path, command: &str) -> Invocation {
    Invocation::new(program, root)
        .cwd(environment)
        .arguments(["pip", command, "--python"])
        .arguments([pip::python(environment)])
        .variable("UV_NO_CONFIG", "1")
        .variable("UV_NO_PROGRESS", "1")
        .variable("UV_PYTHON_DOWNLOADS", "never")
        .variable("UV_CACHE_DIR", cache.display().to_string())
        .with_reach()
        .timeout(Duration::from_mins(10))
}

/// The one command that uninstalls all `names`. It needs no network.
///
/// # Errors
/// As [`pip::uninstall`].
pub fn uninstall(
    program: &Path,
    environment: &Path,
    root: &Path,
    names: &[String],
    cache: &Path,
) -> Result<Invocation> {
    Ok(uv(program, environment, root, cache, "uninstall")
        .arguments(["--offline", "--"])
        .arguments(pip::checked(names)?))
}

/// The one command that installs exactly these versions again, without touching other packages. It needs the package
/// index, or wheels in `cache`.
///
/// # Errors
/// As [`pip::install`].
pub fn install(
    program: &Path,
    environment: &Path,
    root: &Path,
    packages: &BTreeMap<String, String>,
    cache: &Path,
) -> Result<Invocation> {
    Ok(uv(program, environment, root, cache, "install")
        .arguments(["--no-deps", "--"])
        .arguments(pip::pinned(packages)?))
}

/// What uv complains of, in one line: its first error with the cause; nothing where it names none.
#[must_use]
pub fn complaint(messages: &[u8]) -> Option<String> {
    let messages = String::from_utf8_lossy(messages);
    let message = |signs: [&str; 2]| {
        messages.lines().find_map(|line| {
            let line = line.trim();
            let message = signs.iter().find_map(|sign| line.strip_prefix(sign))?.trim();
            (!message.is_empty()).then(|| message.to_owned())
        })
    };
    let error = message(["error:", "×"])?;
    let error = error.trim_end_matches(':');
    Some(match message(["cause:", "╰─▶"]) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_the_error_and_its_cause() {
        let message = "Using Python 3.11.7 environment at: .\nerror: No solution found\n  cause: Because x was not found\n\nhint: y\n";
        assert_eq!(
            complaint(message.as_bytes()).as_deref(),
            Some("No solution found: Because x was not found")
        );
        let older = "  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version\n";
        assert_eq!(
            complaint(older.as_bytes()).as_deref(),
            Some("No solution found when resolving dependencies: Because there is no version")
        );
        assert_eq!(complaint(b"warning: x\n"), None);
    }

    #[test]
    fn commands_take_only_names_and_versions() {
        let place = Path::new("/nowhere");
        assert!(uninstall(place, place, place, &["-r".to_owned()], place).is_err());
        assert!(uninstall(place, place, place, &[], place).is_err());
        let pinned = |version: &str| BTreeMap::from([("a".to_owned(), version.to_owned())]);
        assert!(install(place, place, place, &pinned("1 @ file:///x"), place).is_err());
        assert!(install(place, place, place, &pinned("1.0"), place).is_ok());
    }
}
