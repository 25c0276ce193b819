//! What stands in each file: a few that tests lean on, embedded from `demo/contents/`; the others by extension.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::deployed::{Deployed, PathKind};
use super::tree::Tree;

const EMBEDDED: &[(&str, &str)] = &[
    (".env", include_str!("../../demo/contents/env")),
    (".gitignore", include_str!("../../demo/contents/gitignore")),
    ("README.md", include_str!("../../demo/contents/README.md")),
    (
        "bmad-method/tools/cli.js",
        include_str!("../../demo/contents/bmad-cli.js"),
    ),
    (
        "config/feature-flags.yaml",
        include_str!("../../demo/contents/feature-flags.yaml"),
    ),
    (
        "config/feature-flags/transformation-engine-flags.yaml",
        include_str!("../../demo/contents/transformation-engine-flags.yaml"),
    ),
    (
        "core-config.yaml",
        include_str!("../../demo/contents/core-config.yaml"),
    ),
    ("package.json", include_str!("../../demo/npm/package.json")),
    (
        "package.json.pre-1.3",
        include_str!("../../demo/contents/package.json.pre-1.3"),
    ),
    (
        "requirements.txt",
        include_str!("../../demo/contents/requirements.txt"),
    ),
    ("tools/cli.js", include_str!("../../demo/contents/cli.js")),
];

/// Plants every file of the catalogue (but the Python environment and pid files) and the embedded ones.
pub(super) fn plant(tree: &mut Tree, catalogue: &[Deployed]) {
    let files = files_of(catalogue);
    let known: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    for (path, requires) in &files {
        let contents = if has_extension(path, "js") {
            javascript(path, requires, &known).into_bytes()
        } else {
            by_extension(path)
        };
        tree.file(path.as_str(), contents);
    }
    for (path, contents) in EMBEDDED {
        tree.file(*path, *contents);
    }
}

/// Each file with what it requires.
fn files_of(catalogue: &[Deployed]) -> BTreeMap<String, &[String]> {
    let mut files = BTreeMap::<String, &[String]>::new();
    for entry in catalogue {
        match entry.kind {
            PathKind::File => {
                files.insert(entry.path.clone(), &entry.requires);
            }
            PathKind::Directory if entry.path != ".venv" => {
                for file in &entry.files {
                    files.entry(format!("{}/{file}", entry.path)).or_default();
                }
            }
            PathKind::Directory | PathKind::PidFile => {}
        }
    }
    files
}

fn javascript(path: &str, requires: &[String], known: &BTreeSet<&str>) -> String {
    let name = stem(path);
    if let Some(subject) = name.strip_suffix(".test") {
        return test_of(path, subject, known);
    }
    let mut text = format!("'use strict';\n\n// {}: a stand-in of the demo.\n", title(name));
    let mut uses = String::new();
    for required in requires {
        let variable = identifier(required);
        let _ = writeln!(text, "const {variable} = require('{required}');");
        let _ = write!(uses, ", {variable}.name");
    }
    let _ = write!(
        text,
        "\nfunction describe() {{\n  return ['{name}'{uses}].join(' > ');\n}}\n\n\
         module.exports = {{ name: '{name}', describe }};\n"
    );
    text
}

/// A test requires its subject where the subject stands beside it in `tools/`.
fn test_of(path: &str, subject: &str, known: &BTreeSet<&str>) -> String {
    let found = path
        .split_once("tests/data-services/")
        .filter(|(_, file)| !file.contains('/'))
        .and_then(|(base, _)| {
            ["data-services", "lib"]
                .into_iter()
                .find(|place| known.contains(format!("{base}tools/{place}/{subject}.js").as_str()))
        });
    match found {
        Some(place) => format!(
            "'use strict';\n\nconst subject = require('../../tools/{place}/{subject}');\n\n\
             test('{subject} describes itself', () => {{\n  expect(subject.describe()).toContain('{subject}');\n}});\n"
        ),
        None => format!(
            "'use strict';\n\ntest('{subject} has a name', () => {{\n  expect('{subject}').toMatch(/[a-z]/);\n}});\n"
        ),
    }
}

fn by_extension(path: &str) -> Vec<u8> {
    let name = stem(path);
    let title = title(name);
    let text = match extension(path) {
        "md" => format!("# {title}\n\nA page of the demo. It stands at `{path}`.\n"),
        "json" | "ipynb" => json(path, name),
        "yaml" | "yml" => {
            format!("# {title}\nname: {name}\nversion: 1\nsettings:\n  path: \"{path}\"\n  retries: 3\n")
        }
        "py" if name == "__init__" => format!("\"\"\"Package marker of {path}.\"\"\"\n"),
        "py" => format!(
            "\"\"\"{title}: a stand-in of the demo.\"\"\"\n\n\ndef describe():\n    return \"{path}\"\n"
        ),
        "sql" => format!("-- {title}\nselect *\nfrom {}\n", identifier(name)),
        "csv" => format!("id,name,source\n1,first,{name}\n2,second,{name}\n"),
        "log" => format!(
            "2025-08-28T09:26:56.000Z INFO {name} started\n2025-08-28T09:26:57.000Z INFO {name} ready\n"
        ),
        "html" => format!("<!doctype html>\n<title>{title}</title>\n<p>{path}</p>\n"),
        "css" => format!("/* {path} */\nbody {{ margin: 0; }}\n"),
        "svelte" => {
            format!("<script>\n  export let rows = [];\n</script>\n\n<p>{title}: {{rows.length}}</p>\n")
        }
        "svg" => format!("<svg xmlns=\"http://www.w3.org/2000/svg\"><title>{title}</title></svg>\n"),
        "xml" => format!("<testsuite name=\"{name}\" tests=\"1\"><testcase name=\"first\"/></testsuite>\n"),
        "toml" => format!("[project]\nname = \"{name}\"\nversion = \"0.1.0\"\n"),
        "cfg" => "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n".to_owned(),
        "env" => "EVIDENCE_TOKEN=demo-secret-evidence\n".to_owned(),
        "gitignore" => "node_modules/\nbuild/\n".to_owned(),
        "db" if path.contains(".duckdb/") => return duckdb(path),
        "duckdb" => return duckdb(path),
        "db" => return sqlite(path),
        "parquet" => return [block(b"PAR1", path, 2044), b"PAR1".to_vec()].concat(),
        "tmp" => return block(b"", path, 8192),
        _ => format!("{path}\n"),
    };
    text.into_bytes()
}

fn json(path: &str, name: &str) -> String {
    let value = match (path.rsplit('/').next(), extension(path)) {
        (Some("package.json"), _) => {
            let parent = path.rsplit('/').nth(1).unwrap_or("package");
            serde_json::json!({ "name": parent, "version": "1.0.0", "private": true })
        }
        (_, "ipynb") => serde_json::json!({
            "cells": [{ "cell_type": "markdown", "metadata": {}, "source": [format!("# {}", title(name))] }],
            "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
        }),
        _ => serde_json::json!({ "name": name, "path": path, "values": [1, 2, 3] }),
    };
    format!("{value:#}\n")
}

/// As large as the smallest file of DuckDB, and none: whoever opens it must not take it for a damaged one.
fn duckdb(path: &str) -> Vec<u8> {
    block(b"A stand-in of the demo for a DuckDB file: ", path, 12_288)
}

/// An SQLite file without tables, of one page; the path stands where nothing is allocated.
fn sqlite(path: &str) -> Vec<u8> {
    let mut head = b"SQLite format 3\0".to_vec();
    // Page size 4096, the rollback journal's format, the payload fractions that are prescribed.
    head.extend([0x10, 0x00, 1, 1, 0, 64, 32, 32]);
    // Change counter, size in pages, no free pages, schema cookie and format.
    for number in [1_u32, 1, 0, 0, 1, 4] {
        head.extend(number.to_be_bytes());
    }
    // Cache size, no vacuum, UTF-8, nothing of the user's; then what is reserved.
    for number in [0_u32, 0, 1, 0, 0, 0] {
        head.extend(number.to_be_bytes());
    }
    head.extend([0; 20]);
    // For which change the version counts, and the version of the library.
    for number in [1_u32, 3_045_000] {
        head.extend(number.to_be_bytes());
    }
    // The schema's table: a leaf without cells, whose contents begin at the end of the page.
    head.extend([0x0d, 0, 0, 0, 0, 0x10, 0x00, 0]);
    block(&head, path, 4096)
}

/// `head`, then the path (so that no two are equal), then zeros up to `size` bytes.
fn block(head: &[u8], path: &str, size: usize) -> Vec<u8> {
    let mut bytes = [head, path.as_bytes()].concat();
    bytes.resize(size, 0);
    bytes
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn has_extension(path: &str, wanted: &str) -> bool {
    extension(path) == wanted
}

/// The name without directories and the last extension.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.')
        .map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}

/// `hypothesis-generator` as `Hypothesis generator`.
fn title(name: &str) -> String {
    let words = name.replace(['-', '_', '.'], " ");
    let words = words.trim();
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// `../lib/memory-manager` as `memoryManager`.
fn identifier(module: &str) -> String {
    let name = module.rsplit('/').next().unwrap_or(module);
    let mut words = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut text = words.next().unwrap_or("module").to_owned();
    for word in words {
        let mut letters = word.chars();
        text.extend(
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters),
        );
    }
    text
}
