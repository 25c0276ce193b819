//! `rollback script check`: as text, or as `rollback.check/1`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::render;
use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::base::redact::{redact, redact_value};
use crate::base::terminal::{Style, escape, table, wrap};
use crate::base::wording::plural;
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere, say};
use crate::gate::policy::Policy;
use crate::host::confine::Mode;
use crate::primitives::from_script;
use crate::script::calls::Given;
use crate::script::check::{self, Checked, Imported, WordCall};
use crate::script::claims::{Answer, Judged};

/// Looks scripts through, confined like a dry run.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for a file that can't be read; what the configuration says.
pub fn check(everywhere: &Everywhere, files: &[PathBuf]) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    shared::confine(everywhere, &context, Mode::DryRun)?;
    let policy = Policy::of(&context.workspace)?;
    let view = context.view();
    let mut scripts: Vec<Checked> = Vec::new();
    for file in files {
        for checked in check::check(&view, &policy, file)? {
            // Two scripts may import the same one.
            if !scripts.iter().any(|other| other.file == checked.file) {
                scripts.push(checked);
            }
        }
    }
    let code = code_of(&scripts);
    if everywhere.json {
        print_json(&document(&scripts, code));
        return Ok(code);
    }
    for checked in &scripts {
        print(&page(checked));
    }
    print(&summary(&scripts));
    let style = Style::of(&std::io::stderr(), everywhere.no_color);
    for problem in scripts.iter().flat_map(|checked| &checked.problems) {
        say(&render::error(problem, &style));
    }
    Ok(code)
}

/// A broken script can't run at all, so that comes before what the policy says.
fn code_of(scripts: &[Checked]) -> ExitCode {
    if scripts.iter().any(|checked| !checked.problems.is_empty()) {
        ExitCode::Usage
    } else if scripts.iter().any(Checked::is_refused) {
        ExitCode::Refused
    } else {
        ExitCode::Done
    }
}

fn page(checked: &Checked) -> String {
    let mut page = escape(&checked.file).into_owned();
    if let Some((id, title)) = &checked.story {
        page.push_str(&format!(": story {}, {}", escape(id), escape(title)));
    }
    page.push('\n');
    for import in &checked.imports {
        page.push_str(&imported(import));
    }
    let mut rows = header_rows(checked);
    rows.extend(checked.words.iter().map(word_row));
    page.push_str(&table(
        &["line", "what the script says", "what the policy says"],
        &rows,
    ));
    for (number, warning) in &checked.warnings {
        let place = if *number == 0 {
            String::new()
        } else {
            format!("line {number}: ")
        };
        page.push_str(&format!("warning: {place}{warning}\n"));
    }
    page.push('\n');
    page
}

fn line(number: usize) -> String {
    if number == 0 {
        "-".to_owned()
    } else {
        number.to_string()
    }
}

fn imported(import: &Imported) -> String {
    let path = import.path.as_deref().unwrap_or("what is computed");
    let mut text = format!("line {} imports {path}\n", import.line);
    if !import.functions.is_empty() {
        let words = if import.words.is_empty() {
            "nothing".to_owned()
        } else {
            import.words.join(", ")
        };
        let sentence = format!("{} can say {words}", import.functions.join(", "));
        for line in wrap(&sentence, 90) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    escape_lines(&text)
}

/// Names are of the script: none of them may drive a terminal.
fn escape_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(escape).collect();
    lines.join("\n") + "\n"
}

/// One row for all that is allowed, and one for each path that is not.
fn header_rows(checked: &Checked) -> Vec<Vec<String>> {
    let allowed: Vec<&Judged> = checked
        .header
        .iter()
        .map(|(_, judged)| judged)
        .filter(|judged| matches!(judged.answer, Answer::Allowed(_)))
        .collect();
    let mut rows = Vec::new();
    let mut answers: Vec<String> = allowed.iter().map(|judged| judged.answer.to_string()).collect();
    answers.dedup();
    if !answers.is_empty() {
        let paths = plural(allowed.len() as u64, "path");
        rows.push(vec![
            "-".to_owned(),
            format!("STORY names {paths}"),
            answers.join("; "),
        ]);
    }
    for (at, judged) in &checked.header {
        if !matches!(judged.answer, Answer::Allowed(_)) {
            let path = redact(&format!("STORY names {:?}", judged.about));
            rows.push(vec![line(*at), path, redact(&judged.answer.to_string())]);
        }
    }
    rows
}

fn word_row(called: &WordCall) -> Vec<String> {
    /// Longer calls are cut: the line number leads to the whole.
    const WIDTH: usize = 100;
    let given: Vec<String> = called.call.given.iter().map(ToString::to_string).collect();
    let mut call = redact(&format!("{}({})", called.word.name, given.join(", ")));
    if let Some((cut, _)) = call.char_indices().nth(WIDTH) {
        call.truncate(cut);
        call.push_str(" ...");
    }
    let mut answers: Vec<String> = Vec::new();
    for judged in &called.judged {
        let answer = redact(&judged.answer.to_string());
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    vec![
        line(called.call.position.line().unwrap_or(0)),
        call,
        answers.join("; "),
    ]
}

fn summary(scripts: &[Checked]) -> String {
    let words: u64 = scripts.iter().map(|checked| checked.words.len() as u64).sum();
    let problems: u64 = scripts.iter().map(|checked| checked.problems.len() as u64).sum();
    let answers = |wanted: fn(&Answer) -> bool| {
        let all = scripts.iter().flat_map(Checked::answers);
        all.filter(|judged| wanted(&judged.answer)).count()
    };
    format!(
        "{}: {}; {} allowed, {} refused, {} computed; {}\n",
        plural(scripts.len() as u64, "script"),
        plural(words, "call"),
        answers(|answer| matches!(answer, Answer::Allowed(_))),
        answers(|answer| matches!(answer, Answer::Refused { .. })),
        answers(|answer| matches!(answer, Answer::Computed(_))),
        plural(problems, "problem"),
    )
}

fn document(scripts: &[Checked], code: ExitCode) -> Value {
    json!({
        "schema": "rollback.check/1",
        "ok": code == ExitCode::Done,
        "exit_code": code,
        "scripts": scripts.iter().map(script_json).collect::<Vec<_>>(),
    })
}

fn script_json(checked: &Checked) -> Value {
    let imports = checked.imports.iter().map(|import| {
        json!({
            "line": import.line,
            "path": import.path,
            "embedded": import.embedded,
            "functions": import.functions,
            "words": import.words,
        })
    });
    let header = checked.header.iter().map(|(line, judged)| {
        let mut value = judged_json(judged);
        value["line"] = (*line).into();
        value
    });
    let warnings = checked.warnings.iter();
    let warnings = warnings.map(|(line, message)| json!({ "line": line, "message": message }));
    json!({
        "file": checked.file,
        "story": checked.story.as_ref().map(|(id, title)| json!({ "id": id, "title": title })),
        "imports": imports.collect::<Vec<_>>(),
        "header": header.collect::<Vec<_>>(),
        "words": checked.words.iter().map(word_json).collect::<Vec<_>>(),
        "warnings": warnings.collect::<Vec<_>>(),
        "problems": checked.problems.iter().map(render::error_json).collect::<Vec<_>>(),
    })
}

fn word_json(called: &WordCall) -> Value {
    let parameters = called.word.parameters.iter();
    let arguments = parameters.zip(&called.call.given).map(|(parameter, given)| {
        json!({
            "name": parameter.name,
            "computed": !given.is_literal(),
            "text": redact(&given.to_string()),
            "value": value(given),
        })
    });
    json!({
        "line": called.call.position.line().unwrap_or(0),
        "column": called.call.position.position().unwrap_or(0),
        "functions": called.call.inside,
        "word": called.word.name,
        "arguments": arguments.collect::<Vec<_>>(),
        "policy": called.judged.iter().map(judged_json).collect::<Vec<_>>(),
    })
}

/// A literal as plain data; null for what is computed.
fn value(given: &Given) -> Value {
    let known = given.known();
    let mut value = known
        .and_then(|value| from_script(Some(&value)).ok())
        .unwrap_or_default();
    redact_value(&mut value);
    value
}

fn judged_json(judged: &Judged) -> Value {
    let (answer, rule, why, hint) = match &judged.answer {
        Answer::Allowed(rule) => ("allowed", rule.clone(), None, None),
        Answer::Refused { why, hint } => ("refused", None, Some(redact(why)), hint.clone()),
        Answer::Computed(why) => ("computed", None, Some(redact(why)), None),
    };
    json!({ "about": redact(&judged.about), "answer": answer, "rule": rule, "why": why, "hint": hint })
}
