//! Mounts, layers and other file systems: what can't be renamed is copied, compared and then removed, and the plan says so.

use super::World;
use crate::disk::{in_namespace, make_read_only, unmount};

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
