//! Tests of what is read of an environment.

#![expect(
    clippy::disallowed_methods,
    reason = "tests build their environments in temporary directories"
)]

use super::*;
use crate::audit::permit::Permit;
use crate::host::commands::{find_program, look, run};
use crate::skipped::skipped;

#[test]
fn a_licence_with_blank_lines_is_no_end_of_the_headers() {
    let text = "Name: a\nLicense: BSD\n         \n         Name: not this\n         \nRequires-Dist: b\n\n\
        Requires-Dist: not-this\n";
    let (name, found) = parse_headers(text);
    assert_eq!(name, "a");
    let needed: Vec<&str> = found.requirements.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(needed, ["b"]);
}

fn requires(packages: &Packages, name: &str) -> String {
    packages[name].requires.join(" ")
}

fn put(site: &Path, path: &str, text: &str) {
    let path = site.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn reads_headers_and_leaves_out_extras_that_nobody_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("lib/python3.11/site-packages");
    put(
        &site,
        "Dagster_Webserver-1.2.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: Dagster_Webserver\nVersion: 1.2\nRequires-Dist: uvicorn[standard]\n\
         Requires-Dist: click (<9,>=8) ; python_version < '3.8'\nRequires-Dist: pytest; extra == \"test\"\n\
         Requires-Dist: colorama; extra == 'test' or sys_platform == 'win32'\n\nRequires-Dist: not-a-header\n",
    );
    put(
        &site,
        "uvicorn-0.3.dist-info/METADATA",
        "Name: uvicorn\nVersion: 0.3\nRequires-Dist: h11>=0.8\nRequires-Dist: httptools ; extra == 'Standard'\n\
         Requires-Dist: watch[fast] ; (python_version > '3') and extra == 'standard'\n",
    );
    put(
        &site,
        "watch-1.dist-info/METADATA",
        "Name: watch\nVersion: 1\nRequires-Dist: speed; extra==\"fast\"\n",
    );
    put(&site, "old.egg-info/PKG-INFO", "Name: old\nVersion: 9\n");
    put(
        &site,
        "old.egg-info/requires.txt",
        "six\n\n[:python_version<\"3\"]\nfutures\n\n[docs]\nsphinx\n",
    );
    put(&site, "flat-2.0.egg-info", "Name: flat\nVersion: 2.0\n");
    put(&site, "broken_one-3.1.dist-info/RECORD", "");
    put(&site, "~half-1.dist-info/METADATA", "Name: half\nVersion: 1\n");
    put(&site, "plain/__init__.py", "");
    let packages = installed(&Disk, dir.path()).unwrap();
    let known: Vec<_> = packages
        .values()
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    assert_eq!(
        known,
        [
            "broken-one 3.1",
            "dagster-webserver 1.2",
            "flat 2.0",
            "old 9",
            "uvicorn 0.3",
            "watch 1"
        ]
    );
    assert_eq!(requires(&packages, "dagster-webserver"), "click colorama uvicorn");
    assert_eq!(requires(&packages, "uvicorn"), "h11 httptools watch");
    assert_eq!(requires(&packages, "watch"), "speed");
    assert_eq!(requires(&packages, "old"), "futures six");
}

#[test]
fn an_environment_has_its_configuration_and_its_python() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(environment(&Disk, dir.path(), ".venv").unwrap(), None);
    put(dir.path(), ".venv/bin/python", "");
    assert_eq!(environment(&Disk, dir.path(), "").unwrap(), None);
    put(dir.path(), ".venv/pyvenv.cfg", "");
    assert_eq!(
        environment(&Disk, dir.path(), "").unwrap(),
        Some(dir.path().join(".venv"))
    );
    assert!(installed(&Disk, &dir.path().join(".venv")).unwrap().is_empty());
}

#[test]
fn commands_take_only_names_and_versions() {
    let place = Path::new("/nowhere");
    assert!(uninstall(place, place, &["-r".to_owned()]).is_err());
    assert!(uninstall(place, place, &[]).is_err());
    let pinned = |version: &str| BTreeMap::from([("a".to_owned(), version.to_owned())]);
    assert!(install(place, place, &pinned("1 @ file:///x"), place).is_err());
    assert!(install(place, place, &pinned("1.0+cu1"), place).is_ok());
}

/// The real pip agrees on names, versions and requirements, and takes out what it is told to.
#[test]
fn a_real_environment() {
    let dir = tempfile::tempdir().unwrap();
    let outside = Path::new("/nowhere");
    let Ok(python) = find_program("python3", outside) else {
        return skipped("no python3");
    };
    let place = dir.path().join("venv");
    let made = Invocation::new(python, outside)
        .cwd(dir.path())
        .arguments(["-I", "-m", "venv"])
        .arguments([&place]);
    if !look(&made, None).is_ok_and(|ran| ran.succeeded()) {
        return skipped("python3 can't make an environment");
    }
    let site = site_packages(&Disk, &place).unwrap().remove(0);
    for (name, needs) in [("first_one", "Requires-Dist: second.one\n"), ("second_one", "")] {
        let info = format!("{name}-1.0.dist-info");
        put(&site, &format!("{name}.py"), "");
        put(
            &site,
            &format!("{info}/METADATA"),
            &format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}"),
        );
        put(&site, &format!("{info}/INSTALLER"), "pip\n");
        put(&site, &format!("{info}/REQUESTED"), "");
        put(
            &site,
            &format!("{info}/RECORD"),
            &format!(
                "{name}.py,,\n{info}/METADATA,,\n{info}/INSTALLER,,\n{info}/REQUESTED,sha256=47DEQ,0\n{info}/RECORD,,\n"
            ),
        );
    }
    assert!(!installed(&Disk, &place).unwrap()["second-one"].automatic);
    let marks = marks(&place, &["second-one".to_owned()]).unwrap();
    assert_eq!(marks.len(), 1);
    for mark in marks {
        let record = std::fs::read_to_string(&mark.record).unwrap();
        assert_eq!(Mark::without(&record).lines().count(), 4, "{record}");
        std::fs::write(&mark.record, Mark::without(&record)).unwrap();
        std::fs::remove_file(&mark.file).unwrap();
    }
    let before = installed(&Disk, &place).unwrap();
    assert!(before["second-one"].automatic && !before["first-one"].automatic);
    assert_eq!(requires(&before, "first-one"), "second-one");
    let rendered = look(&pip(&place, outside, "list").arguments(["--format=json"]), None).unwrap();
    let rendered: Vec<serde_json::Value> = serde_json::from_slice(&rendered.stdout).unwrap();
    let rendered: BTreeMap<String, &str> = rendered
        .iter()
        .map(|one| {
            (
                normalise(one["name"].as_str().unwrap()),
                one["version"].as_str().unwrap(),
            )
        })
        .collect();
    let ours: BTreeMap<String, &str> = before
        .values()
        .map(|package| (package.name.clone(), package.version.as_str()))
        .collect();
    assert_eq!(ours, rendered);

    let command = uninstall(
        &place,
        outside,
        &["first-one".to_owned(), "second-one".to_owned()],
    )
    .unwrap();
    let ran = run(&Permit::for_tests(), &command, None).unwrap();
    assert!(ran.succeeded(), "{}", ran.failure());
    let mut expected = before;
    expected.retain(|name, _| !name.ends_with("-one"));
    assert_eq!(installed(&Disk, &place).unwrap(), expected);
    assert!(!site.join("first_one.py").exists());
}
