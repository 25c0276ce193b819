//! Packages of npm, in small trees of their own.

#![expect(
    clippy::disallowed_methods,
    reason = "tests build their packages in temporary directories"
)]

use serde_json::json;

use super::*;
use crate::audit::permit::Permit;
use crate::host::commands::{Ran, find_program, run};
use crate::host::packages::removable;
use crate::skipped::skipped;

fn put(root: &Path, path: &str, contents: &Value) {
    let path = root.join(path).join("package.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents.to_string()).unwrap();
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn display(packages: &Packages) -> Vec<String> {
    let one = |package: &Package| {
        format!(
            "{}@{} {}",
            package.name,
            package.version,
            package.requires.join(" ")
        )
    };
    packages
        .values()
        .map(|package| one(package).trim_end().to_owned())
        .collect()
}

#[test]
fn reads_what_is_there_with_links_scopes_and_nested_packages() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert!(installed(&Disk, root).unwrap().is_empty());
    put(root, "", &json!({"name": "w", "dependencies": {"a": "1"}}));
    put(
        root,
        "node_modules/a",
        &json!({"version": "1.0.0", "dependencies": {"b": "*", "inner": "1"},
            "devDependencies": {"dev": "*"}, "peerDependencies": {"peer": "*", "maybe": "*"},
            "peerDependenciesMeta": {"maybe": {"optional": true}}}),
    );
    put(
        root,
        "node_modules/a/node_modules/inner",
        &json!({"version": "1", "dependencies": {"b": "*", "c": "*"}}),
    );
    put(
        root,
        "node_modules/a/node_modules/inner/node_modules/c",
        &json!({"version": "1", "dependencies": {"d": "*"}}),
    );
    put(
        root,
        "node_modules/@s/c",
        &json!({"version": "2.0.0", "optionalDependencies": {"a": "*"}, "dependencies": []}),
    );
    put(
        root,
        "vendor/link",
        &json!({"version": "3.0.0", "dependencies": {"a": "*", "own": "*"}}),
    );
    put(root, "vendor/link/node_modules/own", &json!({"version": "1"}));
    std::fs::create_dir_all(root.join("node_modules/not-a-package")).unwrap();
    std::fs::create_dir_all(root.join("node_modules/.bin")).unwrap();
    std::fs::write(
        root.join("node_modules/.package-lock.json"),
        r#"{"packages":{"node_modules/gone":{}}}"#,
    )
    .unwrap();
    std::os::unix::fs::symlink("../vendor/link", root.join("node_modules/link")).unwrap();
    std::os::unix::fs::symlink("..", root.join("node_modules/w")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("node_modules/dangling")).unwrap();
    assert_eq!(
        display(&installed(&Disk, root).unwrap()),
        ["@s/c@2.0.0 a", "a@1.0.0 b d peer", "link@3.0.0 a", "w@ a"]
    );
}

#[test]
fn a_complaint_is_the_code_with_the_first_sentence() {
    let messages =
        b"npm error code ENOTCACHED\nnpm error request to https://r/x failed: no cached response\n\
            npm error Log files were not written due to the config logs-max=0\n";
    assert_eq!(
        complaint(messages).unwrap(),
        "ENOTCACHED: request to https://r/x failed: no cached response"
    );
    assert!(lacks_a_download(messages));
    let messages = b"npm ERR! code E404\nnpm ERR! 404 Not Found - GET https://r/x\nnpm ERR! 404\n";
    assert_eq!(
        complaint(messages).unwrap(),
        "E404: 404 Not Found - GET https://r/x"
    );
    let only_logs = b"npm warn old\nnpm error A complete log of this run can be found in: /x\n";
    assert_eq!(complaint(only_logs), None);
}

#[test]
fn declares_every_kind_and_refuses_what_it_can_not_read() {
    let dir = tempfile::tempdir().unwrap();
    assert!(declared(&Disk, dir.path()).unwrap().is_empty());
    put(
        dir.path(),
        "",
        &json!({"dependencies": {"a": "^1"}, "devDependencies": {"b": "file:b"}, "peerDependencies": {"a": "*"}}),
    );
    let expected = BTreeMap::from([
        ("a".to_owned(), "^1".to_owned()),
        ("b".to_owned(), "file:b".to_owned()),
    ]);
    assert_eq!(declared(&Disk, dir.path()).unwrap(), expected);
    std::fs::write(dir.path().join("package.json"), "{").unwrap();
    assert!(declared(&Disk, dir.path()).is_err());
}

#[test]
fn without_a_lock_only_versions_of_the_registry_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path();
    put(
        place,
        "",
        &json!({"dependencies": {"a": "^1", "b": "file:b", "c": "owner/c"}}),
    );
    let packages: BTreeMap<_, _> = ["a", "b", "c", "orphan"]
        .map(|name| (name.to_owned(), "1.2.3".to_owned()))
        .into();
    let words = |invocation: &Invocation| invocation.arguments.last().unwrap().clone();
    assert_eq!(
        words(&install(place, place, place, &packages, place).unwrap()),
        "a@1.2.3"
    );
    std::fs::write(place.join("package-lock.json"), "{}").unwrap();
    assert_eq!(
        words(&install(place, place, place, &packages, place).unwrap()),
        "--no-save"
    );
    assert!(uninstall(place, place, place, &names(&["--global"]), place, Registry::Never).is_err());
}

struct Project {
    dir: tempfile::TempDir,
    npm: PathBuf,
}

impl Project {
    /// A project of linked packages, installed by the real npm, with an `.npmrc` that leads elsewhere.
    fn new() -> Option<Self> {
        let npm = find_program("npm", Path::new("/nowhere")).ok()?;
        let project = Self {
            dir: tempfile::tempdir().unwrap(),
            npm,
        };
        let root = project.dir.path();
        put(root, "", &json!({"name": "parent", "workspaces": ["w"]}));
        put(
            root,
            "w",
            &json!({"name": "w", "dependencies":
                {"a": "file:vendor/a", "@s/c": "file:vendor/c", "stays": "file:vendor/stays"}}),
        );
        put(
            root,
            "w/vendor/a",
            &json!({"name": "a", "version": "1.0.0", "dependencies": {"b": "file:../b", "d": "file:../d"}}),
        );
        put(root, "w/vendor/b", &json!({"name": "b", "version": "2.0.0"}));
        put(root, "w/vendor/c", &json!({"name": "@s/c", "version": "3.0.0"}));
        put(root, "w/vendor/d", &json!({"name": "d", "version": "4.0.0"}));
        put(
            root,
            "w/vendor/stays",
            &json!({"name": "stays", "version": "5.0.0", "dependencies": {"d": "file:../d"}}),
        );
        let hostile = "global=true\ndry-run=true\nsave=false\nomit=dev\npackage-lock-only=true\n";
        std::fs::write(project.place().join(".npmrc"), hostile).unwrap();
        std::fs::create_dir(root.join("cache")).unwrap();
        Some(project)
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("w")
    }

    fn run(&self, invocation: &Invocation) -> Ran {
        // No test may ask the registry.
        let unreachable = invocation
            .clone()
            .variable("npm_config_registry", "http://127.0.0.1:9/");
        assert_eq!(invocation.cwd, self.place());
        run(&Permit::for_tests(), &unreachable, None).unwrap()
    }

    fn install(&self) -> Ran {
        let place = self.place();
        let cache = self.dir.path().join("cache");
        self.run(&install(&self.npm, &place, Path::new("/nowhere"), &BTreeMap::new(), &cache).unwrap())
    }

    fn uninstall(&self, names: &[String]) -> Ran {
        let place = self.place();
        let cache = self.dir.path().join("cache");
        let root = Path::new("/nowhere");
        self.run(&uninstall(&self.npm, &place, root, names, &cache, Registry::Never).unwrap())
    }
}

#[test]
fn the_real_npm_takes_out_what_was_foretold_and_puts_it_back_offline() {
    let Some(project) = Project::new() else {
        return skipped("no npm");
    };
    let place = project.place();
    let ran = project.install();
    assert!(ran.succeeded(), "{}", ran.failure());
    assert!(!place.join("package-lock.json").exists(), "a lock file was made");
    put(
        &place,
        "node_modules/by-hand",
        &json!({"name": "by-hand", "version": "0.1.0", "dependencies": {"b": "*"}}),
    );
    let before = installed(&Disk, &place).unwrap();
    let manifest = std::fs::read(place.join("package.json")).unwrap();

    let asked = names(&["a", "@s/c", "d"]);
    let removal = removable(Manager::Npm, &before, &asked, &BTreeMap::new());
    assert_eq!(
        removal.kept,
        BTreeMap::from([("d".to_owned(), names(&["stays"]))])
    );
    let going: Vec<String> = removal.remove.into_keys().collect();
    assert_eq!(
        orphans(&Disk, &place, &before, &going).unwrap(),
        BTreeMap::from([("b".to_owned(), "2.0.0".to_owned())])
    );

    let ran = project.uninstall(&going);
    assert!(ran.succeeded(), "{}", ran.failure());
    let mut expected = before.clone();
    expected.retain(|name, _| !going.contains(name) && name != "b");
    assert_eq!(display(&installed(&Disk, &place).unwrap()), display(&expected));
    assert_eq!(
        declared(&Disk, &place).unwrap().into_keys().collect::<Vec<_>>(),
        ["stays"]
    );
    assert!(
        !project.dir.path().join("node_modules").exists(),
        "the parent was changed"
    );

    std::fs::write(place.join("package.json"), &manifest).unwrap();
    let ran = project.install();
    assert!(ran.succeeded(), "{}", ran.failure());
    assert_eq!(display(&installed(&Disk, &place).unwrap()), display(&before));
    assert_eq!(std::fs::read(place.join("package.json")).unwrap(), manifest);
}

#[test]
fn the_real_npm_changes_nothing_where_it_would_have_to_download() {
    let Some(project) = Project::new() else {
        return skipped("no npm");
    };
    let place = project.place();
    assert!(project.install().succeeded());
    let text = std::fs::read_to_string(place.join("package.json")).unwrap();
    let text = text.replace("\"dependencies\":{", "\"dependencies\":{\"left-pad\":\"^1.0.0\",");
    std::fs::write(place.join("package.json"), &text).unwrap();
    let before = installed(&Disk, &place).unwrap();
    let ran = project.uninstall(&names(&["a"]));
    assert!(!ran.succeeded());
    assert_eq!(installed(&Disk, &place).unwrap(), before);
    assert_eq!(std::fs::read_to_string(place.join("package.json")).unwrap(), text);
}
