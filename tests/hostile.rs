//! Hostile scripts: none gets out, none stays for ever, none makes the program panic, and each is told plainly why not.
//!
//! `tests/hostile/` holds a script a file. The comment at its top says what it tries, and below that the exit code, a
//! part of what is said, its own limits, parameters, how often `⟪text⟫` is repeated (`§` is the number of the repetition),
//! and which paths of the workspace it may touch.

use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sandbox::{Sandbox, Snapshot};

/// Scripts that behave differently in the two passes.
pub mod passes;

/// Cases that need a prepared world of their own.
mod prepared;

/// Random text as a script.
mod random;

/// A value of the environment file: it must turn up nowhere.
pub const SECRET: &str = "h0stile-s3cret-v4lue-9f2b7c";

/// After this time a process is a hanging one.
const HANGING: Duration = Duration::from_secs(120);

/// More than anybody reads, in bytes.
const OUTPUT: usize = 1 << 20;

/// What a run writes of itself.
const RECORDS: [&str; 6] = [
    ".rollback",
    "rollback_reports",
    "logs",
    "docs",
    "rollback_backups",
    "huge.bin",
];

/// The limits of a case; its own come on top.
const LIMITS: &[(&str, &str)] = &[
    ("operations", "300000"),
    ("deadline", "60s"),
    ("memory", "768MiB"),
    ("output", "256KiB"),
    ("max_paths", "5000"),
];

/// A script, and what is to become of it.
struct Case {
    name: String,
    text: String,
    exit: i32,
    /// Of the dry run, where it differs: what can only be known when it happens.
    dry: i32,
    says: String,
    limits: String,
    params: Vec<String>,
    touches: Vec<String>,
}

impl Case {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy();
        let group = path.parent().unwrap().file_name().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(path).unwrap();
        let all = |key: &str| -> Vec<String> {
            let start = format!("// {key}: ");
            text.lines()
                .filter_map(|line| line.strip_prefix(&start))
                .map(str::to_owned)
                .collect()
        };
        let one = |key: &str| all(key).pop().unwrap_or_default();
        let exit = one("exit")
            .parse()
            .unwrap_or_else(|_| panic!("{group}/{name} names no exit code"));
        Self {
            name: format!("{group}/{name}"),
            exit,
            dry: one("dry").parse().unwrap_or(exit),
            says: one("says"),
            limits: one("limits"),
            params: all("param"),
            touches: all("touches"),
            text: repeated(&text, one("times").parse().unwrap_or(1)),
        }
    }

    /// The configuration of the workspace in which it runs.
    fn configuration(&self) -> String {
        let own = self.limits.trim_matches(['{', '}', ' ']);
        let own: Vec<(&str, &str)> = own.split(", ").filter_map(|pair| pair.split_once(": ")).collect();
        let limits: Vec<String> = LIMITS
            .iter()
            .filter(|(key, _)| !own.iter().any(|(other, _)| other == key))
            .chain(&own)
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        format!(
            "version: 1\npolicy:\n  commands: [\"true\", sleep]\n  limits: {{ {} }}\n",
            limits.join(", ")
        )
    }
}

/// `⟪text⟫` so many times.
fn repeated(text: &str, times: usize) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('⟪') {
        let (unit, after) = after.split_once('⟫').unwrap();
        whole.push_str(before);
        for number in 0..times {
            whole.push_str(&unit.replace('§', &number.to_string()));
        }
        rest = after;
    }
    whole + rest
}

/// A workspace with everything that a hostile script could want, and a directory beside it that it must not reach.
pub fn trap() -> Sandbox {
    let sandbox = Sandbox::empty();
    let flags = "features:\n  other: { enabled: false }\n";
    sandbox
        .write("config/feature-flags.yaml", flags)
        .write(".env", format!("API_TOKEN={SECRET}\nEVIL_MODE=on\n"))
        .write(".git/config", "[core]\n\tbare = false\n")
        .write("package.json", "{ \"name\": \"trap\", \"dependencies\": {} }\n")
        .write("notes.txt", "first\nsecond\n")
        .write("data/keep.txt", "kept\n")
        .write("data/one/a.txt", "a\n")
        .write("data/one/b/c.txt", "c\n")
        .write("rollback_backups/old_20260101_000000/a.txt", "a\n")
        .write("logs/security.log", "")
        .write("rollback/README", "stories\n")
        .write("names/\u{1b}[2J\u{7}bell", "x")
        .write("names/two\nlines", "x")
        .write("names/\u{202e}txt.exe", "x")
        .write("binary.bin", [0xff, 0xfe, 0, 1])
        .write("formats/bomb.yaml", bomb())
        .write("formats/itself.yaml", "a: &a [*a]\n")
        .write(
            "formats/tags.yaml",
            "a: !!python/object/apply:os.system [\"id\"]\n",
        )
        .write("formats/plain.yaml", "a: 1 # one\nb: 2\n")
        .write(
            "formats/deep.yaml",
            format!("a: {}{}\n", "[".repeat(50_000), "]".repeat(50_000)),
        )
        .write("formats/blocks.yaml", blocks(1_000))
        .write("formats/plain.json", "{ \"a\": 1 }\n")
        .write(
            "formats/deep.json",
            format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)),
        )
        .write(
            "formats/numbers.json",
            "{ \"a\": 1e999, \"b\": 123456789012345678901234567890 }\n",
        )
        .write("formats/long.txt", "a".repeat(200_000) + "!\n")
        .write("pids/init", "1\n")
        .write("pids/parent", format!("{}\n", std::process::id()))
        .write("pids/negative", "-1\n")
        .write("pids/overflow", "99999999999999999999999\n")
        .write("pids/words", "all of them\n")
        .write("pids/many", "1\n2\n3\n");
    for (link, target) in [
        ("link-out", "../outside"),
        ("link-to-link", "link-out"),
        ("link-file", "../outside/secret.txt"),
        ("link-state", ".rollback"),
        ("link-git", ".git"),
        ("link-backups", "rollback_backups"),
        ("dangling", "data/nowhere"),
        ("loop-a", "loop-b"),
        ("loop-b", "loop-a"),
        ("data/up", ".."),
    ] {
        symlink(target, sandbox.path(link)).unwrap();
    }
    std::fs::create_dir(sandbox.path(".rollback")).unwrap();
    mkfifo(&sandbox.path("pipe"));
    std::os::unix::net::UnixListener::bind(sandbox.path("socket")).unwrap();
    let huge = std::fs::File::create(sandbox.path("huge.bin")).unwrap();
    huge.set_len(9 << 20).unwrap();
    huge.write_all_at(b"start", 0).unwrap();
    modules(&sandbox);
    let outside = outside(&sandbox);
    std::fs::create_dir_all(outside.join("tree/below")).unwrap();
    std::fs::write(outside.join("secret.txt"), "outside\n").unwrap();
    std::fs::write(outside.join("tree/below/file"), "outside too\n").unwrap();
    std::fs::write(outside.join("module.rhai"), "fn reached() { }\n").unwrap();
    sandbox
}

/// What stands beside the script.
fn modules(sandbox: &Sandbox) {
    sandbox
        .write("hostile/shadow.rhai", "fn remove_path(path) { }\n")
        .write("hostile/acts.rhai", "remove_path(\"data/one\");\n")
        .write("hostile/cycle.rhai", "import \"cycle\" as again;\n")
        .write("hostile/cycle_a.rhai", "import \"cycle_b\" as b;\n")
        .write("hostile/cycle_b.rhai", "import \"cycle_a\" as a;\n");
    for number in 0..18 {
        let next = format!("import \"chain_{}\" as next;\n", number + 1);
        sandbox.write(&format!("hostile/chain_{number}.rhai"), next);
    }
    symlink("../../outside/module.rhai", sandbox.path("hostile/linked.rhai")).unwrap();
    mkfifo(&sandbox.path("hostile/pipe.rhai"));
}

pub fn mkfifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
}

/// Aliases of aliases: some gigabytes when they are written out.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![before; 10].join(", ")
        ));
    }
    text
}

fn blocks(levels: usize) -> String {
    let mut text = String::new();
    for level in 0..levels {
        text.push_str(&format!("{}k:\n", " ".repeat(level)));
    }
    format!("{text}{}end: 1\nz: 0\n", " ".repeat(levels))
}

/// The directory beside the workspace.
pub fn outside(sandbox: &Sandbox) -> PathBuf {
    sandbox.root().parent().unwrap().join("outside")
}

/// What a process said, and how it ended.
pub struct Ended {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Both streams.
    pub said: Vec<u8>,
}

/// Runs the binary to its end; `None` where it had to be ended.
pub fn run(sandbox: &Sandbox, arguments: &[&str]) -> Option<Ended> {
    let mut child = sandbox
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let readers = [
        reader(child.stdout.take().unwrap()),
        reader(child.stderr.take().unwrap()),
    ];
    let exit = pidfd_open(
        Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(),
        PidfdFlags::empty(),
    )
    .unwrap();
    let patience = rustix::event::Timespec::try_from(HANGING).unwrap();
    let ended = poll(&mut [PollFd::new(&exit, PollFlags::IN)], Some(&patience)).unwrap() > 0;
    if !ended {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let said = readers.map(|reader| reader.join().unwrap()).concat();
    ended.then(|| Ended {
        code: status.code(),
        said,
    })
}

fn reader(mut stream: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    })
}

/// What is wrong with what was said: secrets, panics, bytes that drive a terminal, too much of it.
pub fn wrong_with(said: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    if said.len() > OUTPUT {
        wrong.push(format!("it said {} bytes", said.len()));
    }
    let Ok(text) = std::str::from_utf8(said) else {
        wrong.push("what it said is not UTF-8".to_owned());
        return wrong;
    };
    for trace in [
        "panicked",
        "this is a bug",
        "RUST_BACKTRACE",
        "stack overflow",
        SECRET,
    ] {
        if text.contains(trace) {
            wrong.push(format!("it said `{trace}`"));
        }
    }
    let drives = |letter: char| {
        (letter.is_control() && letter != '\n')
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(letter) = text.chars().find(|letter| drives(*letter)) {
        wrong.push(format!("it said {letter:?}"));
    }
    wrong
}

/// Secrets in what a run keeps for people and programs. The run's own store keeps contents, not words.
pub fn leaks(sandbox: &Sandbox) -> Vec<String> {
    let mut open: Vec<PathBuf> = [".rollback/audit", "rollback_reports", "logs", "docs"]
        .iter()
        .map(|path| sandbox.path(path))
        .filter(|path| path.exists())
        .collect();
    let mut leaks = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(SECRET) {
            leaks.push(format!("`{}` holds the secret", path.display()));
        }
    }
    leaks
}

/// What became different and may not: everything that was there must be there, but for what the case touches.
pub fn losses(before: &Snapshot, after: &Snapshot, touches: &[String]) -> Vec<String> {
    Snapshot::diff(before, after)
        .into_iter()
        .filter(|line| !line.starts_with("added ") && !line.ends_with(": time"))
        .filter(|line| {
            let path = line.split_once(' ').unwrap().1;
            let path = path.split(": ").next().unwrap();
            !touches.iter().any(|touched| Path::new(path).starts_with(touched))
        })
        .collect()
}

/// Runs a case dry and for real; gives what is wrong.
fn problems(case: &Case) -> Vec<String> {
    let sandbox = trap();
    sandbox.write("rollback.yaml", case.configuration());
    let fill = |text: &str| {
        text.replace("[secret]", SECRET)
            .replace("[workspace]", &sandbox.root().display().to_string())
    };
    sandbox.write("hostile/case.rhai", fill(&case.text));
    let beside = sandbox.root().parent().unwrap().to_path_buf();
    let (outside, inside) = (Snapshot::of(&beside, &["workspace"]), sandbox.snapshot(&RECORDS));
    let backups = Snapshot::of(&sandbox.path("rollback_backups/old_20260101_000000"), &[]);
    let whole = sandbox.snapshot(&["huge.bin"]);

    let params: Vec<String> = case
        .params
        .iter()
        .map(|param| format!("--param={}", fill(param)))
        .collect();
    let mut wrong = Vec::new();
    for mode in ["-n", "--yes"] {
        let mut arguments = vec!["run", "hostile/case.rhai", mode];
        arguments.extend(params.iter().map(String::as_str));
        let Some(ended) = run(&sandbox, &arguments) else {
            wrong.push(format!("{mode}: it hangs"));
            continue;
        };
        let said = String::from_utf8_lossy(&ended.said);
        let mut here = wrong_with(&ended.said);
        let expected = if mode == "-n" { case.dry } else { case.exit };
        if ended.code != Some(expected) {
            here.push(format!("exit code {:?}, not {expected}", ended.code));
        }
        if !said.contains(&case.says) && (mode == "--yes" || case.dry == case.exit) {
            here.push(format!("`{}` is not said", case.says));
        }
        if !here.is_empty() {
            let display: String = said
                .chars()
                .rev()
                .take(900)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            wrong.push(format!(
                "{mode}: {}\n{}",
                here.join("; "),
                display.escape_debug().to_string().replace("\\n", "\n")
            ));
        }
        if mode == "-n" {
            wrong.extend(Snapshot::diff(&whole, &sandbox.snapshot(&["huge.bin"])));
        }
    }
    wrong.extend(escapes(&beside, &outside));
    wrong.extend(losses(&inside, &sandbox.snapshot(&RECORDS), &case.touches));
    let backups_after = Snapshot::of(&sandbox.path("rollback_backups/old_20260101_000000"), &[]);
    wrong.extend(Snapshot::diff(&backups, &backups_after));
    wrong.extend(leaks(&sandbox));
    wrong.extend(unsettled(&sandbox));
    wrong
}

/// What changed beside the workspace.
fn escapes(beside: &Path, before: &Snapshot) -> Vec<String> {
    let after = Snapshot::of(beside, &["workspace"]);
    Snapshot::diff(before, &after)
        .into_iter()
        .map(|line| format!("{ESCAPED}{line}"))
        .collect()
}

/// What an escape begins with.
const ESCAPED: &str = "ESCAPED: ";

/// A log that does not verify, or a run that was left open.
pub fn unsettled(sandbox: &Sandbox) -> Vec<String> {
    let mut wrong = Vec::new();
    if sandbox.exists(".rollback/active") {
        wrong.push("the run was left open".to_owned());
    }
    if sandbox.exists(".rollback/audit") {
        let verified = sandbox.run(&["audit", "verify"]);
        if verified.code != Some(0) {
            wrong.push(verified.transcript());
        }
    }
    wrong
}

fn cases() -> Vec<Case> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let entries = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    };
    let mut files: Vec<PathBuf> = entries(&top)
        .iter()
        .filter(|path| path.is_dir() && !path.ends_with("passes"))
        .flat_map(|group| entries(group))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rhai"))
        .collect();
    files.sort();
    // One group or case alone: HOSTILE=paths/link cargo test hostile
    let wanted = std::env::var("HOSTILE").unwrap_or_default();
    files
        .iter()
        .map(|path| Case::read(path))
        .filter(|case| case.name.contains(&wanted))
        .collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "the count of cases and escapes is the result")]
fn no_hostile_script_gets_out() {
    let cases = cases();
    let next = AtomicUsize::new(0);
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let problems = problems(case);
                    if !problems.is_empty() {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("=== {}\n{}", case.name, problems.join("\n")));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let escapes = wrong.iter().filter(|problem| problem.contains(ESCAPED)).count();
    eprintln!(
        "{} hostile scripts, dry and for real; {escapes} escapes",
        cases.len()
    );
    assert!(!cases.is_empty());
    assert!(
        wrong.is_empty(),
        "{} of {}\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}
