//! Generated days: services with traffic, of which the generator knows when they were ill. The judge sees the events
//! alone; what it does is held against what the generator knows.

use std::fmt::Write as _;
use std::ops::Range;

use rollback_manager::base::known::Known;
use rollback_manager::log_line::{self, Event, Level, Line};
use rollback_manager::monitor::Watch;
use rollback_manager::monitor::ledger::{Powers, Step, Uptime};
use rollback_manager::workspace::config::Config;

/// A day in milliseconds.
const DAY: i64 = 86_400_000;

/// Between two judgements.
const TICK: i64 = 15_000;

/// Begin of the first day: 2026-11-23.
const BEGIN: i64 = 1_795_392_000_000;

/// `window`, `sustained_for` and the threshold of the configuration below.
const WINDOW: i64 = 300_000;
const SUSTAINED: i64 = 60_000;
const THRESHOLD: f64 = 0.1;

const CONFIGURATION: &str = "monitor:
  default_triggers: false
  max_rollbacks: 1000
  triggers:
    - { name: errors, metric: error_rate, threshold: 0.1, clear: 0.05, action: rollback, story: '1.7', cooldown: 30m }
";

/// What happens on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    Healthy,
    FewRequests,
    SlowBurn,
    Spike,
    Outage,
    Flapping,
    NoTraffic,
    ClockJump,
    Missing,
    Nonsense,
}

pub const SCENARIOS: [Scenario; 10] = [
    Scenario::Healthy,
    Scenario::FewRequests,
    Scenario::SlowBurn,
    Scenario::Spike,
    Scenario::Outage,
    Scenario::Flapping,
    Scenario::NoTraffic,
    Scenario::ClockJump,
    Scenario::Missing,
    Scenario::Nonsense,
];

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// From 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are taken")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// How many of what happens so often on average.
    fn poisson(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.share(), 0);
        while product > limit {
            product *= self.share();
            count += 1;
        }
        count
    }
}

/// A time of the day in which a service is ill: true times, in ms of the day.
#[derive(Debug, Clone, Copy)]
struct Illness {
    begin: i64,
    end: i64,
    /// From when on nobody could doubt it.
    clear: i64,
}

/// A service as the generator knows it.
struct Service {
    name: String,
    /// Requests a second.
    rate: f64,
    /// Share of errors when it is well.
    base: f64,
    illness: Option<(Illness, Scenario)>,
}

impl Service {
    /// The true share of errors at a time of the day.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a day")]
    fn errors(&self, at: i64) -> f64 {
        let Some((illness, scenario)) = &self.illness else {
            return self.base;
        };
        match scenario {
            // From nothing to 40 % and back at once.
            Scenario::SlowBurn => {
                let begin = illness.begin - (illness.end - illness.begin) / 3;
                if at < begin || at >= illness.end {
                    return self.base;
                }
                self.base
                    .max((at - begin) as f64 / (illness.end - begin) as f64 * 0.4)
            }
            _ if at < illness.begin || at >= illness.end => self.base,
            Scenario::Spike => 1.0,
            // Twenty seconds of each minute all fails.
            Scenario::Flapping if (at - illness.begin) % 60_000 < 20_000 => 1.0,
            Scenario::Flapping => self.base,
            _ => 0.5,
        }
    }

    fn is_ill(&self, from: i64, to: i64) -> i64 {
        self.illness.map_or(0, |(illness, _)| {
            (illness.end.min(to) - illness.begin.max(from)).max(0)
        })
    }
}

/// What came of the days.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub days: u64,
    pub illnesses: u64,
    pub true_alarms: u64,
    pub false_alarms: u64,
    pub rollbacks: u64,
    /// Without an illness as long as `sustained_for`.
    pub false_rollbacks: u64,
    /// A second one of the same illness, within the cooldown.
    pub repeated: u64,
    /// Illnesses longer than window and `sustained_for` of which nobody was told in time.
    pub missed: u64,
    pub failures: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.days += other.days;
        self.illnesses += other.illnesses;
        self.true_alarms += other.true_alarms;
        self.false_alarms += other.false_alarms;
        self.rollbacks += other.rollbacks;
        self.false_rollbacks += other.false_rollbacks;
        self.repeated += other.repeated;
        self.missed += other.missed;
        self.failures.extend(other.failures.iter().cloned());
    }
}

fn services(random: &mut Random, scenario: Scenario) -> Vec<Service> {
    let mut services: Vec<Service> = (0..5)
        .map(|number| Service {
            name: format!("service-{number}"),
            rate: random.between(0.1, 1.0),
            base: random.between(0.0, 0.02),
            illness: None,
        })
        .collect();
    let first = &mut services[0];
    first.rate = random.between(0.3, 1.0);
    if scenario == Scenario::FewRequests {
        for service in &mut services {
            service.rate = random.between(0.01, 0.1);
        }
        return services;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a time of the day")]
    let begin = random.between(4.0, 20.0).mul_add(3_600_000.0, 0.0) as i64;
    #[expect(clippy::cast_possible_truncation, reason = "a time of the day")]
    let length = match scenario {
        Scenario::Spike => random.between(5_000.0, 50_000.0) as i64,
        Scenario::SlowBurn => 5_400_000,
        _ => random.between(400_000.0, 3_600_000.0) as i64,
    };
    let illness = Illness {
        begin,
        end: begin + length,
        // The share of errors of a slow burn is 10 % at its begin, and 20 % a third of the way on.
        clear: if scenario == Scenario::SlowBurn {
            begin + length / 3
        } else {
            begin
        },
    };
    match scenario {
        Scenario::SlowBurn
        | Scenario::Spike
        | Scenario::Outage
        | Scenario::Flapping
        | Scenario::ClockJump
        | Scenario::Nonsense => first.illness = Some((illness, scenario)),
        _ => {}
    }
    services
}

/// Lives through one day.
pub fn day(number: u64, scenario: Scenario) -> Tally {
    let mut random = Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
    let services = services(&mut random, scenario);
    let config = Config::parse(CONFIGURATION).expect("a configuration").monitor;
    let (mut watch, warnings) = Watch::new(&config, &[]);
    assert!(warnings.is_empty());
    let mut powers = Powers {
        auto: true,
        max_rollbacks: 1000,
        ..Powers::default()
    };
    let mut tally = Tally {
        days: 1,
        ..Tally::default()
    };
    let mut told_in_time = vec![false; services.len()];
    let mut last_rollback: Option<i64> = None;
    // A clock that is set: an hour ahead at noon, and an hour back in the evening.
    let display = |at: i64| {
        let jump = match scenario {
            Scenario::ClockJump if (43_200_000..72_000_000).contains(&at) => 3_600_000,
            _ => 0,
        };
        BEGIN + at + jump
    };
    let silent = |at: i64| match scenario {
        Scenario::NoTraffic => (28_800_000..64_800_000).contains(&at),
        // Nothing arrives for ten minutes of each hour.
        Scenario::Missing => at % 3_600_000 < 600_000,
        _ => false,
    };
    for tick in 0..DAY / TICK {
        let (from, to) = (tick * TICK, (tick + 1) * TICK);
        for service in &services {
            #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
            let count = random.poisson(service.rate * TICK as f64 / 1000.0);
            for _ in 0..count {
                #[expect(clippy::cast_possible_wrap, reason = "it is small")]
                let at = from + (random.next() % TICK as u64) as i64;
                let error = random.share() < service.errors(at);
                if silent(at) {
                    continue;
                }
                if scenario == Scenario::Nonsense {
                    nonsense(&mut watch, &mut random, display(at), display(to));
                }
                let event = Event {
                    at: Known::Yes(display(at)),
                    service: Some(service.name.as_str().into()),
                    level: Known::Yes(if error { Level::Error } else { Level::Info }),
                    ..Event::default()
                };
                watch.event(&event, None, display(to));
            }
        }
        powers.uptime = Some(Uptime {
            boot: "simulated".to_owned(),
            ms: to,
        });
        for told in watch.judge(&powers, display(to)) {
            let Some(place) = services
                .iter()
                .position(|service| Some(&service.name) == told.service.as_ref())
            else {
                assert_eq!(told.step, Step::Nothing, "{scenario:?} {told:?}");
                continue;
            };
            let service = &services[place];
            let ill = service.is_ill(to - WINDOW - SUSTAINED, to);
            match &told.step {
                Step::Nothing | Step::Recovery => continue,
                Step::Alert(_) => {}
                Step::Rollback(_) => {
                    tally.rollbacks += 1;
                    if ill < SUSTAINED {
                        tally.false_rollbacks += 1;
                        tally.failures.push(format!(
                            "day {number} ({scenario:?}) at {}: rolled back without cause: {}",
                            to / 1000,
                            told.judgement.why
                        ));
                    }
                    if last_rollback.is_some_and(|last| to - last < 1_800_000) {
                        tally.repeated += 1;
                        tally.failures.push(format!(
                            "day {number} ({scenario:?}) at {}: rolled back twice",
                            to / 1000
                        ));
                    }
                    last_rollback = Some(to);
                }
            }
            // A slow burn that is told a little early is no false alarm.
            let early = service.errors(to) >= THRESHOLD / 2.0 && scenario == Scenario::SlowBurn;
            if ill > 0 || early {
                tally.true_alarms += 1;
            } else {
                tally.false_alarms += 1;
            }
            if let Some((illness, _)) = &service.illness
                && to <= illness.clear + WINDOW + SUSTAINED + 4 * TICK
            {
                told_in_time[place] = true;
            }
        }
    }
    for (service, told) in services.iter().zip(told_in_time) {
        let Some((illness, _)) = &service.illness else {
            continue;
        };
        tally.illnesses += 1;
        // The jumping clock makes a window of an hour that is not there, or twice there: an illness around it may end early.
        let jumped = scenario == Scenario::ClockJump
            && [43_200_000, 72_000_000]
                .iter()
                .any(|jump| (illness.begin - WINDOW - SUSTAINED..illness.end).contains(jump));
        if illness.end - illness.clear > WINDOW + SUSTAINED && !told && !jumped {
            tally.missed += 1;
            tally.failures.push(format!(
                "day {number} ({scenario:?}): the illness from {} to {} was missed",
                illness.clear / 1000,
                illness.end / 1000
            ));
        }
    }
    tally
}

/// Lines that are no events, and events without a number.
fn nonsense(watch: &mut Watch, random: &mut Random, at: i64, now: i64) {
    let time = rollback_manager::monitor::export::timestamp(at);
    let line = match random.next() % 5 {
        0 => "{\"duration\":NaN}".to_owned(),
        1 => format!("{{\"timestamp\":\"{time}\",\"service\":\"service-1\",\"duration\":\"NaN\"}}"),
        2 => "{\"level\":\"ERROR\",\"service\":\"service-1\"}".to_owned(),
        3 => "{\"timestamp\":\"2099-01-01T00:00:00.000Z\",\"level\":\"ERROR\",\"service\":\"service-1\"}"
            .to_owned(),
        _ => "\u{0}\u{fffd}[".to_owned(),
    };
    if let Line::Event(event) = log_line::read(line.as_bytes(), now) {
        watch.event(&event, None, now);
    }
}

/// The table of what came of each kind of day.
pub fn table(tallies: &[(Scenario, Tally)]) -> String {
    let mut text = format!(
        "{:<12} {:>6} {:>10} {:>12} {:>13} {:>10} {:>16} {:>7}\n",
        "days",
        "number",
        "illnesses",
        "true alarms",
        "false alarms",
        "rollbacks",
        "false rollbacks",
        "missed"
    );
    for (scenario, tally) in tallies {
        let _ = writeln!(
            text,
            "{:<12} {:>6} {:>10} {:>12} {:>13} {:>10} {:>16} {:>7}",
            format!("{scenario:?}"),
            tally.days,
            tally.illnesses,
            tally.true_alarms,
            tally.false_alarms,
            tally.rollbacks,
            tally.false_rollbacks,
            tally.missed
        );
    }
    text
}

/// Lives through these days, by several threads. The number of a day is its seed.
pub fn days(numbers: Range<u64>) -> Vec<(Scenario, Tally)> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let all = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let numbers = numbers.clone();
                scope.spawn(move || {
                    (numbers.start + thread..numbers.end)
                        .step_by(usize::try_from(threads).expect("few threads"))
                        .map(|number| {
                            let scenario =
                                SCENARIOS[usize::try_from(number % SCENARIOS.len() as u64).expect("a few")];
                            (scenario, day(number, scenario))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().expect("a thread of days"))
            .collect::<Vec<_>>()
    });
    let mut tallies: Vec<(Scenario, Tally)> = SCENARIOS
        .iter()
        .map(|scenario| (*scenario, Tally::default()))
        .collect();
    for (scenario, tally) in all {
        if let Some((_, sum)) = tallies.iter_mut().find(|(known, _)| *known == scenario) {
            sum.add(&tally);
        }
    }
    tallies
}
