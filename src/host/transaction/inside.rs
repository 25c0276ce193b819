//! The two processes that stand between us and a rehearsed command. The outer one makes the namespaces, waits, and ends
//! the inner one when it is told to; the inner one is the first process of the namespace, so that with its end everything
//! ends that the command has started. Each dies with the one that started it.

#![expect(
    clippy::disallowed_methods,
    reason = "here a process is made ready that has nothing of ours left"
)]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode as FileMode, OFlags, openat};
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_change, open_tree};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use signal_hook::consts::{SIGCHLD, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::mounts;
use super::order::{INNER, Order, Progress, REPORT, Refused, ordered};
use crate::host::confine::{Mode, Wall, interface};
use crate::host::processes::started;

type Step<T> = Result<T, Refused>;

/// Where the arguments say that this process is one of the two: does all that it is for, and gives its exit code. Must be
/// called while the program has one thread.
#[must_use]
pub fn play(arguments: &[OsString]) -> Option<u8> {
    let (inner, order) = ordered(arguments)?;
    let Some(order) = order else { return Some(2) };
    let done = if inner { first(&order) } else { outer(&order) };
    if let Err(refused) = done {
        // Who gets no report knows that nothing was started.
        let _ = report(&order).and_then(|mut report| tell(&mut report, &Progress::Refused(refused)));
    }
    Some(0)
}

fn report(order: &Order) -> Step<File> {
    File::options()
        .append(true)
        .open(order.place(REPORT))
        .map_err(Refused::io("open the report"))
}

/// The report, by a mount of its own that is nowhere: a file that is open for writing would keep the mount on which it is
/// from being made read-only.
fn apart(order: &Order) -> Step<File> {
    let step = "open the report";
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let layer = open_tree(CWD, &order.layer, flags).map_err(Refused::by(step))?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let report = openat(&layer, REPORT, flags, FileMode::empty()).map_err(Refused::by(step))?;
    Ok(File::from(report))
}

fn tell(report: &mut File, progress: &Progress) -> Step<()> {
    report
        .write_all(progress.line().as_bytes())
        .map_err(Refused::io("write the report"))
}

/// From here on this process dies with the one that started it. It may have died before.
fn die_with(parent: i32, parent_started: u64) -> Step<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Refused::by("be ended with rollback"))?;
    if started(parent) == Some(parent_started) {
        Ok(())
    } else {
        Err(Refused::because("the process that started it has gone"))
    }
}

/// Closes what somebody has left open for us, but for input and outputs.
fn close_inherited() -> Step<()> {
    let listed = std::fs::read_dir("/proc/self/fd").map_err(Refused::io("list open files"))?;
    let open: Vec<i32> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        // The list itself was one of them.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

fn outer(order: &Order) -> Step<()> {
    close_inherited()?;
    die_with(order.parent, order.parent_started)?;
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGQUIT]).map_err(Refused::io("watch signals"))?;
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC;
    if order.rights.own_users {
        namespaces |= CloneFlags::CLONE_NEWUSER;
    }
    nix::sched::unshare(namespaces).map_err(|error| Refused {
        step: "make namespaces".to_owned(),
        errno: error as i32,
    })?;
    if order.rights.own_users {
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{0} {0} 1", user.as_raw())),
            ("gid_map", format!("{0} {0} 1", group.as_raw())),
        ] {
            std::fs::write(format!("/proc/self/{file}"), text)
                .map_err(Refused::io("name the user in a user namespace"))?;
        }
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(Refused::by("part the mounts from those outside"))?;
    if order.rights.own_users {
        hand_on_rights()?;
    }
    // Another user namespace may have taken this away.
    die_with(order.parent, order.parent_started)?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let inner = Order {
        parent: pid,
        parent_started: started(pid).ok_or_else(|| Refused::because("this process can't see itself"))?,
        ..order.clone()
    };
    let child = Command::new("/proc/self/exe")
        .args(inner.to_arguments(INNER))
        .spawn()
        .map_err(Refused::io("start the first process of the namespace"))?;
    until_it_ends(child, &mut signals)
}

/// Who is not root in a user namespace loses with the next program what it may there, but for this.
fn hand_on_rights() -> Step<()> {
    let step = "keep the rights in a user namespace";
    let has = rustix::thread::capabilities(None).map_err(Refused::by(step))?;
    let inheritable = has.permitted;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable, ..has })
        .map_err(Refused::by(step))?;
    for capability in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        if has.permitted.contains(capability) {
            rustix::thread::configure_capability_in_ambient_set(capability, true)
                .map_err(Refused::by(step))?;
        }
    }
    Ok(())
}

/// Waits; asks the command to end where we were asked, and ends all of it where we were told to.
fn until_it_ends(mut child: Child, signals: &mut Signals) -> Step<()> {
    let group = Pid::from_child(&child);
    loop {
        if child
            .try_wait()
            .map_err(Refused::io("wait for the first process"))?
            .is_some()
        {
            return Ok(());
        }
        for signal in signals.wait() {
            match signal {
                // The first process of a namespace gets none of the signals that it does not expect.
                SIGTERM => {
                    let _ = rustix::process::kill_process_group(group, Signal::TERM);
                }
                SIGQUIT => {
                    let _ = child.kill();
                }
                _ => {}
            }
        }
    }
}

fn first(order: &Order) -> Step<()> {
    die_with(order.parent, order.parent_started)?;
    rustix::process::setsid().map_err(Refused::by("leave the terminal"))?;
    let mut report = apart(order)?;
    loopback_up()?;
    let open = mounts::make(order)?;
    confine(&open)?;
    drop(open);
    drop_rights()?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(Refused::by("keep this process from being looked into"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Refused::by("be ended with rollback"))?;
    tell(&mut report, &Progress::Ready)?;
    let Some(program) = &order.program else {
        return tell(&mut report, &Progress::Status(0));
    };
    let ended = Command::new(program)
        .args(&order.arguments)
        .current_dir(&order.cwd)
        .spawn()
        .and_then(|mut child| child.wait());
    let progress = match ended {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Progress::Status(code),
            (None, signal) => Progress::Signal(signal.unwrap_or_default()),
        },
        Err(error) => Progress::NotStarted(error.raw_os_error().unwrap_or_default()),
    };
    tell(&mut report, &progress)
}

/// The kernel's other wall, for root too.
fn confine(open: &[OwnedFd]) -> Step<()> {
    let open: Vec<_> = open.iter().map(AsFd::as_fd).collect();
    Wall::on(interface(), Mode::Rehearsal)
        .put_up(&open)
        .map_err(|error| Refused::because(error.message().to_owned()))
}

/// Nothing that root may is left, and nothing gives it back.
fn drop_rights() -> Step<()> {
    let step = "give up capabilities";
    rustix::thread::set_no_new_privs(true).map_err(Refused::by(step))?;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(Refused::by(step)(error)),
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).map_err(Refused::by(step))
}

/// Programs that speak to themselves find 127.0.0.1: one message to the kernel, which says whether it did it.
fn loopback_up() -> Step<()> {
    let step = "bring the loopback interface up";
    let by = |error| Refused::by(step)(error);
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(by)?;
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(by)?;
    rustix::net::send(&socket, &up_message(), SendFlags::empty()).map_err(by)?;
    let mut answer = [0_u8; 256];
    let (_, length) = rustix::net::recv(&socket, answer.as_mut_slice(), RecvFlags::empty()).map_err(by)?;
    let code = answer
        .get(16..20)
        .filter(|_| length >= 20)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(errno) => Err(Refused {
            step: step.to_owned(),
            errno: -errno,
        }),
        None => Err(Refused::because(format!(
            "{step}: the kernel's answer is too short"
        ))),
    }
}

/// `RTM_NEWLINK` for the interface 1, which is the loopback one: set `IFF_UP`, and say what became of it.
fn up_message() -> Vec<u8> {
    const LENGTH: u32 = 32;
    const NEW_LINK: u16 = 16;
    const REQUEST_AND_ANSWER: u16 = 1 | 4;
    const UP: u32 = 1;
    let mut message = Vec::with_capacity(LENGTH as usize);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ANSWER.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(1_i32.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message
}
