//! `rollback trust`: directories whose configuration, scripts and state this user obeys though others can write them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::terminal;
use crate::cli::output::{print, print_json};
use crate::cli::shared::Everywhere;
use crate::workspace::trust;

/// What `rollback trust` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Allow this directory and what is below it; without one the allowed directories are listed
    directory: Option<PathBuf>,
    /// Allow this directory no longer
    #[arg(long, value_name = "DIR", conflicts_with = "directory")]
    remove: Option<PathBuf>,
}

/// Lists the allowed directories, adds one or removes one.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for what is no directory or was not allowed, otherwise what the system says.
pub fn trust(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let mut allowed = trust::list()?;
    match (&arguments.directory, &arguments.remove) {
        (Some(directory), _) => {
            let real = directory
                .canonicalize()
                .ok()
                .filter(|real| real.is_dir() && !real.as_os_str().as_bytes().contains(&b'\n'))
                .ok_or_else(|| {
                    Error::usage(format!(
                        "`{}` is not a directory that can be named",
                        directory.display()
                    ))
                    .hint("name an existing directory, without a line break in its path")
                })?;
            if !allowed.contains(&real) {
                allowed.push(real);
            }
            write(&mut allowed)?;
        }
        (None, Some(directory)) => {
            let real = directory.canonicalize().unwrap_or_else(|_| directory.clone());
            let before = allowed.len();
            allowed.retain(|allowed| *allowed != real && allowed != directory);
            if allowed.len() == before {
                return Err(Error::usage(format!("`{}` was not allowed", directory.display()))
                    .hint("`rollback trust` lists the directories that are"));
            }
            write(&mut allowed)?;
        }
        (None, None) => {}
    }
    if everywhere.json {
        let display: Vec<_> = allowed.iter().map(|path| path.to_string_lossy()).collect();
        print_json(&json!({"schema": "rollback.trusted/1", "trusted": display}));
    } else {
        for path in &allowed {
            print(&format!("{}\n", terminal::escape(&path.to_string_lossy())));
        }
    }
    Ok(ExitCode::Done)
}

fn write(allowed: &mut Vec<PathBuf>) -> Result<()> {
    allowed.sort();
    let file = trust::file().ok_or_else(|| {
        Error::usage("this user has no configuration directory")
            .hint("set HOME or XDG_CONFIG_HOME to an absolute path")
    })?;
    let mut bytes = Vec::new();
    for path in allowed {
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        bytes.push(b'\n');
    }
    super::output::may_change();
    crate::host::private::write(&file, &bytes)
}
