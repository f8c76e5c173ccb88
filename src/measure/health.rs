//! The generator's own health: CPU, memory, steal, read from the system where it has them.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::report::result::HostInfo;
use crate::time::Micros;

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu: Micros,
    /// Resident memory now, bytes; 0 where it cannot be read.
    pub rss: u64,
    /// CPU ticks of the machine: (stolen by other guests, all); `None` where they cannot be read.
    pub ticks: Option<(u64, u64)>,
}

impl Usage {
    /// Reads it.
    pub fn now() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self {
            cpu: Micros(cpu.tv_sec * 1_000_000 + cpu.tv_nsec / 1_000),
            rss: resident_bytes(),
            ticks: machine_ticks(),
        }
    }

    /// Share of the machine's CPU time that other guests took since `before`.
    pub fn steal_since(&self, before: &Self) -> Option<f64> {
        let ((stolen, all), (stolen0, all0)) = (self.ticks?, before.ticks?);
        let all = all.checked_sub(all0).filter(|&n| n > 0)?;
        Some(stolen.saturating_sub(stolen0) as f64 / all as f64)
    }
}

/// User and system time of the calling thread.
pub fn thread_cpu() -> Micros {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Micros(cpu.tv_sec * 1_000_000 + cpu.tv_nsec / 1_000)
}

fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal guest guest_nice (proc(5)).
fn machine_ticks() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|n| n.parse().ok()).collect();
    Some((*ticks.get(7)?, ticks.iter().take(8).sum()))
}

/// Raises the soft limit of open files as far as `needed`. Returns the limit that holds now, and whether it is enough.
pub fn raise_open_files(needed: u64) -> (u64, bool) {
    let mut limit = getrlimit(Resource::Nofile);
    let enough = |l: Option<u64>| l.is_none_or(|l| l >= needed);
    if !enough(limit.current) {
        limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
        // Refused: the old limit still holds, and is reported.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let now = getrlimit(Resource::Nofile).current;
    (now.unwrap_or(u64::MAX), enough(now))
}

/// The machine that measures.
pub fn host() -> HostInfo {
    let uname = rustix::system::uname();
    let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, m)| m.trim());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    HostInfo {
        os: format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine())),
        cpu: cpu.to_owned(),
        cores: cores(),
        memory_bytes: memory.unwrap_or(0) * 1024,
        open_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
    }
}

/// Cores that this process may use.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_grows() {
        let before = Usage::now();
        let work: u64 = (0..3_000_000_u64).map(std::hint::black_box).sum();
        assert!(work > 0);
        let after = Usage::now();
        assert!(after.cpu > before.cpu);
        assert!(after.rss > 1_000_000, "{after:?}");
    }

    #[test]
    fn an_impossible_number_of_files_is_refused_with_the_limit_that_holds() {
        let (limit, enough) = raise_open_files(u64::MAX / 2);
        assert!(!enough && limit > 0);
        assert!(raise_open_files(1).1);
    }
}
