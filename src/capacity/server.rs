//! The server's own CPU and memory, where they can be seen: of the embedded server, or of a process of this machine
//! (`--server-pid`), its children included.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::time::Micros;

/// A run begins to play this much after its process has started, at most, as far as this is concerned.
const START: Micros = Micros::from_secs(1);

/// Less time than this between the first look and the last tells nothing: CPU is counted in ticks of 10 ms.
const SHORTEST: Micros = Micros::from_millis(500);

/// Which process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The embedded server, a child of the run with this id.
    EmbeddedIn(u32),
    /// The one with this id.
    Process(u32),
}

/// What a server has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// Seconds of CPU a second, user and system: 1.0 is a whole core.
    pub cores: f64,
    /// Most resident memory that was seen, bytes; pages that its processes share count in each of them.
    pub rss_bytes: u64,
}

/// Looks at the server while a probe lasts.
#[derive(Clone, Debug)]
pub struct Watch {
    who: Option<Who>,
    /// Only what lies between counts, since the start of the run's process.
    from: Micros,
    until: Micros,
    /// When, and CPU until then: the first and the last look within that time.
    first: Option<(Micros, Micros)>,
    last: Option<(Micros, Micros)>,
    rss_bytes: u64,
}

impl Watch {
    /// Of a run with a warm-up and a length; `None`: of a server that cannot be seen.
    pub fn new(who: Option<Who>, warmup: Micros, duration: Micros) -> Self {
        Self { who, from: warmup + START, until: duration, first: None, last: None, rss_bytes: 0 }
    }

    /// Looks at it, so long after the run's process was started.
    pub fn look(&mut self, now: Micros) {
        if self.from <= now
            && now <= self.until
            && let Some(stat) = self.who.and_then(|who| of_tree(who, &processes(Path::new("/proc"))))
        {
            self.see(now, stat);
        }
    }

    fn see(&mut self, now: Micros, stat: Stat) {
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        let seen = (now, Micros::from_secs_f64(stat.ticks as f64 / ticks));
        self.first = self.first.or(Some(seen));
        self.last = Some(seen);
        self.rss_bytes = self.rss_bytes.max(stat.pages * rustix::param::page_size() as u64);
    }

    /// The load is over: what the server does from now on does not count.
    pub fn over(&mut self, now: Micros) {
        self.until = self.until.min(now);
    }

    /// What it has used, when it was seen for long enough.
    pub fn used(&self) -> Option<Used> {
        let ((from, before), (until, after)) = (self.first?, self.last?);
        let span = until - from;
        (span >= SHORTEST).then(|| Used {
            cores: (after - before).as_secs_f64() / span.as_secs_f64(),
            rss_bytes: self.rss_bytes,
        })
    }
}

/// Whether there is such a process, and it can be looked at.
pub fn exists(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| parse(&text).is_some())
}

/// What is in `/proc/PID/stat` (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, that of children that have ended and were waited for included.
    ticks: u64,
    pages: u64,
}

fn parse(stat: &str) -> Option<Stat> {
    // The second field is the name, in parentheses, and may hold spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = [14, 15, 16, 17].into_iter().map(number).sum::<Option<u64>>()?;
    Some(Stat { parent: u32::try_from(number(4)?).ok()?, ticks, pages: number(24)? })
}

/// Every process that can be seen.
fn processes(proc: &Path) -> BTreeMap<u32, Stat> {
    let Ok(entries) = fs::read_dir(proc) else { return BTreeMap::new() };
    let ids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|pid| Some((pid, parse(&fs::read_to_string(proc.join(format!("{pid}/stat"))).ok()?)?)))
        .collect()
}

/// A process and all that it has started.
fn of_tree(who: Who, all: &BTreeMap<u32, Stat>) -> Option<Stat> {
    let root = match who {
        Who::Process(pid) => pid,
        // A run starts no other process.
        Who::EmbeddedIn(run) => *all.iter().find(|(_, s)| s.parent == run)?.0,
    };
    let mut sum = *all.get(&root)?;
    let (mut tree, mut next) = (vec![root], 0);
    while let Some(parent) = tree.get(next).copied() {
        next += 1;
        for (pid, stat) in all.iter().filter(|(pid, s)| s.parent == parent && **pid != root) {
            sum.ticks += stat.ticks;
            sum.pages += stat.pages;
            tree.push(*pid);
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4242 (a (server) x) S 17 4242 4242 0 -1 4194560 2209 900 0 0 300 50 7 3 20 0 9 0 1234 99999744 1500 \
                        18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        assert_eq!(parse(LINE), Some(Stat { parent: 17, ticks: 360, pages: 1_500 }));
        assert_eq!(parse("4242 (cut"), None);
        assert_eq!(parse("1 (a) S 1 2"), None);
        assert!(exists(std::process::id()) && !exists(u32::MAX));
    }

    #[test]
    fn children_belong_to_it() {
        let stat = |parent, ticks| Stat { parent, ticks, pages: ticks };
        let all = BTreeMap::from([
            (10, stat(1, 1)),
            (20, stat(10, 10)),
            (30, stat(20, 100)),
            (31, stat(20, 1_000)),
            (40, stat(1, 10_000)),
        ]);
        assert_eq!(of_tree(Who::Process(20), &all).map(|s| (s.ticks, s.pages)), Some((1_110, 1_110)));
        assert_eq!(of_tree(Who::EmbeddedIn(10), &all).map(|s| s.ticks), Some(1_110));
        assert_eq!(of_tree(Who::Process(99), &all), None);
        assert_eq!(of_tree(Who::EmbeddedIn(40), &all), None);
    }

    #[test]
    fn only_what_lies_under_the_load_counts() {
        let s = Micros::from_secs;
        let ticks = rustix::param::clock_ticks_per_second();
        let at = |cpu_s: u64| Stat { parent: 1, ticks: cpu_s * ticks, pages: 1 + cpu_s };
        let mut watch = Watch::new(Some(Who::Process(1)), s(4), s(20));
        watch.see(s(5), at(3));
        assert_eq!(watch.used(), None, "one look");
        watch.see(s(15), at(8));
        let used = watch.used().unwrap();
        assert!((used.cores - 0.5).abs() < 1e-9, "{used:?}");
        assert_eq!(used.rss_bytes, 9 * rustix::param::page_size() as u64);
        // This process is there to be looked at, but not before the load and not after it.
        let mut watch = Watch::new(Some(Who::Process(std::process::id())), s(4), s(20));
        watch.look(s(2));
        watch.over(s(8));
        watch.look(s(9));
        assert_eq!((watch.first, watch.last), (None, None));
        watch.look(s(6));
        watch.look(s(8));
        assert!(watch.used().is_some_and(|u| u.cores >= 0.0 && u.rss_bytes > 0));
        let mut nobody = Watch::new(None, s(4), s(20));
        nobody.look(s(6));
        assert_eq!(nobody.used(), None);
    }
}
