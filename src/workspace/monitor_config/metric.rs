//! What a trigger is about, and what kind of number that is.

use serde::Deserialize;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of a service's events that are errors, 0 to 1.
    ErrorRate,
    /// Mean response time of a service, in milliseconds.
    ResponseTime,
    /// Median response time, in milliseconds.
    ResponseTimeP50,
    /// 90th percentile of the response time, in milliseconds.
    ResponseTimeP90,
    /// 95th percentile of the response time, in milliseconds.
    ResponseTimeP95,
    /// 99th percentile of the response time, in milliseconds.
    ResponseTimeP99,
    /// Crashes of a service in the window.
    Crashes,
    /// Share of the machine's memory in use, 0 to 1.
    Memory,
    /// Resident memory of a service's processes, in bytes.
    ProcessMemory,
    /// Share of the answers of a probe that were good, 0 to 1. Bad is what lies below the threshold.
    Availability,
    /// A value of a Prometheus endpoint.
    Prometheus,
    /// What `fn trigger(metrics)` of a story says.
    Script,
}

impl Metric {
    /// As `rollback.yaml` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::ResponseTime => "response_time",
            Self::ResponseTimeP50 => "response_time_p50",
            Self::ResponseTimeP90 => "response_time_p90",
            Self::ResponseTimeP95 => "response_time_p95",
            Self::ResponseTimeP99 => "response_time_p99",
            Self::Crashes => "crashes",
            Self::Memory => "memory",
            Self::ProcessMemory => "process_memory",
            Self::Availability => "availability",
            Self::Prometheus => "prometheus",
            Self::Script => "script",
        }
    }

    /// The word of `run --trigger` for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ErrorRate => "error-rate",
            Self::Memory | Self::ProcessMemory => "memory",
            Self::ResponseTime
            | Self::ResponseTimeP50
            | Self::ResponseTimeP90
            | Self::ResponseTimeP95
            | Self::ResponseTimeP99 => "response-time",
            Self::Crashes => "crashes",
            Self::Availability => "availability",
            Self::Prometheus | Self::Script => "custom",
        }
    }

    /// The quantile, for percentiles.
    #[must_use]
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::ResponseTimeP50 => Some(0.5),
            Self::ResponseTimeP90 => Some(0.9),
            Self::ResponseTimeP95 => Some(0.95),
            Self::ResponseTimeP99 => Some(0.99),
            _ => None,
        }
    }

    /// Whether it is counted from the events of logs.
    #[must_use]
    pub const fn is_of_events(self) -> bool {
        matches!(self, Self::ErrorRate | Self::ResponseTime | Self::Crashes) || self.quantile().is_some()
    }

    /// Whether it is counted from the levels of events.
    #[must_use]
    pub const fn is_of_levels(self) -> bool {
        matches!(self, Self::ErrorRate | Self::Crashes)
    }

    /// Whether it is a share from 0 to 1.
    #[must_use]
    pub const fn is_share(self) -> bool {
        matches!(self, Self::ErrorRate | Self::Memory | Self::Availability)
    }

    /// Whether low values are the bad ones.
    #[must_use]
    pub const fn is_bad_below(self) -> bool {
        matches!(self, Self::Availability)
    }
}
