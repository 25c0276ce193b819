//! What configuration names: values of JSON and YAML that are paths. Only what a program loads counts, and that is told
//! by the file's name: a plan, a report, a bill of materials or a coverage file lists paths and needs none of them.

use super::{Mention, Named};

/// Longer values are no paths of ours.
const LONGEST: usize = 512;

/// Configuration of programs, by the name up to its first dot (the leading one apart).
const PROGRAMS: &[&str] = &[
    ".cirrus",
    ".drone",
    ".gitlab-ci",
    ".pre-commit-hooks",
    ".readthedocs",
    ".travis",
    ".woodpecker",
    "action",
    "angular",
    "app",
    "appspec",
    "asyncapi",
    "azure-pipelines",
    "bitbucket-pipelines",
    "buildspec",
    "cloudbuild",
    "compose",
    "connection",
    "dagster",
    "dbt_project",
    "deno",
    "devcontainer",
    "docker-compose",
    "ecosystem",
    "evidence",
    "firebase",
    "great_expectations",
    "importmap",
    "kustomization",
    "launch",
    "lefthook",
    "lerna",
    "meltano",
    "mkdocs",
    "netlify",
    "nodemon",
    "nx",
    "openapi",
    "package",
    "playbook",
    "pm2",
    "prefect",
    "process",
    "profiles",
    "project",
    "prometheus",
    "serverless",
    "site",
    "skaffold",
    "swagger",
    "taskfile",
    "turbo",
    "vercel",
    "workspace",
    "wrangler",
];

/// Directories whose files are configuration.
const DIRECTORIES: &[&str] = &[
    ".circleci",
    ".config",
    ".devcontainer",
    ".vscode",
    "conf",
    "config",
    "configs",
    "configuration",
    "playbooks",
    "settings",
    "workflows",
];

/// Keys below which a program is told what to leave out, or where it writes: nothing there is loaded.
const NOT_LOADED: &[&str] = &[
    "author",
    "cachedir",
    "comment",
    "coveragedirectory",
    "description",
    "dest",
    "destination",
    "exclude",
    "excluded",
    "excludes",
    "ignore",
    "ignored",
    "ignorepatterns",
    "ignores",
    "license",
    "logfile",
    "logs",
    "outdir",
    "outfile",
    "output",
    "outputs",
    "title",
];

/// Keys at the top of a file that is data, wherever it lies: bills of materials.
const DATA: &[&str] = &["bomFormat", "spdxVersion", "SPDXID"];

/// Whether a program loads what this file of JSON or YAML names, by its path.
pub(super) fn is_loaded(path: &str) -> bool {
    let (directories, file) = path.rsplit_once('/').unwrap_or(("", path));
    let file = file.to_ascii_lowercase();
    let dot = file.strip_prefix('.').map_or("", |_| ".");
    let name = file.trim_start_matches('.').split('.').next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
    let words = || stem.split(|character: char| !character.is_ascii_alphanumeric());
    // `.eslintrc.json`, `.mocharc.yml`
    let is_rc = !dot.is_empty() && name.ends_with("rc");
    is_rc
        || stem.contains("config")
        || stem.starts_with("docker-compose")
        || words().any(|word| matches!(word, "conf" | "cfg" | "settings"))
        || PROGRAMS.contains(&format!("{dot}{name}").as_str())
        || directories
            .split('/')
            .any(|directory| DIRECTORIES.contains(&directory))
}

/// Whether what stands below a key is loaded. `files` of a `package.json` says what is published.
fn loads(file: &str, key: &str) -> bool {
    let key: String = key
        .chars()
        .filter(|character| !matches!(character, '_' | '-'))
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let published = matches!(key.as_str(), "files" | "sideeffects")
        && (file == "package.json" || file.ends_with("/package.json"));
    !published && !NOT_LOADED.contains(&key.as_str())
}

/// Values of JSON, comments allowed: every text in quotes that is not a key, below keys that load. Nothing of a file
/// that says of itself that it is data.
pub(super) fn scan_json(file: &str, text: &str) -> Vec<Mention> {
    let mut mentions = Vec::new();
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    // Whether what stands here is loaded, for each open bracket, and for the key at hand.
    let mut open: Vec<bool> = Vec::new();
    let mut here = true;
    let mut key = "";
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => line += 1,
            b'{' | b'[' => open.push(here),
            b'}' | b']' => here = open.pop().unwrap_or(true),
            b'"' => {
                let from = at + 1;
                at = from;
                while let Some(byte) = bytes.get(at).filter(|byte| !matches!(byte, b'"' | b'\n')) {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                let rest = text.get(at + 1..).unwrap_or_default();
                if bytes.get(at) == Some(&b'"') {
                    let given = text.get(from..at).unwrap_or_default();
                    if rest.trim_start().starts_with(':') {
                        key = given;
                        here = open.last().copied().unwrap_or(true) && loads(file, key);
                        if open.len() == 1 && DATA.contains(&key) {
                            return Vec::new();
                        }
                    } else {
                        if open.len() == 1 && key == "schema" && given.starts_with("rollback.") {
                            return Vec::new();
                        }
                        if here {
                            mention(&mut mentions, line, given);
                        }
                    }
                }
                // The end of the line is counted above.
                if bytes.get(at) == Some(&b'\n') {
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    mentions
}

/// Values of YAML below keys that load: what follows `key: ` or `- `, and the items of `[a, b]`.
pub(super) fn scan_yaml(file: &str, text: &str) -> Vec<Mention> {
    if text.trim_start().starts_with('{') {
        return scan_json(file, text);
    }
    let mut mentions = Vec::new();
    // The innermost key below which nothing is loaded, by its indentation.
    let mut shut: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let mut value = line.trim();
        if value.is_empty() || value.starts_with('#') {
            continue;
        }
        let mut indentation = line.len() - line.trim_start().len();
        let is_item = value.starts_with("- ");
        // The items of a list may stand as far left as its key.
        if shut.is_some_and(|key| indentation < key || (indentation == key && !is_item)) {
            shut = None;
        }
        if shut.is_some() {
            continue;
        }
        while let Some(rest) = value.strip_prefix("- ") {
            indentation += value.len() - rest.trim_start().len();
            value = rest.trim_start();
        }
        value = value.split(" #").next().unwrap_or_default().trim_end();
        let key = value
            .strip_suffix(':')
            .or_else(|| value.split_once(": ").map(|(key, _)| key));
        if let Some(key) = key {
            if !loads(file, key.trim_matches(['"', '\''])) {
                shut = Some(indentation);
                continue;
            }
            value = value.split_once(": ").map_or("", |(_, rest)| rest.trim());
        }
        for item in value.split([',', '[', ']', '{', '}']) {
            let (key, item) = item.rsplit_once(": ").unwrap_or(("", item));
            if loads(file, key.trim()) {
                mention(&mut mentions, number + 1, item.trim().trim_matches(['"', '\'']));
            }
        }
    }
    mentions
}

/// Notes a value that may be a path: whether there is such a file is asked later.
fn mention(mentions: &mut Vec<Mention>, line: usize, value: &str) {
    let looks_like_a_path = value.contains(['/', '.'])
        && value.len() <= LONGEST
        && !value.contains("://")
        && !value.starts_with('/')
        && !value.contains(['\\', '*', '\0'])
        && value.contains(|character: char| character.is_ascii_alphabetic());
    if looks_like_a_path {
        mentions.push(Mention {
            line,
            text: value.to_owned(),
            names: Named::Path(value.to_owned()),
        });
    }
}
