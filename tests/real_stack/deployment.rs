//! A workspace in which all seven stories are deployed with the real programs, and what runs in it.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rollback_manager::demo;
use serde_json::Value;

use super::programs::{Program, command};
use super::stack::{Stack, done, said};
use crate::sandbox::{Finished, Sandbox};

/// The Dagster project, which is its own `DAGSTER_HOME`.
pub const DAGSTER: &str = "bmad-method/expansion-packs/bmad-data-practitioner/dagster-project";
/// The Evidence project, which holds a database of story 1.3.
pub const EVIDENCE: &str = "bmad-method/expansion-packs/bmad-data-practitioner/evidence-project";

/// The workspace.
pub struct Deployment {
    /// Its files.
    pub sandbox: Sandbox,
    base: PathBuf,
    docker_host: Option<String>,
}

const DBT_PROJECT: &str = "name: shop\nversion: '1.0'\nprofile: shop\nmodel-paths: [models]\n\
    flags: { send_anonymous_usage_stats: false }\nmodels: { shop: { +materialized: table } }\n";
const DBT_PROFILE: &str =
    "shop:\n  target: dev\n  outputs:\n    dev: { type: duckdb, path: warehouse.duckdb, threads: 1 }\n";
const DAGSTER_CODE: &str = "from dagster import Definitions, asset\n\n\n@asset\ndef orders():\n    return [1, 2, 3]\n\n\n\
    @asset\ndef revenue(orders):\n    return sum(orders)\n\n\ndefs = Definitions(assets=[orders, revenue])\n";
const SERVER: &str = "const server = require('http').createServer((request, answer) => answer.end('ok'));\n\
    server.listen(0, '127.0.0.1', () => console.log('ready'));\n\
    process.on('SIGTERM', () => process.exit(0));\n";

impl Deployment {
    /// The stories' files alone: no packages, no data of real programs.
    pub fn bare(stack: &Stack) -> Self {
        let options = demo::Options {
            venv: false,
            npm: false,
        };
        Self {
            sandbox: Sandbox::deployed_in(stack.base(), options),
            base: stack.base().to_owned(),
            docker_host: None,
        }
    }

    /// Deploys everything; nothing runs yet. On the stack's file system, so that packages are hard links and not copies.
    pub fn new(stack: &Stack) -> Self {
        let deployment = Self::with_packages(stack);
        deployment.write_data();
        deployment
    }

    /// As [`Self::bare`], with the real packages.
    pub fn with_packages(stack: &Stack) -> Self {
        let deployment = Self::bare(stack);
        let sandbox = &deployment.sandbox;
        let linked = |from: &Path, to: &str| {
            done(Command::new("cp").arg("-al").arg(from).arg(sandbox.path(to))).unwrap();
        };
        linked(&stack.venv(), ".venv");
        linked(&stack.npm().join("node_modules"), "node_modules");
        for file in ["package.json", "package-lock.json"] {
            sandbox.write(file, std::fs::read(stack.npm().join(file)).unwrap());
        }
        adopt(&sandbox.path(".venv"), &stack.venv());
        deployment
    }

    /// Names the engine whose containers belong to the workspace.
    pub fn with_docker(mut self, host: &str, program: &Path) -> Self {
        self.docker_host = Some(host.to_owned());
        self.sandbox
            .write("rollback.yaml", format!("docker: {}\n", program.display()));
        self
    }

    /// What the real programs write when they work.
    fn write_data(&self) {
        let sandbox = &self.sandbox;
        for path in [
            ".duckdb/analytics.db".to_owned(),
            "data/duckdb/warehouse.duckdb".to_owned(),
            format!("{EVIDENCE}/.duckdb/analytics.db"),
        ] {
            sandbox.remove(&path);
            self.python(&format!(
                "import duckdb\ndb = duckdb.connect('{path}')\n\
                 db.execute(\"create table sales as select i as id, 'name ' || i as name, (i * 37) % 1000 as amount \
                 from range(50000) t(i)\")\ndb.close()\n"
            ));
        }
        sandbox.remove("dbt_project");
        sandbox
            .write("dbt_project/dbt_project.yml", DBT_PROJECT)
            .write("dbt_project/profiles.yml", DBT_PROFILE)
            .write(
                "dbt_project/models/staging/stg_orders.sql",
                "select i as id, i % 5 as kind from range(1000) t(i)\n",
            )
            .write(
                "dbt_project/models/marts/revenue.sql",
                "select kind, count(*) as orders from {{ ref('stg_orders') }} group by kind\n",
            )
            .write(
                "dbt_project/models/schema.yml",
                "models:\n  - name: revenue\n    description: Orders by kind\n",
            )
            .write(
                "dbt_project/models/marts/feed.sql",
                "select * from read_csv('feed.csv', columns = {'id': 'integer'})\n",
            );
        done(&mut self.dbt(&["run", "--exclude", "feed"])).unwrap();
        for stand_in in ["history", "storage", "schedules"] {
            sandbox.remove(&format!("{DAGSTER}/{stand_in}"));
        }
        sandbox
            .write(&format!("{DAGSTER}/definitions.py"), DAGSTER_CODE)
            .write(
                &format!("{DAGSTER}/workspace.yaml"),
                "load_from:\n  - python_file: definitions.py\n",
            )
            .write(
                &format!("{DAGSTER}/dagster.yaml"),
                "telemetry: { enabled: false }\n",
            );
        done(&mut self.dagster(&["asset", "materialize", "-f", "definitions.py", "--select", "*"])).unwrap();
        self.python(
            "import nbformat\nfrom nbformat import v4\n\
             book = v4.new_notebook(cells=[v4.new_markdown_cell('# Churn'), v4.new_code_cell('1 + 1')])\n\
             nbformat.write(book, 'notebooks/churn.ipynb')\n",
        );
        let evidence = format!("{EVIDENCE}/node_modules/.bin/evidence");
        sandbox.write(&evidence, format!("#!/usr/bin/env node\n{SERVER}"));
        let connector = "import airbyte\nimport sys\n\nprint('ready', flush=True)\nsys.stdin.readline()\n";
        sandbox
            .write("tools/data-services/qa-service.js", SERVER)
            .write("bmad-method/scripts/python/airbyte_connector.py", connector);
    }

    /// The binary in the workspace.
    pub fn rollback(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        for name in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "PIP_CERT", "HTTPS_PROXY"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if let Some(host) = &self.docker_host {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.rollback(arguments), arguments)
    }

    /// Runs the binary with `--json`, wants this exit code, and parses its standard output.
    #[track_caller]
    pub fn json(&self, arguments: &[&str], code: i32) -> Value {
        self.run(&[arguments, &["--json"]].concat())
            .assert_code(code)
            .json()
    }

    /// A program of the workspace's environment, in one of its directories.
    pub fn program(&self, name: &str, directory: &str) -> Command {
        let program = self.sandbox.path(".venv/bin").join(name);
        let mut command = command(&program, &self.sandbox.home());
        command.current_dir(self.sandbox.path(directory));
        command
    }

    /// `dbt` in its project.
    pub fn dbt(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("dbt", "dbt_project");
        command.args(arguments).args(["--profiles-dir", "."]);
        command
    }

    /// `dagster` in its project.
    pub fn dagster(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("dagster", DAGSTER);
        command
            .args(arguments)
            .env("DAGSTER_HOME", self.sandbox.path(DAGSTER));
        command
    }

    /// Runs Python code of the workspace's environment and gives what it printed.
    #[track_caller]
    pub fn python(&self, code: &str) -> String {
        said(self.program("python", "").args(["-c", code])).unwrap()
    }

    /// The rows of a database, read by DuckDB; a digest of all of them.
    #[track_caller]
    pub fn rows(&self, path: &str) -> String {
        self.python(&format!(
            "import duckdb\ndb = duckdb.connect('{path}', read_only=True)\n\
             print(db.sql('select count(*), sum(amount), sum(hash(id, name, amount)) from sales').fetchall())\n"
        ))
    }

    /// Installed packages with their versions, as pip itself tells them.
    #[track_caller]
    pub fn pip(&self) -> BTreeMap<String, String> {
        let mut command = self.program("python", "");
        let list = said(command.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "list",
            "--format=json",
        ]))
        .unwrap();
        let list: Vec<BTreeMap<String, String>> = serde_json::from_str(&list).unwrap();
        list.into_iter()
            .map(|entry| (entry["name"].clone(), entry["version"].clone()))
            .collect()
    }

    /// Metadata of the packages that pip was asked for; the others came because one of these needs them.
    pub fn requested(&self) -> Vec<String> {
        let script = "import glob, os, sys\n\
             for each in sorted(glob.glob(sys.prefix + '/lib/python*/site-packages/*.dist-info/REQUESTED')):\n\
             \u{20}   print(os.path.basename(os.path.dirname(each)))\n";
        self.python(script).lines().map(str::to_owned).collect()
    }

    /// What `pip check` has to complain about, a line each.
    pub fn broken(&self) -> Vec<String> {
        let mut command = self.program("python", "");
        let output = command
            .args(["-m", "pip", "--disable-pip-version-check", "check"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| !line.starts_with("No broken"))
            .map(str::to_owned)
            .collect()
    }

    /// `npm ls --all`, which fails where something is missing or too much.
    pub fn npm_ls(&self) -> Result<String, String> {
        said(
            Command::new("npm")
                .args(["ls", "--all"])
                .current_dir(self.sandbox.root()),
        )
    }

    /// Starts the services of a story.
    pub fn services(&self, story: &str) -> Vec<Program> {
        let node = |name, script: &str, arguments: &[&str], directory: &str| {
            let mut node = command(Path::new("node"), &self.sandbox.home());
            node.arg(script)
                .args(arguments)
                .current_dir(self.sandbox.path(directory));
            Program::start(name, &mut node, "ready")
        };
        let python = |name, code: &str| {
            let script = self.sandbox.path("services").join(name);
            std::fs::create_dir_all(script.parent().unwrap()).unwrap();
            std::fs::write(&script, code).unwrap();
            Program::start(name, self.program("python", "").arg(script), "ready")
        };
        match story {
            "1.2" => vec![Program::start(
                "PyAirbyte connector",
                self.program("python", "bmad-method")
                    .arg("scripts/python/airbyte_connector.py"),
                "ready",
            )],
            "1.3" => vec![python(
                "writer.py",
                "import duckdb\nimport sys\n\ndb = duckdb.connect('.duckdb/analytics.db')\ndb.execute('begin')\n\
                 db.sql(\"insert into sales values (-1, 'not committed', 0)\")\nprint('ready', flush=True)\n\
                 sys.stdin.readline()\n",
            )],
            "1.4" => {
                let feed = self.sandbox.path("dbt_project/feed.csv");
                if !feed.exists() {
                    done(Command::new("mkfifo").arg(&feed)).unwrap();
                }
                vec![Program::start(
                    "dbt run",
                    &mut self.dbt(&["run", "--select", "feed"]),
                    "START sql table model",
                )]
            }
            "1.5" => {
                let home = self.sandbox.path(DAGSTER);
                let mut daemon = self.program("dagster-daemon", DAGSTER);
                daemon.arg("run").env("DAGSTER_HOME", &home);
                let mut webserver = self.program("dagster-webserver", DAGSTER);
                webserver
                    .args(["-h", "127.0.0.1", "-p", "0"])
                    .env("DAGSTER_HOME", &home);
                vec![
                    Program::start("dagster-daemon run", &mut daemon, "Instance is configured"),
                    Program::start(
                        "dagster-webserver",
                        &mut webserver,
                        "Serving dagster-webserver on",
                    ),
                ]
            }
            "1.6" => vec![Program::start(
                "Jupyter",
                self.program("jupyter", "notebooks").args(JUPYTER),
                "is running at",
            )],
            "1.7" => vec![node(
                "evidence dev",
                self.sandbox
                    .path(EVIDENCE)
                    .join("node_modules/.bin/evidence")
                    .to_str()
                    .unwrap(),
                &["dev"],
                EVIDENCE,
            )],
            "1.8" => vec![node("qa-service", "tools/data-services/qa-service.js", &[], "")],
            _ => Vec::new(),
        }
    }

    /// Programs with names, arguments and files like those of the services, that are nobody's business.
    pub fn innocents(&self) -> Vec<Program> {
        let sandbox = &self.sandbox;
        let other = self.base.join("other-project");
        std::fs::create_dir_all(&other).unwrap();
        sandbox
            .write("notes/duckdb-notes.md", "# Notes\n")
            .write("notes/dagster daemon run", "how to start it\n")
            .write(
                "tools/dbt-archive.py",
                "import sys\n\nprint('ready', flush=True)\nsys.stdin.readline()\n",
            )
            .write(
                "tools/evidence-archive.py",
                "import sys\n\nprint('ready', flush=True)\nsys.stdin.readline()\n",
            )
            .write(
                "tools/editor.sh",
                "exec 3< \"$1\"\necho ready\nwhile read -r line; do :; done\n",
            );
        let here = |program: &str| {
            let mut command = command(Path::new(program), &sandbox.home());
            command.current_dir(sandbox.root());
            command
        };
        let mut jupyter = command(&self.base.join("python/bin/jupyter"), &sandbox.home());
        vec![
            Program::start(
                "an editor with duckdb-notes.md",
                here("sh").args(["tools/editor.sh", "notes/duckdb-notes.md"]),
                "ready",
            ),
            Program::start(
                "tail of `dagster daemon run`",
                here("tail").args(["-n", "+1", "-f", "notes/dagster daemon run"]),
                "how to start it",
            ),
            Program::start(
                "dbt-archive.py run",
                self.program("python", "").args(["tools/dbt-archive.py", "run"]),
                "ready",
            ),
            Program::start(
                "evidence-archive.py dev",
                self.program("python", "")
                    .args(["tools/evidence-archive.py", "dev"]),
                "ready",
            ),
            Program::start(
                "another project's Jupyter",
                jupyter.args(JUPYTER).current_dir(other),
                "is running at",
            ),
        ]
    }
}

const JUPYTER: [&str; 5] = [
    "notebook",
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--port=0",
];

/// Makes the programs of a copied environment its own: their first line names its interpreter.
fn adopt(environment: &Path, original: &Path) {
    let (old, new) = (original.to_str().unwrap(), environment.to_str().unwrap());
    for entry in std::fs::read_dir(environment.join("bin")).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if !metadata.is_file() || metadata.size() > 1 << 16 {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        if text.contains(old) {
            // A new file: the old one is the original's too.
            let fresh = path.with_extension("fresh");
            std::fs::write(&fresh, text.replace(old, new)).unwrap();
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(fresh, path).unwrap();
        }
    }
}
