//! What a preview has pretended before a command is rehearsed: told as a list, and carried out over an overlay of the
//! workspace, so that the command sees it. What it becomes is a layer of its own, below the one that the command writes.

#![expect(
    clippy::disallowed_methods,
    reason = "what is made here is in a layer of ours, below which the workspace stays as it is"
)]

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use super::order::{SEED_CONTENTS, SEEDS};

/// Something that the command is to find otherwise than it stands in the workspace. Paths are from the workspace on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// Nothing is there.
    Gone(PathBuf),
    /// A regular file with these contents.
    Text(PathBuf, Vec<u8>),
    /// A directory with nothing in it.
    Directory(PathBuf),
    /// What really stands at the second path, which is absolute, with all that is in it.
    From(PathBuf, PathBuf),
    /// A directory has these permission bits.
    Mode(PathBuf, u32),
}

/// Writes the list into the directory of a layer; an empty one leaves no trace.
///
/// # Errors
/// What the system says.
pub(super) fn write(layer: &Path, seeds: &[Seed]) -> std::io::Result<()> {
    if seeds.is_empty() {
        return Ok(());
    }
    let contents = layer.join(SEED_CONTENTS);
    std::fs::create_dir(&contents)?;
    let mut list = Vec::new();
    for (number, seed) in seeds.iter().enumerate() {
        let number = number.to_string();
        let (word, path, more) = match seed {
            Seed::Gone(path) => ("gone", path, OsString::new()),
            Seed::Directory(path) => ("directory", path, OsString::new()),
            Seed::From(path, real) => ("from", path, real.clone().into_os_string()),
            Seed::Mode(path, mode) => ("mode", path, mode.to_string().into()),
            Seed::Text(path, text) => {
                std::fs::write(contents.join(&number), text)?;
                ("text", path, number.into())
            }
        };
        for field in [word.as_bytes(), path.as_os_str().as_bytes(), more.as_bytes()] {
            list.extend_from_slice(field);
            list.push(0);
        }
    }
    std::fs::write(layer.join(SEEDS), list)
}

/// The list of a layer; `None` where nothing was pretended.
///
/// # Errors
/// What the system says; `InvalidData` for what nobody of us wrote.
pub(super) fn read(layer: &Path) -> std::io::Result<Option<Vec<Seed>>> {
    let list = match std::fs::read(layer.join(SEEDS)) {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let odd = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let list = list.strip_suffix(&[0]).unwrap_or(&list);
    let fields: Vec<&[u8]> = list.split(|byte| *byte == 0).collect();
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    let mut seeds = Vec::new();
    for fields in fields.chunks(3) {
        let [word, at, more] = fields else {
            return Err(odd());
        };
        let at = path(at);
        seeds.push(match *word {
            b"gone" => Seed::Gone(at),
            b"directory" => Seed::Directory(at),
            b"from" => Seed::From(at, path(more)),
            b"mode" => {
                let mode = std::str::from_utf8(more).ok().and_then(|mode| mode.parse().ok());
                Seed::Mode(at, mode.ok_or_else(odd)?)
            }
            b"text" => {
                let text = std::fs::read(layer.join(SEED_CONTENTS).join(OsStr::from_bytes(more)))?;
                Seed::Text(at, text)
            }
            _ => return Err(odd()),
        });
    }
    Ok(Some(seeds))
}

/// Carries the list out below `top`, in its order.
///
/// # Errors
/// What the system says.
pub(super) fn play(top: &Path, seeds: &[Seed]) -> std::io::Result<()> {
    for seed in seeds {
        match seed {
            Seed::Gone(path) => clear(&top.join(path))?,
            Seed::Directory(path) => {
                let place = top.join(path);
                clear(&place)?;
                make_directories(&place)?;
            }
            Seed::Text(path, text) => {
                let place = top.join(path);
                // One that was there keeps its mode and its owner.
                if !found(&place)?.is_some_and(|found| found.is_file()) {
                    clear(&place)?;
                    make_above(&place)?;
                }
                std::fs::write(&place, text)?;
            }
            Seed::From(path, real) => {
                let place = top.join(path);
                clear(&place)?;
                make_above(&place)?;
                copy(real, &place)?;
            }
            Seed::Mode(path, mode) => {
                let place = top.join(path);
                if found(&place)?.is_some_and(|found| found.is_dir()) {
                    std::fs::set_permissions(&place, PermissionsExt::from_mode(*mode))?;
                }
            }
        }
    }
    Ok(())
}

fn found(place: &Path) -> std::io::Result<Option<Metadata>> {
    match place.symlink_metadata() {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

fn clear(place: &Path) -> std::io::Result<()> {
    match found(place)? {
        None => Ok(()),
        Some(found) if found.is_dir() => std::fs::remove_dir_all(place),
        Some(_) => std::fs::remove_file(place),
    }
}

fn make_directories(place: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(place)
}

fn make_above(place: &Path) -> std::io::Result<()> {
    place.parent().map_or(Ok(()), make_directories)
}

/// Copies what stands at `from`, with modes, times and owners. What can't be copied (sockets, pipes, devices) is left out.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let like = from.symlink_metadata()?;
    if like.is_symlink() {
        return symlink(std::fs::read_link(from)?, to);
    }
    if like.is_dir() {
        std::fs::create_dir(to)?;
        for entry in std::fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else if like.is_file() {
        std::fs::copy(from, to)?;
    } else {
        return Ok(());
    }
    // A user who may not give files away owns the copy.
    let _ = lchown(to, Some(like.uid()), Some(like.gid()));
    std::fs::set_permissions(to, like.permissions())?;
    File::open(to)?.set_modified(like.modified()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_told_whatever_its_names() {
        let layer = tempfile::tempdir().unwrap();
        assert_eq!(read(layer.path()).unwrap(), None);
        let odd = PathBuf::from(OsString::from_vec(b"a \xff\n,:".to_vec()));
        let seeds = vec![
            Seed::Gone(odd.clone()),
            Seed::Text("t".into(), b"\0text\0".to_vec()),
            Seed::Text("empty".into(), Vec::new()),
            Seed::Directory("d/e".into()),
            Seed::From(odd, "/w/x".into()),
            Seed::Mode("d".into(), 0o750),
        ];
        write(layer.path(), &seeds).unwrap();
        assert_eq!(read(layer.path()).unwrap(), Some(seeds));
    }

    #[test]
    fn what_is_pretended_stands_there_afterwards() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        std::fs::create_dir_all(path("old/sub")).unwrap();
        std::fs::write(path("old/sub/f"), "1").unwrap();
        std::fs::write(path("edited"), "before").unwrap();
        std::fs::set_permissions(path("edited"), PermissionsExt::from_mode(0o640)).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("f"), "from").unwrap();
        symlink("f", elsewhere.path().join("l")).unwrap();
        play(
            top.path(),
            &[
                Seed::Gone("old".into()),
                Seed::Text("edited".into(), b"after".to_vec()),
                Seed::Text("new/f".into(), b"x".to_vec()),
                Seed::Directory("old".into()),
                Seed::From("old/copy".into(), elsewhere.path().to_path_buf()),
                Seed::Mode("old".into(), 0o700),
                Seed::Gone("never/was".into()),
            ],
        )
        .unwrap();
        let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        assert!(!path("old/sub").exists());
        assert_eq!(
            [text("edited"), text("new/f"), text("old/copy/f")],
            ["after", "x", "from"]
        );
        assert_eq!(path("edited").metadata().unwrap().mode() & 0o777, 0o640);
        assert_eq!(path("old").metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_link(path("old/copy/l")).unwrap(), Path::new("f"));
    }
}
