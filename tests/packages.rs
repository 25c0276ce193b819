//! Packages and what needs what: a preview looks at the world that its own steps make, finds out by what packages can be
//! changed, and says what it can't do before anything is done.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rollback_manager::demo::Options;
use serde_json::{Value, json};

use crate::sandbox::{Finished, InTime as _, Sandbox, assert_says, assert_unchanged};
use crate::skipped::skipped;

/// A workspace with one story that does `body`, and no container engine to ask.
fn with_story(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback.yaml", "version: 1\ndocker: /nowhere/docker\n");
    story(&sandbox, body);
    sandbox
}

fn story(sandbox: &Sandbox, body: &str) {
    sandbox.write(
        "rollback/ours.rhai",
        format!("const STORY = #{{ id: \"9.1\", title: \"Ours\" }};\nfn execute() {{\n{body}\n}}\n"),
    );
}

/// An environment with the package `name`; no pip.
fn environment(sandbox: &Sandbox, place: &str, name: &str) {
    let site = format!("{place}/lib/python3.11/site-packages");
    let info = format!("{site}/{name}-1.0.dist-info");
    sandbox
        .write(&format!("{place}/pyvenv.cfg"), "home = /usr/bin\n")
        .write(&format!("{site}/{name}.py"), "")
        .write(
            &format!("{info}/METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"),
        )
        .write(&format!("{info}/INSTALLER"), "uv\n")
        .write(
            &format!("{info}/RECORD"),
            format!("{name}.py,,\n{name}-1.0.dist-info/METADATA,,\n{name}-1.0.dist-info/RECORD,,\n"),
        );
    program(sandbox, &format!("{place}/bin/python"), "#!/bin/sh\nexit 1\n");
}

/// What the pip of an environment consists of, as far as it is looked for.
fn with_pip(sandbox: &Sandbox, place: &str) {
    sandbox.write(
        &format!("{place}/lib/python3.11/site-packages/pip/__main__.py"),
        "",
    );
}

fn program(sandbox: &Sandbox, path: &str, text: &str) {
    sandbox.write(path, text);
    std::fs::set_permissions(sandbox.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// An npm package of the workspace's `vendor/`, linked like a `file:` dependency.
fn vendored(sandbox: &Sandbox, name: &str, place: &str, manifest: &Value) {
    sandbox.write(&format!("{place}/package.json"), manifest.to_string());
    let link = sandbox.path(&format!("node_modules/{name}"));
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(Path::new("..").join(place), link).unwrap();
}

/// Runs it with only these programs in PATH, beside `sh` and what the shell needs.
fn run_with(sandbox: &Sandbox, programs: &[&str], arguments: &[&str]) -> Finished {
    let own = sandbox.home().join("bin");
    std::fs::create_dir_all(&own).unwrap();
    for program in programs {
        let to = own.join(program);
        if !to.exists() {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|entry| entry.join(program))
                .find(|path| path.is_file());
            symlink(found.unwrap(), to).unwrap();
        }
    }
    Finished::of(sandbox.command(arguments).env("PATH", own), arguments)
}

/// Puts a program of ours into the PATH of [`run_with`].
fn provide(sandbox: &Sandbox, name: &str, text: &str) {
    let path = sandbox.home().join("bin").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn outcomes(report: &Value, word: &str) -> Vec<String> {
    let operations = report["operations"].as_array().unwrap().iter();
    operations
        .filter(|each| each["op"] == word)
        .map(|each| {
            let text = |key: &str| each[key].as_str().unwrap_or_default();
            format!("{}: {}", text("outcome"), text("summary"))
        })
        .collect()
}

/// The operations of a plan without what differs between two that are alike: the time, in durations and in names of backups.
fn operations(report: &Value) -> Vec<String> {
    let operations = report["operations"].as_array().unwrap().iter();
    operations
        .map(|each| {
            let text = |key: &str| each[key].as_str().unwrap_or_default();
            let described = [
                text("op"),
                text("target"),
                text("outcome"),
                text("why"),
                text("summary"),
            ]
            .join(" | ");
            described.replace(|character: char| character.is_ascii_digit(), "0")
        })
        .collect()
}

// P2. What merely lists paths needs nothing.
#[test]
fn a_plan_file_in_the_workspace_needs_nothing() {
    let sandbox = Sandbox::deployed(Options {
        venv: false,
        npm: false,
    });
    sandbox.write("rollback.yaml", "version: 1\ndocker: /nowhere/docker\n");
    sandbox.run(&["plan", "1.3", "-o", "plan.json"]).assert_code(0);
    let first: Value = serde_json::from_str(&sandbox.read("plan.json")).unwrap();
    sandbox.run(&["plan", "1.3", "-o", "second.json"]).assert_code(0);
    let second: Value = serde_json::from_str(&sandbox.read("second.json")).unwrap();
    assert_eq!(operations(&first), operations(&second));
    sandbox.run(&["apply", "plan.json", "-y"]).assert_code(0);
    assert!(!sandbox.exists(".duckdb"));
}

#[test]
fn a_list_of_paths_needs_nothing_and_what_a_program_loads_is_needed() {
    let sandbox = with_story(
        "for path in required_parts([\"tools/a.js\"]).keys() { keep_path(path, \"it is named\"); }\nremove_path(\"tools/a.js\");",
    );
    sandbox
        .write("tools/a.js", "")
        .write("coverage.json", "{\"tools/a.js\": {\"path\": \"tools/a.js\"}}");
    sandbox.write("bom.json", "{\"components\": [{\"path\": \"tools/a.js\"}]}");
    let plan = sandbox.json(&["plan", "9.1"]);
    assert!(outcomes(&plan, "keep_path").is_empty(), "{plan:#}");
    sandbox.write("package.json", "{\"main\": \"tools/a.js\"}");
    let plan = sandbox.json(&["plan", "9.1"]);
    assert_eq!(outcomes(&plan, "keep_path").len(), 1, "{plan:#}");
}

// P12's kind. Looks see what was pretended.
#[test]
fn sources_that_a_run_makes_or_moves_before_it_looks_count_in_the_preview_too() {
    let sandbox = with_story(
        "write_text(\"new.js\", \"require('./tools/a')\");\nmove_path(\"old/b.js\", \"tools/b.js\");\n\
         let needed = required_parts([\"tools/a.js\", \"tools/c.js\"]);\n\
         for path in needed.keys() { keep_path(path, needed[path][0]); }\n",
    );
    sandbox
        .write("tools/a.js", "")
        .write("tools/c.js", "")
        .write("old/b.js", "require('./c')");
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let ran = sandbox.json(&["run", "9.1", "-y"]);
    assert_eq!(ran["exit_code"], 0, "{ran:#}");
    assert_eq!(outcomes(&plan, "keep_path"), outcomes(&ran, "keep_path"));
    assert_eq!(outcomes(&plan, "keep_path").len(), 2, "{plan:#}");
}

// P12. A package of the workspace that leaves in the same run needs nothing any more.
#[test]
fn a_linked_package_that_leaves_keeps_nothing_in_the_preview_either() {
    let sandbox = with_story("remove_path(\"app\");\nuninstall_packages(\"npm\", [\"yaml\"]);");
    npm_workspace(&sandbox);
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let said = outcomes(&plan, "uninstall_packages");
    assert_eq!(said, ["planned: uninstall with npm: yaml 1.0.0"], "{plan:#}");
    let Some(()) = real_npm() else { return };
    let ran = sandbox.json(&["run", "9.1", "-y"]);
    assert_eq!(ran["exit_code"], 0, "{ran:#}");
    assert!(!sandbox.exists("node_modules/yaml"));
}

#[test]
fn a_linked_package_that_stays_keeps_what_it_needs() {
    let sandbox = with_story("uninstall_packages(\"npm\", [\"yaml\"]);");
    npm_workspace(&sandbox);
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let said = outcomes(&plan, "uninstall_packages");
    assert_eq!(said, ["kept: leave yaml: app needs it"], "{plan:#}");
}

#[test]
fn a_manifest_that_the_run_edits_is_read_as_edited() {
    let sandbox = with_story(
        "remove_json(\"app/package.json\", \"dependencies.yaml\");\nuninstall_packages(\"npm\", [\"yaml\"]);",
    );
    npm_workspace(&sandbox);
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let said = outcomes(&plan, "uninstall_packages");
    assert_eq!(said, ["planned: uninstall with npm: yaml 1.0.0"], "{plan:#}");
}

#[test]
fn packages_of_a_removed_environment_are_not_installed_in_the_preview_either() {
    let sandbox = with_story(
        "if uninstall_packages(\"pip\", [\"other\"]).len() > 0 { fail(\"it is absent\"); }\nremove_path(\".venv\");\n\
         uninstall_packages(\"pip\", [\"duckdb\"]);\n\
         if installed_packages(\"pip\").len() > 0 { fail(\"they are gone\"); }",
    );
    environment(&sandbox, ".venv", "duckdb");
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    let ran = sandbox.json(&["run", "9.1", "-y"]);
    assert_eq!(ran["exit_code"], 0, "{ran:#}");
    assert_eq!(
        outcomes(&plan, "uninstall_packages"),
        outcomes(&ran, "uninstall_packages")
    );
}

fn npm_workspace(sandbox: &Sandbox) {
    sandbox.write(
        "package.json",
        json!({
            "name": "root", "version": "1.0.0", "private": true, "workspaces": ["app"],
            "dependencies": { "yaml": "file:vendor/yaml" },
        })
        .to_string(),
    );
    let yaml = json!({ "name": "yaml", "version": "1.0.0" });
    vendored(sandbox, "yaml", "vendor/yaml", &yaml);
    let app = json!({ "name": "app", "version": "1.0.0", "dependencies": { "yaml": "*" } });
    vendored(sandbox, "app", "app", &app);
}

/// Whether npm is at hand.
fn real_npm() -> Option<()> {
    let found = std::process::Command::new("npm")
        .arg("--version")
        .output_in_time();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(());
    }
    skipped("no npm");
    None
}

// P9. By what the packages of an environment can be changed.
#[test]
fn an_environment_without_pip_and_no_uv_is_left_alone_and_said() {
    let sandbox = with_story("remove_path(\"old\");\nuninstall_packages(\"pip\", [\"duckdb\"]);");
    sandbox.write("old", "");
    environment(&sandbox, ".venv", "duckdb");
    let plan = run_with(&sandbox, &[], &["run", "9.1", "-n"]).assert_code(0);
    assert_says(
        &plan,
        &["neither pip in the environment `.venv` nor uv is at hand: packages are left alone"],
    );
    run_with(&sandbox, &[], &["run", "9.1", "-y"]).assert_code(0);
    assert!(sandbox.exists(".venv/lib/python3.11/site-packages/duckdb.py"));
}

#[test]
fn a_package_without_a_list_of_its_files_is_kept_and_said() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    environment(&sandbox, ".venv", "duckdb");
    with_pip(&sandbox, ".venv");
    sandbox.remove(".venv/lib/python3.11/site-packages/duckdb-1.0.dist-info/RECORD");
    let plan = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    assert_says(&plan, &["no list (RECORD) says which files are its own"]);
    sandbox.run(&["run", "9.1", "-y"]).assert_code(0);
}

#[test]
fn npm_that_is_not_there_or_lacks_node_is_said_in_the_preview() {
    let sandbox = with_story("uninstall_packages(\"npm\", [\"yaml\"]);");
    npm_workspace(&sandbox);
    sandbox.remove("node_modules/app");
    for (npm, said) in [
        (None, "program `npm` was not found"),
        (Some("#!/usr/bin/env node\n"), "program `node` was not found"),
    ] {
        if let Some(text) = npm {
            provide(&sandbox, "npm", text);
        }
        let plan = run_with(&sandbox, &[], &["run", "9.1", "-n"]).assert_code(0);
        assert_says(&plan, &[said, "packages are left alone"]);
        run_with(&sandbox, &[], &["run", "9.1", "-y"]).assert_code(0);
        assert!(sandbox.exists("node_modules/yaml"));
    }
}

#[test]
fn an_environment_without_pip_is_changed_with_uv_and_back() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    environment(&sandbox, ".venv", "duckdb");
    // Plays uv: takes the package out, and puts it back.
    let site = sandbox.path(".venv/lib/python3.11/site-packages");
    let site = site.display();
    provide(
        &sandbox,
        "uv",
        &format!(
            "#!/bin/sh\necho \"$@\" >> {site}/said\nif [ \"$2\" = uninstall ]; then /bin/mkdir -p {site}/aside && /bin/mv \
             {site}/duckdb* {site}/aside/; else /bin/mv {site}/aside/* {site}/; fi\n"
        ),
    );
    let plan = run_with(&sandbox, &[], &["run", "9.1", "-n"]).assert_code(0);
    assert_says(&plan, &["uninstall with uv: duckdb 1.0"]);
    run_with(&sandbox, &[], &["run", "9.1", "-y"]).assert_code(0);
    assert!(!sandbox.exists(".venv/lib/python3.11/site-packages/duckdb.py"));

    // Nothing can put it back now: that is known before anything is done.
    let uv = sandbox.home().join("bin/uv");
    let hidden = sandbox.home().join("hidden");
    std::fs::rename(&uv, &hidden).unwrap();
    let before = sandbox.snapshot(&[]);
    let refused = run_with(&sandbox, &[], &["undo", "-y"]);
    assert_ne!(refused.code, Some(0), "{}", refused.transcript());
    assert_says(
        &refused,
        &["neither pip in the environment `.venv` nor uv is at hand"],
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    std::fs::rename(&hidden, &uv).unwrap();
    run_with(&sandbox, &[], &["undo", "-y"]).assert_code(0);
    assert!(sandbox.exists(".venv/lib/python3.11/site-packages/duckdb.py"));
    let said = sandbox.read(".venv/lib/python3.11/site-packages/said");
    let python = sandbox.path(".venv/bin/python");
    let python = python.display();
    assert_eq!(
        said,
        format!(
            "pip uninstall --python {python} --offline -- duckdb\npip install --python {python} --no-deps -- duckdb==1.0\n"
        )
    );
}

/// pip marks what it is asked for; what it had installed because another package needs it is put back without a mark.
#[test]
fn what_pip_installed_unasked_is_unasked_again_after_an_undo() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"needed\", \"wanted\"]);");
    let site = ".venv/lib/python3.11/site-packages";
    for (name, is_asked) in [("needed", false), ("wanted", true), ("other", true)] {
        environment(&sandbox, ".venv", name);
        let info = format!("{site}/{name}-1.0.dist-info");
        sandbox.write(&format!("{info}/INSTALLER"), "pip\n");
        if is_asked {
            let record = sandbox.read(&format!("{info}/RECORD"));
            sandbox.write(&format!("{info}/REQUESTED"), "").write(
                &format!("{info}/RECORD"),
                format!("{record}{name}-1.0.dist-info/REQUESTED,,\n"),
            );
        }
    }
    // Plays uv, and marks whatever it installs, as each installer does.
    let root = sandbox.path(site);
    let root = root.display();
    provide(
        &sandbox,
        "uv",
        &format!(
            "#!/bin/sh\ncd {root} || exit 1\nif [ \"$2\" = uninstall ]; then /bin/mkdir -p aside && /bin/mv needed* wanted* \
             aside/; else /bin/mv aside/* . && for name in needed wanted; do : > $name-1.0.dist-info/REQUESTED; case $(/bin/cat \
             $name-1.0.dist-info/RECORD) in *REQUESTED*) ;; *) echo $name-1.0.dist-info/REQUESTED,, >> \
             $name-1.0.dist-info/RECORD ;; esac; done; fi\n"
        ),
    );
    let before: Vec<String> = ["needed", "wanted"]
        .map(|name| sandbox.read(&format!("{site}/{name}-1.0.dist-info/RECORD")))
        .to_vec();
    run_with(&sandbox, &[], &["run", "9.1", "-y"]).assert_code(0);
    assert!(!sandbox.exists(&format!("{site}/needed.py")) && !sandbox.exists(&format!("{site}/wanted.py")));
    run_with(&sandbox, &[], &["undo", "-y"]).assert_code(0);
    assert!(sandbox.exists(&format!("{site}/needed.py")) && sandbox.exists(&format!("{site}/wanted.py")));
    let marked = ["needed", "wanted", "other"]
        .map(|name| sandbox.exists(&format!("{site}/{name}-1.0.dist-info/REQUESTED")));
    assert_eq!(marked, [false, true, true]);
    let after = ["needed", "wanted"].map(|name| sandbox.read(&format!("{site}/{name}-1.0.dist-info/RECORD")));
    assert_eq!(after.to_vec(), before);
}

/// Two packages, of which the file `tests/__init__.py` of the second stands where both list it; and what plays uv, by the lists.
fn sharing(sandbox: &Sandbox, place: &str) -> String {
    let site = format!("{place}/lib/python3.11/site-packages");
    for name in ["duckdb", "stays"] {
        environment(sandbox, place, name);
        let record = format!("{site}/{name}-1.0.dist-info/RECORD");
        let text = sandbox.read(&record);
        sandbox.write(&record, format!("{text}tests/__init__.py,sha256=x,0\n"));
    }
    sandbox.write(&format!("{site}/tests/__init__.py"), "# of stays\n");
    let root = sandbox.path(&site);
    let root = root.display();
    provide(
        sandbox,
        "uv",
        &format!(
            "#!/bin/sh\ncd {root} || exit 1\ninfo=duckdb-1.0.dist-info\n\
             if [ \"$2\" = uninstall ]; then\n\
             [ ! -e fails ] || exit 1\n\
             /bin/mkdir aside; /bin/cp -R duckdb.py $info aside/\n\
             while IFS=, read -r file rest; do [ \"$file\" = \"$info/RECORD\" ] || /bin/rm -f \"$file\"; done < $info/RECORD\n\
             /bin/rm -r $info\n\
             else /bin/mv aside/* .; echo tests/__init__.py,sha256=x,0 >> $info/RECORD; echo '# of duckdb' > tests/__init__.py; fi\n"
        ),
    );
    site
}

// R26, kind "one thing that two own".
#[test]
fn r26_a_file_that_two_packages_list_stays_with_the_one_that_stays() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    let site = sharing(&sandbox, ".venv");
    let record = format!("{site}/duckdb-1.0.dist-info/RECORD");
    let before = sandbox.read(&record);
    for arguments in [
        &["run", "9.1", "-n", "--json"] as &[&str],
        &["run", "9.1", "-y", "--json"],
    ] {
        let report = run_with(&sandbox, &[], arguments).assert_code(0).json();
        let operations = report["operations"].as_array().unwrap();
        let kept = operations
            .iter()
            .find(|operation| operation["outcome"] == "kept")
            .unwrap();
        assert_eq!(kept["target"], format!("{site}/tests/__init__.py"), "{report:#}");
        assert_eq!(kept["why"], "stays lists it as its own too", "{report:#}");
    }
    assert!(!sandbox.exists(&format!("{site}/duckdb.py")) && !sandbox.exists(&record));
    assert_eq!(sandbox.read(&format!("{site}/tests/__init__.py")), "# of stays\n");
    run_with(&sandbox, &[], &["undo", "-y"]).assert_code(0);
    assert!(sandbox.exists(&format!("{site}/duckdb.py")));
    assert_eq!(sandbox.read(&record), before);
    assert_eq!(sandbox.read(&format!("{site}/tests/__init__.py")), "# of stays\n");
}

// R26: a manager that fails leaves the lists as they were.
#[test]
fn r26_the_list_of_a_package_that_could_not_be_taken_out_is_as_it_was() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    let site = sharing(&sandbox, ".venv");
    sandbox.write(&format!("{site}/fails"), "");
    let before = sandbox.read(&format!("{site}/duckdb-1.0.dist-info/RECORD"));
    run_with(&sandbox, &[], &["run", "9.1", "-y"]).assert_code(1);
    assert_eq!(
        sandbox.read(&format!("{site}/duckdb-1.0.dist-info/RECORD")),
        before
    );
}

// R26: where no list may be changed, the package stays.
#[test]
fn r26_a_package_of_an_environment_elsewhere_that_shares_a_file_stays() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    sharing(&sandbox, "inside");
    let elsewhere = sandbox.home().join("elsewhere");
    std::fs::rename(sandbox.path("inside"), &elsewhere).unwrap();
    let python = elsewhere.display().to_string();
    sandbox.write(
        "rollback.yaml",
        format!("version: 1\npython: {python}\ndocker: /nowhere/docker\n"),
    );
    let plan = run_with(&sandbox, &[], &["run", "9.1", "-n"]).assert_code(0);
    assert_says(&plan, &["stays (lists a file of it as its own)"]);
}

// P10. What packages really are where the workspace is.
#[test]
fn an_environment_that_a_link_shares_is_refused_in_the_preview() {
    let sandbox = with_story("remove_path(\"old\");\nuninstall_packages(\"pip\", [\"duckdb\"]);");
    sandbox.write("old", "");
    environment(&sandbox, "inside", "duckdb");
    with_pip(&sandbox, "inside");
    let shared = sandbox.home().join("shared");
    std::fs::rename(sandbox.path("inside"), &shared).unwrap();
    symlink(&shared, sandbox.path(".venv")).unwrap();
    let refused = sandbox.run(&["run", "9.1", "-n"]).assert_code(3);
    let outside = shared.display().to_string();
    assert_says(
        &refused,
        &["the environment `.venv` leads to", &outside, "policy.write"],
    );
    let before = sandbox.snapshot(&[]);
    sandbox.run(&["run", "9.1", "-y"]).assert_code(3);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    // Allowed by policy, in words.
    sandbox.write(
        "rollback.yaml",
        format!("version: 1\ndocker: /nowhere/docker\npolicy: {{ write: [\".\", \"{outside}\"] }}\n"),
    );
    let plan = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    assert_says(&plan, &["uninstall with pip: duckdb 1.0"]);
}

#[test]
fn site_packages_that_a_link_shares_are_refused_in_the_preview() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    environment(&sandbox, ".venv", "duckdb");
    with_pip(&sandbox, ".venv");
    let shared = sandbox.home().join("lib");
    std::fs::rename(sandbox.path(".venv/lib"), &shared).unwrap();
    symlink(&shared, sandbox.path(".venv/lib")).unwrap();
    let refused = sandbox.run(&["run", "9.1", "-n"]).assert_code(3);
    assert_says(&refused, &["others may use what is there"]);
}

#[test]
fn an_environment_that_the_configuration_names_by_its_whole_path_may_be_changed() {
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    environment(&sandbox, "inside", "duckdb");
    with_pip(&sandbox, "inside");
    let shared = sandbox.home().join("shared");
    std::fs::rename(sandbox.path("inside"), &shared).unwrap();
    let shared = shared.display();
    sandbox.write(
        "rollback.yaml",
        format!("version: 1\ndocker: /nowhere/docker\npython: {shared}\n"),
    );
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
}

#[test]
fn node_modules_that_is_a_link_is_refused_in_the_preview() {
    let sandbox = with_story("remove_path(\"old\");\nuninstall_packages(\"npm\", [\"yaml\"]);");
    sandbox.write("old", "");
    npm_workspace(&sandbox);
    sandbox.remove("node_modules/app");
    std::fs::rename(sandbox.path("node_modules"), sandbox.path("shared")).unwrap();
    symlink("shared", sandbox.path("node_modules")).unwrap();
    let before = sandbox.snapshot(&[]);
    for mode in ["-n", "-y"] {
        let refused = sandbox.run(&["run", "9.1", mode]).assert_code(3);
        assert_says(&refused, &["`node_modules` is a link"]);
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_manifest_that_the_policy_denies_is_not_changed_by_npm_either() {
    let sandbox = with_story("uninstall_packages(\"npm\", [\"yaml\"]);");
    npm_workspace(&sandbox);
    sandbox.remove("node_modules/app").write(
        "rollback.yaml",
        "version: 1\ndocker: /nowhere/docker\npolicy: { deny: [\"package.json\"] }\n",
    );
    let refused = sandbox.run(&["run", "9.1", "-n"]).assert_code(3);
    assert_says(&refused, &["`package.json` is denied by policy.deny"]);
}

/// Runs it as a user who owns the workspace and nothing else, whoever runs the tests.
fn as_ordinary_user(sandbox: &Sandbox, arguments: &[&str]) -> Result<Finished, &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Ok(sandbox.run(arguments));
    }
    let top = sandbox.root().parent().unwrap().to_path_buf();
    let usual = sandbox.command(arguments);
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(usual.get_program())
        .args(usual.get_args())
        .current_dir(sandbox.root())
        .env_clear()
        .envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut give = std::process::Command::new("chown");
    give.args(["-R", "-h", "65534:65534"]).arg(top);
    if !give.status_in_time().is_ok_and(|status| status.success()) {
        return Err("the workspace can't be given to another user");
    }
    let mut probe = std::process::Command::new("setpriv");
    probe
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(usual.get_program())
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    if !probe.status_in_time().is_ok_and(|status| status.success()) {
        return Err("no `setpriv`, or another user can't start the binary");
    }
    Ok(Finished::of(&mut command, arguments))
}

// What the kernel refuses is known before.
#[test]
fn what_this_user_may_not_write_is_refused_in_the_preview() {
    let refuses = |sandbox: &Sandbox, path: &str, closed: u32| {
        let path_of = sandbox.path(path);
        let normal = std::fs::metadata(&path_of).unwrap().permissions();
        std::fs::set_permissions(&path_of, std::fs::Permissions::from_mode(closed)).unwrap();
        let refused = as_ordinary_user(sandbox, &["run", "9.1", "-n"]);
        std::fs::set_permissions(&path_of, normal).unwrap();
        match refused {
            Ok(refused) => assert_says(&refused.assert_code(3), &[path, "can't be written to"]),
            Err(why) => skipped(why),
        }
    };
    let site = ".venv/lib/python3.11/site-packages";
    let sandbox = with_story("uninstall_packages(\"pip\", [\"duckdb\"]);");
    environment(&sandbox, ".venv", "duckdb");
    with_pip(&sandbox, ".venv");
    refuses(&sandbox, site, 0o555);
    refuses(&sandbox, &format!("{site}/duckdb-1.0.dist-info"), 0o555);
    let sandbox = with_story("uninstall_packages(\"npm\", [\"yaml\"]);");
    npm_workspace(&sandbox);
    sandbox.remove("node_modules/app");
    refuses(&sandbox, "node_modules", 0o555);
    refuses(&sandbox, "package.json", 0o444);
}

// P16. A script that asks which pass it is in.
#[test]
fn a_script_that_asks_whether_this_is_a_dry_run_is_told_of() {
    const SAID: &str = "the script asks whether this is a dry run: a real run may differ";
    let sandbox = with_story("if dry_run() { note(\"nothing\"); } else { remove_path(\"old\"); }");
    sandbox.write("old", "");
    for arguments in [
        ["plan", "9.1"].as_slice(),
        &["run", "9.1", "-n"],
        &["run", "9.1", "-y"],
    ] {
        assert_says(&sandbox.run(arguments), &[SAID]);
    }
    let plan = sandbox.json(&["plan", "9.1"]);
    assert_eq!(
        plan["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|said| **said == SAID)
            .count(),
        1
    );

    let checked = sandbox.run(&["script", "check", "rollback/ours.rhai"]);
    assert_says(&checked, &[&format!("warning: line 3: {SAID}")]);
    let checked = sandbox.json(&["script", "check", "rollback/ours.rhai"]);
    assert_eq!(
        checked["scripts"][0]["warnings"],
        json!([{ "line": 3, "message": SAID }])
    );
    // Handed on by its name it asks too.
    story(&sandbox, "let ask = Fn(\"dry_run\");\nask.call();");
    let checked = sandbox.json(&["script", "check", "rollback/ours.rhai"]);
    assert_eq!(checked["scripts"][0]["warnings"][0]["line"], 3, "{checked:#}");
    assert_says(&sandbox.run(&["plan", "9.1"]), &[SAID]);
    story(&sandbox, "remove_path(\"old\");");
    assert_eq!(sandbox.json(&["plan", "9.1"])["warnings"], json!([]));
}
