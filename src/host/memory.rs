//! Memory in figures, as sysinfo reads it: what programs here can have, and what this one has. For people, triggers and
//! limits of scripts; whom to end is never decided by it. What a process has stands in `processes::Process`, read from the
//! same handle as its identity: sysinfo goes by number, and gives 0 for one that has ended.

use sysinfo::{CGroupLimits, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::base::error::{Error, Result};

/// Memory in bytes: the machine's, or what a control group may have that this program is in, where that is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What can be used without swapping, as the kernel estimates it.
    pub available: u64,
}

impl Memory {
    /// How much there is, and how much is left. A limit of a control group that can't be read counts as none, and what
    /// other groups have that share it is not seen.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Unknown`] where the system doesn't tell.
    pub fn look() -> Result<Self> {
        let mut own = Own::open()?;
        own.system
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        own.refresh();
        let group = own
            .system
            .process(own.pid)
            .and_then(sysinfo::Process::cgroup_limits);
        Self::of(
            own.system.total_memory(),
            own.system.available_memory(),
            group.as_ref(),
        )
    }

    fn of(total: u64, available: u64, group: Option<&CGroupLimits>) -> Result<Self> {
        if total == 0 {
            return Err(Error::unknown("the system doesn't tell how much memory there is")
                .hint("`/proc/meminfo` says it on Linux"));
        }
        let available = available.min(total);
        Ok(match group {
            // Not its free memory: there, files that are kept in memory count as used, and fill it up to the limit.
            Some(group) if group.total_memory < total => Self {
                total: group.total_memory,
                available: group.total_memory.saturating_sub(group.rss).min(available),
            },
            _ => Self { total, available },
        })
    }

    /// The share in use, from 0.0 to 1.0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    pub fn used(&self) -> f64 {
        1.0 - self.available as f64 / (self.total as f64).max(1.0)
    }
}

/// The memory of this program, looked at again and again.
pub struct Own {
    system: System,
    pid: Pid,
}

impl Own {
    /// # Errors
    /// Where the system doesn't tell of any process.
    pub fn open() -> Result<Self> {
        let unknown = |why: &str| Error::unknown(format!("the memory of this program is not known: {why}"));
        Ok(Self {
            system: System::new().map_err(|error| unknown(&error.to_string()))?,
            pid: sysinfo::get_current_pid().map_err(|error| unknown(&error.to_string()))?,
        })
    }

    fn refresh(&mut self) {
        let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
        let own = [self.pid];
        self.system
            .refresh_processes_specifics(ProcessesToUpdate::Some(&own), true, kind);
    }

    /// Resident memory in bytes; `None` where the system won't say.
    pub fn resident(&mut self) -> Option<u64> {
        self.refresh();
        let process = self.system.process(self.pid)?;
        Some(process.memory()).filter(|bytes| *bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn memory_is_within_itself() {
        let memory = Memory::look().expect("a proc file system");
        assert!(
            memory.available > 0 && memory.available <= memory.total,
            "{memory:?}"
        );
        assert!((0.0..1.0).contains(&memory.used()), "{memory:?}");
    }

    #[test]
    fn a_control_group_with_a_smaller_limit_counts_without_the_files_that_are_kept_in_memory() {
        let group = |total: u64, free: u64, rss: u64| CGroupLimits {
            total_memory: total,
            free_memory: free,
            free_swap: 0,
            rss,
        };
        for (limit, expected) in [
            (None, (16 * GIB, 8 * GIB)),
            // Filled up with what was read: three quarters can be had again.
            (Some(group(4 * GIB, 0, GIB)), (4 * GIB, 3 * GIB)),
            // The machine has less than the group has left.
            (Some(group(12 * GIB, 11 * GIB, GIB)), (12 * GIB, 8 * GIB)),
            (Some(group(4 * GIB, 0, 5 * GIB)), (4 * GIB, 0)),
            // No smaller limit.
            (Some(group(32 * GIB, 32 * GIB, GIB)), (16 * GIB, 8 * GIB)),
        ] {
            let memory = Memory::of(16 * GIB, 8 * GIB, limit.as_ref()).expect("known");
            assert_eq!((memory.total, memory.available), expected, "{limit:?}");
        }
    }

    #[test]
    fn memory_of_which_nobody_tells_is_unknown_and_not_none() {
        let error = Memory::of(0, 0, None).expect_err("unknown");
        assert_eq!(error.kind(), crate::base::error::Kind::Unknown);
    }

    #[test]
    fn memory_of_this_program_grows_with_what_it_takes() {
        let mut own = Own::open().expect("this process");
        let before = own.resident().expect("known");
        let taken = vec![1_u8; 64 << 20];
        let after = own.resident().expect("known");
        assert!(after >= before + (32 << 20), "{before} {after}");
        drop(taken);
    }

    /// Why what a process has is not asked of sysinfo: a figure is only taken of what was looked at and is still there.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process of the test")]
    fn a_process_that_has_ended_has_no_figure_and_sysinfo_says_zero() {
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = i32::try_from(child.id()).expect("a number");
        let stat = format!("/proc/{pid}/stat");
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !std::fs::read_to_string(&stat)
            .expect("not waited for yet")
            .contains(") Z ")
        {
            assert!(std::time::Instant::now() < limit, "it does not end");
            std::thread::yield_now();
        }
        let pids = [Pid::from_u32(child.id())];
        let mut system = System::new().expect("a system");
        let kind = ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
        assert_eq!(system.process(pids[0]).map(sysinfo::Process::memory), Some(0));
        assert_eq!(crate::host::processes::look(pid).expect("a table"), None);
        child.wait().expect("ended");
    }
}
