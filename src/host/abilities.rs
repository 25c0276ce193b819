//! What this machine can do of what the promises rest on, found out by trying it: in a directory of ours outside of the
//! workspace, on its file system where that can be had.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::base::error::{Error, Result};
use crate::host::confine;
use crate::host::transaction::Stage;

/// Something that a machine can do, or can't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ability {
    /// Its name.
    pub name: &'static str,
    /// What rests on it.
    pub serves: &'static str,
    /// Whether it can; `None`: nobody could tell.
    pub verdict: Option<bool>,
    /// In which version, or why not, or why nobody can tell.
    pub why: Option<String>,
    /// What would allow it, where we know.
    pub remedy: Option<String>,
}

/// Tries everything. Must be called before the program is confined. Changes nothing of the workspace at `root`.
///
/// # Errors
/// Where the workspace is not there, or no thread can be started.
pub fn all(root: &Path) -> Result<Vec<Ability>> {
    let stage = Stage::prepare(root)?;
    let refused = stage.available()?.err();
    let transaction = Ability {
        name: "transactions",
        serves: "commands over a layer of the workspace: namespaces and OverlayFS",
        verdict: match &refused {
            None => Some(true),
            Some(refused) => refused.is_certain.then_some(false),
        },
        why: refused.as_ref().map(|refused| refused.reason.clone()),
        remedy: refused.and_then(|refused| refused.remedy),
    };
    let mut all = vec![landlock(), transaction, pidfd(), openat2(root)];
    let trial = stage.reserve().and_then(|(_, nest)| {
        let device = |stat: rustix::fs::Stat| stat.st_dev;
        let nest_on = rustix::fs::fstat(&nest).map(device);
        let root_on = rustix::fs::stat(root).map(device);
        match (nest_on, root_on) {
            (Ok(nest_on), Ok(root_on)) if nest_on == root_on => Ok(nest),
            _ => Err(Error::unknown(
                "there is no directory for a trial on the file system of the workspace",
            )),
        }
    });
    for (name, serves, probe) in TRIALS {
        let tried = match &trial {
            Ok(nest) => probe(nest.as_fd()).map_err(|error| error.to_string()),
            Err(error) => Err(error.message().to_owned()),
        };
        let (verdict, why) = match tried {
            Ok(Tried::Can) => (Some(true), None),
            Ok(Tried::Cannot(why)) => (Some(false), Some(why.to_owned())),
            Err(why) => (None, Some(why)),
        };
        all.push(Ability {
            name,
            serves,
            verdict,
            why,
            remedy: None,
        });
    }
    Ok(all)
}

fn landlock() -> Ability {
    let interface = confine::interface();
    let has = interface > 0;
    Ability {
        name: "landlock",
        serves: "the kernel's wall around every run and dry run",
        verdict: Some(has),
        why: Some(if has {
            format!("interface {interface}")
        } else {
            "this kernel has none, or it is switched off".to_owned()
        }),
        remedy: (!has)
            .then(|| "Linux 5.13 or newer, with `landlock` among the `lsm=` of its command line".to_owned()),
    }
}

fn pidfd() -> Ability {
    let answer = pidfd_open(getpid(), PidfdFlags::empty());
    of_kernel(
        "pidfd",
        "ending exactly the process that was looked at",
        answer.map(drop),
        "5.3",
    )
}

fn openat2(root: &Path) -> Ability {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let answer = rustix::fs::openat2(
        rustix::fs::CWD,
        root,
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    );
    of_kernel("openat2", "paths that lead nowhere else", answer.map(drop), "5.6")
}

fn of_kernel(
    name: &'static str,
    serves: &'static str,
    answer: rustix::io::Result<()>,
    since: &str,
) -> Ability {
    let (verdict, why) = match answer {
        Ok(()) => (Some(true), None),
        Err(Errno::NOSYS | Errno::PERM) => (Some(false), Some("the system refuses the call".to_owned())),
        Err(error) => (None, Some(std::io::Error::from(error).to_string())),
    };
    let remedy = (verdict == Some(false))
        .then(|| format!("Linux {since} or newer; in a container, a seccomp profile that lets it pass"));
    Ability {
        name,
        serves,
        verdict,
        why,
        remedy,
    }
}

enum Tried {
    Can,
    Cannot(&'static str),
}

type Probe = fn(BorrowedFd<'_>) -> rustix::io::Result<Tried>;

/// What is tried on the file system of the workspace.
const TRIALS: [(&str, &str, Probe); 3] = [
    (
        "rename-noreplace",
        "moves that never replace anything, in one step",
        |nest| {
            renaming(
                nest,
                RenameFlags::NOREPLACE,
                "tried by a second name instead, in two steps",
            )
        },
    ),
    (
        "rename-exchange",
        "two things that change places in one step (nothing rests on it yet)",
        |nest| renaming(nest, RenameFlags::EXCHANGE, "nothing here needs it"),
    ),
    (
        "reflink",
        "copies that share their blocks, and cost no room",
        reflink,
    ),
];

fn renaming(nest: BorrowedFd<'_>, flags: RenameFlags, instead: &'static str) -> rustix::io::Result<Tried> {
    let (one, two) = ("trial-1", "trial-2");
    let make = |name| rustix::fs::mknodat(nest, name, FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0);
    make(one)?;
    let other = if flags == RenameFlags::EXCHANGE {
        make(two)
    } else {
        Ok(())
    };
    let answer = other.and_then(|()| rustix::fs::renameat_with(nest, one, nest, two, flags));
    for name in [one, two] {
        match rustix::fs::unlinkat(nest, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    match answer {
        Ok(()) => Ok(Tried::Can),
        Err(Errno::INVAL | Errno::NOSYS) => Ok(Tried::Cannot(instead)),
        Err(error) => Err(error),
    }
}

fn reflink(nest: BorrowedFd<'_>) -> rustix::io::Result<Tried> {
    let unnamed = || {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        rustix::fs::openat(nest, ".", flags, Mode::RUSR | Mode::WUSR)
    };
    let (one, two) = (unnamed()?, unnamed()?);
    match rustix::fs::ioctl_ficlone(&two, &one) {
        Ok(()) => Ok(Tried::Can),
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
            Ok(Tried::Cannot("contents are copied instead"))
        }
        Err(error) => Err(error),
    }
}
