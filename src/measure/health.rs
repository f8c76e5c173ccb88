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
    /// Time in which something on this machine has waited for a CPU; `None` where it cannot be read.
    pub pressure: Option<Micros>,
    /// Open descriptors of the process; `None` where they cannot be counted without listing them.
    pub open_files: Option<u64>,
}

impl Usage {
    /// Reads it.
    pub fn now() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self {
            cpu: Micros(cpu.tv_sec * 1_000_000 + cpu.tv_nsec / 1_000),
            rss: resident_bytes(),
            ticks: machine_ticks(),
            pressure: cpu_pressure(),
            open_files: open_files(),
        }
    }

    /// Share of the machine's CPU time that other guests took since `before`.
    pub fn steal_since(&self, before: &Self) -> Option<f64> {
        let ((stolen, all), (stolen0, all0)) = (self.ticks?, before.ticks?);
        let all = all.checked_sub(all0).filter(|&n| n > 0)?;
        Some(stolen.saturating_sub(stolen0) as f64 / all as f64)
    }

    /// Share of the time `span` since `before` in which something waited for a CPU.
    pub fn pressure_since(&self, before: &Self, span: Micros) -> Option<f64> {
        let waited = self.pressure? - before.pressure?;
        (span > Micros::ZERO).then(|| (waited.0 as f64 / span.0 as f64).clamp(0.0, 1.0))
    }
}

/// The line `some` of `/proc/pressure/cpu`: `some avg10=0.04 avg60=2.91 avg300=3.56 total=34557683` (µs).
fn cpu_pressure() -> Option<Micros> {
    total_stall(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

fn total_stall(pressure: &str) -> Option<Micros> {
    let some = pressure.lines().find_map(|l| l.strip_prefix("some "))?;
    some.split_whitespace().find_map(|f| f.strip_prefix("total=")?.parse().ok()).map(Micros)
}

/// Since Linux 6.2 the size of the folder is the number of descriptors. To list thousands would take milliseconds, and
/// make the lateness that it looks for.
fn open_files() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|m| m.len()).filter(|n| *n > 0)
}

/// Counts the open descriptors of the process one by one: for a moment with few of them.
pub fn list_open_files() -> Option<u64> {
    fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64)
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

/// The limit of open files, after an attempt to raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The limit that held before.
    pub before: u64,
    /// The limit that holds now; `u64::MAX`: none.
    pub now: u64,
    /// Whether it is as high as needed.
    pub enough: bool,
}

/// The limit of open descriptors in force; `None`: no limit.
pub fn open_files_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the soft limit of open files as far as `needed`, if it is lower.
pub fn raise_open_files(needed: u64) -> OpenFiles {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let enough = |l: Option<u64>| l.is_none_or(|l| l >= needed);
    if !enough(limit.current) {
        limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
        // Refused: the old limit still holds, and is reported.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let now = getrlimit(Resource::Nofile).current;
    OpenFiles { before, now: now.unwrap_or(u64::MAX), enough: enough(now) }
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

/// The machine's name.
pub fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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
        let refused = raise_open_files(u64::MAX / 2);
        assert!(!refused.enough && refused.now >= refused.before && refused.before > 0, "{refused:?}");
        let again = raise_open_files(1);
        assert!(again.enough && again.now == again.before, "{again:?}");
    }

    #[test]
    fn pressure_is_read_and_is_a_share() {
        let text = "some avg10=0.04 avg60=2.91 avg300=3.56 total=34557683\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total_stall(text), Some(Micros(34_557_683)));
        assert_eq!(total_stall("full total=7\n"), None);
        let at = |us| Usage { pressure: Some(Micros(us)), ..Usage::default() };
        let second = Micros::from_secs(1);
        assert_eq!(at(250_500).pressure_since(&at(500), second), Some(0.25));
        assert_eq!(at(9_000_000).pressure_since(&at(0), second), Some(1.0), "never more than all of it");
        assert_eq!(at(1).pressure_since(&at(0), Micros::ZERO), None);
        assert_eq!(at(1).pressure_since(&Usage::default(), second), None);
    }

    /// The two ways to count agree, but for the descriptor that listing takes, and for those of other tests.
    #[test]
    #[cfg(target_os = "linux")]
    fn descriptors_are_counted() {
        let held: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let listed = list_open_files().unwrap();
        assert!(listed > held.len() as u64);
        if let Some(counted) = open_files() {
            assert!(counted.abs_diff(listed) < 150 && counted > held.len() as u64, "{counted} {listed}");
        }
    }
}
