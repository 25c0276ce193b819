//! `rollback init`: makes a directory a workspace.

use std::path::Path;

use super::{Everywhere, print};
use crate::base::error::Error;
use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::records;
use crate::records::NewFile;
use crate::workspace::{CONFIG, STORIES};

/// The configuration that `init` writes: every key with its default, commented out.
const CONFIGURATION: &str =
    "# rollback: what a rollback may touch, and where things are. All of it is optional.
version: 1
# flags_file: config/feature-flags.yaml
# env_file: .env
# python: .venv            # the environment whose packages may be uninstalled
# docker: docker           # or podman
# backups: { dir: rollback_backups, keep_last: 5, keep_within: 30d, digest_limit: 1GiB }
# validation: { strict: false, settle: 3s }   # unknown fails; how long it is watched whether a stopped service comes back
# policy:
#   write: [\".\"]           # directories below which a run may write, and no others; . is the workspace
#   deny: [\".git/**\"]      # patterns of what a run may never change
#   read_deny: [\"**/.env*\", \"**/.npmrc\", \"**/.pypirc\", \"**/.netrc\", \"**/id_*\", \"**/*.pem\", \"**/*.key\"]  # files that a script is never given
#   commands: []           # programs that run_command may start
#   processes: { scope: workspace }
#   http: [\"http://127.0.0.1:*\", \"http://localhost:*\"]
#   require_confinement: false   # true: nothing runs where the kernel (Landlock) can't confine it as a whole
#   limits: { max_paths: 100000, max_bytes: 1TiB, deadline: 30m, operations: 10000000 }
#                          # also call_depth, expression_depth, string_size, array_size, map_size, variables, modules,
#                          # memory: 1GiB (beyond what the program had), output: 4MiB (what a script may say)
# monitor:                 # docs/monitoring.md
#   window: 5m             # sustained_for: 1m, min_samples: 20, cooldown: 30m, interval: 5s, max_rollbacks: 1 (an hour)
#   triggers: [{ metric: error_rate, threshold: 0.1, story: \"1.3\", action: alert }]   # or rollback, with `monitor --auto`
# alerts:                  # who is told that a run began and how it ended: docs/alerts.md
#   give_up_after: 24h
#   keep_sent: 100
#   channels:
#     - { name: ops, webhook: { url: { env: OPS_URL }, form: generic }, on: [failure], severity: warning }
#     - { name: kept, log: {} }
# stories:
#   \"1.3\": { data: { duckdb_data: [analytics/warehouse] }, paths: [services/duck.js] }
#   \"1.4\": { flags: { config/engines.yaml: [engines.dbt.enabled] } }   # keys of other flags files, set to false
";

/// A first story of one's own.
const EXAMPLE: &str = "#!/usr/bin/env rollback
// A story is data first, code only where it is special. `rollback run 9.1 -n` shows what it would do.
import \"std/story\" as story;

const STORY = #{
    id: \"9.1\",
    title: \"An example to copy\",
    data: [#{ path: \"data/example\", backup: \"example_data\" }],
    files: [\"services/example.js\"],
};

fn execute() {
    story::stop_services(global::STORY);
    story::retire_data(global::STORY);
    story::remove_files(global::STORY);
}
";

/// Makes the workspace; refuses where one is already.
///
/// # Errors
/// [`crate::base::error::Kind::Exists`] where `rollback.yaml` stands already, otherwise what the system says.
pub fn init(everywhere: &Everywhere, directory: Option<&Path>) -> Result<ExitCode> {
    let directory = directory
        .or(everywhere.workspace.as_deref())
        .unwrap_or(Path::new("."));
    if directory.join(CONFIG).exists() {
        return Err(Error::exists(format!(
            "`{}` exists: this is a workspace already",
            directory.join(CONFIG).display()
        ))
        .hint("`rollback status` shows it; nothing was changed")
        .exiting(ExitCode::Usage));
    }
    let example = format!("{STORIES}/example.rhai");
    let mut files = vec![NewFile {
        path: CONFIG,
        text: CONFIGURATION,
        executable: false,
    }];
    if !directory.join(STORIES).exists() {
        files.push(NewFile {
            path: &example,
            text: EXAMPLE,
            executable: true,
        });
    }
    super::output::may_change();
    records::create_new(directory, &files)?;
    for file in &files {
        print(&format!("made {}\n", directory.join(file.path).display()));
    }
    if !everywhere.quiet {
        print("next: rollback status; rollback run 9.1 -n\n");
    }
    Ok(ExitCode::Done)
}
