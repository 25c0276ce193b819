//! What is fuzzed: everything that reads what somebody else wrote. Each function takes any bytes and panics where a
//! promise is broken. `fuzz_targets/` gives them to libFuzzer, `tests/fuzzed.rs` to `cargo test`.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use rollback_manager::audit::record;
use rollback_manager::backup::{MANIFEST, manifest};
use rollback_manager::base::redact::redact;
use rollback_manager::edit::{env, json, lines, yaml};
use rollback_manager::host::files::Files;
use rollback_manager::log_line::{self as log, Line};
use rollback_manager::pattern::Pattern;
use rollback_manager::run::plan_file;
use rollback_manager::script::engine;
use rollback_manager::workspace::config::Config;
use rollback_manager::workspace::flags::{self, Flags};
use rollback_manager::workspace::story::Story;
use rollback_manager::workspace::story::{Origin, Script};
use serde_json::{Value, json};

/// A target with its name and inputs to begin with.
pub struct Target {
    /// As in `fuzz_targets/`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// What is well formed, or nearly.
    pub seeds: &'static [&'static str],
}

/// All of them.
pub const ALL: &[Target] = &[
    Target {
        name: "story_header",
        run: story_header,
        seeds: &[
            "#!/usr/bin/env -S rollback\nconst STORY = #{ id: \"1.3\", title: \"DuckDB\", files: [\"a/b.js\"], data: [#{ \
             path: \"data\", backup: \"d\" }], services: [#{ name: \"s\", pid_file: \"x.pid\" }], after: [\"1.2\"] };\n\
             fn execute() { remove_path(\"a\"); }\n",
            "const STORY = #{ id: \"..\", title: 5, files: \"x\", feature: [[]] };",
            "const STORY = 1 + 2; import \"std/story\" as s; fn execute() { s::roll_back(STORY) }",
        ],
    },
    Target {
        name: "flags_edit",
        run: flags_edit,
        seeds: &[
            "# ours\nfeatures:\n  a: { enabled: true }  # one\n  b:\n    enabled: yes\n    dependencies: [a]\nmetadata:\n  \
             last_modified: '2024-01-01T00:00:00.000Z'\n",
            "features:\r\n  \"a b\":\r\n    enabled: \"true\"\r\n    dependencies:\r\n    - c\r\n",
            "features: &x { a: &y { enabled: true }, b: *y }\n",
        ],
    },
    Target {
        name: "env_edit",
        run: env_edit,
        seeds: &[
            "DUCK\nDUCK_A=1\nexport DUCK_B='two\nlines'\n# note\nOTHER=\"x # y\"\nDUCK=\n",
            "A\nA='\nA=\"\\\"\nB=1",
            "A\nA=1\n\u{feff}B=\"2\n3\"\nC=4\n",
        ],
    },
    Target {
        name: "json_edit",
        run: json_edit,
        seeds: &[
            "scripts.build\n{\n  \"scripts\": { \"build\": \"x\", // why\n    \"test\": 1 },\n  \"version\": \"1\"\n}\n",
            "a.\"b.c\"\n{\"a\":{\"b.c\":[1,2,{}]},}",
        ],
    },
    Target {
        name: "yaml_edit",
        run: yaml_edit,
        seeds: &[
            "a.b\na:\n  b: 1 # one\n  c: [x, 'y', \"z\"]\nd: |\n  text\n  more\n? e\n: f\n",
            "x\nx: &a {y: *a}\n",
            "a\n--- {a: 1, b: [2, {a: 3}]}\n...\n",
        ],
    },
    Target {
        name: "lines_edit",
        run: lines_edit,
        seeds: &[
            "^import duck.*$\nimport duckdb\nother\r\n  import duck\n",
            "(a+)+$\naaaaaaaaaaaaaaaaaaaaaaaa!\n",
        ],
    },
    Target {
        name: "manifest",
        run: manifest_file,
        seeds: &[
            "{\"version\":1,\"name\":\"n\",\"kind\":\"directory\",\"source\":\"s\",\"run\":\"r\",\"story\":\"\",\"created\":\
             \"2026-01-01T00:00:00.000Z\",\"method\":\"moved\"}\n{\"path\":\"a\",\"type\":\"file\",\"size\":1,\"mode\":420,\
             \"uid\":0,\"gid\":0,\"mtime_ns\":1}\n{\"entries\":1,\"bytes\":1,\"root\":\"00\"}\n",
        ],
    },
    Target {
        name: "audit_record",
        run: audit_record,
        seeds: &[
            "{\"v\":1,\"seq\":1,\"ts\":\"t\",\"log\":\"l\",\"run\":\"r\",\"event\":\"e\",\"data\":{\"x\":\"\\u0000\"}}",
        ],
    },
    Target {
        name: "plan_file",
        run: plan_text,
        seeds: &["{\"hash\":\"0\",\"request\":{\"words\":[\"1.3\"]},\"facts\":[],\"plan\":\"p\"}"],
    },
    Target {
        name: "configuration",
        run: configuration,
        seeds: &[
            "version: 1\npolicy:\n  write: [../data]\n  deny: ['**/*.key', 'x']\n  commands: [npm]\n  http: \
             ['http://127.0.0.1:1']\n  limits: { max_paths: 10 }\nbackups: { digest_limit: 1GiB, keep_last: 3 }\n",
            "policy: { deny: ['{a,b}/[!c]?'] }\n",
        ],
    },
    Target {
        name: "glob",
        run: globs,
        seeds: &["data/*.duckdb\ndata/a.duckdb", "**/{a,b[c-d]}?\nx/y/az", "[]\n]"],
    },
    Target {
        name: "redaction",
        run: redaction,
        seeds: &[
            "postgres://u:p@h/db password=hunter22 --token abc Authorization: Bearer abcdef {\"api_key\": \"x\\\"y\"}",
            "-----BEGIN RSA PRIVATE KEY-----\nabc",
        ],
    },
    Target {
        name: "log_line",
        run: log_line,
        seeds: &[
            "{\"timestamp\":\"2026-11-23T01:30:00.000Z\",\"level\":\"ERROR\",\"event\":\"query\",\"service\":\"duckdb\",\
             \"duration_ms\":12.5,\"ip\":\"10.0.0.7\",\"user\":\"a\"}",
            "{\"timestamp\":\"2026-02-29T24:00:61,5+05:30\",\"level\":\"fatal\",\"duration\":\"5s\",\"x\":[[{\"y\":1e999}]]}\n\
             {\"ts\":1764000000,\"severity\":\"warn\",\"event\":\"process_crashed\"}",
        ],
    },
];

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The first line, and what follows it.
fn halves(bytes: &[u8]) -> Option<(&str, &str)> {
    text(bytes)?.split_once('\n')
}

/// A script's header is read without running it.
pub fn story_header(bytes: &[u8]) {
    let Some(source) = text(bytes) else { return };
    if let Ok(script) = Script::compile(&engine::reader(), "fuzzed", Origin::Embedded, source) {
        let _ = Story::of(script, &BTreeMap::new());
    }
}

/// A feature that was switched off is off, and all else is as before.
pub fn flags_edit(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(before) = Flags::parse(text) else { return };
    let names: Vec<&str> = before.names().take(3).collect();
    for name in &names {
        for on in [false, true] {
            let Ok(edited) = flags::edit(text, &[(name, on)], "2026-01-01T00:00:00.000Z") else {
                continue;
            };
            let new = edited.or(text);
            let after = Flags::parse(&new).expect("an edited flags file can be read");
            assert_eq!(after.raw(name), Some(on), "{name} in {new}");
            for other in before.names().filter(|other| other != name) {
                assert_eq!(before.raw(other), after.raw(other), "{other} in {new}");
            }
            assert!(before.names().eq(after.names()), "{new}");
        }
    }
}

/// The keys with the prefix are gone, the others stay.
pub fn env_edit(bytes: &[u8]) {
    let Some((prefix, text)) = halves(bytes) else {
        return;
    };
    let Ok(edited) = env::remove_keys(text, &[prefix]) else {
        return;
    };
    let new = edited.or(text);
    let left = env::keys(&new, prefix).expect("what was agreed on is gone");
    assert!(left.is_empty(), "{new}");
    let Ok(mut kept) = env::keys(text, "") else {
        return;
    };
    kept.retain(|key| !key.starts_with(prefix));
    assert_eq!(env::keys(&new, "").expect("nothing new to differ on"), kept);
}

/// What was set is there, what was removed is not.
pub fn json_edit(bytes: &[u8]) {
    let Some((path, text)) = halves(bytes) else { return };
    for value in [json!("new: 1 # \"x\""), json!({ "a": [true, null] })] {
        if let Ok(edited) = json::set(text, path, &value) {
            let new = edited.or(text);
            assert_eq!(
                json::get(&new, path).expect("an edited text can be read"),
                Some(value)
            );
        }
    }
    if let Ok(edited) = json::remove(text, path) {
        let new = edited.or(text);
        assert_eq!(json::get(&new, path).expect("an edited text can be read"), None);
    }
}

/// As [`json_edit`]; and no entry that names a word is left where those were removed.
pub fn yaml_edit(bytes: &[u8]) {
    let Some((path, text)) = halves(bytes) else { return };
    for value in [json!("new: 1 # \"x\""), json!([1, "two"])] {
        if let Ok(edited) = yaml::set(text, path, &value) {
            let new = edited.or(text);
            assert_eq!(
                yaml::get(&new, path).expect("an edited text can be read"),
                Some(value)
            );
        }
    }
    if let Ok(edited) = yaml::remove(text, path) {
        let new = edited.or(text);
        assert_eq!(yaml::get(&new, path).expect("an edited text can be read"), None);
    }
    if let Ok(named) = yaml::remove_entries_naming(text, path) {
        assert_eq!(named.edited.is_changed(), !named.removed.is_empty());
        let new = named.edited.or(text);
        let again = yaml::remove_entries_naming(&new, path).expect("an edited text can be read");
        assert!(again.removed.is_empty(), "{:?} in {new}", again.removed);
    }
}

/// No line that matches is left.
pub fn lines_edit(bytes: &[u8]) {
    let Some((pattern, text)) = halves(bytes) else {
        return;
    };
    let Ok(pattern) = lines::pattern(pattern) else {
        return;
    };
    if let Ok((edited, removed)) = lines::remove_matching(text, &pattern) {
        let new = edited.or(text);
        // A byte order mark is no line.
        let lines = |text: &str| {
            text.strip_prefix('\u{feff}')
                .unwrap_or(text)
                .split_inclusive('\n')
                .count()
        };
        if text.starts_with('\u{feff}') == new.starts_with('\u{feff}') {
            assert_eq!(lines(text), lines(&new) + removed.len());
        }
    }
}

/// A manifest says how many entries it has, or it is not whole.
pub fn manifest_file(bytes: &[u8]) {
    thread_local! {
        static PLACE: tempfile::TempDir = tempfile::tempdir().expect("a temporary directory");
    }
    PLACE.with(|place| {
        std::fs::write(place.path().join(MANIFEST), bytes).expect("a file is written");
        let files = Files::open(&[place.path().to_path_buf()]).expect("a directory is opened");
        if let Ok(read) = manifest::read(&files, place.path())
            && let Some(footer) = read.footer
        {
            assert_eq!(footer.entries, read.entries.len() as u64);
        }
    });
}

/// A sealed record checks out, and with any one byte changed it does not.
pub fn audit_record(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let _ = (record::check(line), record::beginnings(line).count());
        if let Some(line) = text(line) {
            let _ = (record::front(line), record::claimed_seq(line));
        }
    }
    let Ok(Value::Object(mut map)) = serde_json::from_slice(bytes) else {
        return;
    };
    map.remove("hash");
    map.insert("prev".to_owned(), Value::String(record::hex(&record::ORIGIN)));
    let (sealed, hash) = record::seal(map);
    let line = sealed.trim_end_matches('\n').as_bytes();
    let Some(checked) = record::check(line) else {
        return;
    };
    assert_eq!(checked.hash, hash);
    let at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % line.len();
    let mut flipped = line.to_vec();
    if let Some(byte) = flipped.get_mut(at) {
        *byte ^= 1;
    }
    assert_eq!(record::check(&flipped), None, "byte {at}");
}

/// A plan's file is read or refused.
pub fn plan_text(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let _ = plan_file::read("fuzzed", text);
    // With a right hash the rest is read too.
    if let Ok(Value::Object(mut map)) = serde_json::from_str(text) {
        map.remove("hash");
        let hash = plan_file::hash(&map);
        map.insert("hash".to_owned(), Value::String(hash));
        let _ = plan_file::read("fuzzed", &Value::Object(map).to_string());
    }
}

/// A configuration is read or refused.
pub fn configuration(bytes: &[u8]) {
    if let Some(text) = text(bytes) {
        let _ = Config::parse(text);
    }
}

/// A pattern without special characters matches itself and nothing else.
pub fn globs(bytes: &[u8]) {
    let Some((pattern, path)) = halves(bytes) else {
        return;
    };
    let Ok(read) = Pattern::parse(pattern) else { return };
    let (one, other) = (Path::new(pattern), Path::new(path));
    let plain = !pattern.contains(['*', '?', '[', ']', '{', '}', '\\', '!', ',', '\0']);
    let named = |path: &Path| !path.components().any(|part| matches!(part, Component::CurDir));
    let matches = read.matches(other);
    if plain && named(one) && named(other) {
        assert_eq!(matches, one == other, "{pattern:?} and {path:?}");
    }
}

/// A token on a line of its own is masked, whatever stands before it.
pub fn redaction(bytes: &[u8]) {
    if let Some(text) = text(bytes) {
        const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
        let masked = redact(&format!("{text}\n{TOKEN}\n"));
        assert!(!masked.contains(TOKEN), "{masked}");
    }
}

/// A line that is a JSON object is an event; its duration is a number that can be, and the short way to its time, where
/// there is one, leads to the same time.
pub fn log_line(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let read = log::read(line, 0);
        if let Ok(Value::Object(_)) = serde_json::from_slice(line) {
            assert!(
                matches!(read, Line::Event(_)),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
        let short = log::time_of(line);
        let Line::Event(event) = read else { continue };
        assert!(
            event
                .milliseconds
                .is_none_or(|each| each.is_finite() && each >= 0.0)
        );
        // The key written once, without escapes, and none of its other names.
        let is_plain = text(line).is_some_and(|text| {
            !text.contains('\\') && text.matches("time").count() == 1 && !text.contains("\"ts\"")
        });
        if is_plain && short.is_some() {
            assert_eq!(event.time(), short, "{}", String::from_utf8_lossy(line));
        }
    }
}
