//! The walls that the design rests on, counted in the source: one direction, one gate, one dry-run branch, effects in the
//! host only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

mod imports;

use imports::Imports;

/// The rooms (files and folders directly under `src/`), from top to bottom: an import only goes down.
const ROOMS: [&str; 24] = [
    "main",
    "lib",
    "cli",
    "demo",
    "monitor",
    "run",
    "script",
    "primitives",
    "pass",
    "gate",
    "operation",
    "view",
    "backup",
    "references",
    "host",
    "alert",
    "audit",
    "records",
    "workspace",
    "report",
    "edit",
    "log_line",
    "pattern",
    "base",
];

/// Rooms in which files still import each other in circles, and how many files stand in circles there. It may only shrink.
const CIRCLES: &[(&str, usize)] = &[
    ("audit", 2),
    ("backup", 4),
    ("cli", 4),
    ("host", 42),
    ("log_line", 3),
    ("monitor", 9),
    ("operation", 3),
    ("pattern", 2),
    ("primitives", 2),
    ("references", 4),
    ("run", 17),
    ("script", 7),
    ("view", 8),
    ("workspace", 7),
];

fn room(path: &Path) -> String {
    let first = path.iter().next().map(|name| name.to_string_lossy().into_owned());
    first.unwrap_or_default().trim_end_matches(".rs").to_owned()
}

fn texts() -> Vec<(PathBuf, String)> {
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
                found.push((path.strip_prefix(&root).expect("below src").to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 100, "the sources were not found");
    found
}

/// Each file, its product lines alone.
fn sources() -> Vec<(PathBuf, String)> {
    let texts = texts().into_iter();
    texts
        .map(|(path, text)| (path, imports::without_tests(&text)))
        .collect()
}

/// Files that `#[cfg(test)]` or the feature `broken-walls` brings in.
fn is_of_tests(path: &Path) -> bool {
    ["tests.rs", "fixture.rs", "trial.rs", "sample.rs", "broken.rs"]
        .iter()
        .any(|name| path.ends_with(name))
        || path.iter().any(|name| name == "tests")
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
fn imports_go_down() {
    let imports = Imports::of(&texts(), is_of_tests);
    assert!(
        imports.arrows.values().map(BTreeSet::len).sum::<usize>() > 1000,
        "the imports were not read"
    );
    let place = |path: &Path| {
        let room = room(path);
        ROOMS.iter().position(|known| *known == room).unwrap_or_else(|| {
            panic!("`{room}` stands in no order: add it to ROOMS and to docs/architecture.md")
        })
    };
    let mut upward = Vec::new();
    for (from, targets) in &imports.arrows {
        for to in targets
            .iter()
            .filter(|to| room(to) != room(from) && from != Path::new("lib.rs"))
        {
            if place(to) <= place(from) {
                upward.push(format!("{} -> {}", from.display(), to.display()));
            }
        }
    }
    assert!(upward.is_empty(), "these imports go up:\n{}", upward.join("\n"));
}

#[test]
fn files_of_a_room_import_each_other_in_no_new_circle() {
    let imports = Imports::of(&texts(), is_of_tests);
    let mut standing: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    let circles = imports.circles();
    for circle in &circles {
        *standing.entry(room(circle[0])).or_default() += circle.len();
    }
    let known: std::collections::BTreeMap<String, usize> = CIRCLES
        .iter()
        .map(|(room, files)| ((*room).to_owned(), *files))
        .collect();
    assert_eq!(standing, known, "{circles:#?}");
}

/// Uses, groups, names that are exported again, paths in expressions and in macros, `super`; and nothing of tests.
#[test]
fn an_import_is_seen_in_every_form() {
    let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
    let seen = |text: &str| {
        let sources = [
            file("low.rs", "pub mod deep; pub use deep::Thing;"),
            file("low/deep.rs", "pub struct Thing; pub fn act() {}"),
            file("high.rs", "pub mod here;"),
            file("high/here.rs", text),
        ];
        let imports = Imports::of(&sources, is_of_tests);
        let arrows = imports.arrows[Path::new("high/here.rs")].iter();
        arrows
            .map(|to| to.display().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (text, wanted) in [
        ("use crate::low::deep::act;", "low/deep.rs"),
        ("use crate::low::{deep::{self, act}, Thing};", "low/deep.rs"),
        ("use crate::low::Thing;", "low/deep.rs"),
        ("use crate::low;", "low.rs"),
        (
            "use crate::low; fn x() { low::deep::act(); }",
            "low/deep.rs low.rs",
        ),
        (
            "fn x() { println!(\"{}\", crate::low::deep::act()); }",
            "low/deep.rs",
        ),
        ("fn x(_: Vec<crate::low::Thing>) {}", "low/deep.rs"),
        ("use super::super::low::deep::act;", "low/deep.rs"),
        ("use super::Shared;", "high.rs"),
        (
            "use std::low::deep::act; // crate::low\nconst A: &str = \"crate::low::deep\";",
            "",
        ),
        ("#[cfg(test)] mod tests { use crate::low::deep::act; }", ""),
        ("#[cfg(test)]\nuse crate::low::deep::act;\nfn x() {}", ""),
    ] {
        assert_eq!(seen(text), wanted, "{text}");
    }
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    const A: &str = \"\n}\n\";\n}\nfn b() {}\n";
    assert_eq!(imports::without_tests(text), "fn a() {}\nfn b() {}\n");
}

/// What a reader of `src/` is told first.
#[test]
fn the_rooms_are_those_of_the_documents() {
    let mut names: Vec<String> = sources().iter().map(|(path, _)| room(path)).collect();
    names.sort();
    names.dedup();
    let mut known = ROOMS.map(str::to_owned).to_vec();
    known.sort();
    assert_eq!(names, known);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let order = ROOMS[2..].join(" > ");
    for file in ["src/lib.rs", "docs/architecture.md"] {
        let text = std::fs::read_to_string(root.join(file)).expect("a file of the project");
        let told: String = text
            .replace("//!", " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(told.contains(&order), "{file} does not tell `{order}`");
    }
}

/// A walk through the program names files and functions: each is there.
#[test]
fn the_walk_of_one_call_is_that_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/architecture.md")).expect("the document");
    let walk = text.split("## The walk of one call").nth(1).expect("the walk");
    let walk = walk.split("\n## ").next().unwrap_or_default();
    let mut steps = 0;
    let mut last = 0;
    for line in walk.lines().filter(|line| line.starts_with("| `src/")) {
        let mut cells = line.split('`').skip(1).step_by(2);
        let (file, function) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let source =
            std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let name = function.rsplit("::").next().unwrap_or_default();
        assert!(
            source.contains(&format!("fn {name}(")) || source.contains(&format!("fn {name}<")),
            "{file} has no function `{name}`"
        );
        let path = Path::new(file).strip_prefix("src").expect("a source");
        let place = ROOMS
            .iter()
            .position(|known| *known == room(path))
            .expect("a room");
        assert!(place >= last, "the walk goes up at {file}");
        last = place;
        steps += 1;
    }
    assert!(steps >= 10, "{steps} steps");
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
    assert_eq!(files_with("Permit::new("), ["audit.rs"]);
    assert_eq!(files_with("overlay_mut()"), ["gate.rs"]);
}

#[test]
fn the_lint_that_guards_effects_is_lifted_in_the_host_and_for_the_demonstration_only() {
    for (path, text) in sources() {
        let lifted = text.contains("clippy::disallowed_methods") || text.contains("clippy::disallowed_types");
        let may = ["host", "records", "demo"].contains(&room(&path).as_str());
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
        if path.starts_with("primitives") || path == Path::new("primitives.rs") {
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
