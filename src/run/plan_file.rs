//! Plan files: `rollback plan -o FILE` writes one, `rollback apply FILE` does exactly what it says or nothing.
//!
//! On disk: the plan's report (`rollback.report/1`) with four more members: `request` (what was asked for), `steps` (what
//! each operation does and rests on, without a moment), `sources` (digests of the scripts) and `hash` (BLAKE3 over the
//! compact JSON of the rest), which tells a file that was edited. Parameters that are secrets stand in it masked, and are
//! asked for again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Audience, Context, Preview, Request, carry_out, preview};
use crate::base::error::{Error, Result};
use crate::base::redact::{MASK, is_secret, redact};
use crate::gate::expected::{self, Step};
use crate::pass::Silent;
use crate::report::{Mode, Report, RunOutcome};
use crate::run::history::History;

/// The schema that a plan's file names.
const SCHEMA: &str = "rollback.report/1";

/// What was asked for, as far as it shapes the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Stories, features, and absolute paths of scripts.
    pub stories: Vec<String>,
    /// `--reason`.
    pub reason: Option<String>,
    /// `--trigger`.
    pub trigger: String,
    /// `--param K=V`; [`MASK`] in place of a secret.
    pub params: BTreeMap<String, String>,
    /// `--copy`.
    pub copy: bool,
    /// `--purge`.
    pub purge: bool,
    /// `--allow-open`.
    pub allow_open: bool,
    /// `--strict`.
    #[serde(default)]
    pub strict: bool,
}

impl Asked {
    /// What a request asks for, as it may be written down.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let told = |(name, value): (&String, &String)| {
            let value = if is_secret(name, value) { MASK } else { value };
            (name.clone(), value.to_owned())
        };
        Self {
            stories: request.named.clone(),
            reason: request.reason.as_deref().map(redact),
            trigger: request.trigger.clone(),
            params: request.params.iter().map(told).collect(),
            copy: request.copy,
            purge: request.purge,
            allow_open: request.allow_open,
            strict: request.strict,
        }
    }

    /// The same as a request; its stories are still to be selected.
    #[must_use]
    pub fn request(&self) -> Request {
        Request {
            named: self.stories.clone(),
            reason: self.reason.clone(),
            trigger: self.trigger.clone(),
            params: self.params.clone(),
            copy: self.copy,
            purge: self.purge,
            allow_open: self.allow_open,
            strict: self.strict,
            ..Request::default()
        }
    }

    /// The same with the secrets that were left out.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] for one that is still missing, and for a parameter that is no such secret.
    pub fn complete(mut self, given: BTreeMap<String, String>) -> Result<Self> {
        for (name, value) in given {
            match self.params.get_mut(&name) {
                Some(masked) if masked == MASK => *masked = value,
                _ => {
                    return Err(Error::usage(format!(
                        "--param {name} can't be given anew: what was asked for stands"
                    ))
                    .hint("only secrets, which are not written down, are given again"));
                }
            }
        }
        match self.params.iter().find(|(_, value)| *value == MASK) {
            None => Ok(self),
            Some((name, _)) => Err(Error::usage(format!(
                "the parameter `{name}` is a secret, so its value was not written down"
            ))
            .hint("give its value again with --param")),
        }
    }
}

/// A plan as its file tells it.
#[derive(Debug, Clone)]
pub struct PlanFile {
    /// The plan.
    pub report: Report,
    /// What was asked for.
    pub asked: Asked,
    /// What it does and rests on.
    pub steps: Vec<Step>,
    /// The digest of each script and module that it was made of, by its name.
    pub sources: Vec<(String, String)>,
}

/// The text of a plan's file.
///
/// # Errors
/// [`crate::base::error::Kind::Bug`] for what can't be serialised.
pub fn write(preview: &Preview, asked: &Asked) -> Result<String> {
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
    let said = document.remove("hash");
    document.get("schema").is_some_and(|schema| schema == SCHEMA) && said == Some(hash(&document).into())
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
pub fn read(shown: &str, text: &str) -> Result<PlanFile> {
    let again = "make it anew: `rollback plan STORIES -o FILE`";
    let no_plan = |why: String| Error::usage(format!("`{shown}` is no plan: {why}")).hint(again);
    let mut document: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| no_plan(error.to_string()))?;
    let Some(Value::String(said)) = document.remove("hash") else {
        return Err(no_plan("it has no `hash`".to_owned()));
    };
    if said != hash(&document) {
        return Err(Error::usage(format!(
            "`{shown}` was edited after it was made: its hash does not fit"
        ))
        .hint(again));
    }
    let mut take = |name: &str| document.remove(name).unwrap_or(Value::Null);
    let asked: Asked = serde_json::from_value(take("request")).map_err(|error| no_plan(error.to_string()))?;
    let steps: Vec<Step> =
        serde_json::from_value(take("steps")).map_err(|error| no_plan(error.to_string()))?;
    let sources: Vec<(String, String)> =
        serde_json::from_value(take("sources")).map_err(|error| no_plan(error.to_string()))?;
    let report: Report =
        serde_json::from_value(Value::Object(document)).map_err(|error| no_plan(error.to_string()))?;
    if report.outcome != RunOutcome::Planned {
        return Err(Error::usage(format!(
            "the plan in `{shown}` could not be made, so it can't be done"
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
    let done = History::of(context).list()?.into_iter().find(|report| {
        report.mode == Mode::Real && report.plan == planned.report.plan && report.audit_head.is_some()
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
