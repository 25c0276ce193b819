//! The only module that changes the world. Every function that does takes `&Permit`.

/// Programs: found once, run without a shell.
pub mod commands;

/// Containers, images and volumes.
pub mod docker;

/// Files and directories, below open roots.
pub mod files;

/// Ports and HTTP probes.
pub mod net;

/// Packages of npm and of a Python environment.
pub mod packages;

/// Processes: looked at exactly, ended through a pidfd.
pub mod processes;

/// The world.
#[derive(Debug)]
pub struct Host {}
