//! Promise 1 from outside: every system call of a dry run of all stories, and of whatever it starts, is looked at. One
//! that is not known to change nothing is an offence; the same eyes find the offences of a real run.

use std::collections::BTreeSet;
use std::process::Command;

use rollback_manager::demo;

use crate::sandbox::{InTime as _, Sandbox, assert_unchanged};
use crate::skipped::skipped;

/// Calls that look, or concern nothing but the process that makes them.
const QUIET: &[&str] = &[
    "access",
    "alarm",
    "arch_prctl",
    "brk",
    "capget",
    "chdir",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fchdir",
    "fcntl",
    "fork",
    "fstat",
    "fstatfs",
    "futex",
    "get_robust_list",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getxattr",
    "lgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "fgetxattr",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lseek",
    "lstat",
    "madvise",
    "membarrier",
    "mincore",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "pidfd_open",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "prlimit64",
    "pselect6",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_yield",
    "select",
    "set_robust_list",
    "set_tid_address",
    "setitimer",
    "setpgid",
    "setrlimit",
    "setsid",
    "setsockopt",
    "shutdown",
    "sigaltstack",
    "socket",
    "socketpair",
    "stat",
    "statfs",
    "statx",
    "sysinfo",
    "time",
    "times",
    "umask",
    "uname",
    "vfork",
    "wait4",
    "waitid",
];

/// Programs that may be started in order to look, with the words that may come first.
const READERS: &[(&str, &[&str])] = &[
    ("docker", &["ps", "images", "volume", "inspect"]),
    ("podman", &["ps", "images", "volume", "inspect"]),
];

/// What a trace tells.
struct Trace {
    calls: usize,
    offences: Vec<String>,
    programs: BTreeSet<String>,
}

/// Why a call may change something outside the process; `None` where it can't.
fn offence(name: &str, arguments: &str, traced: &BTreeSet<&str>) -> Option<&'static str> {
    let first = arguments.split(',').next().unwrap_or_default();
    let to_path_of =
        |path: &str| first.contains(&format!("\"{path}\"")) || arguments.contains(&format!("\"{path}\""));
    let writes = [
        "O_WRONLY",
        "O_RDWR",
        "O_CREAT",
        "O_TRUNC",
        "O_TMPFILE",
        "O_APPEND",
    ];
    let bad = match name {
        _ if QUIET.contains(&name) => false,
        // A negative number is no call: the kernel does nothing. A tracer shows one where it meets a call cut by a signal.
        _ if name.starts_with("syscall_0xffffffff") => false,
        "open" | "openat" | "openat2" => {
            let device = to_path_of("/dev/null") || to_path_of("/dev/tty");
            writes.iter().any(|flag| arguments.contains(flag)) && !device
        }
        "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" => {
            // strace shows what stands behind a descriptor: `1<pipe:[7]>`, `3<TCP:[127.0.0.1:40000->127.0.0.1:3001]>`.
            let behind = first.split_once('<').map_or("", |(_, behind)| behind);
            let own = [
                "pipe:[",
                "anon_inode:",
                "UNIX",
                "TCP:[127.",
                "TCPv6:[[::1]",
                "/dev/null",
            ];
            !own.iter().any(|own| behind.starts_with(own))
        }
        "connect" => {
            let engine = arguments.contains("docker.sock\"") || arguments.contains("podman.sock\"");
            let loopback = arguments.contains("inet_addr(\"127.") || arguments.contains("\"::1\"");
            !(engine && arguments.contains("AF_UNIX") || loopback)
        }
        "kill" | "tkill" | "tgkill" => {
            // Its own threads, and the groups of the readers that it started.
            let aim = first.trim_start_matches('-');
            !traced.contains(aim)
        }
        "mmap" => {
            arguments.contains("MAP_SHARED")
                && arguments.contains("PROT_WRITE")
                && !arguments.contains("MAP_ANONYMOUS")
        }
        "ioctl" => ![
            "TCGETS",
            "TIOCGWINSZ",
            "TIOCGPGRP",
            "FIONREAD",
            "FIONBIO",
            "FIOCLEX",
        ]
        .iter()
        .any(|get| arguments.contains(get)),
        _ => true,
    };
    bad.then_some(match name {
        "open" | "openat" | "openat2" => "opens for writing",
        "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" => "writes elsewhere",
        "connect" => "connects elsewhere",
        "kill" | "tkill" | "tgkill" => "signals a stranger",
        "mmap" => "maps a file for writing",
        _ => "is not known to change nothing",
    })
}

/// Reads what strace wrote: `<pid> <call>(<arguments>`; the arguments that a call is given stand in its first line.
fn look_through(text: &str, binary: &str) -> Trace {
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let traced: BTreeSet<&str> = lines.iter().map(|(pid, _)| *pid).collect();
    let mut trace = Trace {
        calls: 0,
        offences: Vec::new(),
        programs: BTreeSet::new(),
    };
    for (at, (pid, call)) in lines.iter().enumerate() {
        let call = call.trim_start();
        if ["<...", "+++", "---"].iter().any(|other| call.starts_with(other)) {
            continue;
        }
        // A thread that ended before the tracer could read which call it had begun: the kernel never took it up.
        let mut later = lines.iter().skip(at + 1).filter(|(other, _)| other == pid);
        let is_end = |next: &str| next.starts_with("+++") || next.starts_with("<... ??? resumed");
        if call == "???( <unfinished ...>" && later.all(|(_, next)| is_end(next.trim_start())) {
            continue;
        }
        let (name, arguments) = call.split_once('(').unwrap_or_else(|| panic!("no call: {call}"));
        trace.calls += 1;
        if name == "execve" || name == "execveat" {
            let words: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
            let program = words.first().copied().unwrap_or_default();
            let reads = READERS.iter().any(|(reader, verbs)| {
                program.ends_with(&format!("/{reader}"))
                    && words.get(2).is_some_and(|verb| verbs.contains(verb))
            });
            trace.programs.insert(program.to_owned());
            if program != binary && !reads {
                trace.offences.push(format!("starts what is no reader: {call}"));
            }
        } else if let Some(why) = offence(name, arguments, &traced) {
            trace.offences.push(format!("{why}: {call}"));
        }
    }
    trace
}

/// Runs the binary under strace to its end; `None` where nothing can be traced here.
fn trace(sandbox: &Sandbox, arguments: &[&str], code: i32) -> Option<Trace> {
    let file = sandbox.home().join("trace");
    let plain = sandbox.command(arguments);
    let output = Command::new("strace")
        .args(["-f", "-yy", "-s", "4096", "-o"])
        .arg(&file)
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(sandbox.root())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(std::process::Stdio::null())
        .output_in_time()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()).into_owned();
    if text.is_empty() || said.contains("ptrace") {
        return None;
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    Some(look_through(&text, plain.get_program().to_str().unwrap()))
}

#[test]
#[expect(clippy::print_stderr, reason = "how many system calls were looked at")]
fn a_dry_run_of_all_stories_makes_no_system_call_that_changes_anything() {
    if Command::new("strace").arg("-V").output_in_time().is_err() {
        return skipped("strace is not installed");
    }
    let sandbox = Sandbox::full();
    let services = demo::start_services(&sandbox.root()).unwrap();
    let scripts: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    let check: Vec<&str> = ["script", "check"]
        .into_iter()
        .chain(scripts.iter().map(String::as_str))
        .collect();
    let dry: [(&[&str], i32); 4] = [
        (&["run", "all", "-n"], 0),
        (&["validate", "all"], 1),
        (&["status"], 0),
        (&check, 0),
    ];
    let before = sandbox.snapshot(&[]);
    for (arguments, code) in dry {
        let Some(trace) = trace(&sandbox, arguments, code) else {
            return skipped("nothing can be traced here");
        };
        let display: Vec<&str> = arguments.iter().copied().take(2).collect();
        eprintln!(
            "{}: {} system calls of {} programs looked at, {} offences",
            display.join(" "),
            trace.calls,
            trace.programs.len(),
            trace.offences.len()
        );
        assert!(trace.calls > 1_000, "{display:?}: only {} calls", trace.calls);
        assert!(
            trace.offences.is_empty(),
            "{display:?}:\n{}",
            trace.offences.join("\n")
        );
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    // The same eyes see what a real run does.
    let Some(real) = trace(&sandbox, &["run", "1.3", "--yes"], 0) else {
        return skipped("nothing can be traced here");
    };
    drop(services);
    for call in [
        "renameat2(",
        "mkdir(",
        "openat(",
        "write(",
        "fdatasync(",
        "utimensat(",
        "pidfd_send_signal(",
    ] {
        assert!(
            real.offences
                .iter()
                .any(|offence| offence.contains(&format!(": {call}"))),
            "no `{call}` among\n{}",
            real.offences.join("\n")
        );
    }
    eprintln!(
        "a real run of 1.3: {} offences of {} system calls",
        real.offences.len(),
        real.calls
    );
}

#[test]
fn every_kind_of_offence_is_seen() {
    let quiet = r#"7 execve("/bin/rollback", ["rollback"], 0x7 /* 3 vars */) = 0
7 openat(AT_FDCWD</w>, "a", O_RDONLY|O_CLOEXEC <unfinished ...>
7 <... openat resumed>) = 3</w/a>
7 openat(AT_FDCWD</w>, "/dev/null", O_RDWR) = 3</dev/null<char 1:3>>
7 write(1<pipe:[5]>, "x", 1) = 1
7 connect(3<TCP:[9]>, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
7 kill(-8, SIGKILL) = 0
8 execve("/usr/bin/docker", ["/usr/bin/docker", "ps", "--all"], 0x5 /* 3 vars */) = 0
8 +++ exited with 0 +++
"#;
    let trace = look_through(quiet, "/bin/rollback");
    assert_eq!((trace.calls, trace.offences), (7, Vec::<String>::new()));
    for offence in [
        r#"openat(AT_FDCWD</w>, "a", O_WRONLY|O_CREAT, 0666) = 3"#,
        r#"openat2(5</w>, "a", {flags=O_RDWR|O_CLOEXEC, resolve=RESOLVE_BENEATH}, 24) = 3"#,
        r#"creat("a", 0666) = 3"#,
        r#"write(3</w/a>, "x", 1 <unfinished ...>"#,
        r#"write(3</w/pipe:[5]>, "x", 1) = 1"#,
        r#"pwrite64(3</w/a>, "x", 1, 0) = 1"#,
        r#"rename("a", "b") = 0"#,
        r#"renameat2(3</w>, "a", 3</w>, "b", RENAME_NOREPLACE) = 0"#,
        r#"unlinkat(3</w>, "a", 0) = 0"#,
        r#"mkdir("a", 0777) = -1 EACCES (Permission denied)"#,
        "fchmod(3</w/a>, 0600) = 0",
        r#"fchownat(3</w>, "a", 0, 0, 0) = 0"#,
        r#"utimensat(3</w>, "a", NULL, 0) = 0"#,
        "ftruncate(3</w/a>, 0) = 0",
        r#"linkat(3</w>, "a", 3</w>, "b", 0) = 0"#,
        r#"symlinkat("a", 3</w>, "b") = 0"#,
        r#"setxattr("a", "user.x", "1", 1, 0) = 0"#,
        "copy_file_range(3</w/a>, NULL, 4</w/b>, NULL, 1, 0) = 1",
        "ioctl(4</w/b>, FICLONE, 3</w/a>) = 0",
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</w/a>, 0) = 0x7",
        "kill(99, SIGTERM) = 0",
        "tgkill(99, 99, SIGTERM) = 0",
        "pidfd_send_signal(3<pid:99>, SIGTERM, NULL, 0) = 0",
        r#"connect(3<TCP:[9]>, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("93.184.215.14")}, 16) = 0"#,
        r#"sendto(3<UDP:[10.0.0.2:5->10.0.0.1:53]>, "x", 1, 0, NULL, 0) = 1"#,
        r#"execve("/bin/rm", ["rm", "-rf", "a"], 0x5 /* 3 vars */) = 0"#,
        r#"execve("/usr/bin/docker", ["/usr/bin/docker", "rm", "a"], 0x5 /* 3 vars */) = 0"#,
        r#"mount("a", "b", NULL, MS_BIND, NULL) = 0"#,
        "io_uring_setup(8, {flags=0}) = 3",
    ] {
        let trace = look_through(&format!("7 {offence}\n"), "/bin/rollback");
        assert_eq!(trace.offences.len(), 1, "{offence}");
    }
}
