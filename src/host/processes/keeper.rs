//! Who would start a process again once it has ended: a daemon or a shell loop above it, or the unit that it is the main
//! process of. A service that is ended behind the back of its keeper is there again a moment later.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command::{Command, is_interpreter, is_shell, resolve};
use super::find::Lens;
use super::loops::{Body, body};
use super::query::{Query, Scope};
use super::table::{Seen, Table};
use super::{Process, title};
use crate::base::error::Result;

/// How far up parents are followed.
const GENERATIONS: usize = 64;

/// The largest script of a shell that is read, in bytes.
const SCRIPT: usize = 1 << 20;

/// Programs that start again what they have started, and that no command of theirs is known to stop.
const RESTARTERS: [&str; 5] = ["forever", "nodemon", "watchexec", "circusd", "monit"];

/// Who starts a process again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// For people: "supervisord (process 7)".
    pub who: String,
    /// What keeps it from doing so.
    pub means: Means,
}

/// What keeps a keeper from starting a process again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// A command of its own stops the service; another one starts it again.
    Command {
        /// Program and arguments.
        stop: Vec<String>,
        /// Program and arguments.
        start: Vec<String>,
        /// Variables by which the command finds its daemon.
        environment: Vec<(String, String)>,
    },
    /// It is a loop of the workspace that runs nothing else: it ends first.
    Loop(Box<Process>),
    /// A person has to do this.
    ByHand(String),
    /// It is not known to start it again.
    Perhaps,
}

/// Who would start this process again, if anybody. `ending` are the numbers and starts of what ends with it.
///
/// # Errors
/// `/proc` cannot be read.
pub fn keeper(process: &Process, scope: &Scope, ending: &[(i32, u64)]) -> Result<Option<Keeper>> {
    let table = Table::open()?;
    let Some(seen) = Seen::open(process.pid) else {
        return Ok(None);
    };
    let mut chain = vec![process.pid];
    let mut names = names(&table, &seen);
    let mut perhaps = None;
    let mut next = process.parent;
    for _ in 0..GENERATIONS {
        let Some(above) = (next > 1).then(|| Seen::open(next)).flatten() else {
            break;
        };
        let Some(stat) = above.stat().filter(|stat| stat.is_alive()) else {
            break;
        };
        // What ends too is asked for itself.
        if ending.contains(&(above.pid, stat.started_ticks)) {
            return Ok(None);
        }
        if let Some(keeper) = daemon(&table, &above, &seen) {
            return Ok(Some(keeper));
        }
        if !table.is_own(above.pid) && !table.is_above(above.pid) {
            if let Some(keeper) = shell(&table, &above, &names, scope, (ending, &chain))? {
                return Ok(Some(keeper));
            }
            if perhaps.is_none() && is_script_of_its_own(&table, &above) {
                perhaps = Some(Keeper {
                    who: who(&table, &above),
                    means: Means::Perhaps,
                });
            }
        }
        names.extend(self::names(&table, &above));
        chain.push(above.pid);
        next = stat.parent;
    }
    Ok(unit_of(&table, &seen).or(perhaps))
}

/// The names by which a shell's code may call what runs here: the script's or module's, else the program's.
fn names(table: &Table, seen: &Seen) -> Vec<String> {
    let lines = seen.title(table).lines.iter();
    lines
        .filter_map(|line| Some(Command::parse(line)?.name().to_str()?.to_owned()))
        .collect()
}

fn who(table: &Table, seen: &Seen) -> String {
    let command = table.process(seen).map(|process| process.describe());
    format!("process {} (`{}`)", seen.pid, command.unwrap_or_default())
}

/// Whether it is a program in a scripting language, of which nobody can tell what it does when a child ends. Package
/// managers do nothing.
fn is_script_of_its_own(table: &Table, above: &Seen) -> bool {
    let program = table.executable(above).and_then(Path::file_name);
    let runs_scripts = program.is_some_and(|program| is_interpreter(program) && !is_shell(program));
    let is_npm = |name: &String| ["npm", "npx", "pnpm", "yarn"].contains(&name.trim_end_matches("-cli.js"));
    runs_scripts && !names(table, above).iter().any(is_npm)
}

/// A daemon that is known to start again what it keeps.
fn daemon(table: &Table, above: &Seen, seen: &Seen) -> Option<Keeper> {
    let names = names(table, above);
    let is = |wanted: &str| {
        let ends = |name: &String| name == wanted || name.ends_with(&format!(".{wanted}"));
        names.iter().any(ends) || above.stat().is_some_and(|stat| stat.name == wanted)
    };
    let keeper = |what: &str, means: Means| {
        Some(Keeper {
            who: format!("{what} (process {})", above.pid),
            means,
        })
    };
    let variable = |name: &str| {
        let value = seen.variable(name)?.into_string().ok()?;
        (!value.is_empty() && !value.starts_with('-')).then_some(value)
    };
    let given = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    if is("supervisord") {
        let name = variable("SUPERVISOR_PROCESS_NAME").map(|name| match variable("SUPERVISOR_GROUP_NAME") {
            Some(group) if group != name => format!("{group}:{name}"),
            _ => name,
        });
        let Some(name) = name else {
            return keeper(
                "supervisord",
                Means::ByHand("`supervisorctl stop` its program".to_owned()),
            );
        };
        let server = variable("SUPERVISOR_SERVER_URL");
        let command = |verb: &str| match &server {
            Some(server) => given(&["supervisorctl", "-s", server, verb, &name]),
            None => given(&["supervisorctl", verb, &name]),
        };
        let means = Means::Command {
            stop: command("stop"),
            start: command("start"),
            environment: Vec::new(),
        };
        return keeper("supervisord", means);
    }
    if above
        .command()
        .first()
        .is_some_and(|first| title::is_daemon_of_pm2(first))
    {
        let Some(id) = variable("pm_id") else {
            return keeper("pm2", Means::ByHand("`pm2 stop` its application".to_owned()));
        };
        let means = Means::Command {
            stop: given(&["pm2", "stop", &id]),
            start: given(&["pm2", "start", &id]),
            environment: variable("PM2_HOME")
                .map(|home| ("PM2_HOME".to_owned(), home))
                .into_iter()
                .collect(),
        };
        return keeper("pm2", means);
    }
    let place = || {
        table
            .cwd(above)
            .map(|cwd| cwd.display().to_string())
            .unwrap_or_default()
    };
    for (name, command) in [
        ("runsv", "sv down"),
        ("s6-supervise", "s6-svc -d"),
        ("supervise", "svc -d"),
    ] {
        if is(name) {
            return keeper(name, Means::ByHand(format!("`{command} {}`", place())));
        }
    }
    let restarter = RESTARTERS.iter().find(|name| is(name))?;
    keeper(
        restarter,
        Means::ByHand(format!(
            "stop it there, or end {restarter} first (`kill {}`)",
            above.pid
        )),
    )
}

/// A shell that runs the process in a loop.
fn shell(
    table: &Table,
    above: &Seen,
    names: &[String],
    scope: &Scope,
    (ending, chain): (&[(i32, u64)], &[i32]),
) -> Result<Option<Keeper>> {
    let is_a_shell = table
        .executable(above)
        .and_then(Path::file_name)
        .is_some_and(is_shell);
    let Some(code) = is_a_shell.then(|| code(table, above)).flatten() else {
        return Ok(None);
    };
    let Some(body) = body(&code, names) else {
        return Ok(None);
    };
    let Some(process) = table.process(above) else {
        return Ok(None);
    };
    let who = format!("a loop in {}", who(table, above));
    let by_hand = |why: String| {
        let means = Means::ByHand(format!("end it first (`kill {}`): {why}", process.pid));
        Keeper {
            who: who.clone(),
            means,
        }
    };
    // What the loop was given to run stands among its own arguments.
    let is_given = |word: &String| {
        let name = Path::new(word).file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| names.iter().any(|known| known == name))
    };
    if body == Body::Variable && !process.command.iter().skip(1).any(is_given) {
        return Ok(Some(by_hand("what it runs stands in a variable".to_owned())));
    }
    let query = Query::default();
    if let Some(refusal) = Lens::new(&query, scope, None)?.refusal(table, above) {
        return Ok(Some(by_hand(refusal.into_why())));
    }
    let children = Table::pids()?
        .into_iter()
        .filter_map(Seen::open)
        .filter_map(|seen| {
            let stat = seen
                .stat()
                .filter(|stat| stat.parent == process.pid && stat.is_alive())?;
            Some((seen.pid, stat.started_ticks))
        });
    let others: Vec<String> = children
        .filter(|(pid, ticks)| !chain.contains(pid) && !ending.contains(&(*pid, *ticks)))
        .map(|(pid, _)| pid.to_string())
        .collect();
    if !others.is_empty() {
        return Ok(Some(by_hand(format!("it also runs {}", others.join(", ")))));
    }
    // A loop in a loop, or under a daemon, would itself be started again.
    let outer = keeper(&process, scope, ending)?;
    if let Some(outer) = outer.filter(|outer| outer.means != Means::Perhaps) {
        return Ok(Some(by_hand(format!("it is itself kept by {}", outer.who))));
    }
    Ok(Some(Keeper {
        who,
        means: Means::Loop(Box::new(process)),
    }))
}

/// The code that a shell runs, where its command line tells.
fn code(table: &Table, shell: &Seen) -> Option<String> {
    let mut words = shell.command().iter().skip(1).map(std::ffi::OsString::as_os_str);
    let mut given = false;
    let first = words.find(|word| {
        let bytes = word.as_bytes();
        let option = bytes.len() > 1 && (bytes.starts_with(b"-") || bytes.starts_with(b"+"));
        given |= option && !bytes.starts_with(b"--") && bytes.contains(&b'c');
        !option
    })?;
    if given {
        return Some(first.to_string_lossy().into_owned());
    }
    if !table.means_our_files(shell) {
        return None;
    }
    let path = resolve(first, table.cwd(shell))?;
    let about = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    if about.len() > SCRIPT as u64 {
        return None;
    }
    Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned())
}

/// The unit of systemd that a process is the main one of.
fn unit_of(table: &Table, seen: &Seen) -> Option<Keeper> {
    let stat = seen.stat()?;
    let manager = Seen::open(stat.parent)?;
    let is_kept = manager.stat().is_some_and(|stat| stat.name == "systemd") && stat.session == seen.pid;
    let groups = |seen: &Seen| Some(String::from_utf8_lossy(&seen.read("cgroup")?).into_owned());
    let own = table.line().first().and_then(|own| groups(&Seen::open(*own)?));
    let (unit, of_user) = unit(&groups(seen)?)?;
    let is_ours = own.as_deref().and_then(unit_name).is_some_and(|own| own == unit);
    if !is_kept || is_ours {
        return None;
    }
    let command = |verb: &str| -> Vec<String> {
        let words: &[&str] = if of_user {
            &["systemctl", "--user", verb]
        } else {
            &["systemctl", verb]
        };
        let unit = unit.clone();
        words
            .iter()
            .map(|word| (*word).to_owned())
            .chain([unit])
            .collect()
    };
    Some(Keeper {
        who: format!("the systemd unit `{unit}`"),
        means: Means::Command {
            stop: command("stop"),
            start: command("start"),
            environment: Vec::new(),
        },
    })
}

fn unit_name(groups: &str) -> Option<String> {
    unit(groups).map(|(unit, _)| unit)
}

/// The unit in the text of `/proc/<pid>/cgroup`, and whether it is one of a user's own manager.
fn unit(groups: &str) -> Option<(String, bool)> {
    let path = groups.lines().find_map(|line| {
        line.strip_prefix("0::")
            .or_else(|| line.split_once(":name=systemd:").map(|(_, path)| path))
    })?;
    let (above, unit) = path.rsplit_once('/')?;
    let is_service = unit.ends_with(".service") && !unit.starts_with("user@");
    is_service.then(|| (unit.to_owned(), above.contains("/user@")))
}

#[cfg(test)]
mod tests {
    use super::super::trial::Trial;
    use super::*;

    #[test]
    fn a_unit_is_told_by_the_control_group_and_a_session_is_none() {
        for (text, expected) in [
            (
                "0::/system.slice/duckdb.service\n",
                Some(("duckdb.service", false)),
            ),
            (
                "1:name=systemd:/system.slice/eda.service\n2:cpu:/\n",
                Some(("eda.service", false)),
            ),
            (
                "0::/user.slice/user-7.slice/user@7.service/app.slice/qa.service\n",
                Some(("qa.service", true)),
            ),
            ("0::/user.slice/user-7.slice/user@7.service\n", None),
            ("0::/user.slice/user-7.slice/session-2.scope\n", None),
            ("0::/\n", None),
        ] {
            assert_eq!(
                unit(text),
                expected.map(|(unit, of_user)| (unit.to_owned(), of_user)),
                "{text}"
            );
        }
    }

    /// The service below a shell with this code, and who keeps it.
    fn kept(trial: &Trial, code: &str) -> (Process, Option<Keeper>) {
        trial.write("svc.sh", "echo $$ > svc.pid\necho ready\nread line < never\n");
        trial.write("other.sh", "read line < never\n");
        let pipe = trial.root().join("never");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let _ = rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0);
        let shell = trial.shell(code);
        let pid = std::fs::read_to_string(trial.root().join("svc.pid")).expect("a number");
        let pid = pid.trim().parse().expect("a number");
        let service = super::super::look(pid)
            .expect("a proc file system")
            .expect("it runs");
        let keeper = keeper(
            &service,
            &Scope::Workspace(trial.root()),
            &[(pid, service.started_ticks)],
        );
        let keeper = keeper.expect("a proc file system");
        shell.end();
        (service, keeper)
    }

    #[test]
    fn a_loop_of_the_workspace_that_runs_nothing_else_ends_first() {
        let trial = Trial::new();
        let (service, keeper) = kept(&trial, "while true; do sh svc.sh; sleep 0.3; done");
        let keeper = keeper.expect("a keeper");
        assert!(
            matches!(&keeper.means, Means::Loop(shell) if shell.pid == service.parent),
            "{keeper:?}"
        );
    }

    #[test]
    fn a_loop_that_is_not_clearly_the_services_is_left_to_a_person() {
        for (code, why) in [
            ("sh other.sh & while true; do sh svc.sh; done", "it also runs"),
            (
                "RUN='sh svc.sh'; while true; do $RUN; done",
                "stands in a variable",
            ),
            (
                "cd /; while true; do (cd \"$OLDPWD\"; exec sh svc.sh); done",
                "outside the workspace",
            ),
            (
                "while true; do sh -c 'while true; do sh svc.sh; done'; done",
                "itself kept by a loop",
            ),
        ] {
            let (_, keeper) = kept(&Trial::new(), code);
            let keeper = keeper.expect("a keeper");
            assert!(
                matches!(&keeper.means, Means::ByHand(what) if what.contains(why)),
                "{code}: {keeper:?}"
            );
        }
    }

    #[test]
    fn a_shell_that_merely_waits_keeps_nobody() {
        for code in [
            "sh svc.sh; echo over",
            "while false; do :; done; sh svc.sh; echo over",
        ] {
            let (_, keeper) = kept(&Trial::new(), code);
            assert_eq!(keeper, None, "{code}");
        }
    }
}
