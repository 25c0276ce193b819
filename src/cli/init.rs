//! `rollback init`: makes a directory a workspace.

use std::path::Path;

use crate::base::error::{Error, Kind, Result};
use crate::base::exit_code::ExitCode;
use crate::cli::output::print;
use crate::cli::shared::Everywhere;
use crate::gate::prompt::Terminal;
use crate::records::{self, NewFile};
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
#   read_deny: [\"**/.env*\", \"**/.npmrc\", \"**/.pypirc\", \"**/.netrc\", \"**/id_{rsa,dsa,ecdsa,ed25519,xmss}*\", \"**/.ssh/id_*\", \"**/*.pem\", \"**/*.key\"]  # files that a script is never given
#   commands: []           # programs that run_command may start; { program: npm, preview: overlay } runs in previews, over a layer
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

/// Keys whose default may be wrong here: the key, its default, other names, and what a name ends with that is looked for.
const NAMES: [(&str, &str, &[&str], &str); 2] = [
    ("python", ".venv", &["venv", "env"], "/pyvenv.cfg"),
    (
        "flags_file",
        "config/feature-flags.yaml",
        &[
            "config/feature-flags.yml",
            "feature-flags.yaml",
            "feature-flags.yml",
        ],
        "",
    ),
];

/// What stands under another name than the default: the comment of the configuration, and the line in place of it.
fn found(directory: &Path) -> Vec<(String, String)> {
    let find = |(key, default, others, end): &(&str, &str, &[&str], &str)| {
        let stands = |name: &&str| directory.join(format!("{name}{end}")).is_file();
        if stands(default) {
            return None;
        }
        let name = others.iter().copied().find(stands)?;
        Some((format!("# {key}: {default}"), format!("{key}: {name}")))
    };
    NAMES.iter().filter_map(find).collect()
}

/// The configuration with the lines that a person at a terminal chooses; as it is where nobody is there.
fn configuration(everywhere: &Everywhere, found: &[(String, String)]) -> Result<String> {
    let mut text = CONFIGURATION.to_owned();
    if found.is_empty() || everywhere.no_input {
        return Ok(text);
    }
    let Some(terminal) = Terminal::open() else {
        return Ok(text);
    };
    let lines: Vec<String> = found.iter().map(|(_, line)| line.clone()).collect();
    let chosen = match terminal.choose("Set in rollback.yaml", &lines) {
        // No terminal for a list: as without one.
        Err(error) if error.kind() == Kind::Usage => Vec::new(),
        chosen => chosen?,
    };
    for (comment, line) in chosen.into_iter().filter_map(|position| found.get(position)) {
        text = text.replacen(comment, line, 1);
    }
    Ok(text)
}

/// Makes the workspace; refuses where one is already. At a terminal it asks about what stands under other names.
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
    let configuration = configuration(everywhere, &found(directory))?;
    let example = format!("{STORIES}/example.rhai");
    let mut files = vec![NewFile {
        path: CONFIG,
        text: &configuration,
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
