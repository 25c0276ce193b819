//! Where things are: the root, the configuration, the paths that a script may name, the lock, the stories.
//!
//! On disk: `rollback.yaml`, `.rollback/` (state), `rollback_backups/`, `rollback_reports/`, `logs/`.

use std::path::{Component, Path, PathBuf};

use tracing::debug;

use crate::base::broken::{Own, is_down};
use crate::base::error::{Error, Result};

/// Addresses (URLs), read in one place.
pub mod address;

/// Second names of the same directories.
pub mod aliases;

/// Users and groups of this machine.
pub mod accounts;

/// Stories: embedded and the workspace's own.
pub mod catalogue;

/// `rollback.yaml`.
pub mod config;

/// The programs that a script may start.
pub mod commands_config;

/// One run at a time.
pub mod lock;

/// `monitor:` of `rollback.yaml`.
pub mod monitor_config;

/// In which order stories are rolled back.
pub mod order;

/// Paths as text that leads back to them.
pub mod spelling;

/// Whose configuration, scripts and state are obeyed.
pub mod trust;

/// `alerts:` of `rollback.yaml`.
pub mod alerts_config;

/// Secrets, and where they are read from.
pub mod secret;

/// Texts with placeholders.
pub mod template;

/// Scripts and stories, as data.
pub mod story;

/// The feature flags and their dependencies.
pub mod flags;

use config::Config;

/// Opens a file that this program itself reads. A pipe in its place would be waited for without end, so that no signal
/// could end the program.
///
/// # Errors
/// What the system says; `InvalidInput` for what is no regular file.
pub fn open(path: &Path) -> std::io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(file)
}

/// The contents of a file that this program itself reads: a regular one of at most `limit` bytes.
///
/// # Errors
/// As [`open`]; `FileTooLarge` for a larger one.
pub fn contents(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut contents = Vec::new();
    open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut contents)?;
    if contents.len() as u64 > limit {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("it is larger than {limit} bytes"),
        ));
    }
    Ok(contents)
}

/// As [`contents`], for text.
///
/// # Errors
/// As [`contents`]; `InvalidData` where it is not UTF-8.
pub fn text(path: &Path, limit: u64) -> std::io::Result<String> {
    String::from_utf8(contents(path, limit)?).map_err(|_| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "stream did not contain valid UTF-8",
        )
    })
}

/// The longest name of a file that we make of somebody else's, in bytes: what is put before or behind it fits into the
/// 255 of the system.
const LONGEST_NAME: usize = 200;

/// A name for a file of ours that is `name` itself, or where that is too long its beginning and a digest of it.
#[must_use]
pub fn bounded_name(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let start = name
        .get(..name.floor_char_boundary(LONGEST_NAME - 17))
        .unwrap_or_default();
    format!("{start}~{}", digest.get(..16).unwrap_or_default())
}

/// The state directory below the root.
pub const STATE: &str = ".rollback";

/// Temporary files of the programs that a run starts, below the root. They remove their own.
pub const TEMPORARY: &str = ".rollback/tmp";

/// Caches of the programs that a run starts, below the root.
pub const CACHE: &str = ".rollback/cache";

/// The report directory below the root.
pub const REPORTS: &str = "rollback_reports";

/// The directory of logs, below the workspace.
pub const LOGS: &str = "logs";

/// In it, what concerns security: every rollback and every switch of a feature.
pub const SECURITY_LOG: &str = "security.log";

/// In it, all that happened.
pub const AUDIT_LOG: &str = "audit.log";

/// In it, what was told to the channel `log` of `alerts:`.
pub const ALERT_LOG: &str = "rollback-alerts.log";

/// The directory of the workspace's own stories.
pub const STORIES: &str = "rollback";

/// The configuration file.
pub const CONFIG: &str = "rollback.yaml";

/// Whether something but a directory stands there; a pipe in the place of a file is told when it is read.
fn is_there(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_dir())
}

/// A workspace: its root and what its configuration says.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    roots: Vec<PathBuf>,
    /// The directories of policy.write, each with its name in the configuration.
    writable: Vec<(PathBuf, String)>,
    aliases: aliases::Aliases,
    config: Config,
    /// What was odd about the configuration.
    pub warnings: Vec<String>,
}

/// A path that a script named: as people see it, and absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Relative to the workspace where it is below it, else absolute. `.` is the workspace itself.
    pub display: String,
    /// Absolute and normalised; no component is `.` or `..`. Links are not resolved.
    pub absolute: PathBuf,
}

impl Place {
    /// A path below this place.
    #[must_use]
    pub fn below(&self, relative: &str) -> Self {
        Self {
            display: join_display(&self.display, relative),
            absolute: self.absolute.join(relative),
        }
    }

    /// An entry of this directory, whatever its name.
    #[must_use]
    pub fn entry(&self, name: &std::ffi::OsStr) -> Self {
        Self {
            display: join_display(&self.display, &name.to_string_lossy()),
            absolute: self.absolute.join(name),
        }
    }

    /// The path as shown, but so that [`Workspace::place`] leads back to it though it is not UTF-8.
    #[must_use]
    pub fn spelled(&self) -> String {
        if self.absolute.to_str().is_some() || self.display == "." {
            return self.display.clone();
        }
        if self.display.starts_with('/') {
            return spelling::spelled(&self.absolute);
        }
        let count = self.display.split('/').count();
        let above = self.absolute.components().count().saturating_sub(count);
        let below: PathBuf = self.absolute.components().skip(above).collect();
        spelling::spelled(&below)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.display)
    }
}

fn join_display(base: &str, relative: &str) -> String {
    if base == "." {
        relative.to_owned()
    } else {
        format!("{base}/{relative}")
    }
}

impl Workspace {
    /// Finds the workspace: the named directory, else the nearest parent of the current directory that holds
    /// `rollback.yaml`, else the nearest that holds `config/feature-flags.yaml`.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] where there is none, [`crate::base::error::Kind::Configuration`] where `rollback.yaml` is wrong.
    pub fn find(named: Option<&Path>) -> Result<Self> {
        let current =
            std::env::current_dir().map_err(|error| Error::io("read the current directory", &error))?;
        let root = match named {
            Some(directory) => {
                let directory = current.join(directory);
                if !directory.is_dir() {
                    return Err(Error::usage(format!(
                        "workspace `{}` is not a directory",
                        directory.display()
                    ))
                    .hint("name an existing directory with --workspace"));
                }
                // What was done there can be looked at and taken back even where the flags file is lost.
                let is_workspace = [CONFIG, config::FLAGS_FILE]
                    .iter()
                    .any(|file| is_there(&directory.join(file)))
                    || directory.join(STATE).is_dir();
                if !is_workspace {
                    return Err(Error::usage(format!(
                        "`{}` is no workspace: neither `{CONFIG}` nor `{}` is in it",
                        directory.display(),
                        config::FLAGS_FILE
                    ))
                    .hint(
                        "name the project's directory with --workspace, or make one with `rollback init`",
                    ));
                }
                directory
            }
            None => current
                .ancestors()
                .find(|parent| is_there(&parent.join(CONFIG)))
                .or_else(|| {
                    current
                        .ancestors()
                        .find(|parent| is_there(&parent.join(config::FLAGS_FILE)))
                })
                .map(Path::to_path_buf)
                .ok_or_else(|| {
                    Error::usage(format!(
                        "no workspace here: neither `{CONFIG}` nor `{}` in `{}` or above it",
                        config::FLAGS_FILE,
                        current.display()
                    ))
                    .hint("go to the project, name it with --workspace DIR, or make one with `rollback init`")
                })?,
        };
        Self::open(&root)
    }

    /// Opens the workspace at `root`.
    ///
    /// # Errors
    /// As [`Workspace::find`].
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.canonicalize().map_err(|error| {
            Error::usage(format!("cannot open workspace `{}`: {error}", root.display())).caused_by(error)
        })?;
        trust::check_configuration(&root)?;
        let (config, mut warnings) = Config::load(&root)?;
        debug!(root = %root.display(), write = ?config.policy.write, "workspace opened");
        let mut roots = vec![root.clone()];
        let mut writable = Vec::new();
        for extra in &config.policy.write {
            let directory = root.join(extra);
            let directory = directory.canonicalize().map_err(|error| {
                Error::configuration(format!(
                    "policy.write names `{extra}`, which cannot be opened: {error}"
                ))
                .hint(format!("make the directory, or take the line out of `{CONFIG}`"))
                .caused_by(error)
            })?;
            if !roots.contains(&directory) {
                roots.push(directory.clone());
            }
            writable.push((directory, extra.clone()));
        }
        let aliases = aliases::Aliases::read(&roots).unwrap_or_else(|error| {
            warnings.push(format!(
                "what is mounted in the workspace is not known: cannot read the kernel's list: {error}"
            ));
            aliases::Aliases::default()
        });
        Ok(Self {
            root,
            roots,
            writable,
            aliases,
            config,
            warnings,
        })
    }

    /// The absolute, resolved root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The roots below which paths may be named; the workspace comes first.
    #[must_use]
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The directory of policy.write in which a path lies, as a rule names it: `workspace`, or as the configuration
    /// writes it. `None` where a run may not write.
    #[must_use]
    pub fn writable(&self, absolute: &Path) -> Option<&str> {
        let root = self.writable.iter().find(|(root, _)| absolute.starts_with(root));
        root.map(|(_, name)| if name == "." { "workspace" } else { name.as_str() })
    }

    /// What `rollback.yaml` says, with defaults.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The stores and records of runs, each in a directory of its own.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.state().join("runs")
    }

    /// `.rollback`.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join(STATE)
    }

    /// The directory of backups.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.root.join(&self.config.backups.dir)
    }

    /// The directory of a run.
    #[must_use]
    pub fn run_directory(&self, run: &str) -> PathBuf {
        self.runs().join(run)
    }

    /// The flags file.
    #[must_use]
    pub fn flags_file(&self) -> Place {
        self.configured(&self.config.flags_file)
    }

    /// The environment file.
    #[must_use]
    pub fn env_file(&self) -> Place {
        self.configured(&self.config.env_file)
    }

    /// A path of the configuration, which was validated when it was read.
    fn configured(&self, path: &str) -> Place {
        self.show(&self.aliases.first_name(&self.root.join(path)))
    }

    /// Second names of directories, by what is mounted.
    #[must_use]
    pub fn aliases(&self) -> &aliases::Aliases {
        &self.aliases
    }

    /// The place of an absolute path.
    #[must_use]
    pub fn show(&self, absolute: &Path) -> Place {
        let display = match absolute.strip_prefix(&self.root) {
            Ok(relative) if relative.as_os_str().is_empty() => ".".to_owned(),
            Ok(relative) => relative.to_string_lossy().into_owned(),
            Err(_) => absolute.to_string_lossy().into_owned(),
        };
        Place {
            display,
            absolute: absolute.to_path_buf(),
        }
    }

    /// The place that a script names, by its first name where it has several.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Invalid`] for an empty path, `~` or a NUL; [`crate::base::error::Kind::Denied`] for a path
    /// that leads out of the roots.
    pub fn place(&self, text: &str) -> Result<Place> {
        if text.is_empty() {
            return Err(
                Error::invalid("the path is empty").hint("name a path relative to the workspace, or `.`")
            );
        }
        let Some(given) = spelling::read(text) else {
            return Err(Error::invalid("the path contains a NUL character"));
        };
        if text.len() > 4096 {
            return Err(Error::invalid(format!(
                "the path is {} bytes long; 4096 are the most",
                text.len()
            )));
        }
        if text == "~" || text.starts_with("~/") {
            return Err(Error::invalid(format!("`{text}`: `~` has no meaning here"))
                .hint("name a path relative to the workspace"));
        }
        if is_down(Own::Policy) {
            return Ok(self.show(&self.root.join(&given)));
        }
        let mut absolute = if given.is_absolute() {
            PathBuf::from("/")
        } else {
            self.root.clone()
        };
        for component in given.components() {
            match component {
                Component::Normal(name) => absolute.push(name),
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(Error::denied(format!("`{text}` goes up with `..`"))
                        .hint("name the path from the workspace's root"));
                }
            }
        }
        if !self.roots.iter().any(|root| absolute.starts_with(root)) {
            return Err(
                Error::denied(format!("`{text}` lies outside the workspace")).hint(format!(
                    "if a script may change it, list its directory in policy.write of `{CONFIG}`"
                )),
            );
        }
        Ok(self.show(&self.aliases.first_name(&absolute)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bounded_length_stay_readable_and_different() {
        assert_eq!(bounded_name("store"), "store");
        let long = "é".repeat(127);
        let (one, other) = (
            bounded_name(&format!("{long}a")),
            bounded_name(&format!("{long}b")),
        );
        assert_ne!(one, other);
        for name in [&one, &other] {
            assert!(name.len() <= LONGEST_NAME && name.starts_with("éé"), "{name}");
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let workspace = Workspace::open(directory.path()).expect("a workspace");
        for path in ["..", "a/../../b", "/etc/passwd", "/", "a/../b"] {
            let error = workspace.place(path).expect_err(path);
            assert_eq!(error.kind(), crate::base::error::Kind::Denied, "{path}");
        }
        for path in ["", "~", "~/x", "a\0b"] {
            let error = workspace.place(path).expect_err(path);
            assert_eq!(error.kind(), crate::base::error::Kind::Invalid, "{path}");
        }
        for (path, display) in [("a//b/./c/", "a/b/c"), (".", "."), ("./x", "x")] {
            assert_eq!(workspace.place(path).expect(path).display, display);
        }
    }
}
