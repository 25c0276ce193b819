//! What the monitor looks at: logs, memory, processes, the functions of stories, answers of what is asked.

use super::{Watching, story_of};
use crate::base::known::Known;
use crate::host::memory::Memory;
use crate::host::processes::{Query, Scope};
use crate::monitor::lines::{Before, Lines};
use crate::monitor::probes::Asked;
use crate::monitor::script;
use crate::monitor::trigger::ms;
use crate::monitor::watched::Watched;
use crate::monitor::window::Gauge;
use crate::workspace::config::ProcessScope;
use crate::workspace::monitor_config::Metric;

impl Watching {
    /// Reads what is new in the logs, and looks at memory, processes and scripts. Gives what could not be seen.
    pub fn look(&mut self, now: i64, stop: &dyn Fn() -> bool) -> Vec<String> {
        let from = now.saturating_sub(self.watch.memory.metrics.span().whole());
        let mut lines = Lines {
            watch: &mut self.watch,
            now,
            from,
            stop,
            newest: i64::MIN,
            before: Before::default(),
        };
        let mut problems = self.follower.poll(now, from, &mut lines);
        let (newest, gap) = (lines.newest, Watched::gap(ms(self.watch.config.interval)));
        let memory = &mut self.watch.memory;
        memory.watched = Some(Watched::look(memory.watched, now, newest, gap));
        match Memory::look() {
            Ok(memory) => self.watch.memory.metrics.gauge("memory", now, memory.used()),
            Err(error) => problems.push(error.to_string()),
        }
        self.look_at_processes(now, &mut problems);
        self.ask_scripts(now, &mut problems);
        problems
    }

    fn look_at_processes(&mut self, now: i64, problems: &mut Vec<String>) {
        let root = self.context.workspace.root().to_path_buf();
        let scope = match self.context.workspace.config().policy.processes.scope {
            ProcessScope::Workspace => Scope::Workspace(root.clone()),
            ProcessScope::User => Scope::User,
        };
        for watched in &self.watch.config.processes {
            let query = Query {
                pid_file: watched.pid_file.as_ref().map(|file| root.join(file)),
                name: watched.name.clone(),
                command: watched.command.clone(),
                port: watched.port,
                ..Query::default()
            };
            let looked = self.context.host.broker.find(&query, &scope, None);
            let (found, passed_over) = match looked {
                Ok(found) => (found.processes, found.passed_over),
                Err(error) => {
                    problems.push(format!("processes of `{}`: {error}", watched.service));
                    continue;
                }
            };
            let doubts = passed_over.iter().filter(|passed| passed.doubtful);
            problems.extend(
                doubts.map(|passed| format!("processes of `{}`: {}", watched.service, passed.rendered())),
            );
            let metrics = &mut self.watch.memory.metrics;
            if found.is_empty() {
                metrics.forget_gauge(&format!("process_memory/{}", watched.service));
            } else {
                #[expect(clippy::cast_precision_loss, reason = "bytes of memory are below 2^52")]
                let bytes = found.iter().map(|process| process.memory).sum::<u64>() as f64;
                metrics.gauge(&format!("process_memory/{}", watched.service), now, bytes);
            }
            let before = self.processes.remove(&watched.service).unwrap_or_default();
            // One that was ours and may be still has not ended, whatever it runs by now.
            let doubtful = |process: &(i32, u64)| {
                passed_over.iter().any(|passed| {
                    passed.doubtful
                        && (passed.pid, passed.started_ticks) == (Some(process.0), Some(process.1))
                })
            };
            let alive: Vec<(i32, u64)> = found
                .iter()
                .map(|process| (process.pid, process.started_ticks))
                .chain(before.iter().copied().filter(doubtful))
                .collect();
            self.processes.insert(watched.service.clone(), alive.clone());
            for _ in before.iter().filter(|process| !alive.contains(process)) {
                metrics.crash(&watched.service, now);
            }
        }
    }

    fn ask_scripts(&mut self, now: i64, problems: &mut Vec<String>) {
        let limits = self.context.workspace.config().policy.limits.clone();
        let asked: Vec<_> = self
            .watch
            .triggers
            .iter()
            .filter(|trigger| trigger.metric == Metric::Script)
            .filter_map(|trigger| {
                let story =
                    story_of(&self.context.catalogue, trigger.story.as_deref(), &trigger.name).ok()??;
                let value = script::evaluate(&story.script, &limits, trigger, &self.watch, now);
                Some((trigger.name.clone(), value))
            })
            .collect();
        for (name, value) in asked {
            match value {
                Ok(value) => self
                    .watch
                    .memory
                    .metrics
                    .gauge(&format!("script/{name}"), now, value),
                Err(error) => {
                    problems.push(format!("trigger `{name}`: {error}"));
                    // What it said before no longer holds.
                    self.watch.memory.metrics.forget_gauge(&format!("script/{name}"));
                }
            }
        }
    }

    /// Takes an answer. Gives why there is none, or what of it is none.
    pub fn take(&mut self, asked: &Asked) -> Option<String> {
        let values = match &asked.values {
            Ok(values) => values,
            Err(why) => return Some(why.clone()),
        };
        let mut unknown = Vec::new();
        for (labels, value) in values {
            let gauge = format!("{}{labels}", asked.gauge);
            // A series is known of, also while its value is not.
            self.watch.memory.metrics.keep_fresh(&gauge, asked.fresh);
            match value {
                Known::Yes(value) => self.take_value(&gauge, asked, *value),
                Known::Unknown(why) => unknown.push(why.clone()),
            }
        }
        (!unknown.is_empty()).then(|| unknown.join("; "))
    }

    fn take_value(&mut self, gauge: &str, asked: &Asked, value: f64) {
        let metrics = &mut self.watch.memory.metrics;
        if !asked.counter {
            metrics.gauge(gauge, asked.at, value);
            return;
        }
        let raw = format!("counter {gauge}");
        let before = metrics.gauge_of(&raw).and_then(Gauge::newest);
        metrics.gauge(&raw, asked.at, value);
        if let Some((at, last)) = before
            // A counter that is smaller began anew.
            && value >= last
            && asked.at > at
        {
            #[expect(clippy::cast_precision_loss, reason = "a time between two questions")]
            let seconds = (asked.at - at) as f64 / 1000.0;
            metrics.gauge(gauge, asked.at, (value - last) / seconds);
        }
    }
}
