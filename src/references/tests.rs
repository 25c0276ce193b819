#![expect(
    clippy::disallowed_methods,
    reason = "tests build their trees in temporary directories"
)]

use std::path::Path;

use proptest::prelude::*;

use super::Index;
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
