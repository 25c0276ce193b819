//! Command lines: which word of one names the program, and whether it is the command that was asked for.
//!
//! Whole words and whole path components only: a substring never matches. Nothing here looks at the world.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::host::files::lexical;

/// Extensions that a person leaves out when naming a script.
const SCRIPT_EXTENSIONS: [&[u8]; 3] = [b".py", b".js", b".sh"];

/// How an interpreter reads the options before its script. A wrong guess would take an option's value for the
/// script, so that the name of a preloaded module would end the program that loads it.
#[derive(Debug, PartialEq, Eq)]
struct Interpreter {
    /// Names without a version.
    names: &'static [&'static str],
    /// Letters after which there is no script, only code.
    code: &'static [u8],
    /// Letters whose value is attached or the next word.
    value: &'static [u8],
    /// Letters whose value can only be attached: the rest of the word is no cluster.
    attached: &'static [u8],
    /// The letter that names a module instead of a script.
    module: Option<u8>,
    /// Long options whose value is the next word.
    long_value: &'static [&'static str],
    /// Long options after which there is no script.
    long_code: &'static [&'static str],
}

const INTERPRETERS: [Interpreter; 5] = [
    Interpreter {
        names: &["python", "pypy"],
        code: b"c",
        value: b"WXQ",
        attached: b"",
        module: Some(b'm'),
        long_value: &["--check-hash-based-pycs"],
        long_code: &[],
    },
    Interpreter {
        names: &["node", "nodejs"],
        code: b"ep",
        value: b"rC",
        attached: b"",
        module: None,
        long_value: &[
            "--conditions",
            "--debug-port",
            "--diagnostic-dir",
            "--disable-warning",
            "--dns-result-order",
            "--env-file",
            "--env-file-if-exists",
            "--experimental-loader",
            "--icu-data-dir",
            "--import",
            "--input-type",
            "--inspect-port",
            "--loader",
            "--max-http-header-size",
            "--max-old-space-size",
            "--max-semi-space-size",
            "--openssl-config",
            "--redirect-warnings",
            "--report-dir",
            "--report-directory",
            "--report-filename",
            "--require",
            "--stack-size",
            "--stack-trace-limit",
            "--test-name-pattern",
            "--test-reporter",
            "--title",
            "--trace-event-categories",
            "--unhandled-rejections",
            "--watch-path",
        ],
        long_code: &["--eval", "--print"],
    },
    Interpreter {
        names: &["ruby"],
        code: b"e",
        value: b"rICE",
        attached: b"WTKx0Fi",
        module: None,
        long_value: &["--encoding", "--external-encoding", "--internal-encoding"],
        long_code: &[],
    },
    Interpreter {
        names: &["perl"],
        code: b"eE",
        value: b"I",
        attached: b"MmiFlxDC0V",
        module: None,
        long_value: &[],
        long_code: &[],
    },
    Interpreter {
        names: &["sh", "bash", "dash", "zsh"],
        code: b"cs",
        value: b"oO",
        attached: b"",
        module: None,
        long_value: &["--rcfile", "--init-file"],
        long_code: &[],
    },
];

/// What names the program of a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming<'a> {
    /// The program file itself: `argv[0]`.
    Program(&'a OsStr),
    /// The script that an interpreter runs.
    Script(&'a OsStr),
    /// The module that `python -m` runs.
    Module(&'a OsStr),
}

/// A command line with its program found.
#[derive(Debug)]
pub(super) struct Command<'a> {
    /// From `argv[0]` on, without a leading `env` and its assignments.
    words: &'a [OsString],
    naming: Naming<'a>,
    /// The words after the one that names the program.
    arguments: &'a [OsString],
}

impl<'a> Command<'a> {
    /// Finds the program of `argv`. `None` for an empty command line.
    pub fn parse(argv: &'a [OsString]) -> Option<Self> {
        let words = without_env(argv);
        let (first, rest) = words.split_first()?;
        let itself = Self {
            words,
            naming: Naming::Program(first),
            arguments: rest,
        };
        let Some((interpreter, _, _)) = interpreter(file_name(first)) else {
            return Some(itself);
        };
        Some(match script(interpreter, rest) {
            Some((naming, arguments)) => Self {
                words,
                naming,
                arguments,
            },
            None => itself,
        })
    }

    /// The program's name for people and for comparison: the script's or module's where an interpreter runs one.
    pub fn name(&self) -> &'a OsStr {
        match self.naming {
            Naming::Program(word) | Naming::Script(word) => file_name(word),
            Naming::Module(word) => word,
        }
    }

    /// The script that an interpreter runs, as written.
    pub fn script(&self) -> Option<&'a OsStr> {
        match self.naming {
            Naming::Script(word) => Some(word),
            Naming::Program(_) | Naming::Module(_) => None,
        }
    }

    /// The module that `python -m` runs.
    pub fn is_module(&self) -> bool {
        matches!(self.naming, Naming::Module(_))
    }

    /// Whether this is the program of that exact name; `.py`, `.js` and `.sh` may be left out.
    pub fn is_named(&self, wanted: &str) -> bool {
        match self.naming {
            Naming::Module(word) => word.as_bytes() == wanted.as_bytes(),
            Naming::Program(_) | Naming::Script(_) => same_name(self.name().as_bytes(), wanted.as_bytes()),
        }
    }

    /// Whether this command line starts with the command `wanted`; relative paths are resolved against `cwd`, which is
    /// asked for only where one has to be.
    pub fn starts_with(&self, wanted: &[String], cwd: Cwd<'_>) -> bool {
        let Some((first, rest)) = wanted.split_first() else {
            return false;
        };
        (self.is_program(first, cwd) && begins(self.arguments, rest))
            || self.starts_with_interpreter(first, rest, cwd)
    }

    fn is_program(&self, wanted: &str, cwd: Cwd<'_>) -> bool {
        if !wanted.contains('/') {
            return self.is_named(wanted);
        }
        match self.naming {
            Naming::Module(_) => false,
            // A bare `argv[0]` came from PATH, not from the working directory.
            Naming::Program(word) if !word.as_bytes().contains(&b'/') => false,
            Naming::Program(word) | Naming::Script(word) => ends_with(word, wanted, cwd),
        }
    }

    fn starts_with_interpreter(&self, first: &str, rest: &[String], cwd: Cwd<'_>) -> bool {
        let Some((program, arguments)) = self.words.split_first() else {
            return false;
        };
        let Some((second, after)) = rest.split_first() else {
            return false;
        };
        if !same_interpreter(file_name(program), OsStr::new(first)) {
            return false;
        }
        if second.starts_with('-') {
            let module = match (self.naming, second.as_str(), after.split_first()) {
                (Naming::Module(module), "-m", Some((wanted, after))) => {
                    module.as_bytes() == wanted.as_bytes() && begins(self.arguments, after)
                }
                _ => false,
            };
            return module || begins(arguments, rest);
        }
        match self.naming {
            Naming::Script(word) => ends_with(word, second, cwd) && begins(self.arguments, after),
            Naming::Program(_) | Naming::Module(_) => false,
        }
    }
}

/// Shells; one with a script or with code on its command line is a program like any other.
const SHELLS: [&str; 17] = [
    "sh", "bash", "rbash", "dash", "zsh", "ksh", "ksh93", "mksh", "ash", "csh", "tcsh", "fish", "nu",
    "xonsh", "elvish", "rc", "pwsh",
];

/// Whether a program of this name is one of the shells.
pub(super) fn is_shell(name: &OsStr) -> bool {
    SHELLS.iter().any(|shell| name == *shell)
}

/// Whether a program of this name runs scripts.
pub(super) fn is_interpreter(name: &OsStr) -> bool {
    interpreter(name).is_some()
}

/// Whether this is a shell that takes its commands from whoever types, or from a file that its command line does not name.
pub(super) fn is_interactive_shell(executable: &OsStr, argv: &[OsString]) -> bool {
    let Some((first, rest)) = argv.split_first() else {
        return false;
    };
    let first = file_name(first);
    let called = OsStr::from_bytes(first.as_bytes().strip_prefix(b"-").unwrap_or(first.as_bytes()));
    if !is_shell(executable) && !is_shell(called) {
        return false;
    }
    let mut rest = rest.iter().map(|word| word.as_bytes());
    let mut code = false;
    while let Some(word) = rest.next() {
        match word {
            b"--rcfile" | b"--init-file" | b"-o" | b"+o" | b"-O" | b"+O" => {
                rest.next();
            }
            b"-" | b"--" | b"--login" | b"--posix" | b"--norc" | b"--noprofile" | b"--noediting" => {}
            b"--interactive" => return true,
            b"--command" | b"-Command" | b"-File" => code = true,
            [b'-', letters @ ..] if !letters.starts_with(b"-") => {
                if letters.contains(&b'i') {
                    return true;
                }
                code |= letters.contains(&b'c');
            }
            [b'-' | b'+', ..] => {}
            // A script, or the code after `-c`.
            _ => return false,
        }
    }
    !code
}

/// The working directory of a process, asked for when it matters.
pub(super) type Cwd<'a> = &'a dyn Fn() -> Option<&'a Path>;

/// Names that mean something else to each process: asked for by us, they would lead to what we have open ourselves.
const OWN: [&str; 6] = [
    "/dev/fd",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/proc/self",
    "/proc/thread-self",
];

/// The path that `word` means for a process in `cwd`; `None` for a name of what it alone has open.
pub(super) fn resolve(word: &OsStr, cwd: Option<&Path>) -> Option<PathBuf> {
    let path = Path::new(word);
    let path = if path.is_absolute() {
        lexical(path)?
    } else {
        lexical(&cwd?.join(path))?
    };
    (!OWN.iter().any(|own| path.starts_with(own))).then_some(path)
}

fn file_name(word: &OsStr) -> &OsStr {
    Path::new(word).file_name().unwrap_or(word)
}

fn same_name(actual: &[u8], wanted: &[u8]) -> bool {
    actual == wanted
        || SCRIPT_EXTENSIONS
            .iter()
            .any(|extension| actual.strip_suffix(*extension).is_some_and(|stem| stem == wanted))
}

fn begins(arguments: &[OsString], wanted: &[String]) -> bool {
    arguments.len() >= wanted.len()
        && arguments
            .iter()
            .zip(wanted)
            .all(|(actual, wanted)| actual.as_bytes() == wanted.as_bytes())
}

/// Whether the path `word` ends with the whole components of `wanted` (an absolute `wanted` must be all of it).
fn ends_with(word: &OsStr, wanted: &str, cwd: Cwd<'_>) -> bool {
    let Some(wanted) = lexical(Path::new(wanted)).filter(|path| !path.as_os_str().is_empty()) else {
        return false;
    };
    let path = Path::new(word);
    // Only a path that climbs has another last name once it is resolved.
    if path
        .file_name()
        .is_some_and(|name| Some(name) != wanted.file_name())
    {
        return false;
    }
    resolve(word, if path.is_absolute() { None } else { cwd() })
        .or_else(|| lexical(Path::new(word)))
        .is_some_and(|path| path.ends_with(&wanted))
}

/// Leaves out `env`, its options and assignments.
fn without_env(argv: &[OsString]) -> &[OsString] {
    let Some((first, mut rest)) = argv.split_first() else {
        return argv;
    };
    if file_name(first) != "env" {
        return argv;
    }
    while let Some((word, after)) = rest.split_first() {
        let bytes = word.as_bytes();
        if matches!(bytes, b"-u" | b"-C" | b"--unset" | b"--chdir") {
            rest = after.get(1..).unwrap_or_default();
        } else if bytes.starts_with(b"-") || bytes.contains(&b'=') {
            rest = after;
        } else {
            return rest;
        }
    }
    argv
}

/// The interpreter that a program name stands for, with the name's stem and version: `python3.11` gives `python`, `3.11`.
fn interpreter(name: &OsStr) -> Option<(&'static Interpreter, &str, &str)> {
    let name = name.to_str()?;
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let found = INTERPRETERS.iter().find(|known| known.names.contains(&stem))?;
    Some((found, stem, name.get(stem.len()..)?))
}

/// `python` stands for `python3.11`, and `python3` too; `python3.1` does not. `nodejs` is `node`, but `bash` is not `sh`.
pub(super) fn same_interpreter(actual: &OsStr, wanted: &OsStr) -> bool {
    let parts = |name| {
        let (_, stem, version) = interpreter(name)?;
        Some((if stem == "nodejs" { "node" } else { stem }, version))
    };
    match (parts(actual), parts(wanted)) {
        (Some((actual, has)), Some((wanted, asks))) => {
            let version = has
                .strip_prefix(asks)
                .is_some_and(|more| asks.is_empty() || more.is_empty() || more.starts_with('.'));
            actual == wanted && version
        }
        _ => false,
    }
}

/// Finds the script or module after an interpreter, and the words that follow it.
fn script<'a>(interpreter: &Interpreter, words: &'a [OsString]) -> Option<(Naming<'a>, &'a [OsString])> {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let bytes = word.as_bytes();
        if bytes == b"-" {
            return None;
        }
        if bytes == b"--" {
            return after
                .split_first()
                .map(|(word, after)| (Naming::Script(word), after));
        }
        if bytes.starts_with(b"--") {
            let text = word.to_str().unwrap_or_default();
            let long = text.split_once('=').map_or(text, |(long, _)| long);
            if interpreter.long_code.contains(&long) {
                return None;
            }
            rest = if interpreter.long_value.contains(&text) {
                after.get(1..).unwrap_or_default()
            } else {
                after
            };
            continue;
        }
        let Some(cluster) = bytes.strip_prefix(b"-").or_else(|| bytes.strip_prefix(b"+")) else {
            return Some((Naming::Script(word), after));
        };
        rest = after;
        for (place, letter) in cluster.iter().enumerate() {
            let value = cluster.get(place + 1..).unwrap_or_default();
            if interpreter.code.contains(letter) {
                return None;
            }
            if interpreter.module == Some(*letter) {
                if !value.is_empty() {
                    return Some((Naming::Module(OsStr::from_bytes(value)), after));
                }
                return after
                    .split_first()
                    .map(|(module, after)| (Naming::Module(module), after));
            }
            if interpreter.attached.contains(letter) {
                break;
            }
            if interpreter.value.contains(letter) {
                if value.is_empty() {
                    rest = after.get(1..).unwrap_or_default();
                }
                break;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn name(line: &str) -> String {
        let argv = words(line);
        let command = Command::parse(&argv).expect("a command line with a word");
        command.name().to_string_lossy().into_owned()
    }

    fn starts(line: &str, wanted: &str) -> bool {
        let argv = words(line);
        let wanted: Vec<String> = wanted.split(' ').map(String::from).collect();
        Command::parse(&argv)
            .expect("a command line with a word")
            .starts_with(&wanted, &|| Some(Path::new("/ws/app")))
    }

    #[test]
    fn the_script_names_the_program_of_an_interpreter() {
        for (line, expected) in [
            ("/usr/bin/duckdb x.db", "duckdb"),
            ("/ws/.venv/bin/python /ws/.venv/bin/dagster daemon run", "dagster"),
            ("python3.11 -u -W ignore job.py", "job.py"),
            ("python3 -um dagster daemon run", "dagster"),
            ("python -mhttp.server 80", "http.server"),
            ("python -c print() job.py", "python"),
            (
                "node --require ./hook.js --max-old-space-size 4096 server.js",
                "server.js",
            ),
            ("node -r ./hook.js server.js", "server.js"),
            ("node --inspect=9229 server.js", "server.js"),
            ("node -e code server.js", "node"),
            ("node --eval=code server.js", "node"),
            ("bash -eo pipefail run.sh", "run.sh"),
            ("sh -lc run.sh", "sh"),
            ("perl -w -Mstrict -I lib job.pl", "job.pl"),
            ("ruby3.1 -W0 -I lib job.rb", "job.rb"),
            ("env -u HOME A=b node server.js", "server.js"),
            ("pythonista job.py", "pythonista"),
            ("node -- -odd.js", "-odd.js"),
            ("-bash", "-bash"),
        ] {
            assert_eq!(name(line), expected, "{line}");
        }
    }

    #[test]
    fn a_similar_name_is_another_program() {
        let is = |line: &str, wanted: &str| {
            let argv = words(line);
            Command::parse(&argv)
                .expect("a command line with a word")
                .is_named(wanted)
        };
        assert!(is("python pyairbyte.py", "pyairbyte"));
        assert!(is("python pyairbyte.py", "pyairbyte.py"));
        assert!(is("node /ws/node_modules/.bin/evidence dev", "evidence"));
        for (line, wanted) in [
            ("vim pyairbyte-notes.md", "pyairbyte"),
            ("tail -f pyairbyte", "pyairbyte"),
            ("python evidence-archive.py", "evidence"),
            ("jupyter-lab", "jupyter"),
            ("qa-service-2", "qa-service"),
            ("python job.py evidence", "evidence"),
            ("node server.js", "node"),
            ("node --require ./evidence.js server.js", "evidence"),
        ] {
            assert!(!is(line, wanted), "{line} is not {wanted}");
        }
    }

    #[test]
    fn a_command_matches_by_its_first_words() {
        for (line, wanted) in [
            (
                "/ws/.venv/bin/python /ws/.venv/bin/dagster daemon run -w x",
                "dagster daemon run",
            ),
            ("python -m dagster daemon run", "dagster daemon run"),
            ("python3.11 -u -m dagster daemon run", "python -m dagster daemon"),
            (
                "node tools/cli.js start-data-service",
                "node tools/cli.js start-data-service",
            ),
            (
                "node /ws/app/tools/cli.js start-data-service",
                "node tools/cli.js start-data-service",
            ),
            (
                "node ../app/tools/./cli.js start-data-service",
                "tools/cli.js start-data-service",
            ),
            ("node cli.js", "app/cli.js"),
            ("/opt/duck/bin/duckdb x", "bin/duckdb"),
            ("sh -c true", "sh -c true"),
            ("python3.11 job.py", "python3 job.py"),
        ] {
            assert!(starts(line, wanted), "{line} starts with {wanted}");
        }
        for (line, wanted) in [
            ("dagster daemon status", "dagster daemon run"),
            ("dagster", "dagster daemon"),
            ("node my-tools/cli.js start", "node tools/cli.js start"),
            ("node tools/cli.js.bak", "node tools/cli.js"),
            ("node server.js tools/cli.js", "node tools/cli.js"),
            ("node tools/cli.js", "node"),
            ("python tools/cli.js", "node tools/cli.js"),
            ("python3.11 job.py", "python3.1 job.py"),
            ("bash job.sh", "sh job.sh"),
            ("cli.js", "app/cli.js"),
            ("node a.js", "../a.js"),
            ("node a.js", "./"),
        ] {
            assert!(!starts(line, wanted), "{line} does not start with {wanted}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn only_a_whole_name_matches(actual in "[a-z][a-z._-]{0,8}", wanted in "[a-z][a-z._-]{0,8}") {
            let expected = actual == wanted
                || [".py", ".js", ".sh"].iter().any(|end| actual == format!("{wanted}{end}"));
            prop_assert_eq!(same_name(actual.as_bytes(), wanted.as_bytes()), expected);
            let longer = format!("{wanted}-{actual}");
            prop_assert!(!same_name(longer.as_bytes(), wanted.as_bytes()));
        }

        #[test]
        fn any_command_line_has_a_name(argv in proptest::collection::vec("[-+=a-z/.0-9]{0,6}", 1..6), program in "(python3|node|sh|env|perl|x)") {
            let argv: Vec<OsString> = std::iter::once(program).chain(argv).map(OsString::from).collect();
            let command = Command::parse(&argv);
            prop_assert!(command.is_some_and(|command| argv.len() > command.arguments.len()));
        }
    }
}
