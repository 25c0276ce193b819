//! Security incidents: what policy refused, records that somebody damaged, attacks in the security log.

use crate::sandbox::assert_says;

use super::{Behaviour, Receiver, kinds, webhook, workspace};

const LOG: &str = ".rollback/audit/000001.jsonl";

/// A story whose link out of the workspace stands only in the real pass: the preview shows nothing that policy forbids.
const LEADS_OUT: &str = r#"const STORY = #{ id: "9.2", title: "Leads out" };

fn execute() {
    run_command(["env", "ln", "-s", "/etc", "data/out"]);
    remove_path("data/out/hostname");
}
"#;

#[test]
fn a_refusal_in_a_run_is_an_incident() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&webhook(&receiver.url("/"), ", on: [security-incident, failure]"));
    sandbox.write("rollback/out.rhai", LEADS_OUT);
    // The command before it has changed something: that is 1, and no longer 3.
    let refused = sandbox.run(&["run", "9.2", "--force"]).assert_code(1);
    let bodies = receiver.bodies();
    assert_eq!(kinds(&bodies), ["security-incident"], "{}", refused.transcript());
    let incident = &bodies[0];
    super::valid(incident);
    assert_eq!(incident["severity"], "critical");
    assert_eq!(incident["facts"]["outcome"], "refused");
    assert!(
        incident["title"]
            .as_str()
            .unwrap()
            .ends_with("was refused by policy"),
        "{incident:#}"
    );
    assert!(
        incident["facts"]["error"].as_str().unwrap().contains("data/out"),
        "{incident:#}"
    );
}

#[test]
fn a_damaged_log_is_an_incident_though_nothing_begins() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&webhook(&receiver.url("/"), ", on: [security-incident]"));
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(receiver.bodies().len(), 0);
    let log = sandbox.read(LOG);
    sandbox.write(LOG, log.split_inclusive('\n').take(2).collect::<String>());
    sandbox.write("data/reports/q2.txt", "second");

    sandbox.run(&["run", "9.1", "-n"]);
    assert_eq!(receiver.bodies().len(), 0, "a dry run tells nothing");
    let refused = sandbox.run(&["run", "9.1", "--yes"]).assert_code(8);
    assert!(sandbox.exists("data/reports/q2.txt"));
    let bodies = receiver.bodies();
    assert_eq!(kinds(&bodies), ["security-incident"], "{}", refused.transcript());
    super::valid(&bodies[0]);
    assert_eq!(bodies[0]["title"], "a run did not begin: records are damaged");
    assert!(
        bodies[0]["text"]
            .as_str()
            .unwrap()
            .contains("move `.rollback/audit` aside"),
        "{:#}",
        bodies[0]
    );
}

#[test]
fn a_log_that_is_damaged_during_a_run_is_an_incident() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&webhook(&receiver.url("/"), ", on: [security-incident, failure]"));
    sandbox.write(
        "rollback/tampers.rhai",
        format!(
            "const STORY = #{{ id: \"9.2\", title: \"Tampers\" }};\n\nfn execute() {{\n    \
             run_command([\"env\", \"rm\", \"{LOG}\"]);\n    remove_path(\"data/reports\");\n}}\n"
        ),
    );
    sandbox.run(&["run", "9.2", "--force"]).assert_code(8);
    assert!(sandbox.exists("data/reports/q1.txt"));
    let bodies = receiver.bodies();
    assert_eq!(kinds(&bodies), ["security-incident"]);
    assert!(
        bodies[0]["title"]
            .as_str()
            .unwrap()
            .ends_with("ended with damaged records"),
        "{:#}",
        bodies[0]
    );
}

#[test]
fn attacks_in_the_security_log_reach_the_channels() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&webhook(&receiver.url("/"), ", on: [security-incident]"));
    let at = chrono::Utc::now().to_rfc3339();
    let failures = |address: &str, count: usize| {
        let event = "\"level\":\"WARN\",\"event\":\"auth_failed\"";
        format!("{{\"timestamp\":\"{at}\",{event},\"ip\":\"{address}\",\"user\":\"ann\"}}\n").repeat(count)
    };
    let quiet = failures("10.0.0.5", 5);
    let log = [quiet, failures("10.0.0.6", 6), failures("10.0.0.11", 11)].concat();
    sandbox.write("logs/security.log", log);
    let once = sandbox.run(&["monitor", "--once"]);
    let mut told: Vec<(String, String)> = receiver
        .bodies()
        .iter()
        .map(|body| {
            super::valid(body);
            assert_eq!(body["kind"], "security-incident");
            let text = |key: &str| body[key].as_str().unwrap().to_owned();
            (text("title"), text("severity"))
        })
        .collect();
    told.sort();
    let expected = [("10.0.0.11", "critical"), ("10.0.0.6", "warning")];
    assert_eq!(told.len(), expected.len(), "{told:#?}\n{}", once.transcript());
    for ((title, severity), (address, expected)) in told.iter().zip(expected) {
        assert!(title.ends_with(address), "{title}");
        assert_eq!(severity, expected, "{title}");
    }
    sandbox.run(&["monitor", "--once"]);
    assert_eq!(receiver.bodies().len(), 2, "each is told once");
    assert_says(&once, &["10.0.0.11"]);
}
