//! `rollback run` without a story: what may be chosen at a terminal, and how the terminal is left.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::prompts::Person;
use crate::sandbox::{Sandbox, assert_unchanged};

const ESCAPE: &str = "\u{1b}";

const DOWN: &str = "\u{1b}[B";

const CTRL_C: &str = "\u{3}";

const CTRL_D: &str = "\u{4}";

/// The cursor is hidden, and shown again.
const HIDDEN: &str = "\u{1b}[?25l";
const VISIBLE: &str = "\u{1b}[?25h";

/// A workspace with three stories that are deployed and one of which nothing is there.
fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    for (id, part, there) in [
        ("9.1", "first", true),
        ("9.2", "second", true),
        ("9.3", "third", true),
        ("9.4", "gone", false),
    ] {
        story(&sandbox, id, &format!("The {part} story"), part);
        if there {
            sandbox.write(&format!("{part}.txt"), part);
        }
    }
    sandbox
}

fn story(sandbox: &Sandbox, id: &str, title: &str, part: &str) {
    let script = format!(
        "const STORY = #{{ id: \"{id}\", title: \"{title}\", files: [\"{part}.txt\"] }};\n\n\
         fn execute() {{ remove_path(\"{part}.txt\"); }}\n"
    );
    sandbox.write(&format!("rollback/{part}.rhai"), script);
}

/// `rollback` in a shell that tells the settings of the terminal before and after it, and catches nothing.
pub fn between_settings(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    // A trap of the shell is none of the program.
    let script = "trap : INT; stty -g | sed 's/^/before /'; sh -c 'echo number $$.; exec \"$@\"' sh \"$@\"; code=$?; \
                  stty -g | sed 's/^/after /'; exit $code";
    let rollback = sandbox.command(arguments);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "sh"])
        .arg(rollback.get_program())
        .args(rollback.get_args())
        .current_dir(sandbox.root())
        .envs(
            rollback
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    command
}

/// The settings that [`between_settings`] tells are the same, and the cursor is visible.
#[track_caller]
pub fn assert_left_as_it_was(screen: &str) {
    let line = |name: &str| {
        screen
            .lines()
            .find_map(|line| {
                line.split_once(name)
                    .map(|(_, settings)| settings.trim().to_owned())
            })
            .unwrap_or_else(|| panic!("no `{name}`: {screen}"))
    };
    assert_eq!(line("before "), line("after "), "{screen:?}");
    assert!(
        screen.rfind(VISIBLE) >= screen.rfind(HIDDEN),
        "the cursor stays hidden: {screen:?}"
    );
}

#[test]
fn two_of_the_stories_that_are_deployed_are_chosen_shown_and_confirmed() {
    let sandbox = workspace();
    let mut person = Person::starts(&sandbox, &["run"]);
    person
        .sees("> [ ] 9.1  The first story (1 part)")
        .sees("  [ ] 9.2  The second story (1 part)")
        .sees("  [ ] 9.3  The third story (1 part)");
    assert!(!person.screen().contains("9.4"), "{}", person.screen());
    person
        .types(" ")
        .sees("> [x] 9.1")
        .sees("  [ ] 9.3  The third story (1 part)");
    person.types(DOWN).sees("> [ ] 9.2").sees("9.3");
    person.types(DOWN).sees("> [ ] 9.3");
    person.types(" ").sees("> [x] 9.3").types("\r");
    person
        .sees("chosen: 9.1, 9.3")
        .sees("remove `third.txt`")
        .sees("Roll back 9.3, 9.1? [y/N] ")
        .types("y\n");
    person.leaves_with(0);
    assert!(!sandbox.exists("first.txt") && !sandbox.exists("third.txt"));
    assert!(sandbox.exists("second.txt"));
    let reason = sandbox.json(&["history"]);
    assert_eq!(reason["runs"][0]["stories"], serde_json::json!(["9.3", "9.1"]));
}

#[test]
fn what_was_chosen_is_asked_about_and_can_be_declined() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let mut person = Person::starts(&sandbox, &["run"]);
    person
        .sees("9.3")
        .types(" ")
        .sees("[x] 9.1")
        .sees("9.3")
        .types("\r");
    person.sees("Roll back 9.1? [y/N] ").types("n\n");
    person.leaves_with(5);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn enter_with_nothing_chosen_does_nothing() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    // Ctrl-D is no answer.
    for keys in ["\r", "\n", "\u{4}\r"] {
        let mut person = Person::starts(&sandbox, &["run", "--yes"]);
        person.sees("9.3").types(keys);
        let screen = person.leaves_with(5);
        assert!(
            screen.contains("no story was chosen; nothing was changed"),
            "{screen}"
        );
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn escape_leaves_the_list_and_the_terminal_as_it_was() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    for keys in [ESCAPE, "q"] {
        let mut person = Person::starts_command(&between_settings(&sandbox, &["run"]));
        person.sees("9.3").types(" ").sees("[x]").sees("9.3").types(keys);
        let screen = person.leaves_with(130);
        assert!(screen.contains("nothing was changed"), "{screen}");
        assert_left_as_it_was(&screen);
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn ctrl_c_leaves_the_list_with_130_and_the_terminal_as_it_was() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let mut person = Person::starts_command(&between_settings(&sandbox, &["run"]));
    person.sees(HIDDEN).sees("9.3").types(CTRL_D).types(CTRL_C);
    assert_left_as_it_was(&person.leaves_with(130));
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

/// The signal comes at another moment each time, also between two keys.
#[test]
fn sigterm_leaves_the_list_with_143_and_the_terminal_as_it_was() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    for keys in ["", " ", "jjjj", "j j j j j j j j "].repeat(4) {
        let mut person = Person::starts_command(&between_settings(&sandbox, &["run"]));
        person.sees("number ").sees(".").sees("9.3");
        let (_, number) = person.screen().split_once("number ").unwrap();
        let number = number.split('.').next().unwrap().parse().unwrap();
        person.types(keys);
        kill_process(Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
        assert_left_as_it_was(&person.leaves_with(143));
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn what_was_typed_ahead_chooses_nothing() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let rollback = sandbox.command(&["run", "--yes"]);
    // The shell takes the first line, so that the others wait in the terminal before `rollback` even begins.
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "read -r line; exec \"$@\"", "sh"])
        .arg(rollback.get_program())
        .args(rollback.get_args())
        .current_dir(sandbox.root())
        .envs(
            rollback
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let mut person = Person::starts_command(&command);
    person
        .types("go\na\n \n\n ")
        .sees("> [ ] 9.1")
        .sees("9.3")
        .types("\r");
    let screen = person.leaves_with(5);
    assert!(screen.contains("no story was chosen"), "{screen}");
    assert!(!screen.contains("[x]"), "{screen}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_title_cannot_drive_the_terminal() {
    let sandbox = workspace();
    story(&sandbox, "9.0", r"a\x1b[31m\r\nb\u202e", "odd");
    sandbox.write("odd.txt", "x");
    let mut person = Person::starts(&sandbox, &["run"]);
    person
        .sees(r"> [ ] 9.0  a\u{1b}[31m\r\nb\u{202e} (1 part)")
        .sees("9.3")
        .types("\r");
    let screen = person.leaves_with(5);
    for raw in ["\u{1b}[31m", "\u{202e}"] {
        assert!(!screen.contains(raw), "{raw:?} reached the terminal: {screen:?}");
    }
}

#[test]
fn a_small_terminal_gets_pages_and_cut_labels() {
    let sandbox = workspace();
    let mut person = Person::starts_sized(&sandbox.command(&["run"]), 3, 20);
    person.sees("[Page 1/3]").sees("> [ ] 9.1  The fir…\r\n");
    person.types(DOWN).sees("[Page 2/3]").sees("> [ ] 9.2");
    person.types(" ").sees("> [x] 9.2").types("\r");
    person.sees("chosen: 9.2").sees("[y/N] ").types("n\n");
    person.leaves_with(5);
}

/// Also where it becomes so while the list stands.
#[test]
fn a_terminal_too_small_for_a_list_is_told_the_stories() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    for (rows, columns) in [(1, 1), (2, 80), (40, 10)] {
        let screen = Person::starts_sized(&sandbox.command(&["run"]), rows, columns).leaves_with(2);
        assert!(screen.contains("deployed here: 9.1, 9.2, 9.3"), "{screen}");
        assert!(!screen.contains("[ ]"), "{screen}");
    }
    let mut person = Person::starts_command(&between_settings(&sandbox, &["run"]));
    person.sees("9.3").resizes(1, 1).types(DOWN);
    let screen = person.leaves_with(2);
    assert!(screen.contains("deployed here: 9.1, 9.2, 9.3"), "{screen}");
    assert_left_as_it_was(&screen);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn without_a_terminal_the_stories_are_told() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    for arguments in [&["run"][..], &["run", "-n"], &["run", "--yes"]] {
        let finished = sandbox.run(arguments).assert_code(2);
        insta::allow_duplicates! {
            insta::assert_snapshot!(finished.stderr, @"
            error: no story is named
            note: nothing was changed
            hint: deployed here: 9.1, 9.2, 9.3; known: 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 9.1, 9.2, 9.3, 9.4, all
            ");
        }
    }
    let screen = Person::starts(&sandbox, &["run", "--no-input"]).leaves_with(2);
    assert!(screen.contains("deployed here: 9.1, 9.2, 9.3"), "{screen}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    let nothing = Sandbox::empty();
    nothing.write("rollback.yaml", "");
    let screen = Person::starts(&nothing, &["run"]).leaves_with(2);
    assert!(
        screen.contains("none is deployed here") && screen.contains("known: 1.2, "),
        "{screen}"
    );
}

#[test]
fn a_dry_run_of_what_is_chosen_changes_nothing() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let mut person = Person::starts(&sandbox, &["run", "-n"]);
    person.sees("9.3").types("a").sees("[x] 9.3").types("\r");
    person.sees("chosen: 9.1, 9.2, 9.3");
    let screen = person.leaves_with(0);
    assert!(
        screen.contains("remove `second.txt`") && !screen.contains("[y/N]"),
        "{screen}"
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn init_offers_what_stands_under_another_name() {
    let sandbox = Sandbox::empty();
    for place in ["chosen", "left", "alone"] {
        sandbox.write(&format!("../{place}/venv/pyvenv.cfg"), "");
    }
    let mut person = Person::starts(&sandbox, &["init", "../chosen"]);
    person
        .sees("> [ ] python: venv")
        .types(" ")
        .sees("[x] python: venv")
        .types("\r");
    person.leaves_with(0);
    assert!(
        sandbox
            .read("../chosen/rollback.yaml")
            .contains("\npython: venv ")
    );
    sandbox
        .run(&["status", "--workspace", "../chosen"])
        .assert_code(0);

    let mut person = Person::starts(&sandbox, &["init", "../left"]);
    person.sees("> [ ] python: venv").types(ESCAPE);
    person.leaves_with(130);
    assert!(!sandbox.exists("../left/rollback.yaml"));

    sandbox.run(&["init", "../alone"]).assert_code(0);
    assert!(
        sandbox
            .read("../alone/rollback.yaml")
            .contains("\n# python: .venv ")
    );
}
