//! A thing is one thing under each of its names: bind mounts, hard links, links, `..`. What a preview shows is what the
//! run meets.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, symlink};

use super::{agree, agree_on, story, workspace};
use crate::disk::{in_namespace, mount, unmount};
use crate::sandbox::{Sandbox, assert_says};

/// A workspace whose `mnt` is `data/store` once more.
fn mounted_twice(body: &str) -> Sandbox {
    let sandbox = workspace(body);
    std::fs::create_dir(sandbox.path("mnt")).unwrap();
    mount(
        &["--bind", sandbox.path("data/store").to_str().unwrap()],
        &sandbox.path("mnt"),
    );
    sandbox
}

/// Every word that looks, by the other name, after every kind of change by the first, and the other way round. Each
/// preview is held against its own real run: a word that looks past what was pretended answers otherwise there.
#[test]
fn what_was_done_by_one_name_is_seen_by_the_other() {
    in_namespace(|| {
        let looks = "warn([path_exists(`${b}/one`), is_file(`${b}/one`), is_dir(`${b}/inner`), list_dir(b), \
                     find_paths(`${b}/**`), path_size(b), if is_file(`${b}/one`) { read_text(`${b}/one`) } else { \"none\" }, \
                     if is_file(`${b}/one`) { digest(`${b}/one`) } else { \"none\" }, \
                     open_files(`${b}/one`).len()].to_string());";
        for change in [
            "remove_path(`${a}/one`);",
            "remove_path(`${a}/inner`);",
            "write_text(`${a}/one`, \"new\", #{ overwrite: true });",
            "write_text(`${a}/deep/new`, \"new\");",
            "move_path(`${a}/one`, \"elsewhere\");",
            "move_path(`${a}/one`, `${a}/other`);",
            "copy_path(`${a}/inner`, `${a}/again`);",
            "retire_dir(`${a}/inner`, \"store\");",
        ] {
            for (a, b) in [("data/store", "mnt"), ("mnt", "data/store")] {
                let body = format!("let a = \"{a}\"; let b = \"{b}\"; {change} {looks}");
                let sandbox = mounted_twice(&body);
                let told = |arguments: &[&str]| {
                    let report = sandbox.run(arguments).assert_code(0).json();
                    let warnings: BTreeSet<String> = report["warnings"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(ToString::to_string)
                        .collect();
                    warnings
                };
                let preview = told(&["run", "9.1", "-n", "--json"]);
                let real = told(&["run", "9.1", "--yes", "--json"]);
                assert_eq!(preview.len(), 1, "{preview:?}");
                // A real run repeats what its plan said: a second answer would be a second line.
                assert_eq!(preview, real, "{body}");
                sandbox.run(&["undo", "--yes"]).assert_code(0);
                assert_eq!(sandbox.read("mnt/one"), "1", "{body}");
                assert_eq!(sandbox.read("data/store/inner/two"), "2", "{body}");
                unmount(&sandbox.path("mnt"));
            }
        }
    });
}

#[test]
fn a_directory_with_two_names_does_not_go_as_a_whole() {
    in_namespace(|| {
        for body in [
            "remove_path(\"data/store\");",
            "remove_path(\"data\");",
            "remove_path(\"mnt\");",
            "retire_dir(\"mnt\", \"store\");",
            "move_path(\"data/store\", \"elsewhere\");",
        ] {
            let sandbox = mounted_twice(&format!("write_text(\"first\", \"x\"); {body}"));
            agree(&sandbox, 3, &["mounted at `mnt` too", "unmount"]);
            unmount(&sandbox.path("mnt"));
        }
    });
}

/// What is denied is denied by each name.
#[test]
fn a_denied_path_is_denied_by_its_other_name() {
    in_namespace(|| {
        let sandbox = workspace("write_text(\"first\", \"x\"); remove_path(\"mnt/config\");");
        sandbox.write(".git/config", "x");
        std::fs::create_dir(sandbox.path("mnt")).unwrap();
        mount(
            &["--bind", sandbox.path(".git").to_str().unwrap()],
            &sandbox.path("mnt"),
        );
        agree(&sandbox, 3, &[".git/config", "policy.deny"]);
        unmount(&sandbox.path("mnt"));
        // And the other way: what is ours is a second name of something.
        let sandbox = workspace("write_text(\"first\", \"x\"); remove_path(\"data/store/one\");");
        std::fs::create_dir(sandbox.path("rollback_backups")).unwrap();
        mount(
            &["--bind", sandbox.path("data/store").to_str().unwrap()],
            &sandbox.path("rollback_backups"),
        );
        agree(
            &sandbox,
            3,
            &["rollback_backups/one", "belongs to rollback itself"],
        );
        unmount(&sandbox.path("rollback_backups"));
    });
}

/// Names of one file: removing one leaves the other, and an edit makes a file of its own.
#[test]
fn hard_links_are_names_of_their_own() {
    let body = "write_text(\"data/one\", \"new\", #{ overwrite: true }); remove_path(\"data/three\"); \
                warn([read_text(\"data/one\"), read_text(\"data/two\"), path_exists(\"data/three\")].to_string()); \
                move_path(\"data/four\", \"data/five\"); warn(read_text(\"data/two\"));";
    let sandbox = workspace(body);
    sandbox.write("data/one", "old");
    for other in ["two", "three", "four"] {
        std::fs::hard_link(sandbox.path("data/one"), sandbox.path(&format!("data/{other}"))).unwrap();
    }
    let said = ["[\\\"new\\\", \\\"old\\\", false]", "\"old\""];
    let told = |arguments: &[&str]| sandbox.run(arguments).assert_code(0).stdout;
    for out in [
        told(&["run", "9.1", "-n", "--json"]),
        told(&["run", "9.1", "--yes", "--json"]),
    ] {
        for text in said {
            assert!(out.contains(text), "`{text}` is missing in {out}");
        }
    }
    assert_eq!(sandbox.read("data/two"), "old");
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let inode = |name: &str| sandbox.path(name).metadata().unwrap().ino();
    assert_eq!(sandbox.read("data/one"), "old");
    for other in ["two", "three", "four"] {
        assert_eq!(inode("data/one"), inode(&format!("data/{other}")));
    }
}

// U13, kind "exact to the byte": a file of several names is one file again, and nobody's later contents are taken for its own.
#[test]
fn u13_an_edited_file_is_one_with_its_other_names_again_unless_they_were_written_to() {
    for (later, is_one) in [(None, true), (Some("theirs"), false)] {
        let sandbox = workspace("write_text(\"data/one\", \"new\", #{ overwrite: true });");
        sandbox.write("data/one", "old");
        std::fs::hard_link(sandbox.path("data/one"), sandbox.path("data/two")).unwrap();
        let plan = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
        assert_says(&plan, &["its other name keeps what it", "now: `data/two`"]);
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        if let Some(later) = later {
            // In place, as an editor does that keeps the links.
            std::fs::write(sandbox.path("data/two"), later).unwrap();
        }
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert_eq!(sandbox.read("data/one"), "old");
        let inode = |name: &str| sandbox.path(name).metadata().unwrap().ino();
        assert_eq!(inode("data/one") == inode("data/two"), is_one);
        assert_eq!(sandbox.read("data/two"), later.unwrap_or("old"));
        // And the undo can be undone, and that too.
        sandbox.run(&["undo", &newest(&sandbox), "--yes"]).assert_code(0);
        assert_eq!(sandbox.read("data/one"), "new");
        assert_eq!(sandbox.read("data/two"), later.unwrap_or("old"));
        sandbox.run(&["undo", &newest(&sandbox), "--yes"]).assert_code(0);
        assert_eq!(sandbox.read("data/one"), "old");
        assert_eq!(inode("data/one") == inode("data/two"), is_one);
    }
}

fn newest(sandbox: &Sandbox) -> String {
    let history = sandbox.json(&["history"]);
    let runs = history["runs"].as_array().unwrap();
    runs.last().unwrap()["run"].as_str().unwrap().to_owned()
}

/// No word goes through a link on the way, or up; a link at the end is followed where the word says so.
#[test]
fn no_word_takes_a_way_round() {
    for word in [
        "path_exists(P)",
        "is_file(P)",
        "is_dir(P)",
        "path_size(P)",
        "read_text(P)",
        "digest(P)",
        "list_dir(P)",
        "find_paths(P)",
        "open_files(P)",
        "find_references(P)",
        "remove_path(P)",
        "remove_paths([P])",
        "retire_dir(P, \"store\")",
        "backup_dir(P, \"store\")",
        "copy_path(P, \"to\")",
        "move_path(P, \"to\")",
        "copy_path(\"data/store/one\", P)",
        "move_path(\"data/store/one\", P)",
        "write_text(P, \"x\", #{ overwrite: true })",
        "remove_lines(P, \"x\")",
        "set_json(P, \"a\", 1)",
        "set_yaml(P, \"a\", 1)",
        "remove_json(P, \"a\")",
        "remove_yaml(P, \"a\")",
        "read_json(P)",
        "read_yaml(P)",
        "find_processes(#{ cwd: P })",
    ] {
        for way in ["way/one", "data/../data/store/one"] {
            // What only compares names of processes, or of sources, touches nothing.
            let named = ["find_processes", "find_references", "open_files", "find_paths"]
                .iter()
                .any(|named| word.starts_with(named));
            if named && way.starts_with("way") {
                continue;
            }
            let sandbox = workspace(&format!(
                "write_text(\"first\", \"x\"); {};",
                word.replace('P', &format!("\"{way}\""))
            ));
            symlink("data/store", sandbox.path("way")).unwrap();
            agree(&sandbox, 3, &[]);
        }
    }
}

/// A preview asks for holders where things are by then.
#[test]
fn holders_are_those_of_what_stands_there_by_then() {
    let sandbox = workspace(
        "move_path(\"data/held\", \"data/store/held\"); warn(`${open_files(\"data/store\").len()} and ${open_files(\"data/held\").len()}`); \
         retire_dir(\"data/store\", \"store\");",
    );
    sandbox.write("data/held/log", "");
    let service = sandbox.spawn("services/writer.sh", &[], "exec 5>>data/held/log\n");
    for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
        let finished = sandbox.run(arguments).assert_code(1);
        assert_says(&finished, &["1 and 0", "data/store/held/log", "is not quiet"]);
    }
    assert!(sandbox.exists("data/held/log"));
    drop(service);
    // A pid file that has gone names nobody.
    let sandbox = workspace("remove_path(\"run/s.pid\"); stop_processes(#{ pid_file: \"run/s.pid\" });");
    let service = sandbox.spawn_service("sleeper", "run/s.pid");
    sandbox.write("rollback/9.2.rhai", story("9.2", "write_text(\"note\", \"x\");"));
    agree_on(&sandbox, &["run", "9.1"], 0, &[]);
    assert!(service.is_running());
}
