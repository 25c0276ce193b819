//! Whose word counts: configuration, scripts and state are obeyed where nobody but this user and root (and under `sudo`
//! who called it) can write them. A person can allow a directory all the same.
//!
//! On disk: `rollback/trusted` in the user's own configuration directory, one absolute path a line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::accounts::Accounts;
use super::{CONFIG, STATE};
use crate::base::error::{Error, Result};

/// The variable that allows directories: a list as in `PATH`.
pub const VARIABLE: &str = "ROLLBACK_TRUST";

/// The most that the list of allowed directories may hold, in bytes.
const LIMIT: u64 = 1 << 20;

/// Modes of the kernel's `include/uapi/linux/stat.h`.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Who is trusted, and what was allowed.
#[derive(Debug)]
struct Judge {
    trusted: Vec<u32>,
    accounts: std::cell::OnceCell<Accounts>,
}

/// Refuses a configuration that a stranger can write.
///
/// # Errors
/// [`crate::base::error::Kind::Denied`] with the path, its owner and mode, and the ways to allow it.
pub fn check_configuration(root: &Path) -> Result<()> {
    Judge::new().obeyed(&root.join(CONFIG), root, root)
}

/// Refuses state that a stranger can write (what was done and how it is taken back), and backups whose manifests, of this
/// name in each, a stranger can write: they say what is put back.
///
/// # Errors
/// As [`check_configuration`].
pub fn check_state(root: &Path, backups: &Path, manifest: &str) -> Result<()> {
    let judge = Judge::new();
    let state = root.join(STATE);
    for kept in ["", "audit", "runs"].map(|name| state.join(name)) {
        judge.kept(&kept, root)?;
        for entry in entries(&kept) {
            judge.kept(&entry, root)?;
        }
    }
    for above in backups.ancestors().take_while(|above| *above != root) {
        judge.kept(above, root)?;
    }
    for backup in entries(backups) {
        judge.kept(&backup.join(manifest), root)?;
    }
    Ok(())
}

/// Refuses a script that a stranger can write: with its directory, and all up to the workspace's `root` where it lies
/// below it.
///
/// # Errors
/// As [`check_configuration`].
pub fn check_script(script: &Path, root: Option<&Path>) -> Result<()> {
    let real = script.canonicalize().unwrap_or_else(|_| script.to_path_buf());
    let own = real.parent().unwrap_or(&real);
    let top = root.filter(|root| real.starts_with(root)).unwrap_or(own);
    Judge::new().obeyed(&real, top, top)
}

impl Judge {
    fn new() -> Self {
        let own = rustix::process::geteuid();
        let mut trusted = vec![0, own.as_raw()];
        if own.is_root() {
            let caller = std::env::var("SUDO_UID").ok();
            trusted.extend(caller.and_then(|uid| uid.parse::<u32>().ok()));
        }
        Self {
            trusted,
            accounts: std::cell::OnceCell::new(),
        }
    }

    fn accounts(&self) -> &Accounts {
        self.accounts.get_or_init(Accounts::load)
    }

    /// A file that is obeyed, and every directory from it up to `top`; nothing where there is none.
    fn obeyed(&self, file: &Path, top: &Path, root: &Path) -> Result<()> {
        // A broken link is obeyed by nobody; what can't be looked at will not be read either.
        let Ok(real) = file.canonicalize() else {
            return Ok(());
        };
        // Where a link lies counts as much as what it leads to.
        for path in [file, &real] {
            let mut above = path.parent();
            while let Some(directory) = above.filter(|directory| directory.starts_with(top)) {
                self.refuse(directory, file, root)?;
                above = directory.parent();
            }
        }
        if let Some(directory) = real.parent() {
            self.refuse(directory, file, root)?;
        }
        self.refuse(&real, file, root)
    }

    /// Something that we keep ourselves; nothing where there is none.
    fn kept(&self, path: &Path, root: &Path) -> Result<()> {
        self.refuse(path, path, root)
    }

    /// Refuses `obeyed` because of `path`, unless the person has allowed it.
    fn refuse(&self, path: &Path, obeyed: &Path, root: &Path) -> Result<()> {
        let Some(why) = self.stranger(path) else {
            return Ok(());
        };
        if allowed()?.iter().any(|allowed| path.starts_with(allowed)) {
            return Ok(());
        }
        let display = obeyed.strip_prefix(root).unwrap_or(obeyed).display();
        Err(Error::denied(format!(
            "`{display}` is not obeyed, because a stranger can write it: `{}` {why}",
            path.display()
        ))
        .hint(format!(
            "if whoever can write it may decide what is done with your rights, allow the directory: \
             `rollback trust {0}`, or for one call `{VARIABLE}={0}`",
            root.display()
        )))
    }

    /// Which stranger can write what is at a path, if one can.
    fn stranger(&self, path: &Path) -> Option<String> {
        // A path that is gone, or that we may not even look at, is obeyed by nobody.
        let seen = std::fs::symlink_metadata(path).ok()?;
        let mode = seen.mode() & 0o7777;
        let rendered = |what: String| Some(format!("{what} (mode {mode:04o})"));
        if !self.trusted.contains(&seen.uid()) {
            return rendered(format!("belongs to user `{}`", self.accounts().user(seen.uid())));
        }
        if seen.file_type().is_symlink() {
            return None;
        }
        // Who may only add to a sticky directory changes nothing that is another's; what was added has its owner.
        if seen.is_dir() && mode & STICKY != 0 {
            return None;
        }
        if mode & OTHERS_WRITE != 0 {
            return rendered("may be written by everyone".to_owned());
        }
        if mode & GROUP_WRITES == 0 {
            return None;
        }
        // With an access list these bits are its mask: the most that it gives to anybody.
        let (users, groups) = match access_list(path) {
            Ok(Some(list)) => (list.users.clone(), list.groups(seen.gid())),
            Ok(None) => (Vec::new(), vec![seen.gid()]),
            Err(why) => return rendered(format!("has an access list that cannot be read ({why})")),
        };
        if let Some(user) = users.iter().find(|user| !self.trusted.contains(user)) {
            let user = self.accounts().user(*user);
            return rendered(format!("may be written by user `{user}`, by its access list"));
        }
        groups.iter().find_map(|gid| {
            let group = self.accounts().group(*gid);
            match self.accounts().members(*gid) {
                None => rendered(format!(
                    "may be written by group `{group}`, and who is in it cannot be told"
                )),
                Some(members) => members
                    .iter()
                    .find(|member| !self.trusted.contains(member))
                    .and_then(|member| {
                        let member = self.accounts().user(*member);
                        rendered(format!(
                            "may be written by group `{group}`, which `{member}` is in"
                        ))
                    }),
            }
        })
    }
}

/// To whom an access list gives the right to write.
#[derive(Debug, Default, PartialEq, Eq)]
struct AccessList {
    users: Vec<u32>,
    named_groups: Vec<u32>,
    owning_group: bool,
}

impl AccessList {
    /// Tags of the kernel's `include/uapi/linux/posix_acl.h`.
    const USER: u16 = 0x02;
    const OWNING_GROUP: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const MASK: u16 = 0x10;
    const WRITE: u16 = 0x02;

    /// The attribute's value: a version, then tag, rights and number of each entry, all little-endian.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != 2 || rest.len() % 8 != 0 {
            return None;
        }
        let entries: Vec<(u16, u16, u32)> = rest
            .chunks_exact(8)
            .filter_map(|entry| {
                let (tag, entry) = entry.split_first_chunk::<2>()?;
                let (rights, id) = entry.split_first_chunk::<2>()?;
                let id = id.first_chunk::<4>()?;
                Some((
                    u16::from_le_bytes(*tag),
                    u16::from_le_bytes(*rights),
                    u32::from_le_bytes(*id),
                ))
            })
            .collect();
        let mask = entries.iter().find(|(tag, ..)| *tag == Self::MASK);
        let mask = mask.map_or(u16::MAX, |(_, rights, _)| *rights);
        let mut list = Self::default();
        for (tag, _, id) in entries
            .into_iter()
            .filter(|(_, rights, _)| rights & mask & Self::WRITE != 0)
        {
            match tag {
                Self::USER => list.users.push(id),
                Self::GROUP => list.named_groups.push(id),
                Self::OWNING_GROUP => list.owning_group = true,
                _ => {}
            }
        }
        Some(list)
    }

    fn groups(&self, owning: u32) -> Vec<u32> {
        let owning = self.owning_group.then_some(owning);
        owning
            .into_iter()
            .chain(self.named_groups.iter().copied())
            .collect()
    }
}

/// The access list of a file beyond its mode; `None` where it has none.
fn access_list(path: &Path) -> Result<Option<AccessList>, String> {
    // The largest value that the kernel gives for an attribute.
    let mut value = vec![0; 1 << 16];
    match rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]) {
        Ok(length) => AccessList::parse(value.get(..length).unwrap_or_default())
            .map(Some)
            .ok_or_else(|| "it has another form".to_owned()),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The directories that the person has allowed, by the variable and by `rollback trust`.
fn allowed() -> Result<Vec<PathBuf>> {
    let named = std::env::var_os(VARIABLE).unwrap_or_default();
    let named = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
    let mut allowed: Vec<PathBuf> = named.filter_map(|path| path.canonicalize().ok()).collect();
    allowed.extend(list()?);
    Ok(allowed)
}

/// The file of the directories that `rollback trust` allows; `None` where this user has no home.
#[must_use]
pub fn file() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("rollback/trusted"))
}

/// The directories that `rollback trust` allows.
///
/// # Errors
/// [`crate::base::error::Kind::Denied`] where a stranger can write the list, [`crate::base::error::Kind::Configuration`] where it
/// can't be read.
pub fn list() -> Result<Vec<PathBuf>> {
    let Some(file) = file() else {
        return Ok(Vec::new());
    };
    let judge = Judge::new();
    for path in [
        Some(file.as_path()),
        file.parent(),
        file.parent().and_then(Path::parent),
    ] {
        if let Some(path) = path
            && let Some(why) = judge.stranger(path)
        {
            return Err(Error::denied(format!(
                "`{}` is not obeyed, because a stranger can write it: `{}` {why}",
                file.display(),
                path.display()
            ))
            .hint("let nobody else write it: `chmod go-w`, `chown`, or remove it"));
        }
    }
    let bytes = match super::contents(&file, LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(
                Error::configuration(format!("cannot read `{}`: {error}", file.display()))
                    .hint("make it a readable file, or remove it")
                    .caused_by(error),
            );
        }
    };
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"/"));
    Ok(lines.map(|line| PathBuf::from(OsStr::from_bytes(line))).collect())
}

/// What stands directly in a directory; nothing where it can't be listed.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(directory).into_iter().flatten().flatten();
    listed.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_list_gives_what_its_mask_lets_through() {
        let entry = |tag: u16, rights: u16, id: u32| {
            [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let list = |mask: u16| {
            let parts = [
                2_u32.to_le_bytes().to_vec(),
                entry(0x01, 7, u32::MAX),
                entry(0x02, 6, 1001),
                entry(0x02, 4, 1002),
                entry(0x04, 6, u32::MAX),
                entry(0x08, 7, 50),
                entry(0x10, mask, u32::MAX),
                entry(0x20, 4, u32::MAX),
            ];
            AccessList::parse(&parts.concat()).expect("a list")
        };
        assert_eq!((list(7).users, list(7).groups(9)), (vec![1001], vec![9, 50]));
        assert_eq!(list(4), AccessList::default());
        for broken in [&b""[..], b"\x02\0\0", b"\x01\0\0\0", b"\x02\0\0\0\x01"] {
            assert_eq!(AccessList::parse(broken), None, "{broken:?}");
        }
    }
}
