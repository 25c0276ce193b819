//! Questions at a real terminal: what counts as an answer, and what can't pose as the question.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sandbox::{InTime as _, Sandbox, Snapshot, assert_unchanged, ended};

mod each;

/// What the terminal sends as SIGINT.
const CTRL_C: &str = "\u{3}";

/// The end of the input.
const CTRL_D: &str = "\u{4}";

/// How long something may take to appear.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Somebody at a terminal of their own, in which one program runs.
pub struct Person {
    child: Child,
    keyboard: OwnedFd,
    screen: String,
    /// Up to where of the screen was looked for something.
    looked: usize,
}

impl Person {
    /// Starts `rollback` with these arguments.
    pub fn starts(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self::starts_command(&sandbox.command(arguments))
    }

    /// Starts a command as the leader of a session on the terminal, so that Ctrl-C is a signal to it.
    pub fn starts_command(command: &Command) -> Self {
        Self::starts_sized(command, 40, 100)
    }

    /// As [`Self::starts_command`], at a terminal of this size.
    pub fn starts_sized(command: &Command, rows: u16, columns: u16) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        resize(&keyboard, rows, columns);
        let mut leader = Command::new("setsid");
        leader
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(Stdio::from(terminal));
        Self {
            child: leader.spawn().unwrap(),
            keyboard,
            screen: String::new(),
            looked: 0,
        }
    }

    /// Makes the terminal another size.
    pub fn resizes(&mut self, rows: u16, columns: u16) -> &mut Self {
        resize(&self.keyboard, rows, columns);
        self
    }

    /// What the screen has shown so far.
    pub fn screen(&self) -> &str {
        &self.screen
    }

    /// Types.
    pub fn types(&mut self, keys: &str) -> &mut Self {
        let written = rustix::io::write(&self.keyboard, keys.as_bytes()).unwrap();
        assert_eq!(written, keys.len());
        self
    }

    /// Waits until the screen shows a text, behind all that was waited for before.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> &mut Self {
        loop {
            if let Some(at) = self.screen[self.looked..].find(text) {
                self.looked += at + text.len();
                return self;
            }
            assert!(self.reads(), "`{text}` never came:\n{}", self.screen);
        }
    }

    /// Reads some more of the screen; `false` once the program has left the terminal.
    #[track_caller]
    fn reads(&mut self) -> bool {
        let mut ready = [PollFd::new(&self.keyboard, PollFlags::IN)];
        let count = poll(&mut ready, Some(&PATIENCE)).unwrap();
        assert!(count > 0, "nothing happens any more:\n{}", self.screen);
        let mut buffer = [0; 4096];
        // The end of a terminal reads as an input/output error.
        let Ok(length @ 1..) = rustix::io::read(&self.keyboard, &mut buffer) else {
            return false;
        };
        self.screen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        true
    }

    /// Sends a signal to the program alone.
    fn signals(&mut self, signal: Signal) -> &mut Self {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self
    }

    /// Waits for the end of the program and gives the exit code and the whole screen.
    #[track_caller]
    pub fn leaves(mut self) -> (Option<i32>, String) {
        while self.reads() {}
        let code = ended(&mut self.child).code();
        (code, std::mem::take(&mut self.screen).replace("\r\n", "\n"))
    }

    /// Waits for the end of the program, which must have this exit code, and gives the whole screen.
    #[track_caller]
    pub fn leaves_with(self, expected: i32) -> String {
        let (code, screen) = self.leaves();
        assert_eq!(code, Some(expected), "{screen}");
        screen
    }
}

fn resize(keyboard: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(keyboard, size).unwrap();
}

impl Drop for Person {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A workspace with one small story.
fn workspace(execute: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    let script = format!(
        "const STORY = #{{ id: \"9.1\", title: \"Quarterly reports\" }};\n\nfn execute() {{\n{execute}\n}}\n"
    );
    sandbox
        .write("rollback/reports.rhai", script)
        .write("reports/q1.txt", "first")
        .write("reports/q2.txt", "second")
        .write("drafts/q3.txt", "third");
    sandbox
}

/// What a run keeps of itself: no part of what it was asked to change.
pub const RECORDS: &[&str] = &[".rollback", "logs", "rollback_reports"];

/// Fails unless all but the records, and `except`, is as it was. Making the records changes the time of the workspace's own directory.
#[track_caller]
pub fn assert_as_before(before: &Snapshot, sandbox: &Sandbox, except: &[&str]) {
    let mut differences = Snapshot::diff(before, &sandbox.snapshot(&[RECORDS, except].concat()));
    differences.retain(|line| line != "changed .: time");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

const REMOVE_REPORTS: &str = r#"    remove_path("reports");"#;

const REMOVE_BOTH: &str = "    remove_path(\"reports\");\n    remove_path(\"drafts\");";

const QUESTION: &str = "Roll back 9.1? [y/N] ";

#[test]
fn the_plan_is_shown_and_a_yes_carries_it_out() {
    let sandbox = workspace(REMOVE_REPORTS);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person
        .sees("remove `reports` (2 files, 11 B)")
        .sees(QUESTION)
        .types("y\n");
    person.leaves_with(0);
    assert!(!sandbox.exists("reports"));
}

#[test]
fn whatever_is_no_clear_yes_changes_nothing() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    let not_a_yes = [
        "n\n",
        "no\n",
        "\n",
        CTRL_D,
        // An answer that the end of the input cuts off.
        "y\u{4}\u{4}",
    ];
    for keys in not_a_yes {
        let mut person = Person::starts(&sandbox, &["run", "9.1"]);
        person.sees(QUESTION).types(keys);
        let screen = person.leaves_with(5);
        assert!(screen.contains("nothing was changed"), "{keys:?}: {screen}");
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

#[test]
fn ctrl_c_at_the_question_is_130_and_changes_nothing() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person.sees(QUESTION).types(CTRL_C);
    let screen = person.leaves_with(130);
    assert!(screen.contains("nothing was changed"), "{screen}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn sigterm_at_the_question_is_143_and_changes_nothing() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person.sees(QUESTION).signals(Signal::TERM);
    person.leaves_with(143);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn what_was_typed_ahead_is_no_answer() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    let rollback = sandbox.command(&["run", "9.1"]);
    // The shell takes the first line, so that the others wait in the terminal before `rollback` even begins.
    let mut shell = sandbox.command(&[]);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "read -r line; exec \"$@\"", "sh"])
        .arg(rollback.get_program())
        .args(rollback.get_args())
        .current_dir(sandbox.root())
        .envs(
            shell
                .env_remove("none")
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let mut person = Person::starts_command(&command);
    person.types("go\ny\ny\nyes\n").sees(QUESTION).types("n\n");
    person.leaves_with(5);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn the_world_cannot_pose_as_the_question() {
    let script = r#"    for path in find_paths("odd/**") {
        if confirm("Remove it?\x1b[1A\nRoll back 9.1? [y/N] y\u202e") { remove_path(path); }
    }"#;
    let sandbox = workspace(script);
    sandbox.write("odd/a\u{1b}[2K\r\nkeep\u{202e}", "x");
    let before = sandbox.snapshot(RECORDS);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    // Only the true questions begin a line.
    person.sees("\nRoll back 9.1? [y/N] ").types("y\n");
    person.sees("\nRemove it?").sees(r"y\u{202e} [y/N] ").types("n\n");
    let screen = person.leaves_with(0);
    for raw in ['\u{1b}', '\u{202e}', '\r'] {
        assert!(!screen.contains(raw), "{raw:?} reached the terminal:\n{screen:?}");
    }
    assert!(
        screen.contains(r"remove `odd/a\u{1b}[2K\r\nkeep\u{202e}` (1 B)"),
        "{screen}"
    );
    assert!(
        screen.contains(r"Remove it?\u{1b}[1A\nRoll back 9.1? [y/N] y\u{202e} [y/N] "),
        "{screen}"
    );
    assert_eq!(screen.matches("\nRoll back 9.1?").count(), 1, "{screen}");
    assert_as_before(&before, &sandbox, &[]);
}

#[test]
fn what_loses_data_for_good_wants_the_id_typed() {
    let sandbox = workspace(r#"    remove_volumes("reports");"#);
    let docker = stub_docker(&sandbox);
    sandbox.write("rollback.yaml", format!("docker: {docker}\n"));
    let before = sandbox.snapshot(&[]);
    let typed = "Type 9.1 to go on";
    for wrong in ["y\n", "9.2\n", "\n", CTRL_D] {
        let mut person = Person::starts(&sandbox, &["run", "9.1"]);
        person.sees(QUESTION).types("y\n").sees(typed).types(wrong);
        let screen = person.leaves_with(5);
        assert!(screen.contains("nothing was changed"), "{screen}");
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    assert!(!sandbox.path("removed").exists());

    // `--yes` leaves out the first question, never the second.
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--yes"]);
    person.sees(typed).types("9.1\n");
    let screen = person.leaves_with(0);
    assert!(!screen.contains("[y/N]"), "{screen}");
    assert_eq!(
        std::fs::read_to_string(sandbox.path("removed")).unwrap(),
        "reports_data\n"
    );
}

#[test]
fn without_anybody_yes_does_not_lose_data_for_good() {
    let sandbox = workspace(r#"    remove_volumes("reports");"#);
    let docker = stub_docker(&sandbox);
    sandbox.write("rollback.yaml", format!("docker: {docker}\n"));
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["run", "9.1", "--yes"]).assert_code(5);
    assert!(refused.stderr.contains("--confirm "), "{}", refused.transcript());
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    let plan = sandbox.json(&["plan", "9.1"]);
    let id = plan["plan"].as_str().unwrap();
    sandbox.run(&["run", "9.1", "--confirm", id]).assert_code(0);
    assert_eq!(
        std::fs::read_to_string(sandbox.path("removed")).unwrap(),
        "reports_data\n"
    );
}

/// A container engine that holds one volume, gives out its contents, and writes down the volumes that it is told to remove.
/// It can write in the workspace alone.
fn stub_docker(sandbox: &Sandbox) -> String {
    let docker = sandbox.home().join("docker");
    let removed = sandbox.path("removed");
    let script = format!(
        "#!/bin/sh\ncase \"$1 $2\" in\n\"volume ls\") echo '{{\"Name\":\"reports_data\"}}' ;;\n\"volume rm\") shift 2; \
         echo \"$@\" >> '{}' ;;\n\"ps \"*) ;;\n*) echo some-answer ;;\nesac\n",
        removed.display()
    );
    // Another process writes it: a file that is open for writing in this one can't be executed.
    let written = Command::new("/bin/sh")
        .args([
            "-c",
            "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"",
            "sh",
            &script,
        ])
        .arg(&docker)
        .status_in_time()
        .unwrap();
    assert!(written.success());
    docker.to_str().unwrap().to_owned()
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    let finished = sandbox.run(&["run", "9.1"]).assert_code(5);
    assert!(
        !finished.transcript().contains("[y/N]"),
        "{}",
        finished.transcript()
    );
    assert!(
        finished.stderr.contains("--yes") && finished.stderr.contains("--confirm"),
        "{}",
        finished.transcript()
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_yes_in_a_pipe_is_no_answer() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    sandbox.write("../yes", "y\ny\ny\n");
    let mut child = sandbox
        .command(&["run", "9.1"])
        .stdin(std::fs::File::open(sandbox.path("../yes")).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(ended(&mut child).code(), Some(5));
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn no_input_at_a_terminal_asks_nothing() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(&[]);
    let screen = Person::starts(&sandbox, &["run", "9.1", "--no-input"]).leaves_with(5);
    assert!(!screen.contains("[y/N]") && screen.contains("--yes"), "{screen}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn yes_at_a_terminal_asks_nothing() {
    let sandbox = workspace(REMOVE_REPORTS);
    let screen = Person::starts(&sandbox, &["run", "9.1", "-y"]).leaves_with(0);
    assert!(!screen.contains("[y/N]"), "{screen}");
    assert!(!sandbox.exists("reports"));
}

const ASKING: &str = r#"    let quarter = ask("Which quarter?", "q1");
    remove_path("reports/" + quarter + ".txt");
    if confirm("Remove the drafts too?") { remove_path("drafts"); }"#;

/// The answers in the audit log, as `question: answer`.
fn answers(sandbox: &Sandbox) -> Vec<String> {
    let log = sandbox.run(&["audit", "show", "--json"]).assert_code(0).stdout;
    log.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|record| record["event"] == "question_answered")
        .map(|record| {
            format!(
                "{}: {}",
                record["question"].as_str().unwrap(),
                record["answer"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn a_script_asks_and_every_answer_is_recorded() {
    let sandbox = workspace(ASKING);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    // The plan shows what will be asked, before anything is.
    person
        .sees("Which quarter?")
        .sees("Remove the drafts too?")
        .sees(QUESTION)
        .types("y\n");
    person.sees("Which quarter? [q1]: ").types("\n");
    person.sees("Remove the drafts too? [y/N] ").types("n\n");
    person.leaves_with(0);
    assert!(!sandbox.exists("reports/q1.txt"));
    assert!(sandbox.exists("reports/q2.txt") && sandbox.exists("drafts/q3.txt"));
    assert_eq!(
        answers(&sandbox),
        [
            "Roll back 9.1?: yes",
            "Which quarter?: q1",
            "Remove the drafts too?: no"
        ]
    );
}

#[test]
fn an_answer_cannot_lead_out_of_the_plan() {
    let sandbox = workspace(ASKING);
    let before = sandbox.snapshot(RECORDS);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person
        .sees(QUESTION)
        .types("y\n")
        .sees("Which quarter? [q1]: ")
        .types("q2\n");
    let screen = person.leaves_with(7);
    assert!(
        screen.contains("`remove_path` of `reports/q2.txt` was not in the plan"),
        "{screen}"
    );
    assert_as_before(&before, &sandbox, &[]);
}

#[test]
fn the_end_of_the_input_ends_a_script_that_asks() {
    let sandbox = workspace(ASKING);
    let before = sandbox.snapshot(RECORDS);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person
        .sees(QUESTION)
        .types("y\n")
        .sees("Which quarter? [q1]: ")
        .types(CTRL_D);
    person.leaves_with(5);
    let mut person = Person::starts(&sandbox, &["run", "9.1"]);
    person
        .sees(QUESTION)
        .types("y\n")
        .sees("Which quarter? [q1]: ")
        .types(CTRL_C);
    person.leaves_with(130);
    assert_as_before(&before, &sandbox, &[]);
    assert_eq!(
        sandbox.json(&["status"])["unfinished_run"],
        serde_json::Value::Null
    );
}

#[test]
fn yes_answers_the_questions_of_a_script() {
    let sandbox = workspace(ASKING);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(!sandbox.exists("reports/q1.txt") && !sandbox.exists("drafts"));
    assert!(sandbox.exists("reports/q2.txt"));
    assert_eq!(
        answers(&sandbox),
        [
            "Roll back 9.1?: approved by --yes",
            "Which quarter?: q1",
            "Remove the drafts too?: yes"
        ]
    );
}

#[test]
fn a_dry_run_shows_the_questions_and_asks_none() {
    let sandbox = workspace(ASKING);
    let before = sandbox.snapshot(&[]);
    let screen = Person::starts(&sandbox, &["run", "9.1", "-n"]).leaves_with(0);
    assert!(
        screen.contains("Which quarter?") && screen.contains("Remove the drafts too?"),
        "{screen}"
    );
    assert!(!screen.contains("[y/N]") && !screen.contains("[q1]"), "{screen}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn undo_asks_too() {
    let sandbox = workspace(REMOVE_REPORTS);
    let before = sandbox.snapshot(RECORDS);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let after = sandbox.snapshot(&[]);
    let mut person = Person::starts(&sandbox, &["undo"]);
    person.sees("Take back run ").sees("[y/N] ").types("n\n");
    person.leaves_with(5);
    assert_unchanged(&after, &sandbox.snapshot(&[]));
    let mut person = Person::starts(&sandbox, &["undo"]);
    person.sees("Take back run ").sees("[y/N] ").types("y\n");
    person.leaves_with(0);
    assert_as_before(&before, &sandbox, &[]);
}
