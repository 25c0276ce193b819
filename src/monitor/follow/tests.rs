//! Every line once, whatever happens to the files.

#![expect(
    clippy::disallowed_methods,
    clippy::format_collect,
    reason = "the logs of the tests are written here"
)]

use std::fs::OpenOptions;
use std::io::Write;

use super::*;

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    huge: usize,
}

impl Reader for Lines {
    fn line(&mut self, line: &[u8], service: Option<&str>) {
        let text = String::from_utf8_lossy(line).into_owned();
        self.lines.push(format!("{}:{text}", service.unwrap_or("-")));
    }

    fn file(&mut self) {}

    fn huge(&mut self, _: Option<&str>) {
        self.huge += 1;
    }

    fn stop(&self) -> bool {
        false
    }
}

struct Logs {
    directory: tempfile::TempDir,
    follower: Follower,
    now: i64,
}

impl Logs {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(directory.path().join("logs/api")).expect("logs");
        Self {
            follower: Follower::new(directory.path(), Vec::new()),
            directory,
            now: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("logs").join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name))
            .expect("a log");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// As `copytruncate` does.
    fn copy_and_empty(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(to)).expect("copied");
        let file = OpenOptions::new()
            .write(true)
            .open(self.path(from))
            .expect("a log");
        file.set_len(0).expect("emptied");
    }

    fn poll(&mut self) -> Vec<String> {
        self.now += 1000;
        let mut lines = Lines::default();
        let problems = self.follower.poll(self.now, 0, &mut lines);
        assert_eq!(problems, Vec::<String>::new());
        lines.lines
    }

    fn restart(&mut self) {
        let text = serde_json::to_string(&self.follower.positions()).expect("text");
        let positions = serde_json::from_str(&text).expect("positions");
        self.follower = Follower::new(self.directory.path(), positions);
    }
}

/// Long enough to tell a file.
fn line(number: usize) -> String {
    format!("line number {number} which is long enough to tell one file from another\n")
}

fn numbers(lines: &[String]) -> Vec<usize> {
    lines
        .iter()
        .map(|line| {
            line.split(' ')
                .nth(2)
                .and_then(|number| number.parse().ok())
                .expect("a number")
        })
        .collect()
}

#[test]
fn whole_lines_are_read_once_also_after_a_restart() {
    let mut logs = Logs::new();
    logs.append("security.log", "one\ntwo\nthr");
    logs.append("api/a.log", "four\n");
    assert_eq!(logs.poll(), ["-:one", "-:two", "api:four"]);
    assert_eq!(logs.poll(), Vec::<String>::new());
    logs.append("security.log", "ee\n");
    logs.restart();
    assert_eq!(logs.poll(), ["-:three"]);
    logs.restart();
    assert_eq!(logs.poll(), Vec::<String>::new());
}

#[test]
fn a_log_that_is_renamed_is_read_to_its_end() {
    for restarts in [false, true] {
        for rotated in ["api/app.log.1", "api/app.1.log", "api/app-20261123.log"] {
            let mut logs = Logs::new();
            logs.append("api/app.log", &line(1));
            assert_eq!(numbers(&logs.poll()), [1]);
            logs.append("api/app.log", &line(2));
            if restarts {
                logs.restart();
            }
            logs.rename("api/app.log", rotated);
            logs.append("api/app.log", &line(4));
            // Its writer has not noticed yet.
            logs.append(rotated, &line(3));
            assert_eq!(numbers(&logs.poll()), [2, 3, 4], "{rotated} {restarts}");
            logs.append(rotated, &line(5));
            logs.append("api/app.log", &line(6));
            assert_eq!(numbers(&logs.poll()), [5, 6], "{rotated} {restarts}");
        }
    }
}

#[test]
fn a_log_that_is_copied_and_emptied_is_read_once() {
    for restarts in [false, true] {
        for copy in ["api/app.log.1", "api/app.1.log"] {
            let mut logs = Logs::new();
            logs.append("api/app.log", &line(1));
            logs.append("api/app.log", &line(2));
            assert_eq!(numbers(&logs.poll()), [1, 2]);
            logs.append("api/app.log", &line(3));
            if restarts {
                logs.restart();
            }
            logs.copy_and_empty("api/app.log", copy);
            logs.append("api/app.log", &line(4));
            let mut seen = numbers(&logs.poll());
            seen.extend(numbers(&logs.poll()));
            seen.sort_unstable();
            assert_eq!(seen, [3, 4], "{copy} {restarts}");
        }
    }
}

#[test]
fn a_log_that_was_emptied_and_has_grown_beyond_its_old_end_begins_anew() {
    let mut logs = Logs::new();
    logs.append("api/app.log", &line(1));
    assert_eq!(numbers(&logs.poll()), [1]);
    let file = OpenOptions::new()
        .write(true)
        .open(logs.path("api/app.log"))
        .expect("a log");
    file.set_len(0).expect("emptied");
    logs.append("api/app.log", &line(7));
    logs.append("api/app.log", &line(8));
    assert_eq!(numbers(&logs.poll()), [7, 8]);
}

#[test]
fn a_line_that_is_too_long_is_passed_over_and_counted() {
    let mut logs = Logs::new();
    logs.append("api/app.log", &line(1));
    logs.append("api/app.log", &"x".repeat(3 * LONGEST_LINE + 17));
    let mut lines = Lines::default();
    logs.follower.poll(1, 0, &mut lines);
    assert_eq!((lines.lines.len(), lines.huge), (1, 1));
    logs.restart();
    logs.append("api/app.log", &"x".repeat(2 * LONGEST_LINE));
    logs.append("api/app.log", "\n");
    logs.append("api/app.log", &line(2));
    let mut lines = Lines::default();
    logs.follower.poll(2, 0, &mut lines);
    assert_eq!((numbers(&lines.lines), lines.huge), (vec![2], 0));
}

#[test]
fn what_is_no_file_or_not_there_is_told_and_the_rest_is_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut follower = Follower::new(directory.path(), Vec::new());
    let mut lines = Lines::default();
    let problems = follower.poll(0, 0, &mut lines);
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("no directory `logs`")),
        "{problems:?}"
    );
    std::fs::create_dir_all(directory.path().join("logs/api/odd.log")).expect("a directory");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        directory.path().join("logs/api/pipe.log"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a pipe");
    std::fs::write(directory.path().join("logs/api/real.log"), "here\n").expect("a log");
    let problems = follower.poll(0, 0, &mut lines);
    assert_eq!((problems, lines.lines), (Vec::new(), vec!["api:here".to_owned()]));
}

#[test]
fn links_are_followed_and_one_of_which_nobody_can_tell_is_told() {
    let mut logs = Logs::new();
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, logs.directory.path().join("logs").join(name)).expect("a link");
    };
    std::fs::create_dir(logs.directory.path().join("elsewhere")).expect("a directory");
    std::fs::write(logs.directory.path().join("elsewhere/a.log"), "one\n").expect("a log");
    link("../elsewhere", "web");
    // These lead back or nowhere: nothing is missed.
    link(".", "same");
    link("..", "api/back");
    link("gone.log", "api/b.log");
    assert_eq!(logs.poll(), ["web:one"]);
    for name in ["shut", "api/own.log", "api/no-log"] {
        let own = name.rsplit('/').next().expect("a name").to_owned();
        std::os::unix::fs::symlink(own, logs.path(name)).expect("a link to itself");
    }
    let problems = logs.follower.poll(9000, 0, &mut Lines::default());
    let rendered: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.split('`').nth(1))
        .collect();
    assert_eq!(rendered, ["logs/api/own.log", "logs/shut"], "{problems:?}");
}

#[test]
fn the_start_of_a_window_is_found_in_a_sorted_log_and_not_guessed_in_another() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stamp = |second: i64| crate::monitor::export::timestamp(second * 1000);
    let text = |seconds: &mut dyn Iterator<Item = i64>| -> String {
        seconds
            .map(|second| {
                format!(
                    "{{\"timestamp\":\"{}\",\"pad\":\"{}\"}}\n",
                    stamp(second),
                    "x".repeat(60)
                )
            })
            .collect()
    };
    let path = directory.path().join("a.log");
    std::fs::write(&path, text(&mut (0..60_000))).expect("a log");
    let file = open(&path).expect("a log");
    let size = file.metadata().expect("a size").len();
    let from = 50_000_000;
    let begin = start(&file, size, from, Zone::Utc).expect("sorted");
    let (_, time) = line_after(&file, begin - 1, 0, Zone::Utc).expect("a line");
    assert!(time <= from && begin > size / 2, "{time} {begin} of {size}");
    std::fs::write(&path, text(&mut (0..60_000).rev())).expect("a log");
    assert_eq!(start(&open(&path).expect("a log"), size, from, Zone::Utc), None);
    std::fs::write(&path, "no time at all\n".repeat(200_000)).expect("a log");
    assert_eq!(
        start(&open(&path).expect("a log"), 2 << 20, from, Zone::Utc),
        None
    );
}
