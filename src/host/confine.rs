//! The kernel's own wall: Landlock on this thread and on everything that it starts. It must be put up before any other
//! thread exists, and can't be taken down.
//!
//! Each right that a mode wants stands in one table, with the interface of the kernel that brought it. What the kernel
//! has is asked right by right and demanded as a whole; what it lacks is named, never dropped in silence.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::base::error::{Error, Result};
use crate::workspace::CONFIG;

/// What the wall is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A dry run, or a command that only reads: nothing is written, nobody is signalled, nothing listens.
    DryRun,
    /// A command that changes something: it writes below the workspace and the configured directories alone.
    Real,
    /// A command over a layer: it writes the layer and what is private to it, and speaks to nobody outside. It may listen,
    /// on a network of its own.
    Rehearsal,
}

/// A right that the kernel can withhold. The order is that of the interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Writing, making and removing files.
    Files,
    /// Moving and linking between directories. A kernel without this right refuses all such moves to whoever is
    /// confined.
    Moves,
    /// Cutting files short.
    Truncation,
    /// Listening on TCP ports.
    Listening,
    /// Commands to devices (`ioctl`).
    Devices,
    /// Signals to processes outside.
    Signals,
    /// Connections to abstract sockets outside.
    Sockets,
}

impl Right {
    /// Every right that we know, with the interface (ABI) of Landlock that brought it.
    pub const ALL: [(Self, i32); 7] = [
        (Self::Files, 1),
        (Self::Moves, 2),
        (Self::Truncation, 3),
        (Self::Listening, 4),
        (Self::Devices, 5),
        (Self::Signals, 6),
        (Self::Sockets, 6),
    ];

    /// What it keeps out, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "changing files",
            Self::Moves => "moving files between directories",
            Self::Truncation => "cutting files short",
            Self::Listening => "listening on ports",
            Self::Devices => "commands to devices",
            Self::Signals => "signals to other processes",
            Self::Sockets => "abstract sockets of other processes",
        }
    }

    /// Whether a mode wants it. A real run has to end services, and what it starts may have to listen and connect.
    #[must_use]
    pub const fn is_wanted(self, mode: Mode) -> bool {
        match self {
            Self::Files | Self::Moves | Self::Truncation | Self::Devices => true,
            Self::Listening => matches!(mode, Mode::DryRun),
            Self::Signals | Self::Sockets => matches!(mode, Mode::DryRun | Mode::Rehearsal),
        }
    }

    /// The file rights of the kernel that it stands for.
    fn files(self) -> BitFlags<AccessFs> {
        match self {
            Self::Files => AccessFs::from_write(ABI::V1),
            Self::Moves => AccessFs::Refer.into(),
            Self::Truncation => AccessFs::Truncate.into(),
            Self::Devices => AccessFs::IoctlDev.into(),
            Self::Listening | Self::Signals | Self::Sockets => BitFlags::EMPTY,
        }
    }

    /// Adds it to what the rules handle. Fails where the kernel does not know it.
    fn handle(self, rules: Ruleset) -> std::result::Result<Ruleset, landlock::RulesetError> {
        let rules = rules.set_compatibility(CompatLevel::HardRequirement);
        match self {
            Self::Listening => rules.handle_access(AccessNet::BindTcp),
            Self::Signals => rules.scope(Scope::Signal),
            Self::Sockets => rules.scope(Scope::AbstractUnixSocket),
            _ => rules.handle_access(self.files()),
        }
    }
}

/// The newest interface of Landlock, among those that we know, that this kernel has; 0: none, or switched off.
#[must_use]
pub fn interface() -> i32 {
    Right::ALL
        .iter()
        .take_while(|(right, _)| right.handle(Ruleset::default()).is_ok())
        .map(|(_, since)| *since)
        .last()
        .unwrap_or(0)
}

/// Which of the rights that a mode wants hold on a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// What it is for.
    pub mode: Mode,
    /// The kernel's interface of Landlock; 0: none.
    pub interface: i32,
    /// What holds.
    pub holds: Vec<Right>,
    /// What was wanted and does not hold.
    pub lacks: Vec<Right>,
}

impl Wall {
    /// The wall of a mode on a kernel with this interface.
    #[must_use]
    pub fn on(interface: i32, mode: Mode) -> Self {
        // Interface 1 refuses every move between directories, whatever the rules: no backup could be made under it.
        let useless = mode != Mode::DryRun && interface < 2;
        let (mut holds, mut lacks) = (Vec::new(), Vec::new());
        for (right, since) in Right::ALL {
            match (right.is_wanted(mode), since <= interface && !useless) {
                (true, true) => holds.push(right),
                (true, false) => lacks.push(right),
                (false, _) => {}
            }
        }
        Self {
            mode,
            interface,
            holds,
            lacks,
        }
    }

    /// What the person is told where it is not whole.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let alone = match self.mode {
            Mode::DryRun => "nothing but rollback itself keeps the dry run dry",
            Mode::Real => "nothing but rollback itself keeps this run inside the workspace",
            Mode::Rehearsal => "namespaces alone keep the command inside its layer",
        };
        if self.lacks.is_empty() {
            return None;
        }
        if self.interface == 0 {
            return Some(format!("this kernel has no Landlock: {alone}"));
        }
        let what = match self.mode {
            Mode::DryRun => "a dry run",
            Mode::Real => "a real run",
            Mode::Rehearsal => "a rehearsed command",
        };
        if self.holds.is_empty() {
            return Some(format!(
                "this kernel's Landlock (interface {}) is too old for {what}: {alone}",
                self.interface
            ));
        }
        let lacks: Vec<&str> = self.lacks.iter().map(|right| right.name()).collect();
        Some(format!(
            "this kernel's Landlock (interface {}) is too old to keep {what} from all: {} is not withheld",
            self.interface,
            lacks.join(", ")
        ))
    }

    /// The warning, or an error where `policy.require_confinement` wants the wall to be whole.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`].
    pub fn require(&self, required: bool) -> Result<Option<String>> {
        match self.warning() {
            Some(warning) if required => Err(Error::denied(warning).hint(format!(
                "policy.require_confinement of `{CONFIG}` asks for the whole wall: use a newer kernel (6.12 has all of it), \
                 or take the line out; nothing was changed"
            ))),
            warning => Ok(warning),
        }
    }

    fn holds_files(&self) -> BitFlags<AccessFs> {
        self.holds
            .iter()
            .fold(BitFlags::EMPTY, |all, right| all | right.files())
    }

    /// Puts it up, for this thread and everything that it starts. A real run may write below `open`; nobody anywhere
    /// else but to terminals and devices that hold no data.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] where the kernel has the rights and refuses the rules all the same.
    pub fn put_up(&self, open: &[BorrowedFd<'_>]) -> Result<()> {
        if self.holds.is_empty() {
            return Ok(());
        }
        let status = self
            .rules()
            .and_then(|rules| self.openings(rules, open))
            .and_then(RulesetCreated::restrict_self)
            .map_err(|error| refused(&error))?;
        if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
            return Ok(());
        }
        Err(refused(&"not all of the rules are enforced"))
    }

    fn rules(&self) -> std::result::Result<RulesetCreated, landlock::RulesetError> {
        self.holds
            .iter()
            .try_fold(Ruleset::default(), |rules, right| right.handle(rules))?
            .create()
    }

    fn openings(
        &self,
        mut rules: RulesetCreated,
        open: &[BorrowedFd<'_>],
    ) -> std::result::Result<RulesetCreated, landlock::RulesetError> {
        let held = self.holds_files();
        let device = held & (AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev);
        for path in HARMLESS {
            // A machine need not have them all.
            if let Ok(opened) = PathFd::new(path) {
                rules = rules.add_rule(PathBeneath::new(opened, device))?;
            }
        }
        if self.mode == Mode::DryRun {
            return Ok(rules);
        }
        // No device is made in a workspace or spoken to: by one of its own, root would reach every disk.
        let inside = held & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
        for directory in open {
            rules = rules.add_rule(PathBeneath::new(directory.as_fd(), inside))?;
        }
        Ok(rules)
    }
}

/// Terminals, and devices that hold no data.
const HARMLESS: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/tty",
    "/dev/pts",
    "/dev/ptmx",
];

fn refused(why: &dyn std::fmt::Display) -> Error {
    Error::denied(format!("the kernel refuses confinement: {why}"))
        .hint("nothing was changed; run it outside of other sandboxes, which may have used up what the kernel allows")
}

/// Makes sure that no other thread would stay outside of the wall, but for the first one of the program where this is
/// another: that one waits for this one's end and does nothing else.
///
/// # Errors
/// [`crate::base::error::Kind::Bug`] where there is one.
pub fn require_alone() -> Result<()> {
    // A thread that was waited for leaves the table a moment later.
    const PATIENCE: Duration = Duration::from_secs(2);
    let first = rustix::thread::gettid() == rustix::process::getpid();
    let known = if first { 1 } else { 2 };
    let since = Instant::now();
    loop {
        match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
            Err(_) => return Ok(()),
            Ok(count) if count <= known => return Ok(()),
            Ok(_) if since.elapsed() < PATIENCE => std::thread::yield_now(),
            Ok(count) => {
                return Err(Error::bug(format!(
                    "{} threads would stay outside of the kernel's wall",
                    count - known
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests;
