//! An environment that uv made: it has no pip, and its packages go and come back all the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use rollback_manager::demo::Options;

use super::stack::{Why, done, once, skipped};
use crate::sandbox::{Finished, Sandbox, assert_says};

/// uv, installed once: the directory of the program.
fn uv() -> Result<PathBuf, Why> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real-stack");
    std::fs::create_dir_all(&base).map_err(|error| error.to_string())?;
    let place = base.join("uv");
    once(&place, "uv", |directory| {
        done(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(directory),
        )?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "uv",
        ];
        done(Command::new(directory.join("bin/python")).args(pip))
    })?;
    // The interpreter beside it is none that a PATH should have.
    let programs = place.join("programs");
    std::fs::create_dir_all(&programs).map_err(|error| error.to_string())?;
    if !programs.join("uv").exists() {
        std::os::unix::fs::symlink(place.join("bin/uv"), programs.join("uv"))
            .map_err(|error| error.to_string())?;
    }
    Ok(programs)
}

/// A workspace with story 1.3 and an environment of uv's in which its `duckdb` is installed.
fn workspace(uv: &Path) -> Result<Sandbox, Why> {
    let sandbox = Sandbox::deployed(Options {
        venv: false,
        npm: false,
    });
    sandbox.write("rollback.yaml", "version: 1\ndocker: /nowhere/docker\n");
    let program = uv.join("uv");
    let own = |arguments: &[&str]| {
        done(
            Command::new(&program)
                .args(arguments)
                .env("UV_CACHE_DIR", sandbox.home().join("uv"))
                .env_remove("VIRTUAL_ENV")
                .current_dir(sandbox.root()),
        )
    };
    own(&["venv", ".venv"])?;
    own(&["pip", "install", "duckdb"])?;
    Ok(sandbox)
}

fn run(sandbox: &Sandbox, path: &std::ffi::OsStr, arguments: &[&str]) -> Finished {
    let mut command = sandbox.command(arguments);
    command.env("PATH", path);
    for name in ["SSL_CERT_FILE", "HTTPS_PROXY"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    Finished::of(&mut command, arguments)
}

#[test]
fn packages_of_an_environment_that_uv_made_go_and_come_back() {
    let uv = match uv() {
        Ok(uv) => uv,
        Err(why) => return skipped("uv", &why),
    };
    let sandbox = match workspace(&uv) {
        Ok(sandbox) => sandbox,
        Err(why) => return skipped("an environment of uv", &why),
    };
    let installed = || {
        let site = std::fs::read_dir(sandbox.path(".venv/lib"))
            .unwrap()
            .next()
            .unwrap();
        site.unwrap()
            .path()
            .join("site-packages/duckdb/__init__.py")
            .exists()
    };
    assert!(installed());
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let entries = std::iter::once(uv.clone()).chain(std::env::split_paths(&usual));
    let path = std::env::join_paths(entries).unwrap();
    let plan = run(&sandbox, &path, &["run", "1.3", "-n"]).assert_code(0);
    assert_says(&plan, &["uninstall with uv: duckdb "]);
    run(&sandbox, &path, &["run", "1.3", "-y"]).assert_code(0);
    assert!(!installed());
    run(&sandbox, &path, &["undo", "-y"]).assert_code(0);
    assert!(installed());

    let own = sandbox.home().join("bin");
    std::fs::create_dir(&own).unwrap();
    let plan = run(&sandbox, own.as_os_str(), &["run", "1.3", "-n"]).assert_code(0);
    assert_says(
        &plan,
        &["neither pip in the environment `.venv` nor uv is at hand"],
    );
    run(&sandbox, own.as_os_str(), &["run", "1.3", "-y"]).assert_code(0);
    assert!(installed());
}
