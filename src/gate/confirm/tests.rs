//! Who may approve what: every answer of the command line and of a person, to every risk.

use serde_json::json;

use super::*;

const PLAN: &str = "plan-1";

/// A plan with one operation of this risk.
fn plan(risk: Risk, outcome: Outcome) -> Report {
    let report = json!({
        "schema": "rollback.report/1", "run": "run-1", "plan": PLAN, "kind": "rollback", "mode": "dry-run",
        "stories": ["9.1"], "reason": null, "trigger": "manual", "user": "u", "host": "h",
        "started": "", "finished": "", "outcome": "planned", "exit_code": 0,
        "operations": [{
            "n": 1, "story": "9.1", "phase": "execute", "step": null, "op": "remove_path", "target": "notes.txt",
            "summary": "remove `notes.txt`", "risk": risk, "undo": "exact", "outcome": outcome, "why": null,
            "rule": null, "ms": 0,
        }],
        "backups": [], "checks": [], "flags": { "before": {}, "after": {} }, "warnings": [], "next": [],
        "audit_head": null,
    });
    serde_json::from_value(report).unwrap()
}

/// Somebody who gives one answer to everything, and remembers what was asked.
struct Somebody {
    answer: Answer,
    asked: Vec<String>,
}

impl Somebody {
    fn who_says(answer: Answer) -> Self {
        Self {
            answer,
            asked: Vec::new(),
        }
    }
}

impl Ask for Somebody {
    fn question(&mut self, text: &str) -> Result<Answer> {
        self.asked.push(text.to_owned());
        Ok(self.answer)
    }

    fn typed(&mut self, text: &str, expected: &str) -> Result<Answer> {
        self.asked.push(format!("{text} ({expected})"));
        Ok(self.answer)
    }

    fn line(&mut self, _text: &str, default: &str) -> Result<String> {
        Ok(default.to_owned())
    }
}

fn answers(said: &str) -> Answers {
    Answers {
        yes: said == "--yes",
        force: said == "--force",
        plan: said.strip_prefix("--confirm ").map(str::to_owned),
        each: false,
    }
}

#[test]
fn without_a_person_the_command_line_approves_just_what_it_says() {
    const RISKS: [Risk; 4] = [Risk::None, Risk::Reversible, Risk::Disruptive, Risk::Irreversible];
    for risk in RISKS {
        for (said, expected) in [
            ("", Err(Kind::NotApproved)),
            (
                "--yes",
                if risk == Risk::Irreversible {
                    Err(Kind::NotApproved)
                } else {
                    Ok(())
                },
            ),
            ("--force", Ok(())),
            ("--confirm plan-1", Ok(())),
            ("--confirm plan-2", Err(Kind::Changed)),
        ] {
            let approved = approve(&plan(risk, Outcome::Planned), "Go on?", &answers(said), None);
            if let Ok(approval) = &approved {
                assert!(!approval.asked && approval.answers.len() == 1, "{risk:?} {said}");
            }
            let approved = approved.map(|_| ()).map_err(|error| error.kind());
            assert_eq!(approved, expected, "{risk:?} {said}");
        }
    }
    // What does nothing needs nobody, and still not another plan.
    for outcome in [Outcome::NotPresent, Outcome::Kept, Outcome::Unknown] {
        let plan = plan(Risk::Irreversible, outcome);
        let approval = approve(&plan, "Go on?", &answers(""), None).unwrap();
        assert!(approval.answers.is_empty() && !approval.asked);
        let other = approve(&plan, "Go on?", &answers("--confirm plan-2"), None).unwrap_err();
        assert_eq!(other.kind(), Kind::Changed);
    }
}

#[test]
fn only_a_clear_yes_of_a_person_approves() {
    for (answer, expected) in [
        (Answer::Yes, Ok(true)),
        (Answer::No, Err(Kind::NotApproved)),
        (Answer::EndOfInput, Err(Kind::NotApproved)),
        (Answer::Interrupted, Err(Kind::Cancelled)),
    ] {
        for risk in [Risk::Reversible, Risk::Irreversible] {
            for said in ["", "--yes"] {
                let mut person = Somebody::who_says(answer);
                let plan = plan(risk, Outcome::Planned);
                let approved = approve(&plan, "Go on?", &answers(said), Some(&mut person));
                let is_asked = risk == Risk::Irreversible || said.is_empty();
                let expected = if is_asked { expected } else { Ok(false) };
                let approved = approved
                    .map(|approval| approval.asked)
                    .map_err(|error| error.kind());
                assert_eq!(approved, expected, "{answer:?} {risk:?} {said}");
                let typed = person.asked.iter().any(|asked| asked.contains("(9.1)"));
                let may_type = risk == Risk::Irreversible && (answer == Answer::Yes || said == "--yes");
                assert_eq!(typed, may_type, "{answer:?} {risk:?} {said}: {:?}", person.asked);
            }
        }
    }
}

#[test]
fn each_asks_for_whatever_has_a_risk() {
    for (risk, asks) in [
        (Risk::None, false),
        (Risk::Reversible, true),
        (Risk::Disruptive, true),
        (Risk::Irreversible, true),
    ] {
        let record = plan(risk, Outcome::Planned).operations.remove(0);
        let person = Box::new(Somebody::who_says(Answer::No));
        let asked = Confirm::of_plan(Vec::new())
            .asking_each(person)
            .ask(&record)
            .unwrap();
        assert_eq!(asked.is_some(), asks, "{risk:?}");
        if let Some((question, said)) = asked {
            assert_eq!(question, "remove `notes.txt`?");
            assert_eq!(said.require().unwrap_err().kind(), Kind::NotApproved);
        }
        assert!(Confirm::of_plan(Vec::new()).ask(&record).unwrap().is_none());
    }
}
