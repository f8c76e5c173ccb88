//! Findings: what a run shows besides its numbers, which makes it neither invalid nor failed.
//!
//! A connection to a server that does not accept fast enough is not refused on Linux: its SYN is dropped without a
//! word, and sent again after a second, and again. So connect times lie at whole seconds, and nowhere in between.

use std::fs;

use serde::{Deserialize, Serialize};

use super::{Distribution, Metric, Totals};
use crate::report::result::Note;
use crate::report::text::{count, counted};
use crate::time::Micros;

/// When a SYN is sent again: every second (Linux 6.5 and newer), or at 1, 3 and 7 s (older, and other systems).
const REPEATS: [i64; 6] = [1, 2, 3, 4, 5, 7];

/// So much before and after it a connection counts as made by it: clocks are coarse, networks have round trips.
const EARLY: Micros = Micros::from_millis(20);
const LATE: Micros = Micros::from_millis(250);

/// A handshake that takes longer was waiting for something.
const SLOW: Micros = Micros::from_millis(500);

/// SYNs that this machine's listening sockets dropped: counters of the kernel, which only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenDrops {
    /// Because an accept queue was full.
    pub overflows: u64,
    /// For that and every other reason.
    pub drops: u64,
}

impl ListenDrops {
    /// Reads them; `None` where they do not exist.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/net/netstat").ok()?)
    }

    /// A line of names and a line of numbers, each beginning with `TcpExt:`.
    fn parse(netstat: &str) -> Option<Self> {
        let mut lines = netstat.lines().filter_map(|l| l.strip_prefix("TcpExt:")).map(str::split_whitespace);
        let (names, numbers) = (lines.next()?, lines.next()?);
        let all: Vec<_> = names.zip(numbers).collect();
        let of = |name| all.iter().find(|(n, _)| *n == name).and_then(|(_, x)| x.parse::<u64>().ok());
        Some(Self { overflows: of("ListenOverflows")?, drops: of("ListenDrops")? })
    }

    /// How many more than `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            overflows: self.overflows.saturating_sub(before.overflows),
            drops: self.drops.saturating_sub(before.drops),
        }
    }
}

/// Everything that a run shows. `listen`: what this machine's listening sockets dropped meanwhile, when the server is
/// one of them.
pub fn findings(totals: &Totals, listen: Option<ListenDrops>) -> Vec<Note> {
    // SYNs that an imitated network lost say nothing about the server's queue.
    let imitated = totals.all.network.as_ref().is_some_and(|n| n.syn_lost() > 0);
    let tcp = totals.all.metric(Metric::ConnectTcp);
    let accept_queue = if imitated { None } else { accept_queue(tcp, listen) };
    accept_queue.map(|text| Note { name: "accept_queue".to_owned(), text }).into_iter().collect()
}

/// Connections that waited for a repeated SYN.
fn accept_queue(tcp: &Distribution, listen: Option<ListenDrops>) -> Option<String> {
    let (waited, seconds) = repeated(tcp);
    let overflows = listen.map(|l| l.overflows);
    if waited == 0 {
        return overflows.filter(|&n| n > 0).map(|n| {
            format!(
                "an accept queue on this machine overflowed {} (ListenOverflows), which is likely the server's: devices had to ask \
                 again to be let in. Shape the ramp (--set fleet.ramp=…), or raise the server's backlog and net.core.somaxconn",
                times(n)
            )
        });
    }
    let seconds: Vec<_> = seconds.iter().map(i64::to_string).collect();
    let seen = format!(
        "{} of {} waited {} s for a repeated SYN",
        count(waited),
        counted(tcp.count(), "connection"),
        seconds.join(" or ")
    );
    let why = match overflows {
        Some(0) => "no accept queue on this machine overflowed, so packets were lost on the way. Look at firewalls and \
                    connection tracking, or shape the ramp (--set fleet.ramp=…)"
            .to_owned(),
        Some(n) => format!(
            "the server's accept queue (listen backlog, net.core.somaxconn) overflowed; this machine counted {} (ListenOverflows). \
             Shape the ramp (--set fleet.ramp=…), or raise the backlog",
            counted(n, "overflow")
        ),
        None => "the server's accept queue (listen backlog, net.core.somaxconn) overflowed, or packets were lost. Shape the ramp \
                 (--set fleet.ramp=…), or raise the backlog"
            .to_owned(),
    };
    Some(format!("{seen}: {why}"))
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{} times", count(n)) }
}

/// How many handshakes ended just after a SYN is repeated, and after which seconds. None, when slow handshakes lie
/// elsewhere as well: then something is slow, and nothing was dropped.
fn repeated(tcp: &Distribution) -> (u64, Vec<i64>) {
    let within = |from, to| tcp.count_above(from).saturating_sub(tcp.count_above(to));
    let at = REPEATS.map(|s| (s, within(Micros::from_secs(s) - EARLY, Micros::from_secs(s) + LATE)));
    let waited: u64 = at.iter().map(|(_, n)| n).sum();
    // Windows cover about a quarter of the time: what is spread evenly would be in them to a quarter.
    if waited * 4 < tcp.count_above(SLOW) * 3 {
        return (0, Vec::new());
    }
    (waited, at.iter().filter(|(_, n)| *n > 0).map(|(s, _)| *s).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(times: &[(u64, i64)]) -> Distribution {
        let mut d = Distribution::default();
        for (n, ms) in times {
            (0..*n).for_each(|_| d.record(Micros::from_millis(*ms)));
        }
        d
    }

    #[test]
    fn whole_seconds_are_repeated_syns() {
        let all = [
            accept_queue(&tcp(&[(180, 2), (15, 1_003), (5, 3_020)]), None),
            accept_queue(&tcp(&[(199, 2), (1, 1_003)]), Some(ListenDrops { overflows: 1, drops: 7 })),
            accept_queue(&tcp(&[(199, 2), (1, 1_003)]), Some(ListenDrops::default())),
            accept_queue(&tcp(&[(200, 2)]), Some(ListenDrops { overflows: 3, drops: 3 })),
        ];
        insta::assert_snapshot!(all.map(Option::unwrap).join("\n"), @r"
        20 of 200 connections waited 1 or 3 s for a repeated SYN: the server's accept queue (listen backlog, net.core.somaxconn) overflowed, or packets were lost. Shape the ramp (--set fleet.ramp=…), or raise the backlog
        1 of 200 connections waited 1 s for a repeated SYN: the server's accept queue (listen backlog, net.core.somaxconn) overflowed; this machine counted 1 overflow (ListenOverflows). Shape the ramp (--set fleet.ramp=…), or raise the backlog
        1 of 200 connections waited 1 s for a repeated SYN: no accept queue on this machine overflowed, so packets were lost on the way. Look at firewalls and connection tracking, or shape the ramp (--set fleet.ramp=…)
        an accept queue on this machine overflowed 3 times (ListenOverflows), which is likely the server's: devices had to ask again to be let in. Shape the ramp (--set fleet.ramp=…), or raise the server's backlog and net.core.somaxconn
        ");
    }

    #[test]
    fn slow_servers_and_far_networks_are_something_else() {
        let spread: Vec<_> = (0..100).map(|n| (1, 500 + 30 * n)).collect();
        for times in [&[(200, 2)][..], &[(100, 700), (20, 1_100)], &spread] {
            assert_eq!(accept_queue(&tcp(times), None), None, "{times:?}");
            assert_eq!(accept_queue(&tcp(times), Some(ListenDrops::default())), None);
        }
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: InOctets\nIpExt: 9\n";
        let drops = ListenDrops::parse(text).unwrap();
        assert_eq!(drops, ListenDrops { overflows: 22, drops: 333 });
        assert_eq!(
            drops.since(ListenDrops { overflows: 20, drops: 400 }),
            ListenDrops { overflows: 2, drops: 0 }
        );
        assert_eq!(ListenDrops::parse("TcpExt: ListenDrops\nTcpExt: 3\n"), None);
        assert_eq!(ListenDrops::parse(""), None);
    }
}
