#![expect(
    clippy::disallowed_methods,
    reason = "tests build their trees in temporary directories"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;

use super::{Index, Wanted};
use crate::host::packages::Manager;

fn put(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        put(dir.path(), path, text);
    }
    let index = Index::scan(dir.path()).unwrap();
    (dir, index)
}

/// `file:line` of what names `path`.
fn to(index: &Index, path: &str) -> Vec<String> {
    index
        .references_to(path)
        .iter()
        .map(|found| format!("{}:{}", found.file, found.line))
        .collect()
}

fn needing(index: &Index, manager: Manager, name: &str) -> Vec<String> {
    index
        .packages_needed_by(manager, name)
        .iter()
        .map(|found| format!("{}:{}", found.file, found.line))
        .collect()
}

#[test]
fn javascript_names_modules_in_every_form() {
    let (_dir, index) = tree(&[
        ("lib/a.js", "module.exports = 1;\n"),
        ("lib/index.js", ""),
        ("lib/typed.ts", ""),
        ("lib/page.vue", ""),
        ("one.js", "const a = require('./lib/a');\n"),
        ("two.mjs", "import {\n  x,\n  y as z,\n} from \"./lib/a.js\";\n"),
        (
            "sub/three.ts",
            "export * from '../lib/a';\nconst lazy = () => import(\n  /* chunk */ '../lib/typed.js');\n",
        ),
        (
            "sub/four.cjs",
            "const a = require(path.join(__dirname, '..', 'lib', 'a.js'));\n",
        ),
        (
            "sub/five.js",
            "jest.mock('../lib/a', () => ({}));\nnew Worker(new URL('../lib/a.js', import.meta.url));\n",
        ),
        (
            "six.js",
            "import './lib/a';import lib from './lib';\nimport page from '@/lib/page.vue?raw';\n",
        ),
        (
            "seven.js",
            "const re = /['\"]/; it's; require.resolve('./lib/a');\nconst t = `\n${require('./lib/typed')} don't`;\n",
        ),
        (
            "lib/eight.js",
            "const all = require('.');\nrequire(`./${name}`);\nrequire('./' + name);\n",
        ),
        (
            "nine.js",
            "require(`./lib/a${suffix}`);\nrequire('./lib/' + name);\n",
        ),
    ]);
    assert_eq!(
        to(&index, "lib/a.js"),
        [
            "nine.js:1",
            "nine.js:2",
            "one.js:1",
            "seven.js:1",
            "six.js:1",
            "sub/five.js:1",
            "sub/five.js:2",
            "sub/four.cjs:1",
            "sub/three.ts:1",
            "two.mjs:4"
        ]
    );
    assert_eq!(
        to(&index, "lib/index.js"),
        ["lib/eight.js:1", "nine.js:2", "six.js:1"]
    );
    assert_eq!(
        to(&index, "lib/typed.ts"),
        ["nine.js:2", "seven.js:3", "sub/three.ts:3"]
    );
    assert_eq!(to(&index, "lib/page.vue"), ["nine.js:2", "six.js:2"]);
    assert!(to(&index, "one.js").is_empty());
    assert_eq!(
        to(&index, "./lib/").len(),
        13,
        "a directory's references are those to all below it, from outside"
    );
}

#[test]
fn comments_do_not_count_but_doubt_does() {
    let (_dir, index) = tree(&[
        ("x.js", ""),
        (
            "plain.js",
            "// require('./x')\n/* import './x'\n   import './x' */\nconst u = 'http://e.org'; // require('./x')\n",
        ),
        (
            "doubt.js",
            "const u = 'a://b'; require('./x');\nconst g = ['src/*', '/*']; require('./x');\nf(/[/*]/); require('./x');\n",
        ),
        ("open.js", "/* never closed\nrequire('./x');\n"),
        ("a.py", ""),
        ("b.py", "# import a\nx = 1  # import a\n"),
    ]);
    assert_eq!(
        to(&index, "x.js"),
        ["doubt.js:1", "doubt.js:2", "doubt.js:3", "open.js:2"]
    );
    assert!(to(&index, "a.py").is_empty());
}

/// Two slashes are a comment only behind what no text and no regular expression can go on from.
#[test]
fn two_slashes_hide_code_only_behind_what_is_surely_code() {
    // The third of three slashes stands in the comment that the first two begin.
    let sure = b" \t;,(){}=>/";
    for before in (0x20_u8..0x7f).chain([b'\t']) {
        let text = format!("{}// require('./x')\n", char::from(before));
        let found = !super::javascript::scan(&text).is_empty();
        assert_eq!(found, !sure.contains(&before), "behind {:?}", char::from(before));
    }
    for (text, found) in [
        ("// require('./x')\n", false),
        ("const u = 1; // require('./x')\n", false),
        ("f(/[^//]/); require('./x');\n", true),
        ("f(/[ //]/); require('./x');\n", true),
        ("f(/[a //b]/); require('./x');\n", true),
        ("f(/\\//); require('./x');\n", true),
        ("f(`http://e.org/${require('./x')}`);\n", true),
        ("f(`//e.org/${require('./x')}`);\n", true),
        ("/**// require('./x')\n", true),
        ("a[0]; // require('./x')\n", false),
        ("x = y / z[0; // require('./x')\n", true),
    ] {
        assert_eq!(!super::javascript::scan(text).is_empty(), found, "{text}");
    }
}

#[test]
fn python_names_modules_in_every_form() {
    let (_dir, index) = tree(&[
        ("pkg/__init__.py", ""),
        ("pkg/mod.py", ""),
        ("pkg/sub/__init__.py", "from .deep import x\nfrom .. import mod\n"),
        ("pkg/sub/deep.py", "from ..mod import thing\n"),
        ("one.py", "import os, pkg.mod as m\n"),
        ("two.py", "from pkg import (\n    other,  # why\n    mod,\n)\n"),
        (
            "three.py",
            "try: from pkg.mod import x\nexcept ImportError: import importlib; importlib.import_module('pkg.mod')\n",
        ),
        ("tests/four.py", "from pkg \\\n    import mod\n"),
        ("pkg/five.py", "import mod\n"),
        ("six.py", "\"\"\"from here (to there\n\"\"\"\nimport pkg.mod\n"),
        ("src/lib/inner.py", ""),
        ("tests/seven.py", "import lib.inner\n"),
        ("src/single.py", ""),
        ("eight.py", "import single\n"),
        (
            "notes.ipynb",
            "{\"cells\": [{\"cell_type\": \"code\", \"source\": [\n\"import pkg.mod\\n\", \"x\"]},\n {\"cell_type\": \"markdown\", \"source\": [\"import single\"]}]}",
        ),
    ]);
    assert_eq!(
        to(&index, "pkg/mod.py"),
        [
            "notes.ipynb:2",
            "one.py:1",
            "pkg/five.py:1",
            "pkg/sub/__init__.py:2",
            "pkg/sub/deep.py:1",
            "six.py:3",
            "tests/four.py:1",
            "three.py:1",
            "three.py:2",
            "two.py:1"
        ]
    );
    assert_eq!(to(&index, "pkg/sub/deep.py"), ["pkg/sub/__init__.py:1"]);
    assert_eq!(to(&index, "src/lib/inner.py"), ["tests/seven.py:1"]);
    assert_eq!(to(&index, "src/lib"), ["tests/seven.py:1"]);
    assert_eq!(to(&index, "src/single.py"), ["eight.py:1"]);
    assert!(to(&index, "pkg").iter().all(|found| !found.starts_with("pkg/")));
    assert_eq!(
        to(&index, "pkg/__init__.py").len(),
        9,
        "importing a module runs its package"
    );
}

#[test]
fn configuration_names_files_that_are_there() {
    let (_dir, index) = tree(&[
        ("tools/run.js", ""),
        ("conf/near.sql", ""),
        (
            "package.json",
            "{\n  \"main\": \"tools/run.js\",\n  \"tools/run.js\": 1,\n  \"scripts\": {\"go\": \"node tools/run.js\"}\n}\n",
        ),
        ("package-lock.json", "{\"x\": \"tools/run.js\"}"),
        (
            "conf/a.json",
            "// yes\n{\"password\": \"secret\", \"file\": \"./near.sql\", \"gone\": \"x/y.js\", \"e\": \"\\\"\"}",
        ),
        (
            "conf/b.yaml",
            "jobs:\n  - run: '../tools/run.js'\n  - [near.sql, other.sql]\n# tools/run.js\n",
        ),
    ]);
    assert_eq!(to(&index, "tools/run.js"), ["conf/b.yaml:2", "package.json:2"]);
    assert_eq!(to(&index, "conf/near.sql"), ["conf/a.json:2", "conf/b.yaml:3"]);
    assert_eq!(
        index.references_to("conf/near.sql")[0].text,
        "./near.sql",
        "a line of configuration may hold a secret"
    );
    assert!(to(&index, "x/y.js").is_empty());
}

/// Where `tools/run.js` is named, in a tree with this one other file.
fn named_in(path: &str, text: &str) -> Vec<String> {
    let (_dir, index) = tree(&[("tools/run.js", ""), (path, text)]);
    to(&index, "tools/run.js")
}

#[test]
fn what_merely_lists_paths_needs_none_of_them() {
    let plan = "{\"schema\": \"rollback.report/1\", \"operations\": [{\"target\": \"tools/run.js\"}]}";
    for path in [
        "plan.json",
        "p.json",
        "config/plan.json",
        "package.json",
        "conf/plan.yaml",
        "compose.yml",
    ] {
        assert!(named_in(path, plan).is_empty(), "{path}");
    }
    let list = "{\"files\": [{\"path\": \"tools/run.js\"}]}";
    let files = [
        "bom.json",
        "coverage/coverage-final.json",
        "package-lock.json",
        "report.json",
        "data/results.json",
        "inventory.yaml",
        "pnpm-lock.yaml",
        "test-results.yml",
    ];
    for path in files {
        assert!(named_in(path, list).is_empty(), "{path}");
    }
    let bill = "{\"bomFormat\": \"CycloneDX\", \"components\": [{\"name\": \"tools/run.js\"}]}";
    assert!(named_in("config/sbom.json", bill).is_empty());
}

#[test]
fn what_a_program_loads_is_needed_whatever_the_key() {
    let files = [
        ("package.json", "{\"bin\": {\"x\": \"./tools/run.js\"}}"),
        ("tsconfig.build.json", "{\"files\": [\"tools/run.js\"]}"),
        ("tools/.eslintrc.json", "{\"extends\": [\"./run.js\"]}"),
        (
            "docker-compose.prod.yml",
            "services:\n  a:\n    env_file: tools/run.js\n",
        ),
        (
            ".github/workflows/ci.yml",
            "jobs:\n- steps:\n  - run: tools/run.js\n",
        ),
        ("dbt_project.yml", "macro: tools/run.js\n"),
        ("workspace.yaml", "load_from:\n  - relative_path: tools/run.js\n"),
        ("core-config.yaml", "a: { enabled: yes, wrapper: tools/run.js }\n"),
        ("config/own.json", "{\"a\": [[{\"b\": {}}], \"tools/run.js\"]}"),
        ("app.settings.yaml", "# x\nout:\n  - tools/run.js # y\n"),
    ];
    for (path, text) in files {
        assert_eq!(named_in(path, text).len(), 1, "{path}");
    }
}

#[test]
fn what_a_program_leaves_out_or_writes_is_no_need() {
    let files = [
        (
            "package.json",
            "{\"files\": [\"tools/run.js\"], \"sideEffects\": [\"tools/run.js\"]}",
        ),
        (
            "tsconfig.json",
            "{\"exclude\": [\"tools/run.js\"], \"x\": {\"outFile\": \"tools/run.js\"}}",
        ),
        ("config/a.yaml", "ignore:\n- tools/run.js\n- a: tools/run.js\n"),
        ("config/b.yaml", "x:\n  exclude:\n    - tools/run.js\n"),
        ("config/c.yaml", "x: { output: tools/run.js }\n"),
    ];
    for (path, text) in files {
        assert!(named_in(path, text).is_empty(), "{path}");
    }
    // What follows them is loaded again.
    let text = "x:\n  exclude:\n    - tools/run.js\n  load: tools/run.js\n";
    assert_eq!(named_in("config/d.yaml", text), ["config/d.yaml:4"]);
    let text = "{\"exclude\": {\"a\": [\"tools/run.js\"]},\n\"load\": \"tools/run.js\"}";
    assert_eq!(named_in("config/e.json", text), ["config/e.json:2"]);
}

#[test]
fn packages_are_found_by_what_is_imported() {
    let (_dir, index) = tree(&[
        (
            "a.js",
            "const y = require('yaml');\nimport x from 'yaml/sub';\nimport d from \"@duckdb/duckdb-wasm/dist\";\n",
        ),
        (
            "b.js",
            "import fs from 'node:fs';\nimport l from './yaml';\nrequire('plotly.js/' + part);\nimport z from 'yaml-two';\n",
        ),
        (
            "c.py",
            "from sklearn.cluster import KMeans\nimport yaml\nimport dbt.cli.main, airbyte_cdk\nfrom .pandas import x\n",
        ),
    ]);
    assert_eq!(needing(&index, Manager::Npm, "yaml"), ["a.js:1", "a.js:2"]);
    assert_eq!(needing(&index, Manager::Npm, "@duckdb/duckdb-wasm"), ["a.js:3"]);
    assert_eq!(needing(&index, Manager::Npm, "plotly.js"), ["b.js:3"]);
    assert_eq!(needing(&index, Manager::Pip, "Scikit_Learn"), ["c.py:1"]);
    assert_eq!(needing(&index, Manager::Pip, "PyYAML"), ["c.py:2"]);
    assert_eq!(needing(&index, Manager::Pip, "dbt-core"), ["c.py:3"]);
    assert_eq!(needing(&index, Manager::Pip, "airbyte-cdk"), ["c.py:3"]);
    assert!(needing(&index, Manager::Pip, "pandas").is_empty());
    assert!(needing(&index, Manager::Npm, "fs").is_empty());
}

#[test]
fn looks_into_ignored_and_hidden_files_but_not_into_what_others_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, "x.js", "");
    put(root, ".git/config", "");
    put(root, ".gitignore", "ignored/\n");
    put(root, "environment/pyvenv.cfg", "");
    let skipped = [
        "node_modules/p",
        ".git",
        ".venv",
        "environment/lib",
        "rollback_backups/b",
        ".rollback/runs",
        "target",
        "logs",
    ];
    for directory in skipped.iter().chain(&["ignored", ".hidden", "deep/er"]) {
        put(root, &format!("{directory}/n.js"), "require('/x');");
    }
    put(root, "latin.js", b"// \xe4\nrequire('./x');");
    put(root, "binary.js", b"\0require('./x');");
    put(root, "large.js", vec![b'\n'; 1024 * 1024 + 1]);
    std::os::unix::fs::symlink("..", root.join("deep/loop")).unwrap();
    let index = Index::scan(root).unwrap();
    assert_eq!(
        to(&index, "x.js"),
        [".hidden/n.js:1", "deep/er/n.js:1", "ignored/n.js:1", "latin.js:2"]
    );
    assert_eq!(index.unread(), ["binary.js", "large.js"]);
    assert!(Index::scan(&root.join("nowhere")).is_ok_and(|index| !index.unread().is_empty()));
}

#[test]
fn text_made_to_be_slow_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let fill = |piece: &str| piece.repeat(1_000_000 / piece.len());
    for (number, piece) in [
        " /*",
        "require(join(",
        "'\"`",
        "from from ",
        "\\'",
        "`${",
        "import (",
    ]
    .iter()
    .enumerate()
    {
        put(
            dir.path(),
            &format!("{number}.js"),
            format!("require('./x'); {}", fill(piece)),
        );
    }
    put(dir.path(), "a.py", fill("from . import (\n"));
    put(dir.path(), "b.py", format!("from . import ({}", fill("x\\\n")));
    put(dir.path(), "c.json", fill("\"\\"));
    let began = std::time::Instant::now();
    let index = Index::scan(dir.path()).unwrap();
    assert_eq!(to(&index, "x.js").len(), 7);
    assert!(
        began.elapsed() < std::time::Duration::from_mins(1),
        "{:?}",
        began.elapsed()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The oracle: how the specifier was made from the path.
    #[test]
    fn finds_a_module_wherever_it_is_named(
        from in prop::collection::vec("[a-c]", 0..3),
        target in prop::collection::vec("[a-d]", 1..4),
        form in 0_usize..6,
        bare in any::<bool>(),
        noise in "[ -~]{0,30}",
    ) {
        let dir = tempfile::tempdir().unwrap();
        let target = format!("{}.js", target.join("/"));
        let mut importer = from.join("/");
        importer.push_str(if from.is_empty() { "main.js" } else { "/main.js" });
        let common = from.iter().zip(target.split('/')).take_while(|(a, b)| *a == b).count();
        let up = "../".repeat(from.len() - common);
        let rest = target.split('/').skip(common).collect::<Vec<_>>().join("/");
        let mut specifier = if up.is_empty() { format!("./{rest}") } else { format!("{up}{rest}") };
        if bare {
            specifier.truncate(specifier.len() - ".js".len());
        }
        let code = match form {
            0 => format!("const x = require('{specifier}')"),
            1 => format!("import x from \"{specifier}\""),
            2 => format!("await import(`{specifier}`)"),
            3 => format!("export {{ y }} from '{specifier}';"),
            4 => format!("import '{specifier}'"),
            _ => format!("jest.mock( '{specifier}' , f)"),
        };
        // Any other line, whatever it says, hides nothing (unless it opens a comment that the next line can't close).
        put(dir.path(), &importer, format!("{noise}\n{code}\n"));
        let index = Index::scan(dir.path()).unwrap();
        let found = index.references_to(&target);
        prop_assert!(found.iter().any(|one| one.file == importer && one.line == 2), "{found:?}");
    }

    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}", tricky in "[\"'`/*\\\\\n(),{}$ä .#\\[\\]:-]{0,60}") {
        let mixed = format!("require({tricky}) {text} import {tricky} from {text}");
        for language in [super::Language::JavaScript, super::Language::Python, super::Language::Notebook, super::Language::Json, super::Language::Yaml] {
            for mention in language.scan("package.json", &mixed) {
                prop_assert!(mention.line >= 1 && mention.line <= mixed.lines().count().max(1));
            }
        }
    }
}

/// What can be asked of a tree: its files, the directories above them, what is not there, and packages.
fn questions(files: &[(String, String)]) -> Wanted {
    let mut wanted = Wanted::default();
    for (path, _) in files {
        wanted.paths.insert(path.clone());
        wanted
            .paths
            .extend(super::ancestors(super::directory_of(path)).map(str::to_owned));
    }
    let absent = [
        "a.js",
        "b/index.ts",
        "src/a",
        "c/__init__.py",
        "a-b.mjs",
        "b.py",
        "é.js",
        "index.js",
    ];
    wanted.paths.extend(absent.map(str::to_owned));
    for name in ["a", "a-b", "@a/b", "A.b", "PyYAML", "é"] {
        for manager in [Manager::Npm, Manager::Pip] {
            wanted.packages.insert((manager, name.to_owned()));
        }
    }
    wanted
}

/// An index that was made for one question alone answers it as one of everything does.
fn answers_alike(root: &Path, files: &[(String, String)]) {
    let all = Index::scan(root).unwrap();
    let is_file = |path: &str| root.join(path).is_file();
    let asked = questions(files);
    let paths = asked.paths.iter().map(|path| Wanted::path(path));
    let packages = asked.packages.iter().map(|package| Wanted {
        packages: BTreeSet::from([package.clone()]),
        ..Wanted::default()
    });
    for wanted in paths.chain(packages) {
        let some = Index::scan_with(root, &[], &is_file, Vec::new(), Some(wanted.clone())).unwrap();
        assert!(some.answers(&wanted));
        assert_eq!((some.files(), some.unread()), (all.files(), all.unread()));
        for path in &wanted.paths {
            assert_eq!(
                some.references_to(path),
                all.references_to(path),
                "{path} in {files:?}"
            );
        }
        for (manager, name) in &wanted.packages {
            let (some, all) = (
                some.packages_needed_by(*manager, name),
                all.packages_needed_by(*manager, name),
            );
            assert_eq!(some, all, "{name} in {files:?}");
        }
    }
}

/// A name in a source that its plain bytes don't show: dots, aliases, computed ends, other cases, other encodings.
#[test]
fn a_name_is_found_by_its_bytes_however_it_is_written() {
    let written = [
        ("a/index.js", "b/x.js", "require('../a');"),
        ("a/index.js", "a/x.js", "require('.');"),
        ("a/index.js", "a/c/x.js", "import y from '..';"),
        ("a/index.js", "a/x.js", "require(path.join(__dirname));"),
        ("src/index.js", "b/x.js", "import y from '@/';"),
        ("src/a.js", "b/x.js", "import y from '@/a';"),
        ("a.js", "a/x.js", "require('.');"),
        ("a.ts", "x.js", "require('./a.js');"),
        ("long.name.ts", "x.js", "require('./long.name');"),
        ("lib/target.js", "x.js", "require('./lib/' + name);"),
        ("lib/target.js", "x.js", "require(`./lib/tar${get}`);"),
        ("lib/target.js", "lib/c/x.js", "require('../' // why\n + name);"),
        ("lib/target.js", "lib/c/x.js", "require('../' /* why */+ name);"),
        ("lib/target.js", "lib/x.js", "require(`./t${arget}`);"),
        (
            "lib/target.js",
            "x.js",
            "require(path.join(__dirname, 'lib', name));",
        ),
        ("target.js", "c/x.js", "require('../tar' + get);"),
        ("a/é.js", "x.js", "require('./a/é');"),
        ("a/\u{fffd}x.js", "x.js", "require('./a/\u{fffd}x');"),
        ("a/b.py", "x.py", "import a.b"),
        ("a/b.py", "x.py", "from a import (\nb)"),
        ("a/b.py", "a/c/x.py", "from ..b import y"),
        ("a/__init__.py", "a/c/x.py", "from .. import y"),
        ("a/__init__.py", "x.py", "import a"),
        ("src/a/b.py", "c/x.py", "import a.b"),
        ("c/a/b.py", "x.py", "import a.b.d"),
        ("src", "x.py", "import a"),
        (
            "a/b.py",
            "n.ipynb",
            r#"{"cells": [{"cell_type": "code", "source": ["x\nimport \u0061.", "b"]}]}"#,
        ),
        ("a/b.sql", "config/x.yaml", "load: ../a/b.sql"),
        ("config/b.sql", "config/c/x.json", "{\"load\": \"../b.sql\"}"),
    ];
    for (target, file, text) in written {
        let files = [
            (target.to_owned(), String::new()),
            (file.to_owned(), format!("{text}\n")),
        ];
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files.iter().filter(|(path, _)| path != "src") {
            put(dir.path(), path, text);
        }
        let index = Index::scan(dir.path()).unwrap();
        assert_eq!(index.references_to(target).len(), 1, "{target} by {text}");
        answers_alike(dir.path(), &files);
    }
    for (manager, name, file, text) in [
        (Manager::Pip, "Foo-Bar", "x.py", "import FOO__bar.baz"),
        (Manager::Pip, "pyyaml", "x.py", "from YAML import load"),
        (Manager::Npm, "@a/b", "x.js", "require('@a/b/c?d');"),
        (Manager::Npm, "b.js", "x.js", "require(`b.js/${name}`);"),
    ] {
        let wanted = Wanted {
            packages: BTreeSet::from([(manager, name.to_owned())]),
            ..Wanted::default()
        };
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), file, text);
        let index = Index::scan_with(dir.path(), &[], &|_| false, Vec::new(), Some(wanted)).unwrap();
        assert_eq!(needing(&index, manager, name).len(), 1, "{name} by {text}");
    }
    // Bytes that are no UTF-8 stand for the letter that the name has.
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "x.js", b"require('./\xffname');");
    let path = "\u{fffd}name.js";
    let index = Index::scan_with(dir.path(), &[], &|_| false, Vec::new(), Some(Wanted::path(path))).unwrap();
    assert_eq!(to(&index, path), ["x.js:1"]);
}

#[test]
fn what_names_nothing_that_is_wanted_is_not_kept() {
    let files = [
        ("lib/wanted.js", ""),
        (
            "lib/other.js",
            "require('./unwanted'); require('./wanted-too'); require('./wanted2');\n",
        ),
        ("one.js", "require('./lib/wanted');\n"),
        (
            "two.js",
            "const lib = 1; require('./' + name); require('./other/lib-x');\n",
        ),
        ("three.py", "import wanted_too\n"),
        ("four.py", "import WANTED\n"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        put(dir.path(), path, text);
    }
    let scan = |wanted| Index::scan_with(dir.path(), &[], &|_| false, Vec::new(), Some(wanted)).unwrap();
    let index = scan(Wanted::path("lib/wanted.js"));
    let kept: BTreeSet<&str> = index.found.iter().map(|found| found.file.as_str()).collect();
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["one.js", "two.js"]);
    assert_eq!(index.files(), files.len());
    assert!(!index.answers(&Wanted::path("lib/other.js")));
    let pip = Wanted {
        packages: BTreeSet::from([(Manager::Pip, "wanted".to_owned())]),
        ..Wanted::default()
    };
    assert_eq!(needing(&scan(pip.clone()), Manager::Pip, "wanted"), ["four.py:1"]);
    assert!(!index.answers(&pip));
}

/// More names than are worth a search: then every file is parsed, and all may be asked.
#[test]
fn very_many_names_are_not_searched_for() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "x.js", "require('./other');\n");
    let paths = (0..5_000).map(|number| format!("name{number}.js")).collect();
    let wanted = Wanted {
        paths,
        ..Wanted::default()
    };
    let index = Index::scan_with(dir.path(), &[], &|_| false, Vec::new(), Some(wanted)).unwrap();
    assert!(index.answers(&Wanted::path("other.js")));
    assert_eq!(to(&index, "other.js"), ["x.js:1"]);
}

fn a_name() -> impl Strategy<Value = String> {
    let names = vec![
        "a", "b", "A", "index", "__init__", "src", "a-b", "a_b", "a.b", "é", "aé", "config", "yaml",
    ];
    prop::sample::select(names).prop_map(str::to_owned)
}

/// A text that may name something, of the pieces that do: names, dots, slashes, quotes, holes, sums, aliases.
fn a_text() -> impl Strategy<Value = String> {
    let pieces = vec![
        ".",
        "..",
        "/",
        "./",
        "../",
        "@/",
        "~/",
        "'",
        "\"",
        "`",
        "${",
        "}",
        " + ",
        "\n + ",
        "?",
        "#",
        "\\",
        ",",
        " ",
        "*/",
        "// x\n",
        "__dirname",
        "x",
    ];
    let piece = prop_oneof![2 => a_name(), 3 => prop::sample::select(pieces).prop_map(str::to_owned)];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn a_source() -> impl Strategy<Value = (String, String)> {
    let statement = (
        a_text(),
        a_text(),
        prop::sample::select(&["'", "\"", "`"][..]),
        0_usize..12,
    );
    let statement = statement.prop_map(|(one, two, quote, form)| match form {
        0 => format!("require({quote}{one}{quote});"),
        1 => format!("import x from {quote}{one}{quote};"),
        2 => format!("require({quote}{one}{quote}{two});"),
        3 => format!("require(path.join(__dirname, {quote}{one}{quote}, {two}));"),
        4 => format!("require({quote}./{one}{quote} + {two});"),
        5 => format!("require({quote}{one}/{two}{quote});"),
        6 => format!("import {one}"),
        7 => format!("from {one} import {two}"),
        8 => format!("from .{one} import ({two}\n{one})"),
        9 => format!("import_module({quote}{one}{quote})"),
        10 => format!("a: {one}/{two}\n- {quote}{one}{quote}\n- [{two}]"),
        _ => format!("{{\"a\": \"{one}\", \"b\": [\"{two}\"]}}"),
    });
    let text = prop::collection::vec(statement, 0..3).prop_map(|statements| statements.join("\n"));
    let extension = prop::sample::select(&["js", "ts", "py", "config.json", "config.yaml", "json"][..]);
    let path = (prop::collection::vec(a_name(), 1..4), extension);
    (
        path.prop_map(|(names, extension)| format!("{}.{extension}", names.join("/"))),
        text,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_index_for_one_question_answers_it_as_one_of_everything(files in prop::collection::vec(a_source(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let files: BTreeMap<String, String> = files.into_iter().collect();
        let files: Vec<(String, String)> = files.into_iter().collect();
        for (path, text) in &files {
            put(dir.path(), path, text);
        }
        answers_alike(dir.path(), &files);
    }
}
