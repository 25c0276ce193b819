//! Mounts, layers and other file systems: what can't be renamed is copied, compared and then removed, and the plan says so.

use std::os::unix::net::UnixListener;
use std::process::Command;

use super::World;
use crate::disk::{in_namespace, make_read_only, mount, skipped, unmount};
use crate::sandbox::{InTime as _, assert_says};

const STAYS: &str = "which stays";

/// Puts a file system of its own at a path, with what stood there.
pub fn mount_below(world: &World, path: &str, options: &[&str]) {
    let aside = world.sandbox.home().join("aside");
    let at = world.sandbox.path(path);
    std::fs::rename(&at, &aside).unwrap();
    std::fs::create_dir(&at).unwrap();
    mount(&[&["-t", "tmpfs"], options, &["tmpfs"]].concat(), &at);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", aside.display()))
        .arg(&at)
        .status_in_time();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(&aside).unwrap();
}

/// Lays an empty layer over the workspace, as over the image of a container. False where that can't be done here.
pub fn mount_layer(world: &World, name: &str) -> bool {
    let (root, home) = (world.sandbox.root(), world.sandbox.home());
    let (upper, work) = (
        home.join(format!("upper-{name}")),
        home.join(format!("work-{name}")),
    );
    std::fs::create_dir(&upper).unwrap();
    std::fs::create_dir(&work).unwrap();
    let layers = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=off",
        root.display(),
        upper.display(),
        work.display()
    );
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &layers])
        .arg(&root)
        .status_in_time();
    mounted.is_ok_and(|status| status.success())
}

/// P3.
#[test]
fn a_file_system_that_is_read_only_is_refused_in_the_preview() {
    in_namespace(|| {
        let world = World::new();
        make_read_only(&world.sandbox.path("data"));
        for word in ["retire", "remove", "remove-file", "move", "copy", "edit", "make"] {
            world.refuses(word, &["Read-only file system"]);
        }
        unmount(&world.sandbox.path("data"));
        make_read_only(&world.sandbox.root());
        world.refuses("retire", &["Read-only file system", "recorded"]);
        unmount(&world.sandbox.root());
    });
}

/// P4: a container's volume.
#[test]
fn a_mount_point_is_emptied_by_copying_and_filled_again_by_undo() {
    in_namespace(|| {
        let world = World::new();
        mount_below(&world, "data/store", &[]);
        for word in ["retire", "remove"] {
            world.allows(word, &["mounted at `data/store`", STAYS]);
        }
        world.run(&["run", "retire", "--yes"]).assert_code(0);
        let emptied = world.sandbox.path("data/store");
        assert_eq!(std::fs::read_dir(&emptied).unwrap().count(), 0);
        // What was emptied is taken back, and that too.
        world.run(&["undo", "--yes"]).assert_code(0);
        assert_eq!(world.sandbox.read("data/store/inner/two"), "2");
        let history = world.sandbox.json(&["history"]);
        let last = history["runs"].as_array().unwrap().last().unwrap()["run"].clone();
        world
            .run(&["undo", last.as_str().unwrap(), "--yes"])
            .assert_code(0);
        assert_eq!(std::fs::read_dir(&emptied).unwrap().count(), 0);
        unmount(&emptied);
    });
}

/// P4.
#[test]
fn a_mount_point_gets_no_other_name_and_no_purge() {
    in_namespace(|| {
        let world = World::new();
        mount_below(&world, "data/store", &[]);
        world.refuses("move", &["data/store` is a mount point"]);
        for last in ["-n", "--force"] {
            let finished = world.run(&["run", "remove", "--purge", last]).assert_code(3);
            assert_says(&finished, &["data/store` is a mount point"]);
        }
        world.allows("copy", &[]);
        unmount(&world.sandbox.path("data/store"));
    });
}

/// P4.
#[test]
fn a_directory_that_holds_a_mount_point_is_retired_with_it_and_not_removed() {
    in_namespace(|| {
        let world = World::new();
        mount_below(&world, "data/store/inner", &[]);
        world.allows("retire", &["mounted at `data/store/inner`", STAYS]);
        for word in ["remove", "move"] {
            world.refuses(word, &["data/store/inner` is a mount point"]);
        }
        world.allows("copy", &[]);
        world.run(&["run", "copy", "--yes"]).assert_code(0);
        assert_eq!(world.sandbox.read("data/copy/inner/two"), "2");
        world.sandbox.remove("first");
        world.run(&["run", "backup", "-n"]).assert_code(0);
        world.run(&["run", "backup", "--yes"]).assert_code(0);
        unmount(&world.sandbox.path("data/store/inner"));
    });
}

/// P4: one script that empties a volume and fills it again.
#[test]
fn a_backup_is_restored_into_the_mount_point_that_it_came_from() {
    in_namespace(|| {
        let world = World::new();
        mount_below(&world, "data/store", &[]);
        let before = world.in_place();
        world.run(&["run", "restore", "-n"]).assert_code(0);
        world.run(&["run", "restore", "--yes"]).assert_code(0);
        assert_eq!(world.sandbox.read("data/store/inner/two"), "2");
        world.run(&["undo", "--yes"]).assert_code(0);
        world.assert_in_place(&before);
        unmount(&world.sandbox.path("data/store"));
    });
}

#[test]
fn a_file_over_which_another_is_mounted_is_neither_edited_nor_removed() {
    in_namespace(|| {
        let world = World::new();
        let file = world.sandbox.path("data/settings.yaml");
        let other = world.sandbox.home().join("settings.yaml");
        std::fs::copy(&file, &other).unwrap();
        mount(&["--bind", other.to_str().unwrap()], &file);
        for word in ["edit", "remove-file"] {
            world.refuses(word, &["data/settings.yaml` is a mount point"]);
        }
        unmount(&file);
    });
}

#[test]
fn what_the_system_mounts_is_no_data() {
    in_namespace(|| {
        let world = World::new();
        let inside = world.sandbox.path("data/store/inner/system");
        std::fs::create_dir(&inside).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "mqueue", "mqueue"])
            .arg(&inside)
            .status_in_time();
        if !mounted.is_ok_and(|status| status.success()) {
            return skipped("no message queues can be mounted here");
        }
        for word in ["retire", "copy", "backup"] {
            world.refuses(word, &["data/store/inner/system", "holds no data"]);
        }
        unmount(&inside);
    });
}

/// P5: a workspace in the image of a container.
#[test]
fn a_directory_of_the_layer_below_is_moved_by_copying() {
    in_namespace(|| {
        let world = World::new();
        let root = world.sandbox.root();
        let before = world.in_place();
        for word in ["retire", "remove", "move"] {
            if !mount_layer(&world, word) {
                return skipped("no OverlayFS can be mounted here");
            }
            let moved = std::fs::rename(root.join("data"), root.join("elsewhere"));
            assert_eq!(
                moved.unwrap_err().kind(),
                std::io::ErrorKind::CrossesDevices,
                "this layer lets its directories be renamed"
            );
            world.allows(word, &["layer below"]);
            world.run(&["run", word, "--yes"]).assert_code(0);
            assert!(!world.sandbox.exists("data/store"));
            unmount(&root);
        }
        world.assert_in_place(&before);
    });
}

/// A copy that can't fit is known before anything is done; so is the second of two that fit one by one.
#[test]
fn a_copy_without_room_is_refused_in_the_preview() {
    in_namespace(|| {
        let world = World::new();
        for file in ["data/store/large", "data/other/large"] {
            world.sandbox.write(file, vec![b'x'; 96 << 10]);
        }
        mount(
            &["-t", "tmpfs", "-o", "size=64k", "tmpfs"],
            &world.sandbox.path("kept"),
        );
        world.refuses("move", &["No space left on device", "`kept`"]);
        unmount(&world.sandbox.path("kept"));
        mount(
            &["-t", "tmpfs", "-o", "size=128k", "tmpfs"],
            &world.sandbox.path("kept"),
        );
        world.allows("move", &["another file system"]);
        world.refuses("move-two", &["No space left on device", "`kept`"]);
        unmount(&world.sandbox.path("kept"));
        mount(
            &["-t", "tmpfs", "-o", "size=1m,nr_inodes=4", "tmpfs"],
            &world.sandbox.path("kept"),
        );
        world.refuses("move", &["No space left on device", "inodes"]);
        unmount(&world.sandbox.path("kept"));
    });
}

/// So it is with contents that are written, which count together.
#[test]
fn contents_without_room_are_refused_in_the_preview() {
    in_namespace(|| {
        let world = World::new();
        world.sandbox.write(
            "rollback/make-two.rhai",
            "const STORY = #{ id: \"make-two\", title: \"Rights\" };\n\n\
             fn execute() { write_text(\"data/new/text\", \"new\"); write_text(\"data/new/more\", \"new\"); }\n",
        );
        std::fs::create_dir(world.sandbox.path("data/new")).unwrap();
        mount(
            &["-t", "tmpfs", "-o", "size=4k", "tmpfs"],
            &world.sandbox.path("data/new"),
        );
        world.allows("make", &[]);
        world.refuses("make-two", &["No space left on device", "`data/new`"]);
        unmount(&world.sandbox.path("data/new"));
    });
}

#[test]
fn what_a_copy_can_not_keep_is_not_moved_to_another_file_system() {
    in_namespace(|| {
        let world = World::new();
        let socket = UnixListener::bind(world.sandbox.path("data/store/inner/socket")).unwrap();
        // By a rename it goes along.
        world.allows("move", &[]);
        mount(&["-t", "tmpfs", "tmpfs"], &world.sandbox.path("kept"));
        world.refuses("move", &["data/store/inner/socket", "socket"]);
        drop(socket);
        unmount(&world.sandbox.path("kept"));
    });
}
