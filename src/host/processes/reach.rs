//! Who is never ended, whatever selector finds it: programs that people work in, and everything of our own terminal
//! session, process group and pipeline. A selector that meets them is wrong about them, not right.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command::is_interactive_shell;
use super::table::{Seen, Table};

/// What people work in, and what everything else hangs on: names of executables (a `*` stands for any end), and why.
const NEVER: [(&str, &[&str]); 7] = [
    (
        "it is a terminal multiplexer: the programs of a whole session end with it",
        &[
            "tmux",
            "screen",
            "zellij",
            "byobu*",
            "dtach",
            "abduco",
            "dvtm",
            "mosh-server",
            "shpool",
        ],
    ),
    (
        "it is an editor: what was not saved is lost with it",
        &[
            "vi",
            "vim*",
            "nvim",
            "view",
            "ex",
            "nano",
            "pico",
            "emacs*",
            "ed",
            "joe",
            "jed",
            "mg",
            "micro",
            "hx",
            "helix",
            "kak",
            "ne",
            "kate",
            "kwrite",
            "gedit",
            "gnome-text-editor",
            "mousepad",
            "code",
            "code-server",
            "code-oss",
            "code-insiders",
            "codium",
            "cursor",
            "zed",
            "zed-editor",
            "subl",
            "sublime_text",
            "idea",
            "pycharm",
            "webstorm",
        ],
    ),
    (
        "it is a terminal: what runs in it ends with it",
        &[
            "xterm",
            "uxterm",
            "gnome-terminal*",
            "kgx",
            "ptyxis*",
            "konsole",
            "yakuake",
            "alacritty",
            "kitty",
            "foot",
            "footclient",
            "wezterm*",
            "ghostty",
            "xfce4-terminal",
            "lxterminal",
            "qterminal",
            "terminator",
            "tilix",
            "guake",
            "urxvt*",
            "rxvt*",
            "st",
            "script",
            "ttyd",
            "gotty",
        ],
    ),
    (
        "it is somebody's login or remote session",
        &[
            "sshd*", "ssh", "dropbear", "login", "agetty", "getty", "su", "sudo", "doas", "polkitd",
            "telnetd",
        ],
    ),
    (
        "it is a debugger or tracer: what it holds ends with it",
        &["gdb*", "lldb*", "strace", "ltrace", "rr"],
    ),
    (
        "it carries a desktop",
        &[
            "Xorg*",
            "Xwayland",
            "Xvnc*",
            "gnome-shell",
            "gnome-session*",
            "gdm*",
            "sddm*",
            "lightdm*",
            "kwin*",
            "plasmashell",
            "startplasma*",
            "mutter*",
            "weston*",
            "sway",
            "Hyprland",
            "i3",
            "xfce4-session",
        ],
    ),
    (
        "it keeps the machine or a session running",
        &[
            "init",
            "systemd*",
            "dbus-*",
            "openrc*",
            "runit*",
            "s6-*",
            "dockerd",
            "containerd*",
            "crio",
            "conmon",
        ],
    ),
];

/// Our own session and pipeline.
#[derive(Debug)]
pub(super) struct Ours {
    /// Sessions on a terminal that this process or one above it is in.
    sessions: BTreeSet<i32>,
    /// Our process group, where it is one job and not a script's whole.
    group: Option<i32>,
}

impl Ours {
    pub fn of(table: &Table) -> Self {
        let above = table.line();
        let stat = |pid: i32| Seen::open(pid)?.stat().cloned();
        let sessions = above
            .iter()
            .filter_map(|pid| stat(*pid))
            .filter(|stat| stat.terminal != 0)
            .map(|stat| stat.session)
            .collect();
        // Without job control a group is the whole script, with the services that it has started: that is told by a
        // leader which stands above us.
        let group = above
            .first()
            .and_then(|own| stat(*own))
            .map(|stat| stat.group)
            .filter(|group| stat(*group).is_some() && !table.is_above(*group));
        Self { sessions, group }
    }
}

/// Why a process is never ended; `None` where nothing speaks against it. What this process itself has started is never
/// a stranger's.
pub(super) fn never(table: &Table, seen: &Seen) -> Option<String> {
    let stat = seen.stat()?;
    if let Some(why) = profession(seen) {
        return Some(why);
    }
    if table.is_own(stat.parent) {
        return None;
    }
    if stat.terminal != 0 && stat.session == seen.pid {
        return Some("it leads the session of a terminal".to_owned());
    }
    let ours = table.ours();
    if stat.terminal != 0 && ours.sessions.contains(&stat.session) {
        return Some(format!(
            "it belongs to the terminal session of this run: end it there (`kill {}`), or run from another terminal",
            seen.pid
        ));
    }
    if ours.group == Some(stat.group) {
        return Some("it is in the process group of this run".to_owned());
    }
    (pipes(seen, &[]).next().is_some() && table.pipeline().contains(&seen.pid))
        .then(|| "it is in the pipeline of this run".to_owned())
}

/// Why a program is never ended, by what it is.
fn profession(seen: &Seen) -> Option<String> {
    let command = seen.command();
    let link = seen.path("exe");
    let executable = link.as_deref().and_then(Path::file_name);
    let short = || seen.stat().map(|stat| stat.name.clone().into());
    let executable = executable.map(OsStr::to_os_string).or_else(short)?;
    // What a program calls itself counts as well; a script that an interpreter runs may be called anything.
    let called = command.first().and_then(|word| Path::new(word).file_name());
    let names = || std::iter::once(executable.as_os_str()).chain(called);
    let listed = NEVER
        .iter()
        .find(|(_, listed)| names().any(|name| listed.iter().any(|pattern| fits(pattern, name))));
    if let Some((why, _)) = listed {
        return Some((*why).to_owned());
    }
    is_interactive_shell(&executable, command).then(|| {
        "it is a shell that somebody types into, or one that reads its commands from elsewhere".to_owned()
    })
}

fn fits(pattern: &str, name: &OsStr) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.as_bytes().starts_with(start.as_bytes()),
        None => name.as_bytes() == pattern.as_bytes(),
    }
}

/// Whoever is connected with our standard streams through pipes, however indirectly: who writes what we read, and reads
/// what we write. What stands above us holds many pipes and connects nobody.
pub(super) fn pipeline(table: &Table) -> BTreeSet<i32> {
    let own = |numbers: &[&str]| -> Vec<u64> {
        let seen = table.line().first().and_then(|own| Seen::open(*own));
        seen.map(|seen| pipes(&seen, numbers).map(|pipe| pipe.inode).collect())
            .unwrap_or_default()
    };
    let (read, written) = (own(&["0"]), own(&["1", "2"]));
    let mut found = BTreeSet::new();
    if read.is_empty() && written.is_empty() {
        return found;
    }
    let others: Vec<(i32, Vec<Pipe>)> = Table::pids()
        .unwrap_or_default()
        .into_iter()
        .filter(|pid| !table.is_own(*pid) && !table.is_above(*pid))
        .filter_map(Seen::open)
        .map(|seen| (seen.pid, pipes(&seen, &[]).collect()))
        .collect();
    for (mut wanted, upwards) in [(read, true), (written, false)] {
        let mut known = BTreeSet::new();
        while let Some(inode) = wanted.pop() {
            let ends = |pipe: &Pipe| pipe.inode == inode && if upwards { pipe.writes } else { pipe.reads };
            for (pid, pipes) in others.iter().filter(|(_, pipes)| pipes.iter().any(ends)) {
                if known.insert(*pid) {
                    let streams: &[&str] = if upwards { &["0"] } else { &["1", "2"] };
                    let further = pipes
                        .iter()
                        .filter(|pipe| streams.contains(&pipe.number.as_str()));
                    wanted.extend(further.map(|pipe| pipe.inode));
                }
            }
        }
        found.extend(known);
    }
    found
}

/// One end of a pipe that a process holds.
#[derive(Debug)]
struct Pipe {
    number: String,
    inode: u64,
    reads: bool,
    writes: bool,
}

/// The pipes that a process holds, under these numbers; none means all.
fn pipes<'a>(seen: &'a Seen, numbers: &'a [&'a str]) -> impl Iterator<Item = Pipe> + 'a {
    let listed = seen.list("fd").unwrap_or_default();
    listed.into_iter().filter_map(|number| {
        let number = number.into_string().ok()?;
        if !numbers.is_empty() && !numbers.contains(&number.as_str()) {
            return None;
        }
        let link = format!("fd/{number}");
        let target = seen.link(&link)?;
        let inode = target
            .to_str()?
            .strip_prefix("pipe:[")?
            .strip_suffix(']')?
            .parse()
            .ok()?;
        let (reads, writes) = seen.ways(&link)?;
        Some(Pipe {
            number,
            inode,
            reads,
            writes,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_unless_their_end_is_open() {
        let listed = |name: &str| {
            NEVER
                .iter()
                .any(|(_, names)| names.iter().any(|pattern| fits(pattern, OsStr::new(name))))
        };
        for name in [
            "tmux",
            "vim.basic",
            "emacs-28.1",
            "sshd-session",
            "systemd-logind",
            "nano",
            "code-server",
        ] {
            assert!(listed(name), "{name}");
        }
        for name in [
            "tmux-exporter",
            "micro-service",
            "screen.py",
            "node",
            "python3",
            "login.js",
            "nanoserver",
            "cat",
        ] {
            assert!(!listed(name), "{name}");
        }
    }
}
