//! What an act needs of the kernel is asked in the preview: a plan that says yes can be done, and one that can't be done
//! says so with nothing changed.

use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;
use std::process::Command;

use crate::disk::skipped;
use crate::sandbox::{Finished, InTime as _, Sandbox, Snapshot, assert_says, assert_unchanged};

mod cuts;
mod mounts;

const NOBODY: u32 = 65534;

/// A harmless first act, and one that the world may not let happen.
const WORDS: [(&str, &str); 10] = [
    ("retire", "retire_dir(\"data/store\", \"store\");"),
    ("remove", "remove_path(\"data/store\");"),
    ("remove-file", "remove_path(\"data/settings.yaml\");"),
    ("move", "move_path(\"data/store\", \"kept/store\");"),
    ("copy", "copy_path(\"data/store\", \"data/copy\");"),
    ("edit", "set_yaml(\"data/settings.yaml\", \"key\", \"other\");"),
    ("make", "write_text(\"data/new/text\", \"new\");"),
    (
        "restore",
        "restore_backup(retire_dir(\"data/store\", \"store\"), \"data/store\");",
    ),
    (
        "move-two",
        "move_path(\"data/store\", \"kept/store\"); if path_exists(\"data/other\") { move_path(\"data/other\", \"kept/more\"); }",
    ),
    ("backup", "backup_dir(\"data/store\", \"store\");"),
];

/// A workspace, and who runs the program in it.
pub struct World {
    pub sandbox: Sandbox,
    stepping_down: bool,
    /// Plays a file system without `RENAME_NOREPLACE`.
    without_noreplace: bool,
}

impl World {
    /// A workspace of whoever runs the tests.
    pub fn new() -> Self {
        let sandbox = Sandbox::empty();
        sandbox
            .write("data/store/one", "1")
            .write("data/store/inner/two", "2")
            .write("data/settings.yaml", "key: value\n")
            .write("kept/other", "other");
        // Several names of one file go and come together.
        std::fs::hard_link(sandbox.path("data/store/one"), sandbox.path("data/store/same")).unwrap();
        for (id, body) in WORDS {
            sandbox.write(
                &format!("rollback/{id}.rhai"),
                format!(
                    "const STORY = #{{ id: \"{id}\", title: \"Rights\" }};\n\n\
                     fn execute() {{ write_text(\"first\", \"1\"); {body} }}\n"
                ),
            );
        }
        Self {
            sandbox,
            stepping_down: false,
            without_noreplace: false,
        }
    }

    /// A workspace of an ordinary user. `None`, with the reason told, where root can't step down here.
    pub fn ordinary() -> Option<Self> {
        let mut world = Self::new();
        if !rustix::process::geteuid().is_root() {
            return Some(world);
        }
        world.stepping_down = true;
        let top = world.sandbox.root().parent().unwrap().to_path_buf();
        std::fs::set_permissions(&top, PermissionsExt::from_mode(0o755)).unwrap();
        give(&top);
        let tried = world.command(&["--version"]).output_in_time();
        if !tried.is_ok_and(|output| output.status.success()) {
            skipped("root can't run the binary as another user here");
            return None;
        }
        Some(world)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut plain = self.sandbox.command(arguments);
        if self.without_noreplace {
            plain.env("ROLLBACK_WITHOUT_NOREPLACE", "1");
        }
        if !self.stepping_down {
            return plain;
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(plain.get_current_dir().unwrap())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command(arguments), arguments)
    }

    fn close(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.sandbox.path(path), PermissionsExt::from_mode(mode)).unwrap();
    }

    /// The preview and the real run refuse it alike, say why, and nothing at all was changed.
    #[track_caller]
    pub fn refuses(&self, word: &str, said: &[&str]) {
        let before = self.sandbox.snapshot(&[]);
        for arguments in [&["run", word, "-n"] as &[&str], &["run", word, "--yes"]] {
            let finished = self.run(arguments).assert_code(3);
            assert_says(&finished, said);
            assert_says(&finished, &["hint: "]);
            assert_unchanged(&before, &self.sandbox.snapshot(&[]));
        }
    }

    /// The preview and the real run allow it alike, and it can be taken back.
    #[track_caller]
    pub fn allows(&self, word: &str, said: &[&str]) {
        let before = self.in_place();
        assert_says(&self.run(&["run", word, "-n"]).assert_code(0), said);
        assert_says(&self.run(&["run", word, "--yes"]).assert_code(0), said);
        self.run(&["undo", "--yes"]).assert_code(0);
        self.assert_in_place(&before);
        self.run(&["audit", "verify"]).assert_code(0);
    }

    #[track_caller]
    pub fn assert_in_place(&self, before: &Snapshot) {
        self.assert_in_place_after(before, "");
    }

    /// As [`Self::assert_in_place`], after something that is told.
    #[track_caller]
    pub fn assert_in_place_after(&self, before: &Snapshot, what: &str) {
        let mut differences = Snapshot::diff(before, &self.in_place());
        // Our own directories were made in one; the other may belong to somebody else.
        differences.retain(|line| line != "changed .: time" && line != "changed data: time");
        assert!(differences.is_empty(), "{what}: {differences:#?}");
    }

    /// What people have.
    pub fn in_place(&self) -> Snapshot {
        self.sandbox.snapshot(&[
            ".rollback",
            "logs",
            "rollback_reports",
            "rollback_backups",
            "docs",
        ])
    }
}

/// Gives a tree to the ordinary user.
fn give(top: &Path) {
    lchown(top, Some(NOBODY), Some(NOBODY)).unwrap();
    if top.symlink_metadata().unwrap().is_dir() {
        for entry in top.read_dir().unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// Takes the attribute away again, whatever becomes of the test.
struct Attribute<'a> {
    letter: &'a str,
    path: std::path::PathBuf,
}

impl<'a> Attribute<'a> {
    /// `None`, with the reason told, where the file system or the user can't.
    fn set(letter: &'a str, path: std::path::PathBuf) -> Option<Self> {
        let done = Command::new("chattr")
            .arg(format!("+{letter}"))
            .arg(&path)
            .output_in_time();
        if !done.is_ok_and(|output| output.status.success()) {
            skipped("`chattr` can't set attributes here");
            return None;
        }
        Some(Self { letter, path })
    }
}

impl Drop for Attribute<'_> {
    fn drop(&mut self) {
        let _ = Command::new("chattr")
            .arg(format!("-{}", self.letter))
            .arg(&self.path)
            .status_in_time();
    }
}

#[test]
fn every_word_is_allowed_where_nothing_is_in_the_way() {
    let Some(world) = World::ordinary() else { return };
    for (word, _) in WORDS.iter().filter(|(word, _)| *word != "backup") {
        world.allows(word, &[]);
    }
}

/// P6: FUSE and network file systems.
#[test]
fn every_word_is_allowed_where_renames_can_not_be_told_to_replace_nothing() {
    let Some(mut world) = World::ordinary() else {
        return;
    };
    world.without_noreplace = true;
    for (word, _) in WORDS.iter().filter(|(word, _)| *word != "backup") {
        world.allows(word, &[]);
    }
    // What is taken stays.
    world.sandbox.write("kept/store/precious", "precious");
    world.run(&["run", "move", "--yes"]).assert_code(1);
    assert_eq!(world.sandbox.read("kept/store/precious"), "precious");
}

/// P3.
#[test]
fn a_parent_that_this_user_may_not_write_is_refused_in_the_preview() {
    let Some(world) = World::ordinary() else { return };
    world.close("data", 0o555);
    for word in ["retire", "remove", "remove-file", "move", "copy", "edit", "make"] {
        world.refuses(word, &["data`", "Permission denied", "chmod"]);
    }
    world.close("data", 0o755);
    world.close("kept", 0o555);
    world.refuses("move", &["kept`", "Permission denied"]);
    world.allows("retire", &[]);
}

/// P3: the name `..` of a directory changes with its parent.
#[test]
fn a_directory_that_is_not_writable_itself_is_not_moved_to_another_parent() {
    let Some(world) = World::ordinary() else { return };
    world.close("data/store", 0o555);
    for word in ["retire", "remove", "move"] {
        world.refuses(word, &["data/store`", "writable itself"]);
    }
    world.close("data/store", 0o755);
    world.allows("move", &[]);
}

/// P3.
#[test]
fn a_sticky_directory_keeps_what_belongs_to_others() {
    let Some(world) = World::ordinary() else { return };
    if !world.stepping_down {
        return skipped("only root can give a directory away");
    }
    for path in ["data", "data/store", "data/settings.yaml"] {
        lchown(world.sandbox.path(path), Some(0), Some(0)).unwrap();
    }
    world.close("data", 0o1777);
    world.close("data/store", 0o777);
    world.close("data/settings.yaml", 0o666);
    for word in ["retire", "remove", "remove-file", "move", "edit"] {
        world.refuses(word, &["sticky", "Operation not permitted"]);
    }
    world.allows("make", &[]);
    world.close("data", 0o777);
    world.allows("remove-file", &[]);
    // A rewritten file would change hands.
    world.refuses("edit", &["data/settings.yaml`", "another user"]);
}

/// What a copy or a digest has to read.
#[test]
fn a_file_that_can_not_be_read_stops_a_copy_in_the_preview() {
    let Some(world) = World::ordinary() else { return };
    world.close("data/store/inner/two", 0o000);
    for word in ["copy", "backup", "retire"] {
        world.refuses(word, &["data/store/inner/two`", "Permission denied"]);
    }
    world.allows("remove", &[]);
    world.allows("move", &[]);
}

/// Our own records count too.
#[test]
fn nothing_begins_where_it_can_not_be_recorded() {
    let Some(world) = World::ordinary() else { return };
    for own in [".rollback", "logs"] {
        let path = world.sandbox.path(own);
        std::fs::create_dir(&path).unwrap();
        if world.stepping_down {
            lchown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        world.close(own, 0o555);
        for (word, _) in WORDS {
            world.refuses(word, &[own, "recorded", "Permission denied"]);
        }
        world.close(own, 0o755);
    }
}

/// Root is stopped too.
#[test]
fn what_is_immutable_or_append_only_is_refused_in_the_preview() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can set the attributes");
    }
    let world = World::new();
    for letter in ["i", "a"] {
        {
            let Some(_frozen) = Attribute::set(letter, world.sandbox.path("data/store")) else {
                return;
            };
            for word in ["retire", "remove", "move"] {
                world.refuses(word, &["data/store`", "chattr -"]);
            }
            world.allows("remove-file", &[]);
        }
        {
            let Some(_frozen) = Attribute::set(letter, world.sandbox.path("data")) else {
                return;
            };
            for word in ["retire", "remove", "remove-file", "move", "edit"] {
                world.refuses(word, &["data`", "chattr -"]);
            }
        }
        let Some(_frozen) = Attribute::set(letter, world.sandbox.path("data/settings.yaml")) else {
            return;
        };
        for word in ["remove-file", "edit"] {
            world.refuses(word, &["data/settings.yaml`", "chattr -"]);
        }
        // What lies deep inside moves along by a rename.
        world.allows("retire", &[]);
    }
}

/// A purge takes the tree apart: what is frozen inside is in its way.
#[test]
fn a_purge_asks_for_everything_inside() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can set the attributes");
    }
    let world = World::new();
    let Some(_frozen) = Attribute::set("i", world.sandbox.path("data/store/inner/two")) else {
        return;
    };
    let before = world.sandbox.snapshot(&[]);
    for last in ["-n", "--force"] {
        let finished = world.run(&["run", "remove", "--purge", last]).assert_code(3);
        assert_says(&finished, &["data/store/inner/two", "immutable"]);
        assert_unchanged(&before, &world.sandbox.snapshot(&[]));
    }
}
