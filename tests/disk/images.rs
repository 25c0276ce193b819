//! Real file systems in files: XFS and Btrfs, whose copies share blocks, and a disk that can't be read any more.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::{OUTSIDE, assert_says, in_namespace, mount, skipped, unmount, whole_backups};
use crate::sandbox::{InTime as _, Sandbox, Snapshot};

/// A workspace on a file system of its own; `None`, with the reason told, where it can't be made.
struct OnImage {
    image: PathBuf,
    place: PathBuf,
    _directory: tempfile::TempDir,
}

impl OnImage {
    fn new(make: &[&str], bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir_in(std::env::var_os(OUTSIDE).unwrap()).unwrap();
        let (image, place) = (directory.path().join("image"), directory.path().join("mounted"));
        std::fs::create_dir(&place).unwrap();
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let made = Command::new(make[0])
            .args(&make[1..])
            .arg(&image)
            .output_in_time();
        match made {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                skipped(&format!(
                    "{}: {}",
                    make[0],
                    String::from_utf8_lossy(&output.stderr)
                ));
                return None;
            }
            Err(error) => {
                skipped(&format!("{}: {error}", make[0]));
                return None;
            }
        }
        let image_name = image.to_str().unwrap();
        let tried = Command::new("mount")
            .args(["-o", "loop", image_name])
            .arg(&place)
            .output_in_time()
            .unwrap();
        if !tried.status.success() {
            skipped(&format!(
                "no loop device: {}",
                String::from_utf8_lossy(&tried.stderr)
            ));
            return None;
        }
        Some(Self {
            image,
            place,
            _directory: directory,
        })
    }

    /// Mounts it anew, so that nothing of it is in memory.
    fn mount_again(&self) {
        unmount(&self.place);
        mount(&["-o", "loop", self.image.to_str().unwrap()], &self.place);
    }
}

impl Drop for OnImage {
    fn drop(&mut self) {
        // The namespace takes it along in any case.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.place)
            .status_in_time();
    }
}

/// A workspace whose `data` is `place`'s, by a bind mount of a directory on it.
fn workspace_on(place: &Path) -> Sandbox {
    let sandbox = Sandbox::empty();
    for shared in ["data", "rollback_backups"] {
        std::fs::create_dir_all(place.join("all").join(shared)).unwrap();
    }
    // One mount for the whole workspace: a rename or a clone across two mounts is none.
    let inside = place.join("all");
    std::fs::create_dir_all(inside.join("config")).unwrap();
    std::fs::copy(
        sandbox.path("config/feature-flags.yaml"),
        inside.join("config/feature-flags.yaml"),
    )
    .unwrap();
    mount(&["--bind", inside.to_str().unwrap()], &sandbox.root());
    let mut contents = vec![0; 3 << 20];
    blake3::Hasher::new()
        .update(b"data")
        .finalize_xof()
        .fill(&mut contents);
    sandbox
        .write("data/store/large", &contents)
        .write("data/store/small", "small");
    sandbox
}

fn shares_blocks(make: &[&str], bytes: u64) {
    let Some(on) = OnImage::new(make, bytes) else {
        return;
    };
    let sandbox = workspace_on(&on.place);
    let except = [".rollback", "rollback_backups", "rollback_reports", "logs"];
    let before = sandbox.snapshot(&except);
    let made = sandbox
        .run(&["backup", "create", "data/store", "--json"])
        .assert_code(0)
        .json();
    let name = made["backups"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(
        sandbox.json(&["backup", "list"])["backups"][0]["method"],
        "reflinked"
    );
    let shared = Command::new("filefrag")
        .arg("-v")
        .arg(sandbox.path(&format!("rollback_backups/{name}/large")))
        .output_in_time();
    if let Ok(shared) = shared {
        let told = String::from_utf8_lossy(&shared.stdout).into_owned();
        assert!(told.contains("shared"), "{told}");
    }
    assert_eq!(whole_backups(&sandbox), std::slice::from_ref(&name));
    sandbox
        .run(&["backup", "verify", "--level", "restore"])
        .assert_code(0);
    sandbox
        .run(&["backup", "restore", &name, "--to", "data/again", "--yes"])
        .assert_code(0);
    assert_eq!(
        std::fs::read(sandbox.path("data/again/large")).unwrap(),
        std::fs::read(sandbox.path("data/store/large")).unwrap()
    );
    sandbox.remove("data/again");
    let after = sandbox.snapshot(&except);
    let mut differences = Snapshot::diff(&before, &after);
    differences.retain(|line| line != "changed .: time" && line != "changed data: time");
    assert!(differences.is_empty(), "{differences:?}");
    unmount(&sandbox.root());
}

#[test]
fn copies_on_xfs_share_blocks() {
    in_namespace(|| shares_blocks(&["mkfs.xfs", "-q", "-m", "reflink=1"], 320 << 20));
}

#[test]
fn copies_on_btrfs_share_blocks() {
    in_namespace(|| shares_blocks(&["mkfs.btrfs", "-q"], 128 << 20));
}

/// The end of the disk has gone: what lay there can't be read.
#[test]
fn a_disk_that_fails_makes_no_backup_and_nothing_goes() {
    in_namespace(|| {
        let Some(on) = OnImage::new(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal"], 64 << 20) else {
            return;
        };
        let sandbox = Sandbox::empty();
        std::fs::create_dir_all(on.place.join("store")).unwrap();
        for file in 0..10 {
            std::fs::write(on.place.join(format!("store/{file}")), vec![file; 4 << 20]).unwrap();
        }
        on.mount_again();
        std::fs::create_dir(sandbox.path("data")).unwrap();
        mount(&["--bind", on.place.to_str().unwrap()], &sandbox.path("data"));
        let image = std::fs::File::options().write(true).open(&on.image).unwrap();
        image.set_len(30 << 20).unwrap();
        let finished = sandbox.run(&["backup", "create", "data/store"]).assert_code(1);
        assert_says(
            &finished,
            &["Input/output error", "data/store/", "nothing was changed"],
        );
        assert_eq!(whole_backups(&sandbox), [] as [&str; 0]);
        sandbox.run(&["audit", "verify"]).assert_code(0);
        unmount(&sandbox.path("data"));
    });
}
