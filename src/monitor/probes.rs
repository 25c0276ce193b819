//! Asking: addresses that answer or do not, values of Prometheus text endpoints. Each source is asked by a thread of its own,
//! so that a slow one keeps nobody waiting.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use super::trigger::ms;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::net;
use crate::workspace::address::Address;
use crate::workspace::monitor_config::{MonitorConfig, ProbeConfig, PrometheusConfig};

/// Bytes of an endpoint's text that are read.
const TEXT: u64 = 8 << 20;

/// What is asked.
#[derive(Debug, Clone)]
pub enum Source {
    /// Whether an address answers.
    Probe(ProbeConfig),
    /// A value of an endpoint.
    Prometheus(PrometheusConfig),
}

/// Series of one entry at most: what is beyond has to be told apart by labels.
const SERIES: usize = 100;

/// An answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The gauge that it goes into.
    pub gauge: String,
    /// Whether it is a counter, of which the growth counts.
    pub counter: bool,
    /// When, in ms.
    pub at: i64,
    /// How long it tells something about now, in ms.
    pub fresh: i64,
    /// The values by what tells them apart (`{queue="mail"}`; nothing where there is one alone), each with why it is none; or
    /// why there are none at all.
    pub values: Result<Vec<Value>, String>,
}

/// A value with the labels that tell it apart.
pub type Value = (String, Known<f64>);

impl Source {
    /// All sources of a configuration. Several addresses of one service are told apart by what they are.
    #[must_use]
    pub fn all(config: &MonitorConfig) -> Vec<Self> {
        let is_alone = |probe: &ProbeConfig| {
            config
                .probes
                .iter()
                .filter(|other| other.service == probe.service)
                .count()
                == 1
        };
        let probes = config.probes.iter().map(|probe| {
            let mut told_apart = probe.clone();
            if !is_alone(probe) {
                told_apart.service = format!("{}{{url=\"{}\"}}", probe.service, probe.url);
            }
            Self::Probe(told_apart)
        });
        probes
            .chain(config.prometheus.iter().cloned().map(Self::Prometheus))
            .collect()
    }

    /// Asks, and waits for the answer at most as long as is configured.
    #[must_use]
    pub fn ask(&self) -> Asked {
        let (gauge, counter, values) = match self {
            Self::Probe(probe) => (
                format!("availability/{}", probe.service),
                false,
                probe_value(probe).map(|value| vec![(String::new(), Known::Yes(value))]),
            ),
            Self::Prometheus(entry) => (
                format!("prometheus/{}", entry.name),
                entry.rate,
                prometheus_values(entry),
            ),
        };
        Asked {
            gauge,
            counter,
            at: now(),
            fresh: ms(self.interval() * 3 + self.timeout()),
            values: values.map_err(|error| error.to_string()),
        }
    }

    fn timeout(&self) -> Duration {
        match self {
            Self::Probe(probe) => probe.timeout,
            Self::Prometheus(entry) => entry.timeout,
        }
    }

    fn interval(&self) -> Duration {
        match self {
            Self::Probe(probe) => probe.interval,
            Self::Prometheus(entry) => entry.interval,
        }
    }

    /// Asks again and again, until what it gives is dropped.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn keep_asking(self, to: Sender<Asked>) -> Result<Sender<()>> {
        let (end, ended) = channel::<()>();
        std::thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || {
                loop {
                    if to.send(self.ask()).is_err() {
                        return;
                    }
                    if ended.recv_timeout(self.interval()) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })
            .map_err(|error| Error::io("start a thread that asks", &error))?;
        Ok(end)
    }
}

/// Asks all sources once, at the same time.
#[must_use]
pub fn ask_all(sources: &[Source]) -> Vec<Asked> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = sources
            .iter()
            .map(|source| scope.spawn(|| source.ask()))
            .collect();
        asking
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    })
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn probe_value(probe: &ProbeConfig) -> Result<f64> {
    let configured = Address::parse(&probe.url)?;
    let seen = net::http_check(configured.clone(), probe.timeout, &|address| {
        if address.origin() == configured.origin() {
            Ok(())
        } else {
            Err(Error::denied(format!(
                "the probe of `{}` is led to another host",
                probe.service
            )))
        }
    })?;
    let good = seen.status.is_some_and(|status| match probe.status {
        Some(wanted) => status == wanted,
        None => status < 400,
    });
    Ok(f64::from(u8::from(good)))
}

fn prometheus_values(entry: &PrometheusConfig) -> Result<Vec<Value>> {
    let text = net::fetch(&Address::parse(&entry.url)?, entry.timeout, TEXT)?;
    let values = series_of(&text, &entry.series).and_then(|values| {
        if entry.sum {
            sum(&entry.series, &values).map(|sum| vec![(String::new(), Known::Yes(sum))])
        } else {
            Ok(values)
        }
    });
    values.map_err(|why| Error::failed(format!("`{}`: {why}", entry.name)))
}

/// The sum of several series: known only where each part is.
fn sum(selector: &str, values: &[Value]) -> Result<f64, String> {
    let mut sum = 0.0;
    for (labels, value) in values {
        if labels.contains("quantile=\"") || labels.contains("le=\"") {
            return Err(format!(
                "`{selector}` has series such as `{labels}`, which can't be summed"
            ));
        }
        match value {
            Known::Yes(value) => sum += value,
            Known::Unknown(why) => return Err(format!("the sum of `{selector}` is not known: {why}")),
        }
    }
    Ok(sum)
}

/// The series that a selector names (`name` or `name{label="value"}`) in a Prometheus text, each with the labels that the
/// selector does not name.
///
/// # Errors
/// Why there is none, or that there are too many.
pub fn series_of(text: &str, selector: &str) -> Result<Vec<Value>, String> {
    let (name, wanted) = labels(selector).ok_or_else(|| format!("`{selector}` is no series"))?;
    let mut values: Vec<Value> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') || !line.starts_with(name) {
            continue;
        }
        let end = match line.find('{') {
            Some(open) if open == name.len() => end_of_labels(line),
            _ => Some(line.find([' ', '\t']).unwrap_or(line.len())),
        };
        let Some((series, value)) = end.and_then(|end| Some((line.get(..end)?, line.get(end..)?))) else {
            continue;
        };
        let Some((own, given)) = labels(series) else {
            continue;
        };
        if own != name || !wanted.iter().all(|label| given.contains(label)) {
            continue;
        }
        let apart: Vec<String> = given
            .iter()
            .filter(|label| !wanted.contains(label))
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect();
        let apart = if apart.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", apart.join(","))
        };
        let value = value
            .split_whitespace()
            .next()
            .and_then(|value| value.parse::<f64>().ok())
            .filter(|value| value.is_finite())
            .map_or_else(|| Known::Unknown(format!("`{series}` is no number")), Known::Yes);
        if values.len() == SERIES {
            return Err(format!(
                "more than {SERIES} series match `{selector}`: name labels that tell fewer"
            ));
        }
        values.push((apart, value));
    }
    if values.is_empty() {
        return Err(format!("the endpoint has no series `{selector}`"));
    }
    Ok(values)
}

/// Right behind the `}` that closes the labels.
fn end_of_labels(line: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in line.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The name and the labels of a series.
fn labels(series: &str) -> Option<(&str, Vec<(String, String)>)> {
    let series = series.trim();
    let Some((name, rest)) = series.split_once('{') else {
        return (!series.is_empty()).then(|| (series, Vec::new()));
    };
    let inside = rest.strip_suffix('}')?;
    let mut found = Vec::new();
    let mut letters = inside.chars().peekable();
    loop {
        let key: String = std::iter::from_fn(|| letters.next_if(|letter| *letter != '=')).collect();
        if letters.next().is_none() {
            break;
        }
        if letters.next() != Some('"') {
            return None;
        }
        let mut value = String::new();
        loop {
            match letters.next()? {
                '"' => break,
                '\\' => match letters.next()? {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        found.push((key.trim_matches([',', ' ']).to_owned(), value));
    }
    Some((name.trim_end(), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_told_apart_by_name_and_labels() {
        let text = "# HELP depth of \"queues\"\n# TYPE depth gauge\ndepth{queue=\"mail\",a=\"}\"} 3 1700000000\n\
                    depth{queue=\"jobs\"} 4\ndepth_total 100\nother NaN\nmixed{a=\"1\"} NaN\nmixed{a=\"2\"} 2e1\n";
        let yes = |labels: &str, value: f64| (labels.to_owned(), Known::Yes(value));
        for (selector, expected) in [
            (
                "depth",
                vec![yes("{queue=\"mail\",a=\"}\"}", 3.0), yes("{queue=\"jobs\"}", 4.0)],
            ),
            ("depth{queue=\"mail\"}", vec![yes("{a=\"}\"}", 3.0)]),
            ("depth{queue=\"jobs\"}", vec![yes("", 4.0)]),
            ("depth_total", vec![yes("", 100.0)]),
        ] {
            assert_eq!(series_of(text, selector), Ok(expected), "{selector}");
        }
        let mixed = series_of(text, "mixed").expect("two series");
        assert_eq!(mixed.get(1), Some(&yes("{a=\"2\"}", 20.0)));
        assert!(matches!(&mixed.first().expect("one").1, Known::Unknown(why) if why.contains("no number")));
        for (selector, named) in [("missing", "no series"), ("depth{x=1}", "is no series")] {
            assert!(
                series_of(text, selector).expect_err(selector).contains(named),
                "{selector}"
            );
        }
    }

    #[test]
    fn a_sum_is_known_where_each_part_is_and_parts_of_one_thing_are_added() {
        let of = |text: &str| sum("x", &series_of(text, "x").expect("series"));
        assert_eq!(of("x{a=\"1\"} 1\nx{a=\"2\"} 2.5\n"), Ok(3.5));
        assert!(
            of("x{a=\"1\"} 1\nx{a=\"2\"} NaN\n")
                .expect_err("unknown")
                .contains("no number")
        );
        assert!(
            of("x{quantile=\"0.5\"} 1\nx{quantile=\"0.9\"} 2\n")
                .expect_err("no sum")
                .contains("quantile")
        );
        let many: Vec<String> = (0..=SERIES)
            .map(|number| format!("x{{a=\"{number}\"}} 1"))
            .collect();
        let many = many.join("\n");
        assert!(
            series_of(&many, "x")
                .expect_err("too many")
                .contains("more than 100")
        );
    }
}
