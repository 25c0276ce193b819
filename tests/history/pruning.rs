//! What `prune` counts, keeps and names.

use super::*;

#[test]
fn pruning_counts_rollbacks_alone() {
    let sandbox = workspace();
    let run = run(&sandbox);
    let backup = sandbox.json(&["backup", "list"])["backups"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    for _ in 0..2 {
        sandbox
            .run(&["backup", "restore", &backup, "--to", "elsewhere", "--yes"])
            .assert_code(0);
    }
    let looked = sandbox.json(&["prune", "--keep-last", "1", "-n"]);
    assert_eq!(looked["removed"], serde_json::json!([]), "{looked:#}");
    sandbox
        .run(&["prune", "--keep-last", "1", "--yes"])
        .assert_code(0);
    sandbox.run(&["undo", &run, "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
}

#[test]
fn pruning_names_each_run_that_can_no_longer_be_taken_back() {
    let sandbox = workspace();
    let mut all = vec![run(&sandbox)];
    for text in ["second", "third"] {
        deploy(&sandbox, text);
        all.push(run(&sandbox));
    }
    let looked = sandbox.run(&["prune", "--keep-last", "1", "-n"]).assert_code(0);
    let json = sandbox.json(&["prune", "--keep-last", "1", "-n"]);
    let named: Vec<&str> = json["no_longer_undoable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lost| lost["run"].as_str().unwrap())
        .collect();
    assert_eq!(named, all[..2], "{json:#}");
    for run in &all[..2] {
        assert_says(
            &looked,
            &[&format!("run {run} (roll back 9.1) can't be taken back any more")],
        );
    }
    assert!(
        !looked.stdout.contains(&format!("run {} (", all[2])),
        "{}",
        looked.stdout
    );
    // The question names them too.
    let mut person = Person::starts(&sandbox, &["prune", "--keep-last", "1"]);
    person
        .sees(&format!(
            "{}, {} can't be taken back any more. Remove",
            all[0], all[1]
        ))
        .sees("[y/N] ")
        .types("n\n");
    person.leaves_with(5);
    // And it is so.
    sandbox
        .run(&["prune", "--keep-last", "1", "--yes"])
        .assert_code(0);
    for run in &all[..2] {
        let refused = sandbox.run(&["undo", run, "--yes"]).assert_code(1);
        assert_says(&refused, &["its store was pruned on"]);
    }
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/reports/q1.txt"), "third");
}

#[test]
fn pruning_leaves_the_last_backup_of_each_source() {
    let sandbox = workspace();
    run(&sandbox);
    deploy(&sandbox, "second");
    run(&sandbox);
    sandbox.run(&["backup", "create", "core.yaml"]).assert_code(0);
    let sources = |sandbox: &Sandbox| -> Vec<String> {
        let listed = sandbox.json(&["backup", "list"]);
        let backups = listed["backups"].as_array().unwrap();
        let mut sources: Vec<String> = backups
            .iter()
            .map(|backup| backup["source"].as_str().unwrap().to_owned())
            .collect();
        sources.sort();
        sources
    };
    assert_eq!(sources(&sandbox), ["core.yaml", "data/reports", "data/reports"]);
    let old = ["prune", "--keep-within", "1ms", "--yes"];
    sandbox.run(&old).assert_code(0);
    assert_eq!(sources(&sandbox), ["core.yaml", "data/reports"]);
    sandbox
        .run(&[&old[..], &["--allow-last"]].concat())
        .assert_code(0);
    assert_eq!(sources(&sandbox), [] as [&str; 0]);
}

#[test]
fn durations_of_one_letter_that_mean_two_things_are_refused() {
    let sandbox = workspace();
    for (given, minutes, months) in [("30m", "30min", "30months"), ("6M", "6min", "6months")] {
        let refused = sandbox
            .run(&["prune", "--keep-within", given, "--yes"])
            .assert_code(2);
        assert_says(&refused, &[minutes, months]);
        sandbox.write("rollback.yaml", format!("backups: {{ keep_within: {given} }}\n"));
        let refused = sandbox.run(&["prune", "--yes"]).assert_code(2);
        assert_says(&refused, &[minutes, months, "rollback.yaml"]);
        sandbox.remove("rollback.yaml");
    }
    sandbox
        .run(&["prune", "--keep-within", "30min", "-n"])
        .assert_code(0);
}

// What others changed since.
