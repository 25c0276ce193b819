//! Commands in a transaction: a program of others runs once, in namespaces of its own, over an overlay of the workspace.
//! The workspace itself is never touched; what the program changed is a layer, and the layer is read as a list of changes.
//!
//! On disk: a directory outside of the workspace (`transaction/nest.rs`), for as long as a layer lives.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{CapabilitySet, capabilities};

use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::commands::{self, Invocation, Ran, Watch};
use crate::host::files::Files;
use crate::host::processes::started;

/// What a command changed.
pub mod changes;
mod inside;
mod lower;
mod mounts;
mod nest;
mod order;
mod outside;
mod refusal;
mod seed;
mod steps;

pub use changes::{Change, What};
pub use inside::play;
pub use refusal::Refusal;
pub use seed::Seed;
pub use steps::Steps;

use changes::Trees;
use lower::{Lower, below};
use nest::{Empty, is_full, loosen};
use order::{OUTER, Order, Progress, REPORT, Rights, SEEDED, UPPER};
use outside::{Outside, Workshop, gone};

/// How often a waiting call looks at the cancellation flag.
const TICK: Duration = Duration::from_millis(20);

/// How long the trial of a machine may take.
const TRIAL: Duration = Duration::from_secs(20);

/// Where commands are rehearsed. Made before the kernel's wall goes up, because nothing can be mounted under it.
#[derive(Debug)]
pub struct Stage {
    outside: Arc<Outside>,
    program: PathBuf,
    root: PathBuf,
}

/// How a rehearsed command ended, and what it left.
#[derive(Debug)]
pub struct Rehearsal {
    /// As for a command that runs outside of a transaction.
    pub ran: Ran,
    /// What it changed.
    pub left: Left,
}

/// What a rehearsed command left.
#[derive(Debug)]
pub enum Left {
    /// It succeeded, and this is what it wrote.
    Layer(Layer),
    /// It failed, and all that it wrote was thrown away.
    Nothing,
    /// It says that it succeeded, and what it wrote can't be trusted: it was thrown away. Why.
    Void(String),
}

impl Stage {
    /// A stage for the workspace at `root`. Must be called before the program is confined, from its last thread.
    ///
    /// # Errors
    /// Where no thread can be started; `NotFound` for a workspace that is not there.
    pub fn prepare(root: &Path) -> Result<Self> {
        // The link, not what it points to: that may have been replaced since this process began.
        Self::prepare_with(root, Path::new("/proc/self/exe"))
    }

    /// As [`Stage::prepare`], with the program that sets rehearsals up where that is not this one.
    ///
    /// # Errors
    /// As there.
    pub fn prepare_with(root: &Path, program: &Path) -> Result<Self> {
        let real = root
            .canonicalize()
            .map_err(|error| Error::io(format_args!("find `{}`", root.display()), &error))?;
        Ok(Self {
            outside: Arc::new(Outside::open()?),
            program: program.to_path_buf(),
            root: real,
        })
    }

    /// Makes the directory in which layers will be, and gives it, so that the kernel's wall can be told of it: under the
    /// wall of a real run only what stands below an opened directory can be moved into the workspace.
    ///
    /// # Errors
    /// `Failed` where no place will do.
    pub fn reserve(&self) -> Result<(PathBuf, OwnedFd)> {
        let root = self.root.clone();
        self.outside.ask(move |workshop| workshop.nest(&root)?.handle())
    }

    /// Whether commands can be rehearsed on this machine and over this workspace, by trying it without one.
    ///
    /// # Errors
    /// `Bug` where the thread has gone.
    pub fn available(&self) -> Result<std::result::Result<(), Refusal>> {
        let invocation = Invocation::new("/", &self.root).timeout(TRIAL);
        match self.play(&invocation, &[], true, None)? {
            Played::Refused(refusal) => Ok(Err(refusal)),
            Played::Ran(..) => Ok(Ok(())),
        }
    }

    /// Runs a command once over a layer of the workspace, in which it finds `seeds` as they are told, and waits for its
    /// end; a set `cancel` ends it. What it leaves running ends with it. Unknown, with the reason, where this machine or
    /// this workspace does not allow it: then nothing was started.
    ///
    /// # Errors
    /// As [`commands::run`]; nothing of the workspace has changed then either.
    pub fn rehearse(
        &self,
        invocation: &Invocation,
        seeds: &[Seed],
        cancel: Option<&AtomicBool>,
    ) -> Result<Known<Rehearsal>> {
        commands::check(invocation, cancel)?;
        match self.play(invocation, seeds, false, cancel)? {
            Played::Refused(refusal) => Ok(Known::Unknown(refusal.to_string())),
            Played::Ran(ran, Written::Nothing) => Ok(Known::Yes(Rehearsal {
                ran,
                left: Left::Nothing,
            })),
            Played::Ran(ran, Written::Void(why)) => Ok(Known::Yes(Rehearsal {
                ran,
                left: Left::Void(why),
            })),
            Played::Ran(ran, Written::All(kept)) => {
                let files = Files::open(&[kept.path.clone(), self.root.clone()])?;
                let layer = Layer {
                    kept,
                    root: self.root.clone(),
                    files,
                    outside: Arc::clone(&self.outside),
                };
                Ok(Known::Yes(Rehearsal {
                    ran,
                    left: Left::Layer(layer),
                }))
            }
        }
    }

    fn play(
        &self,
        invocation: &Invocation,
        seeds: &[Seed],
        is_trial: bool,
        cancel: Option<&AtomicBool>,
    ) -> Result<Played> {
        if let Some(refusal) = refusal::of_workspace(&self.root)? {
            return Ok(Played::Refused(refusal));
        }
        let stopped = Arc::new(AtomicBool::new(false));
        let act = Act {
            program: self.program.clone(),
            root: self.root.clone(),
            invocation: invocation.clone(),
            seeds: seeds.to_vec(),
            is_trial,
            stopped: Arc::clone(&stopped),
        };
        let played = self.outside.order(move |workshop| act.play(workshop));
        loop {
            match played.recv_timeout(TICK) {
                Ok(played) => return played,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) => {
                    if cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                        stopped.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

/// What became of a rehearsal, on its way from the thread.
enum Played {
    Refused(Refusal),
    Ran(Ran, Written),
}

/// What a command wrote.
enum Written {
    All(Kept),
    Nothing,
    Void(String),
}

/// A layer on disk.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    owned: bool,
    rights: Rights,
    /// The modes that were taken away so that its owner can look into it.
    modes: BTreeMap<PathBuf, u32>,
    /// Whether something was pretended below it.
    has_seeds: bool,
    /// When the command began, in nanoseconds since the epoch.
    since: i64,
}

/// One rehearsal, as the thread does it.
struct Act {
    program: PathBuf,
    root: PathBuf,
    invocation: Invocation,
    seeds: Vec<Seed>,
    is_trial: bool,
    stopped: Arc<AtomicBool>,
}

impl Act {
    fn play(&self, workshop: &mut Workshop) -> Result<Played> {
        let rights = match rights() {
            Ok(rights) => rights,
            Err(error) => return Ok(Played::Refused(Refusal::of_rights(&error))),
        };
        let empty = match workshop.nest(&self.root).and_then(|nest| nest.layer(&self.root)) {
            Ok(empty) => empty,
            Err(error) => return Ok(Played::Refused(Refusal::of_place(&error))),
        };
        let played = self.over(&empty, rights);
        if !matches!(played, Ok(Played::Ran(_, Written::All(_)))) {
            throw_away(&empty.path)?;
        }
        played
    }

    fn over(&self, empty: &Empty, rights: Rights) -> Result<Played> {
        seed::write(&empty.path, &self.seeds)
            .map_err(|error| Error::io("write what is pretended", &error))?;
        let full = || is_full(&empty.path).unwrap_or(true);
        if full() {
            return Ok(Played::Refused(Refusal::full(&empty.path)));
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let order = Order {
            parent: pid,
            parent_started: started(pid)
                .ok_or_else(|| Error::failed("this process can't see itself in /proc"))?,
            rights,
            layer: empty.path.clone(),
            root: self.root.clone(),
            cwd: self.invocation.cwd.clone(),
            program: (!self.is_trial).then(|| self.invocation.program.clone()),
            arguments: self.invocation.arguments.clone(),
        };
        let (began, since) = (Instant::now(), now_ns());
        let starting = |error: std::io::Error| commands::cannot_start(&self.program, &error);
        let input = if self.is_trial {
            Stdio::null()
        } else {
            commands::input(&self.invocation).map_err(starting)?
        };
        let child = commands::prepared(&self.program, &self.invocation)
            .args(order.to_arguments(OUTER))
            .current_dir("/")
            .stdin(input)
            .spawn()
            .map_err(starting)?;
        let mut was_full = false;
        let mut pulse = || was_full |= full();
        let ran = Watch::over(child, &self.invocation, began)
            .forced_by(Signal::QUIT)
            .pulse(&mut pulse)
            .wait_for_end(Some(&self.stopped), None)?;
        let report = std::fs::read_to_string(order.place(REPORT))
            .map_err(|error| Error::io("read how a rehearsed command ended", &error))?;
        let (status, signal) = match Progress::last(&report) {
            Some(Progress::Refused(refused)) => return Ok(Played::Refused(Refusal::of_system(&refused))),
            Some(Progress::NotStarted(errno)) => {
                let error = std::io::Error::from_raw_os_error(errno);
                return Err(commands::cannot_start(&self.invocation.program, &error));
            }
            Some(Progress::Status(status)) => (Some(status), None),
            Some(Progress::Signal(signal)) => (None, Some(signal)),
            // The first process of the namespace was killed, and all others with it.
            Some(Progress::Ready) => (None, Some(Signal::KILL.as_raw())),
            None if ran.timed_out => (None, Some(Signal::KILL.as_raw())),
            None => return Ok(Played::Refused(Refusal::silent(&ran))),
        };
        let ran = Ran {
            status,
            signal,
            ..ran
        };
        if self.is_trial || !ran.succeeded() {
            return Ok(Played::Ran(ran, Written::Nothing));
        }
        if was_full || full() {
            let why =
                "the file system of the layer ran full, so that what the command wrote may be cut short";
            return Ok(Played::Ran(ran, Written::Void(why.to_owned())));
        }
        let looking = |error: std::io::Error| Error::io("look into a layer", &error);
        loosen(&order.place(SEEDED)).map_err(looking)?;
        let modes = loosen(&order.place(UPPER)).map_err(looking)?;
        let kept = Kept {
            path: empty.path.clone(),
            owned: empty.owned,
            rights,
            modes,
            has_seeds: !self.seeds.is_empty(),
            since,
        };
        Ok(Played::Ran(ran, Written::All(kept)))
    }
}

/// By which rights namespaces and overlays can be had.
fn rights() -> std::io::Result<Rights> {
    let may = capabilities(None)?.effective;
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    let is_whole = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    let own_users = !may.contains(CapabilitySet::SYS_ADMIN);
    Ok(Rights {
        own_users,
        open_notes: own_users || !is_whole,
    })
}

fn now_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec)
}

fn throw_away(layer: &Path) -> Result<()> {
    nest::remove(layer).map_err(|error| {
        Error::io(format_args!("remove the layer `{}`", layer.display()), &error)
            .hint("nothing of the workspace was changed; remove that directory by hand")
    })
}

/// What a command wrote over the workspace. Its directory goes when it is dropped.
#[derive(Debug)]
pub struct Layer {
    kept: Kept,
    root: PathBuf,
    files: Files,
    outside: Arc<Outside>,
}

impl Layer {
    /// What the command changed, in the order of the bytes of the paths, compared with the workspace as it is now and what
    /// was pretended over it. What is below `.rollback` is left out.
    ///
    /// # Errors
    /// `Failed` where something of them can't be looked at; `Changed` where it has changed since the command began.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let upper = self.kept.path.join(UPPER);
        let seeded = self.kept.path.join(SEEDED);
        let trees = Trees {
            lower: Lower {
                files: &self.files,
                root: &self.root,
                seeded: self.kept.has_seeds.then_some(seeded.as_path()),
                notes: self.kept.rights.notes(),
            },
            upper: &upper,
            since: self.kept.since,
            modes: &self.kept.modes,
            owned: self.kept.owned,
        };
        trees.compare()
    }

    /// A regular file of the layer, open for reading: what the command wrote.
    ///
    /// # Errors
    /// `NotFound` for what the layer does not hold; `Invalid` for what is no regular file.
    pub fn contents(&self, path: &Path) -> Result<File> {
        self.files.open_file(&self.place(path)).map(|(file, _)| file)
    }

    /// What a symbolic link of the layer points to.
    ///
    /// # Errors
    /// `NotFound` for what the layer does not hold; `Invalid` for what is no symbolic link.
    pub fn target(&self, path: &Path) -> Result<PathBuf> {
        self.files.read_link(&self.place(path))
    }

    /// Where a path of the workspace is in the layer; absolute. What is there may have to be given its mode again
    /// ([`Layer::modes`]).
    #[must_use]
    pub fn place(&self, path: &Path) -> PathBuf {
        below(&self.kept.path.join(UPPER), path)
    }

    /// What at and below a path has not the mode that the command gave it, with that mode, from the inside to the outside:
    /// its owner could not look into it. Paths are from the workspace on.
    #[must_use]
    pub fn modes(&self, path: &Path) -> Vec<(&Path, u32)> {
        let below = self
            .kept
            .modes
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        let below = below.take_while(|(below, _)| below.starts_with(path));
        let mut modes: Vec<_> = below.map(|(below, mode)| (below.as_path(), *mode)).collect();
        modes.reverse();
        modes
    }

    /// Takes from these places of the layer, and from all below them, the marks by which the kernel keeps it, so that they
    /// can stand elsewhere. The changes can't be asked for after that.
    ///
    /// # Errors
    /// What the system says.
    pub fn release(&self, places: &[PathBuf]) -> Result<()> {
        let notes = self.kept.rights.notes();
        let places: Vec<PathBuf> = places.iter().map(|path| self.place(path)).collect();
        self.outside.ask(move |_| {
            let done = places.iter().try_for_each(|place| nest::unmark(place, notes));
            done.map_err(|error| Error::io("take the marks from a layer", &error))
        })
    }

    /// The workspace that it lies over; absolute, without symbolic links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        let path = self.kept.path.clone();
        // What can't be removed is swept by the next process.
        let _ = self.outside.ask(move |_| throw_away(&path));
    }
}
