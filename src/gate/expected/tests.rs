//! What is compared of two steps, field by field, and how a run ends that is not its plan.

use serde_json::json;

use super::*;
use crate::base::error::Kind;

fn step() -> Step {
    Step {
        n: 1,
        story: "9.1".to_owned(),
        phase: "execute".to_owned(),
        step: None,
        op: "remove_path".to_owned(),
        target: "notes.txt".to_owned(),
        summary: "remove `notes.txt`".to_owned(),
        risk: Risk::Reversible,
        undo: UndoClass::Exact,
        outcome: Outcome::Planned,
        asked: "a1".to_owned(),
        effect: json!({ "contents": "1" }),
        facts: vec![Fact::new("notes.txt", json!({ "size": 1 }))],
        uncertain: false,
        conditional: false,
        within: Vec::new(),
    }
}

fn with(change: impl Fn(&mut Step)) -> Step {
    let mut step = step();
    change(&mut step);
    step
}

/// Changes by which a step is another one.
fn others() -> Vec<(&'static str, Step)> {
    vec![
        ("story", with(|step| step.story = "9.2".to_owned())),
        ("phase", with(|step| step.phase = "finish".to_owned())),
        ("word", with(|step| step.op = "move_path".to_owned())),
        ("target", with(|step| step.target = "other.txt".to_owned())),
        ("a higher risk", with(|step| step.risk = Risk::Irreversible)),
        ("a lower risk", with(|step| step.risk = Risk::None)),
        ("outcome", with(|step| step.outcome = Outcome::NotPresent)),
        ("effect", with(|step| step.effect = json!({ "contents": "2" }))),
        (
            "fact",
            with(|step| step.facts = vec![Fact::new("notes.txt", json!({ "size": 2 }))]),
        ),
        (
            "subject of a fact",
            with(|step| step.facts = vec![Fact::new("else", json!({ "size": 1 }))]),
        ),
        (
            "one fact more",
            with(|step| step.facts.push(Fact::new("more", json!(1)))),
        ),
        ("one fact less", with(|step| step.facts.clear())),
    ]
}

#[test]
fn every_field_that_says_what_happens_is_compared() {
    assert_eq!(step().difference(&step()), None);
    for (what, other) in others() {
        assert!(step().difference(&other).is_some(), "{what}");
        assert!(
            compare(&[step()], std::slice::from_ref(&other), None).is_err(),
            "{what}"
        );
        let met = Expected::of(vec![step()]).meet(&other);
        assert_eq!(met.unwrap_err().kind(), Kind::Changed, "{what}");
    }
    // What only tells of it may differ.
    for (what, same) in [
        ("number", with(|step| step.n = 2)),
        ("title", with(|step| step.step = Some("Remove".to_owned()))),
        ("summary", with(|step| step.summary = "in other words".to_owned())),
    ] {
        assert_eq!(step().difference(&same), None, "{what}");
    }
}

#[test]
fn what_was_no_act_does_not_become_one_however_little_was_known() {
    for outcome in [Outcome::NotPresent, Outcome::Kept, Outcome::Unknown] {
        for uncertain in [false, true] {
            let planned = with(|step| {
                step.outcome = outcome;
                step.uncertain = uncertain;
            });
            let acting = with(|step| step.uncertain = uncertain);
            assert!(planned.difference(&acting).is_some(), "{outcome:?} {uncertain}");
        }
    }
    let uncertain = with(|step| step.uncertain = true);
    let other = |change: &dyn Fn(&mut Step)| {
        let mut step = uncertain.clone();
        change(&mut step);
        uncertain.difference(&step)
    };
    assert_eq!(other(&|step| step.effect = json!(2)), None);
    assert_eq!(other(&|step| step.outcome = Outcome::NotPresent), None);
    assert!(other(&|step| step.asked = "b2".to_owned()).is_some());
    assert!(other(&|step| step.risk = Risk::Disruptive).is_some());
}

#[test]
fn a_run_that_is_not_its_plan_ends_with_7_before_and_1_after_its_first_change() {
    let unplanned = with(|step| step.target = "other.txt".to_owned());
    for acted in [false, true] {
        let expected = || {
            let mut expected = Expected::of(vec![step()]);
            if acted {
                expected.acts();
            }
            expected
        };
        let mut after_all = expected();
        after_all.meet(&step()).unwrap();
        for (what, error) in [
            ("another one instead", expected().meet(&unplanned).unwrap_err()),
            ("one more", after_all.meet(&unplanned).unwrap_err()),
            ("none of them", expected().end(None).unwrap_err()),
        ] {
            let code = if acted {
                ExitCode::Failed
            } else {
                ExitCode::Changed
            };
            assert_eq!(error.exit_code(), code, "{what}, acted: {acted}");
            assert_eq!(error.changed_something(), acted, "{what}");
        }
        after_all.end(None).unwrap();
    }
}

#[test]
fn plans_are_compared_to_their_ends() {
    let two = [step(), with(|step| step.target = "second".to_owned())];
    compare(&two, &two, None).unwrap();
    let lost = compare(&two, &two[..1], Some(&Error::failed("the reason"))).unwrap_err();
    assert!(
        lost.message().contains("would not come about: the reason"),
        "{lost}"
    );
    let more = compare(&two[..1], &two, None).unwrap_err();
    assert!(more.message().contains("is not in the plan"), "{more}");
    assert_eq!((lost.kind(), more.kind()), (Kind::Changed, Kind::Changed));
}
