//! Backups beside other programs, on the same files, alternating, medians: our moving, verified copying, restoring,
//! verifying and removing against `cp -a`, `rsync -a`, `cp -a` with `sha256sum` of both sides, `restic backup`,
//! `borg create -C none` and `rm -rf`. Ours is called as the program calls it, behind a permit of an audit log. Before
//! every measurement the disk is brought to rest (`sync`, not counted); files are read from the page cache. Prints
//! Markdown.
//!
//! `cargo bench --bench backup -- [--dir DIR] [--rounds N] [--only PART]... [--small]`
//!
//! Parts: copy-big, copy-small, verify-big, verify-small, restore, retire, prune, scale. `scale` makes a million files.

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement starts programs and makes its own files"
)]
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rollback_manager::audit::permit::Permit;
use rollback_manager::audit::{AuditLog, Intent};
use rollback_manager::backup::manifest::Origin;
use rollback_manager::backup::{restore, retire, verify};
use rollback_manager::base::clock::Clock;
use rollback_manager::host::Host;
use rollback_manager::host::files::Renamed;
use rollback_manager::report::effect::Risk;
use rollback_manager::report::undo::Undo;
use rollback_manager::workspace::Workspace;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|each| each != "--bench")
        .collect();
    let options = Options::of(&arguments);
    if let Some(tree) = &options.peak_of {
        return peak(tree);
    }
    let made;
    let directory = if let Some(directory) = &options.directory {
        directory.clone()
    } else {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        fs::create_dir_all(&target).expect("target/ can be made");
        made = tempfile::tempdir_in(target).expect("a temporary directory");
        made.path().to_path_buf()
    };
    let own = directory.join("backup-bench");
    fs::create_dir_all(&own).expect("the directory can be made");
    let own = own.canonicalize().expect("the directory is there");
    let bench = Bench::new(own.clone(), options);
    bench.run();
    fs::remove_dir_all(own).expect("what was made can be removed");
}

struct Options {
    directory: Option<PathBuf>,
    rounds: usize,
    only: Vec<String>,
    small: bool,
    /// A process of its own, whose peak of memory is that of one million entries.
    peak_of: Option<PathBuf>,
}

impl Options {
    fn of(arguments: &[String]) -> Self {
        let mut options = Self {
            directory: None,
            rounds: 5,
            only: Vec::new(),
            small: false,
            peak_of: None,
        };
        let mut words = arguments.iter();
        let value = |word: Option<&String>| word.expect("the option has a value").clone();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--dir" => options.directory = Some(value(words.next()).into()),
                "--rounds" => options.rounds = value(words.next()).parse().expect("a number of rounds"),
                "--only" => options.only.push(value(words.next())),
                "--small" => options.small = true,
                "--peak-of" => options.peak_of = Some(value(words.next()).into()),
                other => panic!("unknown option {other}"),
            }
        }
        options
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|each| each == part)
    }
}

/// What is compared with what: name, at most this many times, of that.
type Goal = (&'static str, f64, &'static str);

struct Bench {
    directory: PathBuf,
    options: Options,
    host: Host,
    permit: Permit,
    /// Trees that were moved aside.
    discarded: Cell<u32>,
}

/// A name and what is timed under it; `None` where the program is not installed.
type Case<'a> = (&'static str, Box<dyn FnMut() -> Option<Duration> + 'a>);

impl Bench {
    fn new(directory: PathBuf, options: Options) -> Self {
        let workspace = Workspace::open(&directory).expect("the workspace opens");
        let clock = Clock::system();
        let host =
            Host::open(&workspace, clock.clone(), Arc::new(AtomicBool::new(false))).expect("the host opens");
        let mut audit = AuditLog::open(&host.records, &clock, "bench").expect("the audit log opens");
        let permit = audit
            .begin(&Intent {
                n: 1,
                story: "",
                phase: "",
                step: None,
                op: "bench",
                target: "",
                summary: "a measurement",
                risk: Risk::None,
                undo: &Undo::Nothing {
                    why: "only a measurement".to_owned(),
                },
            })
            .expect("the intent is recorded");
        Self {
            directory,
            options,
            host,
            permit,
            discarded: Cell::new(0),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Takes a product away. Trees of many files are only moved aside until the end: for minutes after many files were
    /// removed, ext4 looks long for a number for each new one, and whoever comes next would pay for it.
    fn discard(&self, product: &Path) {
        if !product.exists() {
            return;
        }
        if is_small(product) {
            return clear(product);
        }
        let aside = self.path("discarded");
        fs::create_dir_all(&aside).expect("a directory can be made");
        let number = self.discarded.get();
        self.discarded.set(number + 1);
        fs::rename(product, aside.join(number.to_string())).expect("it can be moved aside");
    }

    /// Times what makes `product`, and takes that away again.
    fn timed(&self, product: &Path, act: impl FnOnce() -> Option<()>) -> Option<Duration> {
        let started = Instant::now();
        act()?;
        let time = started.elapsed();
        self.discard(product);
        Some(time)
    }

    fn scaled(&self, count: u64) -> u64 {
        if self.options.small { count / 100 } else { count }
    }

    fn run(&self) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        println!(
            "{cores} cores, {} file system, medians of {}{}\n",
            file_system(&self.directory),
            self.options.rounds,
            if self.options.small {
                ", a hundredth of the sizes that are named"
            } else {
                ""
            }
        );
        let big = self.path("big");
        if ["copy-big", "verify-big", "restore", "retire"]
            .iter()
            .any(|part| self.options.wants(part))
        {
            make_big(&big, self.scaled(256 << 20));
            if self.options.wants("copy-big") {
                self.copying(
                    "2 GiB in 8 files",
                    &big,
                    &[
                        ("verified copy", 1.5, "cp -a"),
                        ("verified copy", 0.25, "cp -a + sha256sum of both"),
                    ],
                );
            }
            if self.options.wants("verify-big") {
                self.verifying("2 GiB in 8 files", &big);
            }
            if self.options.wants("restore") {
                self.restoring("2 GiB in 8 files", &big);
            }
            if self.options.wants("retire") {
                self.retiring("2 GiB in 8 files", &big);
            }
            clear(&big);
        }
        let small = self.path("small");
        if ["copy-small", "verify-small", "restore", "retire"]
            .iter()
            .any(|part| self.options.wants(part))
        {
            make_many(&small, self.scaled(50_000), 100, |number| number * 7919 % 16_385);
            if self.options.wants("copy-small") {
                self.copying(
                    "50,000 files of 0 to 16 KiB",
                    &small,
                    &[("verified copy", 0.6, "cp -a")],
                );
            }
            if self.options.wants("verify-small") {
                self.verifying("50,000 files of 0 to 16 KiB", &small);
            }
            if self.options.wants("restore") {
                self.restoring("50,000 files of 0 to 16 KiB", &small);
            }
            if self.options.wants("retire") {
                self.retiring("50,000 files of 0 to 16 KiB", &small);
            }
            self.discard(&small);
        }
        if self.options.wants("prune") || self.options.wants("retire") {
            make_many(&small, self.scaled(200_000), 200, |_| 1024);
            if self.options.wants("retire") {
                self.retiring("200,000 files of 1 KiB", &small);
            }
            if self.options.wants("prune") {
                self.removing("200,000 files of 1 KiB", &small);
            }
            clear(&small);
        }
        if self.options.wants("scale") {
            self.scale();
        }
    }

    fn alternate(&self, title: &str, cases: &mut [Case<'_>], goals: &[Goal]) {
        let mut times: Vec<Option<Vec<Duration>>> = cases.iter().map(|_| Some(Vec::new())).collect();
        // The first round warms the caches.
        for round in 0..=self.options.rounds {
            for ((_, case), times) in cases.iter_mut().zip(&mut times) {
                if times.is_none() {
                    continue;
                }
                rest();
                match case() {
                    None => *times = None,
                    Some(time) if round > 0 => times.iter_mut().for_each(|times| times.push(time)),
                    Some(_) => {}
                }
            }
        }
        let medians: Vec<(&str, Option<f64>)> = cases
            .iter()
            .zip(times)
            .map(|((name, _), times)| (*name, times.and_then(median)))
            .collect();
        let of = |name: &str| {
            medians
                .iter()
                .find(|(each, _)| *each == name)
                .and_then(|(_, time)| *time)
        };
        let ours = medians.first().and_then(|(_, time)| *time);
        println!("### {title}\n");
        println!("| | seconds | ours takes |\n|---|---:|---:|");
        for (number, (name, time)) in medians.iter().enumerate() {
            match (time, ours) {
                (Some(time), Some(ours)) if number > 0 => {
                    println!("| {name} | {time:.3} | {:.2} x |", ours / time);
                }
                (Some(time), _) => println!("| **{name}** | {time:.3} | |"),
                (None, _) => println!("| {name} | not installed | |"),
            }
        }
        println!();
        for (name, most, other) in goals {
            if let (Some(ours), Some(theirs)) = (of(name), of(other)) {
                let ratio = ours / theirs;
                let verdict = if ratio <= *most { "reached" } else { "not reached" };
                println!("- {name}: at most {most} x `{other}`: {ratio:.2} x, {verdict}");
            }
        }
        println!();
    }

    fn copying(&self, what: &str, tree: &Path, goals: &[Goal]) {
        let to = self.path("copy");
        let repository = self.path("repository");
        let plain = || {
            program(&["cp", "-a"], &[tree, &to], None)?;
            Some(())
        };
        let mut cases: Vec<Case<'_>> = vec![
            (
                "verified copy",
                Box::new(|| {
                    self.timed(&to, || {
                        self.copy(tree, &to);
                        Some(())
                    })
                }),
            ),
            ("cp -a", Box::new(|| self.timed(&to, plain))),
            (
                "cp -a, then sync",
                Box::new(|| {
                    self.timed(&to, || {
                        plain()?;
                        program(&["sync"], &[], None)
                    })
                }),
            ),
            (
                "rsync -a",
                Box::new(|| {
                    let from = tree.join("");
                    self.timed(&to, || program(&["rsync", "-a"], &[&from, &to], None))
                }),
            ),
            (
                "cp -a + sha256sum of both",
                Box::new(|| {
                    self.timed(&to, || {
                        plain()?;
                        sums(tree)?;
                        sums(&to)
                    })
                }),
            ),
            (
                "restic backup",
                Box::new(|| {
                    let cache = self.path("cache");
                    program(&["restic", "init", "--repo"], &[&repository], Some(&cache))?;
                    self.timed(&repository, || {
                        program(
                            &["restic", "backup", "--compression", "off", "--repo"],
                            &[&repository, tree],
                            Some(&cache),
                        )
                    })
                    .inspect(|_| clear(&cache))
                }),
            ),
            (
                "borg create -C none",
                Box::new(|| {
                    let cache = self.path("cache");
                    program(&["borg", "init", "-e", "none"], &[&repository], Some(&cache))?;
                    let mut archive = repository.clone().into_os_string();
                    archive.push("::one");
                    self.timed(&repository, || {
                        program(
                            &["borg", "create", "-C", "none"],
                            &[Path::new(&archive), tree],
                            Some(&cache),
                        )
                    })
                    .inspect(|_| clear(&cache))
                }),
            ),
        ];
        self.alternate(&format!("Copy: {what}"), &mut cases, goals);
    }

    fn verifying(&self, what: &str, tree: &Path) {
        let backup = self.path("copy");
        self.copy(tree, &backup);
        let mut cases: Vec<Case<'_>> = vec![
            (
                "verify",
                Box::new(|| {
                    let started = Instant::now();
                    let verified = verify::verify(&self.host.files, &backup, verify::Depth::Full)
                        .expect("it can be verified");
                    let time = started.elapsed();
                    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
                    Some(time)
                }),
            ),
            (
                "sha256sum",
                Box::new(|| {
                    let started = Instant::now();
                    sums(&backup)?;
                    Some(started.elapsed())
                }),
            ),
        ];
        self.alternate(
            &format!("Verify: {what}"),
            &mut cases,
            &[("verify", 0.3, "sha256sum")],
        );
        drop(cases);
        self.discard(&backup);
    }

    fn restoring(&self, what: &str, tree: &Path) {
        let backup = self.path("copy");
        let to = self.path("restored");
        self.copy(tree, &backup);
        let mut cases: Vec<Case<'_>> = vec![
            (
                "restore",
                Box::new(|| {
                    self.timed(&to, || {
                        restore::restore(&self.permit, &self.host.files, &backup, &to)
                            .expect("it can be restored");
                        Some(())
                    })
                }),
            ),
            (
                "cp -a",
                Box::new(|| self.timed(&to, || program(&["cp", "-a"], &[&backup, &to], None))),
            ),
        ];
        self.alternate(&format!("Restore: {what}"), &mut cases, &[]);
        drop(cases);
        self.discard(&backup);
    }

    fn retiring(&self, what: &str, tree: &Path) {
        let backup = self.path("retired");
        let mut renames = Vec::new();
        let mut retires = Vec::new();
        for round in 0..=self.options.rounds {
            rest();
            let started = Instant::now();
            let outcome = self.host.files.rename(&self.permit, tree, &backup);
            assert_eq!(outcome.expect("it can be renamed"), Renamed::Done);
            let renamed = started.elapsed();
            fs::rename(&backup, tree).expect("it can be moved back");
            rest();
            let started = Instant::now();
            self.retire(tree, &backup);
            let retired = started.elapsed();
            self.back(tree, &backup);
            if round > 0 {
                renames.push(renamed);
                retires.push(retired);
            }
        }
        let milliseconds = |times| median(times).unwrap_or_default() * 1000.0;
        let retired = milliseconds(retires);
        let verdict = if retired <= 100.0 {
            "reached"
        } else {
            "not reached"
        };
        println!("### Retire: {what}\n");
        println!(
            "- the rename alone: {:.1} ms; with a manifest without digests, on the disk: {retired:.1} ms; at most 100 ms: \
             {verdict}\n",
            milliseconds(renames)
        );
    }

    fn removing(&self, what: &str, tree: &Path) {
        // All are there before the first is removed, as `discard` says.
        let copies: Vec<PathBuf> = (0..2 * (self.options.rounds + 1))
            .map(|number| self.path(&format!("copy-{number}")))
            .collect();
        for copy in &copies {
            program(&["cp", "-a"], &[tree, copy], None).expect("cp is there");
        }
        let next = Cell::new(0);
        let take = || {
            let number = next.get();
            next.set(number + 1);
            copies.get(number).expect("there are enough copies")
        };
        let mut cases: Vec<Case<'_>> = vec![
            (
                "remove",
                Box::new(|| {
                    let copy = take();
                    let started = Instant::now();
                    self.host
                        .files
                        .remove_tree(&self.permit, copy)
                        .expect("it can be removed");
                    Some(started.elapsed())
                }),
            ),
            (
                "rm -rf",
                Box::new(|| {
                    let copy = take();
                    let started = Instant::now();
                    program(&["rm", "-rf"], &[copy], None)?;
                    Some(started.elapsed())
                }),
            ),
        ];
        self.alternate(
            &format!("Remove: {what}"),
            &mut cases,
            &[("remove", 0.7, "rm -rf")],
        );
    }

    /// Cost per file, and memory, as trees grow.
    fn scale(&self) {
        let tree = self.path("many");
        let backup = self.path("retired");
        println!("### Growing trees of 1 KiB files\n");
        println!(
            "| files | retire, µs a file | verify (structure), µs a file | verified copy, µs a file |\n\
             |---:|---:|---:|---:|"
        );
        for count in [10_000, 1_000_000] {
            let count = self.scaled(count);
            make_many(&tree, count, 500, |_| 1024);
            rest();
            let rounds = if count > 100_000 { 1 } else { self.options.rounds };
            let mut retired = Vec::new();
            let mut verified = Vec::new();
            let mut copied = Vec::new();
            for _ in 0..rounds {
                let started = Instant::now();
                self.retire(&tree, &backup);
                retired.push(started.elapsed());
                let started = Instant::now();
                verify::verify(&self.host.files, &backup, verify::Depth::Structure)
                    .expect("it can be verified");
                verified.push(started.elapsed());
                self.back(&tree, &backup);
                rest();
                copied.extend(self.timed(&backup, || {
                    self.copy(&tree, &backup);
                    Some(())
                }));
                rest();
            }
            #[expect(clippy::cast_precision_loss, reason = "counts are far below the limit")]
            let each = |times: Vec<Duration>| median(times).unwrap_or_default() * 1e6 / count as f64;
            println!(
                "| {count} | {:.2} | {:.2} | {:.2} |",
                each(retired),
                each(verified),
                each(copied)
            );
        }
        let program = std::env::current_exe().expect("this program");
        let told = Command::new(program)
            .arg("--peak-of")
            .arg(&tree)
            .arg("--dir")
            .arg(&self.directory)
            .output()
            .expect("this program starts");
        println!("\n{}", String::from_utf8_lossy(&told.stdout));
        clear(&tree);
    }

    fn origin(&self, source: &Path) -> Origin {
        Origin {
            name: "data".to_owned(),
            source: source
                .strip_prefix(&self.directory)
                .unwrap_or(source)
                .to_string_lossy()
                .into_owned(),
            run: "bench".to_owned(),
            story: String::new(),
            created: self.host.clock.timestamp(),
        }
    }

    fn copy(&self, tree: &Path, to: &Path) {
        retire::copy(&self.permit, &self.host.files, tree, &[], to, &self.origin(tree))
            .expect("it can be copied");
    }

    fn retire(&self, tree: &Path, to: &Path) {
        let moves = [(tree.to_path_buf(), to.to_path_buf())];
        retire::execute(
            &self.permit,
            &self.host.files,
            &moves,
            to,
            &self.origin(tree),
            false,
        )
        .expect("it can be retired");
    }

    fn back(&self, tree: &Path, backup: &Path) {
        fs::remove_file(backup.join(rollback_manager::backup::MANIFEST)).expect("there is a manifest");
        fs::rename(backup, tree).expect("it can be moved back");
        let _ = self;
    }
}

/// Retires and verifies a tree, and prints the most memory that was ever in use.
fn peak(tree: &Path) {
    let directory = tree.parent().expect("the tree lies in a directory").to_path_buf();
    let bench = Bench::new(directory, Options::of(&["--only".to_owned(), "none".to_owned()]));
    let backup = bench.path("peak");
    bench.retire(tree, &backup);
    let retired = high_water();
    let verified =
        verify::verify(&bench.host.files, &backup, verify::Depth::Full).expect("it can be verified");
    println!(
        "Peak of memory with {} entries: {retired} to retire, {} to retire and verify.",
        verified.entries,
        high_water()
    );
    bench.back(tree, &backup);
}

fn high_water() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or_default();
    format!("{} MB", kilobytes / 1000)
}

/// Eight files that don't compress.
fn make_big(top: &Path, size: u64) {
    fs::create_dir_all(top).expect("a directory can be made");
    for number in 0..8_u64 {
        let mut contents = vec![0; usize::try_from(size).expect("it fits")];
        let mut state = number + 1;
        for word in contents.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        fs::write(top.join(format!("{number}.db")), contents).expect("a file can be written");
    }
}

fn make_many(top: &Path, count: u64, a_directory: u64, size: impl Fn(u64) -> u64) {
    clear(top);
    let contents: Vec<u8> = (0..1_u32 << 16)
        .map(|at| u8::try_from(at * 31 % 251).unwrap_or_default())
        .collect();
    for number in 0..count {
        let directory = top.join(format!("{}", number / a_directory));
        if number % a_directory == 0 {
            fs::create_dir_all(&directory).expect("a directory can be made");
        }
        let mut file =
            fs::File::create(directory.join(format!("part-{number}.json"))).expect("a file can be made");
        let length = usize::try_from(size(number)).unwrap_or_default();
        file.write_all(&contents[..length])
            .expect("a file can be written");
    }
}

/// Whether a tree holds at most a thousand names.
fn is_small(top: &Path) -> bool {
    let mut pending = vec![top.to_path_buf()];
    let mut count = 0;
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            count += 1;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
        if count > 1000 {
            return false;
        }
    }
    true
}

fn clear(path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).expect("a directory can be removed");
    }
}

fn rest() {
    let _ = Command::new("sync").status();
}

/// Runs a program quietly; `None` where it is not installed.
fn program(argv: &[&str], paths: &[&Path], home: Option<&Path>) -> Option<()> {
    let (name, arguments) = argv.split_first()?;
    let mut command = Command::new(name);
    command.args(arguments).args(paths);
    if let Some(home) = home {
        command
            .env("RESTIC_PASSWORD", "bench")
            .env("RESTIC_CACHE_DIR", home)
            .env("BORG_BASE_DIR", home)
            .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
    }
    let ran = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .ok()?;
    assert!(
        ran.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Some(())
}

fn sums(tree: &Path) -> Option<()> {
    program(
        &[
            "sh",
            "-c",
            "find \"$1\" -type f -print0 | xargs -0 sha256sum > /dev/null",
            "sh",
        ],
        &[tree],
        None,
    )
}

fn median(mut times: Vec<Duration>) -> Option<f64> {
    times.sort();
    times.get(times.len() / 2).map(Duration::as_secs_f64)
}

fn file_system(path: &Path) -> String {
    let output = Command::new("stat").args(["-f", "-c", "%T"]).arg(path).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
