//! `rollback monitor`: once for cron, or in the foreground.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::Args;

use super::render;
use crate::alert::Alerts;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::terminal::{self, Style, escape};
use crate::base::wording;
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere, say};
use crate::host::delivery::DELIVERY;
use crate::host::listen::{self, Shared};
use crate::monitor::notice::{Notice, Sink};
use crate::monitor::probes::{self, Asked};
use crate::monitor::verdict::Verdict;
use crate::monitor::watching::{Round, Watching, whole};
use crate::monitor::{export, table, trigger};
use crate::run::Context;
use crate::workspace::monitor_config::{Severity, listen_address};

/// How often the logs are looked at, in the foreground.
const LOOK: Duration = Duration::from_secs(1);

/// How long a wish to end may go unseen.
const TICK: Duration = Duration::from_millis(200);

/// How often what is known is kept, where nothing happens.
const SAVE: Duration = Duration::from_secs(10);

/// `rollback monitor`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Judge once and end: exit code 1 where a trigger is in breach
    #[arg(long)]
    pub once: bool,
    /// Roll back where a trigger says `action: rollback`
    #[arg(long)]
    pub auto: bool,
    /// Serve /metrics and /healthz at this loopback address (in place of monitor.listen)
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "once")]
    pub listen: Option<String>,
}

/// Tells notices on stderr, and through the channels of `alerts:`.
struct Voice {
    quiet: bool,
    no_colour: bool,
    alerts: Alerts,
}

impl Sink for Voice {
    fn raise(&mut self, notice: &Notice) -> Result<()> {
        if !notice.told_by_run {
            self.alerts.raise(notice.alert())?;
        }
        if !self.quiet {
            let style = Style::of(&std::io::stderr(), self.no_colour);
            let ink = match notice.severity {
                Severity::Info => terminal::Ink::Good,
                Severity::Warning => terminal::Ink::Caution,
                Severity::Critical => terminal::Ink::Danger,
            };
            let mut text = format!(
                "{}: {}\n",
                style.paint(ink, notice.kind.name()),
                escape(&notice.title)
            );
            for line in notice.text.lines() {
                text.push_str(&format!("  {}\n", escape(line)));
            }
            say(&text);
        }
        Ok(())
    }

    fn deliver(&mut self, within: Duration) -> Vec<String> {
        if !self.alerts.has_channels() {
            return Vec::new();
        }
        match self.alerts.deliver(Instant::now() + within) {
            Ok(deliveries) => deliveries.warnings(),
            Err(error) => vec![error.to_string()],
        }
    }
}

/// Watches.
///
/// # Errors
/// What the configuration says; what can't be kept.
pub fn monitor(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    context.require_own_state()?;
    let clock = context.host.clock.clone();
    let now = move || {
        let since = clock.now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    };
    let voice = voice(everywhere, &context)?;
    let mut watching = Watching::open(context, voice, now())?;
    let mut launcher = Ok(());
    let wanted = arguments.auto;
    let warning = {
        let (context, starting) = watching.parts();
        context.confine_watching(|| {
            if wanted {
                launcher = starting();
            }
            Ok(())
        })?
    };
    launcher?;
    if let Some(warning) = warning {
        watching.warnings.push(warning);
    }
    if arguments.once {
        once(everywhere, &mut watching, &now)
    } else {
        Foreground::new(everywhere, watching, arguments)?.run(&now)
    }
}

fn voice(everywhere: &Everywhere, context: &Context) -> Result<Box<dyn Sink>> {
    Ok(Box::new(Voice {
        quiet: everywhere.quiet,
        no_colour: everywhere.no_color,
        alerts: Alerts::open(&context.workspace, &context.host.clock)?,
    }))
}

fn warn(everywhere: &Everywhere, warnings: &[String]) {
    if everywhere.quiet {
        return;
    }
    let style = Style::of(&std::io::stderr(), everywhere.no_color);
    for warning in warnings {
        say(&render::warning(&escape(warning), &style));
    }
}

fn code_of(round: &Round) -> ExitCode {
    if whole(&round.assessments) == Verdict::Breach {
        ExitCode::Failed
    } else {
        ExitCode::Done
    }
}

fn once(everywhere: &Everywhere, watching: &mut Watching, now: &dyn Fn() -> i64) -> Result<ExitCode> {
    for asked in probes::ask_all(&watching.sources()) {
        let problem = watching.take(&asked);
        watching.warnings.extend(problem);
    }
    let at = now();
    let problems = watching.look(at, &|| false);
    watching.warnings.extend(problems);
    let round = watching.judge(at)?;
    watching.wait(now)?;
    // What was seen is told, also where it can't be kept.
    let saved = watching.save(now());
    let failed = watching.deliver(DELIVERY);
    watching.warnings.extend(failed);
    let code = match saved {
        Ok(()) => code_of(&round),
        Err(error) => {
            watching
                .warnings
                .push(format!("what was seen is not kept: {error}"));
            ExitCode::Failed
        }
    };
    let unknown = round
        .assessments
        .iter()
        .filter(|assessment| assessment.judgement.verdict == Verdict::Inconclusive)
        .count();
    if unknown > 0 {
        watching.warnings.push(format!(
            "{} of {} inconclusive: nothing is known there, neither good nor bad",
            unknown,
            wording::plural(round.assessments.len() as u64, "verdict")
        ));
    }
    if everywhere.json {
        print_json(&export::document(
            &round,
            &watching.watch.memory.metrics,
            &watching.warnings,
        ));
    } else {
        let style = Style::of(&std::io::stdout(), everywhere.no_color);
        print(&table::triggers(&round, &style));
        warn(everywhere, &watching.warnings);
    }
    Ok(code)
}

/// The monitor in the foreground.
struct Foreground<'a> {
    everywhere: &'a Everywhere,
    watching: Watching,
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    answers: Receiver<Asked>,
    sender: Sender<Asked>,
    asking: Vec<Sender<()>>,
    pages: Option<Shared>,
    terminal: bool,
    /// The last verdict of each trigger and service, where there is no table.
    verdicts: BTreeMap<String, Verdict>,
    /// What could not be seen at the last look.
    unseen: Vec<String>,
    /// Other problems that were told.
    problems: Vec<String>,
}

impl<'a> Foreground<'a> {
    fn new(everywhere: &'a Everywhere, watching: Watching, arguments: &Arguments) -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let (sender, answers) = channel();
        let foreground = Self {
            everywhere,
            watching,
            end: Arc::new(AtomicBool::new(false)),
            reload: Arc::new(AtomicBool::new(false)),
            answers,
            sender,
            asking: Vec::new(),
            pages: None,
            terminal: std::io::IsTerminal::is_terminal(&std::io::stdout())
                && !everywhere.json
                && !everywhere.quiet,
            verdicts: BTreeMap::new(),
            unseen: Vec::new(),
            problems: Vec::new(),
        };
        for (signal, flag) in [
            (SIGINT, &foreground.end),
            (SIGTERM, &foreground.end),
            (SIGHUP, &foreground.reload),
        ] {
            if signal != SIGHUP {
                // The second one ends it at once, whatever it does.
                signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(flag))
                    .map_err(|error| Error::io("watch for signals", &error))?;
            }
            signal_hook::flag::register(signal, Arc::clone(flag))
                .map_err(|error| Error::io("watch for signals", &error))?;
        }
        let mut foreground = foreground;
        let listen = arguments
            .listen
            .clone()
            .or_else(|| foreground.watching.watch.config.listen.clone());
        if let Some(listen) = listen {
            let address = listen_address(&listen).map_err(Error::configuration)?;
            let pages = Shared::default();
            let bound = listen::listen(address, Arc::clone(&pages))?;
            foreground.tell(&format!("listening at http://{bound}/metrics\n"));
            foreground.pages = Some(pages);
        }
        foreground.ask()?;
        Ok(foreground)
    }

    fn tell(&self, text: &str) {
        if !self.everywhere.quiet {
            say(text);
        }
    }

    /// Has each source asked by its own clock.
    fn ask(&mut self) -> Result<()> {
        self.asking = self
            .watching
            .sources()
            .into_iter()
            .map(|source| source.keep_asking(self.sender.clone()))
            .collect::<Result<_>>()?;
        Ok(())
    }

    fn ends(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    fn run(mut self, now: &dyn Fn() -> i64) -> Result<ExitCode> {
        let (mut looked, mut judged, mut saved) = (None::<Instant>, None::<Instant>, Instant::now());
        warn(self.everywhere, &std::mem::take(&mut self.watching.warnings));
        let is_due = |last: Option<Instant>, each: Duration| last.is_none_or(|last| last.elapsed() >= each);
        while !self.ends() {
            if self.reload.swap(false, Ordering::Relaxed) {
                self.reload(now())?;
            }
            if is_due(looked, LOOK) {
                looked = Some(Instant::now());
                let end = Arc::clone(&self.end);
                let problems = self.watching.look(now(), &|| end.load(Ordering::Relaxed));
                if self.ends() {
                    break;
                }
                let new: Vec<String> = problems
                    .iter()
                    .filter(|problem| !self.unseen.contains(problem))
                    .cloned()
                    .collect();
                warn(self.everywhere, &new);
                self.unseen = problems;
            }
            let interval = self.watching.watch.config.interval;
            if is_due(judged, interval) {
                judged = Some(Instant::now());
                let round = match self.watching.judge(now()) {
                    Ok(round) => round,
                    // A full disk ends no watching; nothing was done that could not be kept.
                    Err(error) => {
                        self.complain(&[error.to_string()]);
                        continue;
                    }
                };
                let acted = round
                    .assessments
                    .iter()
                    .any(|assessment| assessment.step != crate::monitor::ledger::Step::Nothing)
                    || round.incidents.iter().any(|incident| incident.new);
                if acted || saved.elapsed() >= SAVE {
                    saved = Instant::now();
                    if let Err(error) = self.watching.save(now()) {
                        self.complain(&[error.to_string()]);
                    }
                }
                // A channel that hangs does not keep the watching: its attempt goes on beside it.
                let undelivered = self.watching.deliver(LOOK);
                self.complain(&undelivered);
                let warnings = std::mem::take(&mut self.watching.warnings);
                self.complain(&warnings);
                self.publish(&round);
                self.show(&round);
            }
            match self.answers.recv_timeout(TICK) {
                Ok(asked) => {
                    if let Some(problem) = self.watching.take(&asked) {
                        self.complain(&[problem]);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        if self.watching.is_rolling_back() {
            self.tell("a rollback is at work; the monitor ends when it has\n");
            self.watching.wait(now)?;
        }
        let saved = self.watching.save(now());
        let undelivered = self.watching.deliver(DELIVERY);
        warn(self.everywhere, &undelivered);
        self.tell("ended\n");
        saved.map(|()| ExitCode::Done)
    }

    fn reload(&mut self, now: i64) -> Result<()> {
        match self.watching.reload(now) {
            Ok(()) => {
                let voice = voice(self.everywhere, self.watching.context())?;
                self.watching.tell_by(voice);
                self.ask()?;
                self.tell("the configuration was read anew\n");
                warn(self.everywhere, &std::mem::take(&mut self.watching.warnings));
            }
            Err(error) => {
                let style = Style::of(&std::io::stderr(), self.everywhere.no_color);
                say(&render::error_with_causes(
                    &error.context("the configuration stays as it was"),
                    &style,
                    self.everywhere.verbose > 0,
                ));
            }
        }
        Ok(())
    }

    /// Tells a problem once.
    fn complain(&mut self, problems: &[String]) {
        let new: Vec<String> = problems
            .iter()
            .filter(|problem| !self.problems.contains(problem))
            .cloned()
            .collect();
        warn(self.everywhere, &new);
        self.problems.extend(new);
        let excess = self.problems.len().saturating_sub(100);
        self.problems.drain(..excess);
    }

    fn publish(&self, round: &Round) {
        let Some(pages) = &self.pages else { return };
        let watch = &self.watching.watch;
        let window = trigger::ms(watch.config.window);
        let metrics = export::exposition(
            round,
            &watch.memory.metrics,
            &watch.triggers,
            watch.memory.ledger.rollbacks().len(),
            window,
        );
        let mut pages = pages.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pages.metrics = metrics;
        pages.health = format!("ok, judged at {}\n", export::timestamp(round.at));
        pages.until = Some(Instant::now() + watch.config.interval * 3 + Duration::from_secs(10));
    }

    fn show(&mut self, round: &Round) {
        self.draw(round);
        // A full disk ends no watching.
        if let Some(error) = super::output::failure() {
            self.complain(&[error.to_string()]);
        }
    }

    fn draw(&mut self, round: &Round) {
        let watch = &self.watching.watch;
        let (metrics, window) = (&watch.memory.metrics, trigger::ms(watch.config.window));
        if self.everywhere.json {
            let document = export::document(round, metrics, &self.watching.warnings);
            print(&format!("{document}\n"));
            return;
        }
        let style = Style::of(&std::io::stdout(), self.everywhere.no_color);
        if self.terminal {
            // Home, the new table line by line, and nothing of the old one below it.
            let text = format!(
                "{}\n{}\n{}",
                table::head(round, trigger::ms(watch.config.interval), window),
                table::services(metrics, round.at, window),
                table::triggers(round, &style)
            );
            print(&format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n")));
            return;
        }
        let mut changed = Round {
            at: round.at,
            ..Round::default()
        };
        for assessment in &round.assessments {
            let key = format!(
                "{}/{}",
                assessment.trigger.name,
                assessment.service.as_deref().unwrap_or_default()
            );
            let verdict = assessment.judgement.verdict;
            if self.verdicts.insert(key, verdict) != Some(verdict) {
                changed.assessments.push(assessment.clone());
            }
        }
        if !self.everywhere.quiet {
            print(&table::triggers(&changed, &style));
        }
    }
}
