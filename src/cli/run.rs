//! `rollback run` and `rollback plan`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use clap::Args;

use super::progress::Person;
use super::render;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::redact;
use crate::base::terminal::Style;
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere, say};
use crate::gate::confirm::Answers;
use crate::host::confine;
use crate::host::outputs::PlanOutput;
use crate::pass::Silent;
use crate::report::effect::Outcome;
use crate::report::options::Options;
use crate::report::text::{self, Telling};
use crate::report::{Mode, Report, RunOutcome};
use crate::run::plan_file;
use crate::run::{self, Context, Request};
use crate::workspace::catalogue::Catalogue;
use crate::workspace::story::Story;
use crate::workspace::trust;

/// What set a run off.
pub const TRIGGERS: [&str; 11] = [
    "manual",
    "integration-conflict",
    "data-corruption",
    "security-incident",
    "business-requirement",
    "error-rate",
    "memory",
    "response-time",
    "availability",
    "crashes",
    "custom",
];

/// Options of every command that changes something.
#[derive(Debug, Clone, Args)]
pub struct Changing {
    /// Show what would happen, and change nothing (ROLLBACK_DRY_RUN does the same)
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Why; it stands in the audit log and the report
    #[arg(long, value_name = "TEXT", env = "ROLLBACK_REASON")]
    pub reason: Option<String>,
    /// What set it off
    #[arg(long, default_value = "manual", value_parser = TRIGGERS)]
    pub trigger: String,
    /// Approve all but what loses data for good
    #[arg(short, long)]
    pub yes: bool,
    /// Approve exactly the plan with this id, irreversible steps included
    #[arg(long, value_name = "ID")]
    pub confirm: Option<String>,
    /// Ask at every destructive step
    #[arg(long)]
    pub each: bool,
    /// Approve everything, and go on past failed optional steps
    #[arg(short, long)]
    pub force: bool,
}

impl Changing {
    /// What it asks for of every change.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            reason: self.reason.clone(),
            trigger: self.trigger.clone(),
            ..Options::default()
        }
    }

    /// The answers that the command line gives.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers {
            yes: self.yes,
            force: self.force,
            plan: self.confirm.clone(),
            each: self.each,
        }
    }

    /// Whether the person wants a dry run.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] where `ROLLBACK_DRY_RUN` says neither yes nor no.
    pub fn is_dry_run(&self) -> Result<bool> {
        Ok(self.dry_run || environment_dry_run(std::env::var_os("ROLLBACK_DRY_RUN"))?)
    }
}

pub(crate) fn environment_dry_run(value: Option<std::ffi::OsString>) -> Result<bool> {
    let Some(value) = value else { return Ok(false) };
    match value.to_string_lossy().trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        other => Err(Error::usage(format!(
            "ROLLBACK_DRY_RUN is `{other}`, which is neither yes nor no"
        ))
        .hint("1, true, yes, on mean a dry run; 0, false, no, off a real one; nothing was changed")),
    }
}

/// Options of `run` and `plan` that shape the plan.
#[derive(Debug, Clone, Args)]
pub struct Shaping {
    /// A parameter for the scripts
    #[arg(long = "param", value_name = "K=V")]
    pub params: Vec<String>,
    /// Back up by copying, not by moving
    #[arg(long)]
    pub copy: bool,
    /// Remove for good what would go into the run's store; backups are made all the same
    #[arg(long)]
    pub purge: bool,
    /// Back up data even while a process writes it
    #[arg(long)]
    pub allow_open: bool,
    /// A check that rests on something unknown fails
    #[arg(long)]
    pub strict: bool,
}

impl Shaping {
    /// What is asked for of these stories; all else is as in `options`.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] for a parameter that is no `K=V`.
    fn options(&self, stories: &[String], options: Options) -> Result<Options> {
        Ok(Options {
            stories: named_for_good(stories),
            params: params(&self.params)?,
            copy: self.copy,
            purge: self.purge,
            allow_open: self.allow_open,
            strict: self.strict,
            ..options
        })
    }
}

/// `rollback run`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Stories (1.3, 1.5,1.6, all), features, or the path of a script; without any, a terminal lets choose
    #[arg(value_name = "STORIES")]
    pub stories: Vec<String>,
    /// Options of changing commands.
    #[command(flatten)]
    pub changing: Changing,
    /// Go on with the next story after a failed one
    #[arg(long)]
    pub continue_on_error: bool,
    /// A failed run takes itself back
    #[arg(long)]
    pub atomic: bool,
    /// Options that shape the plan.
    #[command(flatten)]
    pub shaping: Shaping,
}

/// `rollback plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArguments {
    /// Stories (1.3, 1.5,1.6, all), features, or the path of a script
    #[arg(required = true, value_name = "STORIES")]
    pub stories: Vec<String>,
    /// Write the plan to this file as JSON
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Options that shape the plan.
    #[command(flatten)]
    pub shaping: Shaping,
}

/// Rolls back.
///
/// # Errors
/// What keeps the run from beginning.
pub fn run(everywhere: &Everywhere, arguments: &RunArguments) -> Result<ExitCode> {
    let dry_run = arguments.changing.is_dry_run()?;
    let mut context = shared::open(everywhere)?;
    let words = super::choose::words(everywhere, &mut context, &arguments.stories)?;
    let mut request = Request {
        options: arguments.shaping.options(&words, arguments.changing.options())?,
        answers: arguments.changing.answers(),
        dry_run,
        continue_on_error: arguments.continue_on_error || arguments.changing.force,
        atomic: arguments.atomic,
        ..Request::default()
    };
    request.stories = stories(&mut context, &words)?;
    let telling = telling(everywhere, &request.stories);
    if dry_run {
        shared::confine(everywhere, &context, confine::Mode::DryRun)?;
        shared::warn_of_unfinished(everywhere, &context);
        let preview = run::preview(&context, &request, Box::new(Silent))?;
        return Ok(show_preview(everywhere, preview, &telling));
    }
    shared::confine(everywhere, &context, confine::Mode::Real)?;
    watch_signals(&mut context)?;
    let person = Person::of(everywhere, &context, telling.clone(), true);
    let report = run::alerts::deliver(&context, run::run(&context, &request, &person))?;
    Ok(show_outcome(everywhere, &report, &telling))
}

/// Plans, and changes nothing but the file of `-o`.
///
/// # Errors
/// What keeps the plan from being made; a file that can't be written.
pub fn plan(everywhere: &Everywhere, arguments: &PlanArguments) -> Result<ExitCode> {
    let mut context = shared::open(everywhere)?;
    let mut request = Request {
        options: arguments
            .shaping
            .options(&arguments.stories, Options::by_hand())?,
        dry_run: true,
        ..Request::default()
    };
    request.stories = stories(&mut context, &arguments.stories)?;
    // Where the confinement won't do, not even that file is made.
    context.wall_of(confine::Mode::DryRun)?;
    // The file is opened before the confinement, so that its one exception is this open file.
    let output = arguments
        .output
        .as_deref()
        .map(|path| PlanOutput::open(path, &context.workspace, plan_file::none(), &plan_file::is_plan))
        .transpose()?;
    shared::confine(everywhere, &context, confine::Mode::DryRun)?;
    shared::warn_of_unfinished(everywhere, &context);
    let preview = run::preview(&context, &request, Box::new(Silent))?;
    if let Some(output) = output {
        output.write(&plan_file::write(&preview, &request.options.redacted())?)?;
    }
    Ok(show_preview(
        everywhere,
        preview,
        &telling(everywhere, &request.stories),
    ))
}

pub(crate) fn show_preview(everywhere: &Everywhere, preview: run::Preview, telling: &Telling) -> ExitCode {
    let run::Preview { report, error, .. } = preview;
    let style = Style::of(&std::io::stdout(), everywhere.no_color);
    if everywhere.json {
        print_json(&serde_json::json!(report));
    } else {
        print(&text::plan(&report, &style, telling));
    }
    let Some(error) = error else {
        return code_of(&report);
    };
    if !everywhere.json {
        say(&render::error_with_causes(
            &error,
            &Style::of(&std::io::stderr(), everywhere.no_color),
            everywhere.verbose > 0,
        ));
    }
    error.exit_code()
}

/// Shows how a run ended.
pub(crate) fn show_outcome(everywhere: &Everywhere, report: &Report, telling: &Telling) -> ExitCode {
    if everywhere.json {
        print_json(&serde_json::json!(report));
        return code_of(report);
    }
    let style = Style::of(&std::io::stdout(), everywhere.no_color);
    let stopped_before =
        report.mode == Mode::DryRun && !matches!(report.outcome, RunOutcome::Planned | RunOutcome::Done);
    // A run that was not approved, was interrupted at the question, or met another world than the plan's before it began,
    // has no outcome to show but why.
    let began =
        report.audit_head.is_some() || (report.outcome != RunOutcome::NotApproved && report.error.is_none());
    if stopped_before {
        print(&text::plan(report, &style, telling));
    } else if began && !everywhere.quiet {
        let telling = Telling {
            watched: telling.watched && report.mode == Mode::Real,
            ..telling.clone()
        };
        print(&text::outcome(report, &style, &telling));
    }
    if let Some(failure) = &report.error {
        let mut error = Error::failed(&failure.message);
        if let Some(hint) = &failure.hint {
            error = error.hint(hint);
        }
        if let Some(at) = &failure.at {
            error = error.at(at.clone());
        }
        // These codes promise that nothing was; otherwise, what was done is a change, however harmless.
        let kept_promise = [
            ExitCode::Usage,
            ExitCode::Refused,
            ExitCode::NotApproved,
            ExitCode::Locked,
            ExitCode::Changed,
        ]
        .contains(&code_of(report));
        let done = report
            .operations
            .iter()
            .any(|operation| operation.outcome == Outcome::Done);
        if report.mode == Mode::Real && !kept_promise && (done || text::touched(report)) {
            error = error.after_changes();
        }
        say(&render::error(
            &error,
            &Style::of(&std::io::stderr(), everywhere.no_color),
        ));
    }
    code_of(report)
}

/// The exit code that a report names.
#[must_use]
pub fn code_of(report: &Report) -> ExitCode {
    [
        ExitCode::Done,
        ExitCode::Failed,
        ExitCode::Usage,
        ExitCode::Refused,
        ExitCode::Partial,
        ExitCode::NotApproved,
        ExitCode::Locked,
        ExitCode::Changed,
        ExitCode::Corrupt,
        ExitCode::Unfinished,
        ExitCode::Interrupted,
        ExitCode::Terminated,
    ]
    .into_iter()
    .find(|code| code.number() == report.exit_code)
    .unwrap_or(ExitCode::Failed)
}

fn is_terminal(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal()
}

/// How much is told, with the stories' titles.
pub(crate) fn telling(everywhere: &Everywhere, stories: &[Rc<Story>]) -> Telling {
    let quiet = everywhere.quiet || everywhere.json || everywhere.json_events;
    Telling {
        verbose: everywhere.verbose > 0,
        watched: !quiet && is_terminal(&std::io::stdout()) && is_terminal(&std::io::stderr()),
        titles: stories
            .iter()
            .map(|story| (story.id.clone(), story.title.clone()))
            .collect(),
    }
}

/// From now on a signal is a wish, not an end: the operation at hand is finished, the run is closed.
pub(crate) fn watch_signals(context: &mut Context) -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    // A terminal that goes away means the same as a request to end.
    for (signal, meant) in [(SIGINT, SIGINT), (SIGTERM, SIGTERM), (SIGHUP, SIGTERM)] {
        let number = usize::try_from(meant).unwrap_or(0);
        signal_hook::flag::register_usize(signal, Arc::clone(&context.signal), number)
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&context.host.cancelled)))
            .map_err(|error| Error::io("watch for signals", &error))?;
    }
    Ok(())
}

/// The parameters of the command line; from now on those that are secrets are masked wherever they turn up.
pub(crate) fn params(given: &[String]) -> Result<BTreeMap<String, String>> {
    let params: BTreeMap<String, String> = given
        .iter()
        .map(|each| {
            each.split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .ok_or_else(|| {
                    Error::usage(format!("--param {each} has no `=`")).hint("--param volumes=true")
                })
        })
        .collect::<Result<_>>()?;
    for (name, value) in &params {
        if redact::is_secret(name, value) {
            redact::know(value);
        }
    }
    Ok(params)
}

/// The stories that the words name; a path of a script is a story too.
pub(crate) fn stories(context: &mut Context, words: &[String]) -> Result<Vec<Rc<Story>>> {
    let mut names = Vec::new();
    let mut catalogue = (*context.catalogue).clone();
    for word in words {
        if is_script(word) {
            let story = script_story(context, Path::new(word))?;
            names.push(story.id.clone());
            catalogue.add(story);
        } else {
            names.push(word.clone());
        }
    }
    context.catalogue = Rc::new(catalogue);
    let flags = context.view().flags()?;
    Catalogue::select(&context.catalogue, &names, flags.as_ref())
}

/// Words that mean the same from any directory: the path of a script becomes absolute.
fn named_for_good(words: &[String]) -> Vec<String> {
    let absolute = |word: &String| {
        // A script that is not there is told of when it is read.
        let path = is_script(word).then(|| Path::new(word).canonicalize().ok())?;
        Some(path?.to_string_lossy().into_owned())
    };
    words
        .iter()
        .map(|word| absolute(word).unwrap_or_else(|| word.clone()))
        .collect()
}

fn is_script(word: &str) -> bool {
    Path::new(word)
        .extension()
        .is_some_and(|extension| extension == "rhai")
}

fn script_story(context: &Context, path: &Path) -> Result<Rc<Story>> {
    trust::check_script(path, Some(context.workspace.root()))?;
    let script = crate::script::read(path)?;
    Story::of(script, &context.workspace.config().stories).map(Rc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_means_yes_no_or_an_error_and_never_a_real_run_by_mistake() {
        for yes in ["1", "true", "yes", "on", "TRUE", " on "] {
            assert!(environment_dry_run(Some(yes.into())).expect(yes), "{yes}");
        }
        for no in ["", "0", "false", "no", "off"] {
            assert!(!environment_dry_run(Some(no.into())).expect(no), "{no}");
        }
        for wrong in ["maybe", "2", "treu", "-1"] {
            assert!(environment_dry_run(Some(wrong.into())).is_err(), "{wrong}");
        }
        assert!(!environment_dry_run(None).expect("unset"));
    }
}
