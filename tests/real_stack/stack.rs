//! What is installed once, under `target/real-stack/`, and used by all tests of this kind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The Python packages. Newer dbt engines download a part of themselves when they are installed.
const PYTHON: &[&str] = &[
    "duckdb",
    "dbt-core<1.11",
    "dbt-duckdb<1.11",
    "dagster",
    "dagster-webserver",
    "dagster-dbt",
    "notebook",
    "airbyte",
];

/// The npm project: packages of the stories, and one of nobody's that needs one of them. Four spaces, for the format has
/// to stay.
const PACKAGE_JSON: &str = r#"{
    "name": "data-practitioner",
    "version": "1.0.0",
    "private": true,
    "scripts": { "lint": "lint-staged" },
    "dependencies": {
        "@duckdb/duckdb-wasm": "1.29.0",
        "lint-staged": "15.2.0",
        "node-fetch": "3.3.2",
        "yaml": "2.5.0"
    },
    "devDependencies": {
        "@testing-library/jest-dom": "6.4.0",
        "jest-extended": "4.0.2"
    }
}
"#;

/// Debian's packages of Docker, unpacked beside each other.
const DOCKER: &[&str] = &["docker.io", "containerd", "runc", "tini", "busybox-static"];

/// The same of podman, with the libraries that a machine may lack.
const PODMAN: &[&str] = &[
    "podman",
    "conmon",
    "runc",
    "golang-github-containers-common",
    "golang-github-containers-image",
    "libgpgme11",
    "libassuan0",
    "libgpg-error0",
    "libdevmapper1.02.1",
    "libsubid4",
    "busybox-static",
];

/// What is installed.
pub struct Stack {
    base: PathBuf,
}

/// Why something can't be had here.
pub type Why = String;

/// The stack, installed at the first call; and the turn, because these tests measure time and load the machine.
pub fn stack() -> Result<(&'static Stack, MutexGuard<'static, ()>), Why> {
    static STACK: OnceLock<Result<Stack, Why>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match STACK.get_or_init(Stack::install) {
        Ok(stack) => Ok((stack, turn)),
        Err(why) => Err(why.clone()),
    }
}

/// Says that a test is left out.
pub fn skipped(what: &str, why: &str) {
    crate::skipped::skipped(&format!("{what}: {why}"));
}

impl Stack {
    fn install() -> Result<Self, Why> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real-stack");
        std::fs::create_dir_all(&base).map_err(|error| error.to_string())?;
        let base = base.canonicalize().map_err(|error| error.to_string())?;
        let stack = Self { base };
        once(&stack.venv(), &PYTHON.join("\n"), |directory| {
            done(
                Command::new("python3")
                    .args(["-m", "venv", "--clear"])
                    .arg(directory),
            )?;
            done(
                Command::new(directory.join("bin/python"))
                    .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                    .args(PYTHON),
            )
        })?;
        once(&stack.npm(), PACKAGE_JSON, |directory| {
            let _ = std::fs::remove_dir_all(directory);
            std::fs::create_dir(directory).map_err(|error| error.to_string())?;
            std::fs::write(directory.join("package.json"), PACKAGE_JSON)
                .map_err(|error| error.to_string())?;
            done(
                Command::new("npm")
                    .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
                    // Another lock file may be this user's taste.
                    .env("npm_config_userconfig", "/dev/null")
                    .current_dir(directory),
            )
        })?;
        Ok(stack)
    }

    /// The directory of everything that is installed.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The Python environment that others are copied from.
    pub fn venv(&self) -> PathBuf {
        self.base.join("python")
    }

    /// Its interpreter.
    pub fn python(&self) -> PathBuf {
        self.venv().join("bin/python")
    }

    /// The npm project that others are copied from.
    pub fn npm(&self) -> PathBuf {
        self.base.join("npm")
    }

    /// Debian's Docker engine, unpacked: the directory that stands for `/`.
    pub fn docker(&self) -> Result<PathBuf, Why> {
        self.unpacked("docker", DOCKER)
    }

    /// Debian's podman, unpacked: the directory that stands for `/`.
    pub fn podman(&self) -> Result<PathBuf, Why> {
        self.unpacked("podman", PODMAN)
    }

    fn unpacked(&self, name: &str, packages: &[&str]) -> Result<PathBuf, Why> {
        let root = self.base.join(name);
        once(&root, &packages.join("\n"), |root| {
            let debs = root.join("debs");
            std::fs::create_dir_all(&debs).map_err(|error| error.to_string())?;
            let download = || {
                done(
                    Command::new("apt-get")
                        .args(["-o", "APT::Sandbox::User=root", "download", "-qq"])
                        .args(packages)
                        .current_dir(&debs),
                )
            };
            // The lists of a new machine may be old or none at all.
            download().or_else(|_| {
                done(Command::new("apt-get").args(["update", "-qq"]))?;
                download()
            })?;
            for deb in std::fs::read_dir(&debs).map_err(|error| error.to_string())? {
                let deb = deb.map_err(|error| error.to_string())?.path();
                done(Command::new("dpkg").arg("-x").arg(deb).arg(root))?;
            }
            Ok(())
        })?;
        Ok(root)
    }
}

/// Makes a directory unless it was made from the same `recipe` before.
pub fn once(directory: &Path, recipe: &str, make: impl FnOnce(&Path) -> Result<(), Why>) -> Result<(), Why> {
    let ready = directory.join("ready");
    if std::fs::read_to_string(&ready).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    make(directory)?;
    std::fs::write(ready, recipe).map_err(|error| error.to_string())
}

/// Runs a program to its end; its last words where it fails.
pub fn done(command: &mut Command) -> Result<(), Why> {
    said(command).map(drop)
}

/// Runs a program to its end and gives what it said.
pub fn said(command: &mut Command) -> Result<String, Why> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("`{program}` can't be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    Err(format!("`{program}` failed: {last}"))
}
