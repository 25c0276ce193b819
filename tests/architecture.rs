//! The walls that the design rests on, counted in the source: one gate, one dry-run branch, effects in the host only.

use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                // What stands behind the tests' gate is no part of the program.
                let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((path.strip_prefix(&root).expect("below src").to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 100, "the sources were not found");
    found
}

fn is_of_tests(path: &Path) -> bool {
    ["tests.rs", "fixture.rs", "trial.rs", "sample.rs", "broken.rs"]
        .iter()
        .any(|name| path.ends_with(name))
}

fn files_with(needle: &str) -> Vec<String> {
    let mut files: Vec<String> = sources()
        .iter()
        .filter(|(path, text)| text.contains(needle) && !is_of_tests(path))
        .map(|(path, _)| path.display().to_string())
        .collect();
    files.sort();
    files
}

#[test]
fn operations_are_pretended_in_one_place_and_executed_in_one_place() {
    assert_eq!(files_with("operation.pretend("), ["gate.rs"]);
    assert_eq!(files_with("operation.execute("), ["gate.rs"]);
    let gate = sources()
        .into_iter()
        .find(|(path, _)| path == Path::new("gate.rs"))
        .expect("the gate")
        .1;
    assert_eq!(
        gate.matches(".pretend(&mut view.overlay_mut())").count(),
        1,
        "there is one dry-run branch"
    );
    // What a real pass has done is noted in the same way, where nothing is looked up but whose a change is.
    assert_eq!(gate.matches(".pretend(&mut view.done_mut())").count(), 1);
    assert_eq!(gate.matches(".pretend(").count(), 2);
    assert_eq!(gate.matches(".execute(").count(), 1);
}

#[test]
fn permits_are_made_by_the_audit_log_alone() {
    assert_eq!(files_with("Permit::new("), ["gate/audit.rs"]);
    assert_eq!(files_with("overlay_mut()"), ["gate.rs"]);
}

#[test]
fn the_lint_that_guards_effects_is_lifted_in_the_host_and_for_the_demonstration_only() {
    for (path, text) in sources() {
        let lifted = text.contains("clippy::disallowed_methods") || text.contains("clippy::disallowed_types");
        let may = path.starts_with("host") || path.starts_with("demo") || path == Path::new("demo.rs");
        let is_test = is_of_tests(&path);
        assert!(
            !lifted || may || is_test,
            "{} lifts the lint that guards effects",
            path.display()
        );
    }
}

#[test]
fn primitives_reach_no_effect() {
    for (path, text) in sources() {
        if path.starts_with("primitives") {
            for forbidden in ["std::fs::", "Command::new", "records.", "std::process::"] {
                assert!(!text.contains(forbidden), "{} says `{forbidden}`", path.display());
            }
        }
    }
}

/// What a word sees is what the view shows: refused where it leads out, with what a preview pretends laid over it.
#[test]
fn primitives_look_through_the_view_alone() {
    for (path, text) in sources() {
        if path.starts_with("primitives")
            || path == Path::new("primitives.rs")
            || path == Path::new("primitive.rs")
        {
            for forbidden in [
                "rustix::",
                "nix::",
                "libc::",
                "std::net::",
                "std::env::",
                "std::fs",
                "net::",
                "symlink_metadata",
                ".exists()",
                ".is_file()",
                ".is_dir()",
                ".canonicalize()",
                ".read_dir()",
                "File::open",
            ] {
                assert!(!text.contains(forbidden), "{} says `{forbidden}`", path.display());
            }
            // The time is nobody's place.
            let reached = text.matches(".host.").count() - text.matches(".host.clock.").count();
            assert_eq!(reached, 0, "{} reaches past the view", path.display());
        }
    }
}

#[test]
fn no_file_of_the_program_is_too_long_to_read() {
    for (path, text) in sources() {
        let lines = if is_of_tests(&path) {
            0
        } else {
            text.lines().count()
        };
        assert!(
            lines <= 600,
            "{} has {lines} lines: two reasons to change?",
            path.display()
        );
    }
}
