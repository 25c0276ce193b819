//! Which rule of the policy allowed each step: in the JSON of a plan always, in its text with `-v`, and never in its id.

use serde_json::Value;

use crate::sandbox::{Sandbox, assert_says, assert_unchanged};

const STORY: &str = r#"const STORY = #{ id: "9.1", title: "Quarterly reports", feature: "reports" };
fn execute() {
    stop_processes(#{ pid_file: "logs/reports.pid" });
    retire_dir("data/reports", "reports");
    remove_path("never/there");
    move_path("notes.txt", "shelf/notes.txt");
    run_command(["true"], #{ undo: ["false"] });
    notify("gone");
}
"#;

fn workspace(policy: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback.yaml", format!("version: 1\npolicy: {policy}\n"))
        .write(
            "config/feature-flags.yaml",
            "features:\n  reports: { enabled: true }\n",
        )
        .write("data/reports/q1.txt", "first")
        .write("notes.txt", "note")
        .write("shelf/other", "")
        .write("rollback/reports.rhai", STORY);
    sandbox
}

fn rules(plan: &Value) -> Vec<String> {
    let operations = plan["operations"].as_array().unwrap();
    operations
        .iter()
        .map(|one| {
            format!(
                "{}: {}",
                one["op"].as_str().unwrap(),
                one["rule"].as_str().unwrap_or("none")
            )
        })
        .collect()
}

#[test]
fn a_plan_says_which_rule_allowed_each_step() {
    let sandbox = workspace("{ commands: [\"true\", \"false\"] }");
    let service = sandbox.spawn_service("reporter", "logs/reports.pid");
    let expected = [
        "set_flag: policy.write: workspace",
        "stop_processes: policy.processes: workspace",
        "retire_dir: policy.write: workspace",
        "remove_path: policy.write: workspace",
        "move_path: policy.write: workspace",
        "run_command: policy.commands: true, policy.commands: false",
        "notify: notify",
        "write_text: policy.write: workspace",
    ];
    for arguments in [&["plan", "9.1"] as &[&str], &["run", "9.1", "-n"]] {
        assert_eq!(rules(&sandbox.json(arguments)), expected);
        let plain = sandbox.run(arguments).assert_code(0);
        assert!(
            !plain.stdout.contains("policy.commands"),
            "{}",
            plain.transcript()
        );
        let verbose = sandbox.run(&[arguments, &["-v"]].concat()).assert_code(0);
        let words = verbose.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("policy.commands: true, policy.commands: false]"),
            "{words}"
        );
        assert_eq!(words.matches("[allowed by ").count(), expected.len(), "{words}");
    }
    drop(service);
}

/// The rule is no fact of the plan: another rule that allows the same steps leaves the id, and `apply` takes the plan.
#[test]
fn the_rule_is_no_part_of_the_plan() {
    let sandbox = workspace("{ commands: [\"true\", \"false\"] }");
    let planned = sandbox.json(&["plan", "9.1", "-o", "plan.json"]);
    sandbox.write(
        "rollback.yaml",
        "version: 1\npolicy: { write: [data, config, shelf, docs, \".\"], commands: [\"false\", \"true\"] }\n",
    );
    std::fs::create_dir(sandbox.path("docs")).unwrap();
    let again = sandbox.json(&["plan", "9.1"]);
    assert_eq!(planned["plan"], again["plan"]);
    assert_ne!(rules(&planned), rules(&again));
    assert!(
        rules(&again).contains(&"retire_dir: policy.write: data".to_owned()),
        "{again:#}"
    );
}

/// `policy.write` is the list of directories below which a run may write, and nothing is added to it.
#[test]
fn a_narrow_policy_is_obeyed() {
    let sandbox = workspace("{ write: [data, config], commands: [\"true\", \"false\"] }");
    let before = sandbox.snapshot(&[]);
    let finished = sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
    assert_says(
        &finished,
        &[
            "`never/there` lies in no directory of policy.write",
            "policy.write of `rollback.yaml`",
        ],
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    sandbox
        .run(&["script", "check", "rollback/reports.rhai"])
        .assert_code(3);
    sandbox.write(
        "rollback/reports.rhai",
        "const STORY = #{ id: \"9.1\", title: \"Quarterly reports\" };\nfn execute() { retire_dir(\"data/reports\", \"reports\"); }\n",
    );
    // What the program itself would add to the documentation is left out, and said to be.
    let done = sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_says(&done, &["`docs/ROLLBACKS.md` was left alone"]);
    assert!(!sandbox.exists("data/reports") && !sandbox.exists("docs"));
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
}
