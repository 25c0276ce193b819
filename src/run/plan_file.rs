//! Plan files: `rollback plan -o FILE` writes one, `rollback apply FILE` does exactly what it says or nothing.
//!
//! On disk: the plan's report (`rollback.report/1`) with four more members: `request` (what was asked for), `steps` (what
//! each operation does and rests on, without a moment), `sources` (digests of the scripts) and `hash` (BLAKE3 over the
//! compact JSON of the rest), which tells a file that was edited. Parameters that are secrets stand in it masked, and are
//! asked for again.

use serde_json::{Map, Value, json};

use super::{Audience, Context, Preview, Request, carry_out, preview};
use crate::base::error::{Error, Result};
use crate::gate::expected::{self, Step};
use crate::pass::Silent;
use crate::report::options::Options;
use crate::report::{Mode, Report, RunOutcome};
use crate::run::history::History;

/// The schema that a plan's file names.
const SCHEMA: &str = "rollback.report/1";

/// A plan as its file tells it.
#[derive(Debug, Clone)]
pub struct PlanFile {
    /// The plan.
    pub report: Report,
    /// What was asked for.
    pub asked: Options,
    /// What it does and rests on.
    pub steps: Vec<Step>,
    /// The digest of each script and module that it was made of, by its name.
    pub sources: Vec<(String, String)>,
}

/// The text of a plan's file.
///
/// # Errors
/// [`crate::base::error::Kind::Bug`] for what can't be serialised.
pub fn write(preview: &Preview, asked: &Options) -> Result<String> {
    let bug = |error: serde_json::Error| Error::bug(format!("a plan can't be written: {error}"));
    let mut document = serde_json::to_value(&preview.report).map_err(bug)?;
    if let Value::Object(document) = &mut document {
        document.insert("request".to_owned(), serde_json::to_value(asked).map_err(bug)?);
        document.insert(
            "steps".to_owned(),
            serde_json::to_value(&preview.steps).map_err(bug)?,
        );
        document.insert(
            "sources".to_owned(),
            serde_json::to_value(&preview.sources).map_err(bug)?,
        );
        let hash = hash(document);
        document.insert("hash".to_owned(), hash.into());
    }
    let text = serde_json::to_string_pretty(&document).map_err(bug)?;
    Ok(format!("{text}\n"))
}

/// The text of a file for a plan that is not made yet: it is ours, and can't be done.
#[must_use]
pub fn none() -> String {
    let mut document = Map::new();
    document.insert("schema".to_owned(), SCHEMA.into());
    document.insert("hash".to_owned(), hash(&document).into());
    format!("{}\n", json!(document))
}

/// Whether a text is a plan's file of ours, done or not, as it was written.
#[must_use]
pub fn is_plan(text: &str) -> bool {
    let Ok(mut document) = serde_json::from_str::<Map<String, Value>>(text) else {
        return false;
    };
    let recorded = document.remove("hash");
    document.get("schema").is_some_and(|schema| schema == SCHEMA) && recorded == Some(hash(&document).into())
}

/// The BLAKE3 of the compact form of a plan without its `hash`.
#[must_use]
pub fn hash(document: &Map<String, Value>) -> String {
    let text = json!(document).to_string();
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Reads a plan's file.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for what is no plan, was edited, or could not be made.
pub fn read(display: &str, text: &str) -> Result<PlanFile> {
    let again = "make it anew: `rollback plan STORIES -o FILE`";
    let no_plan = |why: String| Error::usage(format!("`{display}` is no plan: {why}")).hint(again);
    let mut document: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| no_plan(error.to_string()))?;
    let Some(Value::String(recorded)) = document.remove("hash") else {
        return Err(no_plan("it has no `hash`".to_owned()));
    };
    if recorded != hash(&document) {
        return Err(Error::usage(format!(
            "`{display}` was edited after it was made: its hash does not fit"
        ))
        .hint(again));
    }
    let mut take = |name: &str| document.remove(name).unwrap_or(Value::Null);
    let asked: Options =
        serde_json::from_value(take("request")).map_err(|error| no_plan(error.to_string()))?;
    let steps: Vec<Step> =
        serde_json::from_value(take("steps")).map_err(|error| no_plan(error.to_string()))?;
    let sources: Vec<(String, String)> =
        serde_json::from_value(take("sources")).map_err(|error| no_plan(error.to_string()))?;
    let report: Report =
        serde_json::from_value(Value::Object(document)).map_err(|error| no_plan(error.to_string()))?;
    if report.outcome != RunOutcome::Planned {
        return Err(Error::usage(format!(
            "the plan in `{display}` could not be made, so it can't be done"
        ))
        .hint(again));
    }
    Ok(PlanFile {
        report,
        asked,
        steps,
        sources,
    })
}

/// The preview of a plan's file on the world as it is now.
///
/// # Errors
/// [`crate::base::error::Kind::Changed`] where the plan was done already, or a fact or an operation is another now; what keeps
/// the preview from being made.
pub fn preview_again(context: &Context, planned: &PlanFile, request: &Request) -> Result<Preview> {
    // One that was made after a run, on the world as it was before, is a plan of its own: that run was taken back.
    let done = History::of(context).list()?.into_iter().find(|report| {
        report.mode == Mode::Real
            && report.plan == planned.report.plan
            && report.audit_head.is_some()
            && report.finished > planned.report.started
    });
    if let Some(done) = done {
        return Err(Error::changed(format!(
            "plan {} was carried out already, by run {}",
            done.plan, done.run
        ))
        .hint("a plan is done once; make a new one"));
    }
    let now = preview(context, request, Box::new(Silent))?;
    compare(planned, &now)?;
    Ok(now)
}

/// Does what a plan's file says.
///
/// # Errors
/// As [`preview_again`] and [`super::run`]; nothing was changed then.
pub fn apply(
    context: &Context,
    planned: &PlanFile,
    request: &Request,
    audience: &dyn Audience,
) -> Result<Report> {
    let _lock = super::begin(context)?;
    let now = preview_again(context, planned, request)?;
    carry_out(context, request, now, audience)
}

/// Whether the world and the scripts are still the plan's.
fn compare(planned: &PlanFile, now: &Preview) -> Result<()> {
    let hint = "look at it, and make a new plan";
    expected::compare(&planned.steps, &now.steps, now.error.as_ref())?;
    let changed = planned
        .sources
        .iter()
        .find(|source| !now.sources.contains(source));
    if let Some((name, _)) = changed {
        return Err(
            Error::changed(format!("`{name}` is not the script that the plan was made of")).hint(hint),
        );
    }
    if now.report.plan != planned.report.plan {
        return Err(Error::changed(format!(
            "the plan is now {}, not {}",
            now.report.plan, planned.report.plan
        ))
        .hint(hint));
    }
    Ok(())
}
