//! A random history against a simple model: what `undo` without a name chooses, what `prune` keeps, what `history` tells,
//! what the tree is. Two hundred commands; `ROLLBACK_HISTORY_COMMANDS` asks for more, `ROLLBACK_HISTORY_SEED` for
//! a history that failed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::sandbox::{Finished, Sandbox};

const STORIES: usize = 3;

/// What of a story is in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Deployed {
    data: Option<String>,
    file: Option<String>,
    on: bool,
}

/// A run as the model knows it.
#[derive(Debug, Clone)]
struct Run {
    id: String,
    kind: &'static str,
    story: usize,
    /// The parts that it took away, or (a restore) had nothing of before.
    before: Deployed,
    backup: Option<String>,
    undone_by: Option<String>,
    pruned: bool,
    /// A rollback that was cut off before its first change.
    idle: bool,
}

/// Xorshift: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

struct Model {
    sandbox: Sandbox,
    dice: Dice,
    now: Vec<Deployed>,
    runs: Vec<Run>,
    made: usize,
    /// What was done, for whoever has to find out.
    told: String,
}

impl Model {
    fn new(seed: u64) -> Self {
        let sandbox = Sandbox::empty();
        let mut flags = "features:\n".to_owned();
        for story in 0..STORIES {
            writeln!(flags, "  f{story}: {{ enabled: false }}").unwrap();
            let script = format!(
                "const STORY = #{{ id: \"9.{story}\", title: \"Story {story}\", feature: \"f{story}\" }};\n\
                 fn execute() {{ retire_dir(\"data/{story}\", \"data{story}\"); remove_path(\"{story}.txt\"); }}\n\
                 fn validate() {{ check(\"it was to succeed\", || param(\"fail\", \"no\") != \"yes\"); }}\n"
            );
            sandbox.write(&format!("rollback/{story}.rhai"), script);
        }
        flags.push_str("metadata:\n  last_modified: '2026-01-01T00:00:00.000Z'\n");
        sandbox.write("config/feature-flags.yaml", flags);
        let nothing = Deployed {
            data: None,
            file: None,
            on: false,
        };
        Self {
            sandbox,
            dice: Dice(seed.max(1)),
            now: vec![nothing; STORIES],
            runs: Vec::new(),
            made: 0,
            told: String::new(),
        }
    }

    fn command(&mut self, arguments: &[&str]) -> Finished {
        let finished = self.sandbox.run(arguments);
        writeln!(
            self.told,
            "rollback {} -> {:?}",
            arguments.join(" "),
            finished.code
        )
        .unwrap();
        finished
    }

    #[track_caller]
    fn expect(&mut self, arguments: &[&str], code: i32) -> Finished {
        let finished = self.command(arguments);
        assert_eq!(
            finished.code,
            Some(code),
            "{}\n{}",
            self.told,
            finished.transcript()
        );
        finished
    }

    fn history(&self) -> Vec<Value> {
        self.sandbox.json(&["history"])["runs"]
            .as_array()
            .unwrap()
            .clone()
    }

    fn last(&self) -> String {
        self.history().last().unwrap()["run"].as_str().unwrap().to_owned()
    }

    fn backup_of(&self, run: &str) -> Option<String> {
        let listed = self.sandbox.json(&["backup", "list"]);
        let backups = listed["backups"].as_array().unwrap().clone();
        let found = backups.into_iter().find(|backup| backup["run"] == run)?;
        Some(found["name"].as_str().unwrap().to_owned())
    }

    fn record(&mut self, kind: &'static str, story: usize, before: Deployed) {
        let id = self.last();
        let backup = self.backup_of(&id);
        self.runs.push(Run {
            id,
            kind,
            story,
            before,
            backup,
            undone_by: None,
            pruned: false,
            idle: false,
        });
    }

    fn is_deployed(&self, story: usize) -> bool {
        let Deployed { data, file, on } = &self.now[story];
        data.is_some() || file.is_some() || *on
    }

    /// Others put a story in place, or a part of it.
    fn deploy(&mut self, story: usize) {
        self.made += 1;
        let text = format!("made {}", self.made);
        writeln!(self.told, "others deploy {story}: {text}").unwrap();
        let now = &mut self.now[story];
        if now.data.is_none() && self.dice.roll(4) > 0 {
            self.sandbox.write(&format!("data/{story}/x.txt"), &text);
            now.data = Some(text.clone());
        }
        if now.file.is_none() && self.dice.roll(4) > 0 {
            self.sandbox.write(&format!("{story}.txt"), &text);
            now.file = Some(text);
        }
        if self.dice.roll(4) > 0 {
            let flags = self.sandbox.read("config/feature-flags.yaml");
            let flags = flags.replace(
                &format!("f{story}: {{ enabled: false }}"),
                &format!("f{story}: {{ enabled: true }}"),
            );
            self.sandbox.write("config/feature-flags.yaml", flags);
            now.on = true;
        }
    }

    /// Others add a remark to the flags file: nobody's undo may lose it.
    fn remark(&mut self) {
        self.made += 1;
        writeln!(self.told, "others remark {}", self.made).unwrap();
        let flags = self.sandbox.read("config/feature-flags.yaml");
        self.sandbox.write(
            "config/feature-flags.yaml",
            format!("# remark {}\n{flags}", self.made),
        );
    }

    fn take_away(&mut self, story: usize) -> Deployed {
        let nothing = Deployed {
            data: None,
            file: None,
            on: false,
        };
        std::mem::replace(&mut self.now[story], nothing)
    }

    fn roll_back(&mut self, story: usize, fails: bool) {
        let id = format!("9.{story}");
        let mut arguments = vec!["run", &id, "--yes"];
        if fails {
            arguments.extend(["--param", "fail=yes"]);
        }
        if !self.is_deployed(story) {
            // Nothing to do leaves no record, but a check can fail.
            let code = i32::from(fails);
            self.expect(&arguments, code);
            return;
        }
        self.expect(&arguments, i32::from(fails));
        let before = self.take_away(story);
        self.record("rollback", story, before);
    }

    /// A run that is killed at some instant, and what follows from what it had come to.
    fn kill(&mut self, story: usize) {
        if !self.is_deployed(story) {
            return;
        }
        let after = self.dice.roll(120) as u64;
        writeln!(self.told, "kill a run of 9.{story} after {after} ms").unwrap();
        let mut child = self
            .sandbox
            .command(&["run", &format!("9.{story}"), "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Any instant will do: whatever it has come to by then is a case.
        std::thread::sleep(Duration::from_millis(after));
        let _ = child.kill();
        child.wait().unwrap();
        let unfinished = self.sandbox.json(&["status"])["unfinished_run"].clone();
        if let Some(run) = unfinished.as_str() {
            writeln!(self.told, "run {run} was cut off").unwrap();
            self.expect(&["recover", "--yes"], 0);
            let known: BTreeSet<&str> = self.runs.iter().map(|run| run.id.as_str()).collect();
            let new: Vec<Value> = self
                .history()
                .into_iter()
                .filter(|run| !known.contains(run["run"].as_str().unwrap()))
                .collect();
            let recovery = new.iter().find(|run| run["kind"] == "recover");
            let recovery = recovery.map(|run| run["run"].as_str().unwrap().to_owned());
            for run in &new {
                let kind = if run["kind"] == "recover" {
                    "recover"
                } else {
                    "rollback"
                };
                let id = run["run"].as_str().unwrap().to_owned();
                self.runs.push(Run {
                    undone_by: (kind == "rollback").then(|| recovery.clone()).flatten(),
                    kind,
                    story,
                    before: self.now[story].clone(),
                    backup: None,
                    pruned: false,
                    idle: recovery.is_none(),
                    id,
                });
            }
            return;
        }
        if self.history().len() > self.runs.len() {
            let before = self.take_away(story);
            self.record("rollback", story, before);
        }
    }

    /// Whether something else stands where the run's undo would put things back: what is the same to the byte, as a
    /// restored backup is, is no loss.
    fn is_blocked(&self, run: &Run) -> bool {
        let now = &self.now[run.story];
        let other = |before: &Option<String>, now: &Option<String>| {
            before.is_some() && now.is_some() && before != now
        };
        other(&run.before.data, &now.data) || other(&run.before.file, &now.file)
    }

    fn undo(&mut self, place: Option<usize>) {
        let chosen = place.or_else(|| {
            self.runs.iter().rposition(|run| {
                run.kind == "rollback" && run.undone_by.is_none() && !run.pruned && !run.idle
            })
        });
        let Some(at) = chosen else {
            self.expect(&["undo", "--yes"], 2);
            return;
        };
        let run = self.runs[at].clone();
        let arguments = match place {
            Some(_) => vec!["undo", &run.id, "--yes", "--json"],
            None => vec!["undo", "--yes", "--json"],
        };
        let (code, why) = match &run {
            Run {
                undone_by: Some(_), ..
            } => (7, "undone"),
            Run { pruned: true, .. } => (1, "pruned"),
            run if run.idle => (2, "idle"),
            run if self.is_blocked(run) => (7, "blocked"),
            _ => (0, "free"),
        };
        let finished = self.command(&arguments);
        assert_eq!(
            finished.code,
            Some(code),
            "{why}: {run:?}\n{}\n{}",
            self.told,
            finished.transcript()
        );
        if code != 0 {
            return;
        }
        let report = finished.json();
        assert_eq!(report["undoes"], run.id.as_str(), "{}", self.told);
        let now = &mut self.now[run.story];
        if run.before.data.is_some() {
            now.data.clone_from(&run.before.data);
        }
        if run.before.file.is_some() {
            now.file.clone_from(&run.before.file);
        }
        now.on |= run.before.on;
        let before = now.clone();
        let id = report["run"].as_str().unwrap().to_owned();
        self.runs[at].undone_by = Some(id.clone());
        self.runs[at].backup = None;
        self.runs.push(Run {
            id,
            kind: "undo",
            story: run.story,
            before,
            backup: None,
            undone_by: None,
            pruned: false,
            idle: false,
        });
    }

    fn back_up(&mut self, story: usize) {
        let path = format!("data/{story}");
        let there = self.now[story].data.is_some();
        self.expect(&["backup", "create", &path], if there { 0 } else { 2 });
        if there {
            let before = self.now[story].clone();
            self.record("backup", story, before);
        }
    }

    /// The newest backup of a story's data goes back where nothing stands.
    fn restore(&mut self, story: usize) {
        if self.now[story].data.is_some() {
            return;
        }
        let Some(backup) = self.backups(story).pop() else {
            return;
        };
        let text = self.sandbox.read(&format!("rollback_backups/{backup}/x.txt"));
        self.expect(&["backup", "restore", &backup, "--yes"], 0);
        let before = self.now[story].clone();
        self.now[story].data = Some(text);
        self.record("restore", story, before);
    }

    /// The backups of a story's data, oldest first by the order of the runs.
    fn backups(&self, story: usize) -> Vec<String> {
        let of = |run: &Run| (run.story == story).then(|| run.backup.clone()).flatten();
        self.runs.iter().filter_map(of).collect()
    }

    fn switch(&mut self, story: usize) {
        let on = self.dice.roll(2) == 0;
        let feature = format!("f{story}");
        let before = self.now[story].clone();
        self.expect(&["feature", if on { "enable" } else { "disable" }, &feature], 0);
        if before.on != on {
            self.now[story].on = on;
            self.record("feature", story, before);
        }
    }

    fn prune(&mut self) {
        let keep = self.dice.roll(3) + 1;
        let mut going = BTreeSet::new();
        for story in 0..STORIES {
            let all = self.backups(story);
            going.extend(all[..all.len().saturating_sub(keep)].iter().cloned());
        }
        let counts =
            |run: &Run| run.kind == "rollback" && run.undone_by.is_none() && !run.pruned && !run.idle;
        let mut stores = BTreeSet::new();
        for (at, run) in self.runs.iter().enumerate() {
            let newer = self.runs[at + 1..].iter().filter(|run| counts(run)).count();
            if counts(run) && newer >= keep {
                stores.insert(run.id.clone());
            }
        }
        let finished = self.expect(&["prune", "--keep-last", &keep.to_string(), "--yes", "--json"], 0);
        let told = finished.json();
        let removed = |kind: &str| -> BTreeSet<String> {
            let all = told["removed"].as_array().unwrap().iter();
            let of = all.filter(|item| item["kind"] == kind);
            of.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(removed("backup"), going, "{}\n{told:#}", self.told);
        let rollbacks: BTreeSet<String> = self
            .runs
            .iter()
            .filter(|run| counts(run))
            .map(|run| run.id.clone())
            .collect();
        let gone = removed("run");
        assert_eq!(&gone & &rollbacks, stores, "{}\n{told:#}", self.told);
        // Each run that could be taken back and can't any more, or not as a whole, is named.
        let named: BTreeSet<String> = told["no_longer_undoable"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lost| lost["run"].as_str().unwrap().to_owned())
            .collect();
        for run in &mut self.runs {
            let backup_goes = run.backup.as_ref().is_some_and(|backup| going.contains(backup));
            let store_goes = gone.contains(&run.id);
            if (backup_goes || store_goes) && run.undone_by.is_none() && !run.pruned {
                assert!(named.contains(&run.id), "{}\n{told:#}", self.told);
            }
            // Without its backup the rest of a run still can be taken back; here that counts as gone.
            run.pruned |= store_goes;
            if backup_goes {
                run.backup = None;
                if run.kind == "rollback" {
                    run.before.data = None;
                }
            }
        }
        if !told["removed"].as_array().unwrap().is_empty() {
            let before = self.now[0].clone();
            self.record("prune", 0, before);
        }
    }

    /// The tree and the history are what the model says.
    fn check(&self) {
        let flags = self.sandbox.json(&["feature", "list"]);
        for (story, expected) in self.now.iter().enumerate() {
            let text = |path: String| std::fs::read_to_string(self.sandbox.path(&path)).ok();
            let features = flags["features"].as_array().unwrap();
            let feature = features
                .iter()
                .find(|each| each["name"] == format!("f{story}").as_str())
                .unwrap();
            let is = Deployed {
                data: text(format!("data/{story}/x.txt")),
                file: text(format!("{story}.txt")),
                on: feature["raw"].as_bool().unwrap(),
            };
            assert_eq!(&is, expected, "story 9.{story}\n{}", self.told);
        }
        let told: Vec<(String, String, Option<String>)> = self
            .history()
            .iter()
            .map(|run| {
                let text = |key: &str| run[key].as_str().map(str::to_owned);
                (text("run").unwrap(), text("kind").unwrap(), text("undone_by"))
            })
            .collect();
        let expected: Vec<(String, String, Option<String>)> = self
            .runs
            .iter()
            .map(|run| (run.id.clone(), run.kind.to_owned(), run.undone_by.clone()))
            .collect();
        assert_eq!(told, expected, "{}", self.told);
        let remarks = self
            .sandbox
            .read("config/feature-flags.yaml")
            .matches("# remark")
            .count();
        assert_eq!(
            remarks,
            self.told.matches("others remark").count(),
            "{}",
            self.told
        );
    }

    fn step(&mut self) {
        let story = self.dice.roll(STORIES);
        match self.dice.roll(20) {
            0..5 => self.deploy(story),
            5..8 => self.roll_back(story, false),
            8 => self.roll_back(story, true),
            9..12 => self.undo(None),
            12 if !self.runs.is_empty() => {
                let place = self.dice.roll(self.runs.len());
                if self.runs[place].kind == "rollback" {
                    self.undo(Some(place));
                }
            }
            13 => self.back_up(story),
            14 => self.restore(story),
            15 => self.switch(story),
            16 => self.prune(),
            17 => self.kill(story),
            18 => self.remark(),
            _ => {}
        }
        self.check();
    }
}

#[test]
fn a_random_history_is_what_a_simple_model_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = number("ROLLBACK_HISTORY_SEED").unwrap_or_else(|| u64::from(clock.subsec_nanos()) | 1);
    let commands = number("ROLLBACK_HISTORY_COMMANDS").unwrap_or(200);
    let mut model = Model::new(seed);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..commands {
            model.step();
        }
    }));
    assert!(
        ended.is_ok(),
        "ROLLBACK_HISTORY_SEED={seed} ROLLBACK_HISTORY_COMMANDS={commands} fails; see above"
    );
    model.sandbox.run(&["audit", "verify"]).assert_code(0);
}
