#![expect(
    clippy::disallowed_methods,
    reason = "tests work in temporary directories and ask real tools"
)]

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::*;
use crate::base::error::Kind;
use crate::skipped::skipped;

fn built(options: Options) -> (tempfile::TempDir, Built) {
    let directory = tempfile::tempdir().unwrap();
    let built = build(directory.path(), &options).unwrap();
    (directory, built)
}

fn bare() -> (tempfile::TempDir, Built) {
    built(Options {
        venv: false,
        npm: false,
    })
}

/// `a/b/../c` as `a/c`, without looking at the disk.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(plain.pop(), "{} leaves the workspace", path.display()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

fn output(program: &str, directory: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory)
        .env("npm_config_logs_max", "0")
        .output()
        .ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

#[test]
fn every_path_of_the_catalogue_exists() {
    let (directory, built) = built(Options::default());
    let mut paths = BTreeSet::new();
    for entry in deployed().unwrap() {
        let path = directory.path().join(&entry.path);
        match entry.kind {
            PathKind::File => assert!(path.is_file(), "`{}` is not a file", entry.path),
            PathKind::Directory => assert!(path.is_dir(), "`{}` is not a directory", entry.path),
            PathKind::PidFile => assert!(!path.exists(), "`{}` is not for `build`", entry.path),
        }
        for file in &entry.files {
            assert!(path.join(file).is_file(), "`{}/{file}` is not a file", entry.path);
        }
        paths.insert(entry.path);
    }
    assert!(paths.len() > 300, "the catalogue has only {} paths", paths.len());
    assert!(built.files > 500, "the workspace has only {} files", built.files);
}

#[test]
fn every_story_is_in_the_catalogue() {
    let stories: BTreeSet<_> = deployed()
        .unwrap()
        .into_iter()
        .filter_map(|entry| entry.story)
        .collect();
    assert_eq!(
        stories.into_iter().collect::<Vec<_>>(),
        ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"]
    );
}

#[test]
fn a_directory_that_is_not_empty_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine"), "precious").unwrap();
    let error = build(directory.path(), &Options::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_directory_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("nowhere");
    assert_eq!(
        build(&missing, &Options::default()).unwrap_err().kind(),
        Kind::NotFound
    );
    assert!(!missing.exists());
}

/// Path, modification time and contents of everything, links not followed.
fn listing(root: &Path) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    walkdir(root)
        .into_iter()
        .map(|path| {
            let metadata = path.symlink_metadata().unwrap();
            let contents = if metadata.is_file() {
                std::fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            (
                path.strip_prefix(root).unwrap().to_owned(),
                metadata.modified().unwrap(),
                contents,
            )
        })
        .collect()
}

fn walkdir(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found.sort();
    found
}

#[test]
fn two_builds_are_equal_to_the_time() {
    let options = Options {
        venv: false,
        npm: true,
    };
    let ((first, _), (second, _)) = (built(options), built(options));
    let listed = listing(first.path());
    assert_eq!(listed, listing(second.path()));
    let expected = std::time::UNIX_EPOCH + std::time::Duration::from_secs(tree::MODIFIED.unsigned_abs());
    for (path, modified, _) in listed {
        assert_eq!(modified, expected, "{}", path.display());
    }
}

#[test]
fn every_require_finds_its_file() {
    let (directory, _) = built(Options {
        venv: false,
        npm: true,
    });
    let call = regex::Regex::new(r"require\('([^']+)'\)").unwrap();
    let mut local = 0;
    for path in walkdir(directory.path()) {
        let below = path.strip_prefix(directory.path()).unwrap();
        if path.extension().is_none_or(|extension| extension != "js")
            || below.starts_with("vendor")
            || !path.is_file()
        {
            continue;
        }
        for (_, [module]) in call
            .captures_iter(&std::fs::read_to_string(&path).unwrap())
            .map(|found| found.extract())
        {
            let file = if module.starts_with('.') {
                local += 1;
                let mut file = normal(&below.parent().unwrap().join(module)).into_os_string();
                file.push(".js");
                PathBuf::from(file)
            } else {
                Path::new("node_modules").join(module).join("package.json")
            };
            assert!(
                directory.path().join(&file).is_file(),
                "{} requires `{module}`",
                below.display()
            );
        }
    }
    assert!(local > 80, "only {local} local requires");
}

#[test]
fn the_traps_of_the_deployed_tree_are_set() {
    let (directory, _) = bare();
    let read = |name: &str| {
        std::fs::read_to_string(
            directory
                .path()
                .join("bmad-method/tools/data-services")
                .join(name),
        )
        .unwrap()
    };
    for module in ["hypothesis-generator", "statistical-tester", "pattern-detector"] {
        assert!(
            read("analytical-engine.js").contains(&format!("require('./{module}')")),
            "{module}"
        );
    }
    assert!(read("benchmark-test-runner.js").contains("require('./monitoring-dashboard')"));
    assert!(read("monitoring-dashboard.js").contains("require('./resource-monitor')"));
    assert!(read("duckdb-wrapper.js").contains("require('./connection-manager')"));
}

#[test]
fn the_programs_are_valid_with_and_without_the_lines_of_story_1_3() {
    let (directory, _) = bare();
    let lines = regex::Regex::new(r"(?m)^.*(?:duckdb.*command|analytical.*query.*command).*\n").unwrap();
    for name in ["tools/cli.js", "bmad-method/tools/cli.js"] {
        let path = directory.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(lines.find_iter(&text).count() >= 2, "{name}");
        std::fs::write(&path, lines.replace_all(&text, "").as_bytes()).unwrap();
        let Some((succeeded, said)) = output("node", directory.path(), &[name]) else {
            return skipped("no node");
        };
        assert!(succeeded, "{name}: {said}");
        assert!(!said.contains("duckdb"), "{name}: {said}");
    }
}

#[test]
fn yaml_and_json_files_parse() {
    let (directory, _) = bare();
    for path in walkdir(directory.path()) {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => {
                let parsed =
                    serde_yaml::from_str::<serde_yaml::Value>(&std::fs::read_to_string(&path).unwrap());
                assert!(parsed.is_ok(), "{}: {:?}", path.display(), parsed.err());
            }
            Some("json" | "ipynb") => {
                let parsed =
                    serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(&path).unwrap());
                assert!(parsed.is_ok(), "{}: {:?}", path.display(), parsed.err());
            }
            _ => {}
        }
    }
}

#[test]
fn npm_finds_nothing_to_complain_about() {
    let (directory, _) = built(Options {
        venv: false,
        npm: true,
    });
    let Some((succeeded, said)) = output("npm", directory.path(), &["ls", "--all", "--json", "--offline"])
    else {
        return skipped("no npm");
    };
    assert!(succeeded, "{said}");
    for complaint in ["invalid", "extraneous", "missing", "problems"] {
        assert!(!said.contains(complaint), "{complaint}: {said}");
    }
    assert!(said.contains("left-over-tool"), "{said}");
}

#[test]
fn npm_would_write_the_same_lock_file() {
    let (directory, _) = built(Options {
        venv: false,
        npm: true,
    });
    let lock = directory.path().join("package-lock.json");
    let before = std::fs::read_to_string(&lock).unwrap();
    std::fs::remove_file(&lock).unwrap();
    let arguments = [
        "install",
        "--package-lock-only",
        "--offline",
        "--no-audit",
        "--no-fund",
    ];
    let Some((succeeded, said)) = output("npm", directory.path(), &arguments) else {
        return skipped("no npm");
    };
    assert!(succeeded, "{said}");
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), before);
}

#[test]
fn pip_checks_lists_and_uninstalls_the_stand_ins() {
    let (directory, built) = built(Options {
        venv: true,
        npm: false,
    });
    let pip = |arguments: &[&str]| {
        let arguments = [
            &["-m", "pip", "--disable-pip-version-check", "--no-cache-dir"],
            arguments,
        ]
        .concat();
        let program = directory.path().join(".venv/bin/python");
        output(program.to_str().unwrap(), directory.path(), &arguments).unwrap()
    };
    if built.python.is_none() || !directory.path().join(".venv/bin/pip").exists() {
        return skipped("no python3 with pip");
    }
    let (succeeded, said) = pip(&["check"]);
    assert!(succeeded, "{said}");
    let (succeeded, said) = pip(&["uninstall", "-y", "dbt-duckdb", "ydata-profiling"]);
    assert!(succeeded, "{said}");
    let (_, said) = pip(&["list", "--format=freeze"]);
    assert!(said.contains("unrelated-report==3.2.0"), "{said}");
    assert!(
        !said.contains("ydata-profiling") && !said.contains("dbt-duckdb"),
        "{said}"
    );
    let left: Vec<_> = walkdir(directory.path())
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("ydata_profiling"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_service_lives_and_the_other_pid_files_are_stale() {
    let (directory, _) = bare();
    let mut services = start_services(directory.path()).unwrap();
    assert!(services.is_running());
    let mut stale = 0;
    for entry in deployed()
        .unwrap()
        .into_iter()
        .filter(|entry| entry.group == Group::PidFile)
    {
        let pid: u32 = std::fs::read_to_string(directory.path().join(&entry.path))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let exists = Path::new(&format!("/proc/{pid}")).exists();
        assert_eq!(exists, entry.path == "logs/duckdb.pid", "{}", entry.path);
        stale += usize::from(!exists);
    }
    assert_eq!(stale, services.stale());

    let process = PathBuf::from(format!("/proc/{}", services.pid()));
    let root = directory.path().canonicalize().unwrap();
    assert_eq!(process.join("cwd").read_link().unwrap(), root);
    assert_eq!(
        process.join("fd/1").read_link().unwrap(),
        root.join(".duckdb/analytics.db")
    );
    drop(services);
    assert!(!process.exists());
}
