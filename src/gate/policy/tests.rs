//! The rules one by one, as the gate asks them.
#![expect(
    clippy::disallowed_methods,
    reason = "a test sets its own scene, below a temporary directory"
)]

use super::*;
use crate::base::error::Kind;
use crate::run::Context;
use crate::workspace::address::{Address, check_address};

/// A workspace with these rules.
struct Scene {
    _directory: tempfile::TempDir,
    context: Context,
}

impl Scene {
    fn of(rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for path in ["keep/inner", "data/keep", "other/private", "config", "logs"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in [
            "keep/inner/file",
            "data/keep/file",
            "data/file",
            "keeper",
            "plain",
        ] {
            std::fs::write(root.join(path), "contents").unwrap();
        }
        std::fs::write(root.join("config/feature-flags.yaml"), "features: {}\n").unwrap();
        std::fs::write(root.join("rollback.yaml"), format!("policy: {{ {rules} }}\n")).unwrap();
        let context = Context::open(Workspace::open(&root).unwrap()).unwrap();
        Self {
            _directory: directory,
            context,
        }
    }

    fn check(&self, need: Capability) -> Result<Option<String>> {
        let policy = Policy::of(&self.context.workspace).unwrap();
        policy.check(&[need], &self.context.view())
    }

    fn write(&self, path: &str, whole: bool) -> Result<Option<String>> {
        let place = self.context.workspace.place(path).unwrap();
        self.check(self.context.view().write(&place, whole))
    }

    #[track_caller]
    fn refuses(&self, path: &str, whole: bool) {
        let error = self.write(path, whole).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{path}: {error}");
        assert!(!error.changed_something(), "{path}");
    }

    #[track_caller]
    fn allows(&self, path: &str, whole: bool) {
        let rule = self.write(path, whole).unwrap();
        assert_eq!(rule.as_deref(), Some("policy.write: workspace"), "{path}");
    }
}

#[test]
fn what_is_denied_below_a_directory_denies_the_directory_itself() {
    for (pattern, denied, allowed) in [
        (
            "keep/**",
            &["keep", "keep/inner", "keep/inner/file", "keep/new"] as &[&str],
            &["keeper", "data/keep", "plain"] as &[&str],
        ),
        (
            "**/private/**",
            &["other/private", "other/private/new"],
            &["other", "plain"],
        ),
        // A name alone means it anywhere.
        ("keep", &["keep", "data/keep"], &["keeper"]),
        ("keep/inner", &["keep/inner"], &["data/keep"]),
        ("data/file", &["data/file"], &["data/keep/file", "data/files"]),
    ] {
        let scene = Scene::of(&format!("deny: [\"{pattern}\"]"));
        for path in denied {
            scene.refuses(path, false);
        }
        for path in allowed {
            scene.allows(path, false);
        }
    }
}

#[test]
fn what_holds_something_denied_does_not_go_as_a_whole() {
    let scene = Scene::of("deny: [\"data/keep/**\"]");
    scene.refuses("data", true);
    scene.allows("data", false);
    scene.allows("data/file", true);
    scene.allows("keep", true);
}

#[test]
fn what_is_ours_is_nobody_elses_whatever_the_configuration_says() {
    let scene = Scene::of("deny: []");
    for ours in [
        ".",
        ".rollback",
        ".rollback/audit/000001.jsonl",
        "rollback_backups",
        "rollback_backups/data_20261123_013000/file",
        "rollback_reports",
        "rollback_reports/new.md",
        "rollback.yaml",
        "rollback",
        "rollback/1.3.rhai",
        "logs",
        "logs/security.log",
        "logs/audit.log",
        &format!("{LOGS}/{ALERT_LOG}"),
    ] {
        scene.refuses(ours, false);
    }
    for other in ["rollbacks", "rollback.yaml.old", "logs/other.log", ".rollbacks"] {
        scene.allows(other, false);
    }
}

#[test]
fn a_denied_flags_file_is_switched_by_no_word() {
    Scene::of("deny: []").check(Capability::Flags).unwrap();
    for pattern in ["config/feature-flags.yaml", "config/**", "**/*.yaml"] {
        let error = Scene::of(&format!("deny: [\"{pattern}\"]"))
            .check(Capability::Flags)
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{pattern}");
        assert!(error.message().contains(pattern), "{error}");
    }
}

#[test]
fn what_no_rule_opens_stays_shut() {
    let scene = Scene::of("write: [data], commands: [listed]");
    assert_eq!(
        scene.write("data/file", false).unwrap().as_deref(),
        Some("policy.write: data")
    );
    scene.refuses("plain", false);
    scene.refuses("keep/inner/file", false);
    assert_eq!(scene.check(Capability::Flags).unwrap_err().kind(), Kind::Denied);
    let command = |program: &str| {
        scene.check(Capability::Command {
            program: program.to_owned(),
        })
    };
    assert_eq!(
        command("listed").unwrap().as_deref(),
        Some("policy.commands: listed")
    );
    for program in ["unlisted", "list", "listed2", "/usr/bin/listed", ""] {
        assert_eq!(command(program).unwrap_err().kind(), Kind::Denied, "{program}");
    }
}

#[test]
fn one_refused_need_refuses_them_all() {
    let scene = Scene::of("deny: [\"keep/**\"]");
    let view = scene.context.view();
    let need = |path: &str| view.write(&scene.context.workspace.place(path).unwrap(), false);
    let policy = Policy::of(&scene.context.workspace).unwrap();
    policy.check(&[need("plain"), need("data/file")], &view).unwrap();
    for needs in [
        [need("plain"), need("keep/inner/file")],
        [need("keep/inner/file"), need("plain")],
    ] {
        assert_eq!(policy.check(&needs, &view).unwrap_err().kind(), Kind::Denied);
    }
    let nothing = policy.deny_all();
    assert_eq!(
        nothing.check(&[need("plain")], &view).unwrap_err().kind(),
        Kind::Denied
    );
}

#[test]
fn only_listed_addresses_may_be_asked() {
    let patterns = [
        "http://127.0.0.1:*".to_owned(),
        "https://status.example:443".to_owned(),
    ];
    let may_be_asked =
        |url| Address::parse(url).is_ok_and(|address| check_address(&patterns, &address).is_ok());
    for url in [
        "http://127.0.0.1:3001/health",
        "http://127.0.0.1/",
        "https://status.example/x",
    ] {
        assert!(may_be_asked(url), "{url}");
    }
    for url in [
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "https://127.0.0.1:3001/",
        "https://status.example:8443/",
        "ftp://127.0.0.1/",
        "http:///x",
        "file:///etc/passwd",
    ] {
        assert!(!may_be_asked(url), "{url}");
    }
}
