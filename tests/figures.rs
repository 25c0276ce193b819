//! Figures of disks and memory: one value a run, of the disk where a thing will be.

use crate::disk::{in_namespace, mount, unmount};
use crate::sandbox::Sandbox;

fn workspace(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("data/store/one", "1");
    story(&sandbox, body);
    sandbox
}

fn story(sandbox: &Sandbox, body: &str) {
    let text =
        format!("const STORY = #{{ id: \"9.1\", title: \"Figures\" }};\n\nfn execute() {{\n{body}\n}}\n");
    sandbox.write("rollback/9.1.rhai", text);
}

fn free(sandbox: &Sandbox) -> u64 {
    let written = sandbox.read("figures.txt");
    written.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_a_script_writes_of_disks_and_memory_is_what_was_approved() {
    in_namespace(|| {
        // In the real pass the large file takes room before the disk is asked for.
        let sandbox = workspace(
            "let text = \"0123456789abcdef\"; for doubling in 0..14 { text += text; }\n\
             write_text(\"large.txt\", text);\n\
             write_text(\"figures.txt\", `${disk_free(\".\")} ${disk_free(\"data\")} ${memory_usage()}`);",
        );
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        let first = free(&sandbox);
        // Another run measures anew.
        story(
            &sandbox,
            "write_text(\"figures.txt\", `${disk_free(\".\")} `, #{ overwrite: true });",
        );
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        let second = free(&sandbox);
        assert!(second <= first - (16 << 14), "{first} {second}");
    });
}

#[test]
fn room_is_that_of_the_disk_to_which_a_thing_will_have_moved() {
    in_namespace(|| {
        let sandbox = workspace(
            "move_path(\"data/store\", \"mnt/store\");\n\
             write_text(\"figures.txt\", `${disk_free(\"mnt/store\")} `);\n\
             if disk_free(\"mnt/store\") > 1048576 { fail(\"of another disk\"); }",
        );
        std::fs::create_dir(sandbox.path("mnt")).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &sandbox.path("mnt"));
        sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        assert!(sandbox.exists("mnt/store/one") && free(&sandbox) <= 1 << 20);
        unmount(&sandbox.path("mnt"));
    });
}
