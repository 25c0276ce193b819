//! Watching: logs, memory, probes and endpoints are measured, and triggers judged.

/// A line of a log as an event.
pub mod events;

/// What was counted and measured.
pub mod metrics;

/// Slots and samples by time.
pub mod window;
