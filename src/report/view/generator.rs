//! The generator in words: what it used, what it was short of, and how it agrees with the reference server.

use super::super::result::{Difference, ProcessResult, ShardInfo, ValidityCheck};
use super::super::text::{Cell, Shown, bytes, count, counted, one_line, percent, span};
use super::{Fact, View};
use crate::calibrate::quote;
use crate::measure::{Metric, validity};

impl View<'_> {
    /// Whether a check had something to look at: what was not measured has not held either.
    pub(in crate::report) fn measured(c: &ValidityCheck) -> bool {
        c.seen != validity::NOT_MEASURED
    }

    /// The generator's health.
    pub(in crate::report) fn generator(&self) -> Vec<Fact> {
        let r = self.result;
        let g = &r.generator;
        let mut facts = vec![(
            "CPU",
            format!(
                "{} of all cores under load, {:.1} µs a message ({} sent, {} received)",
                percent(g.cpu_share),
                g.cpu_us_per_message,
                count(g.messages_sent),
                count(g.messages_received)
            ),
        )];
        if let Some(steal) = g.steal_share {
            facts.push(("CPU steal", format!("{} taken by other guests", percent(steal))));
        }
        if let Some(pressure) = g.pressure_share {
            let text =
                format!("{} of the time something on this machine waited for a CPU", percent(pressure));
            facts.push(("CPU pressure", text));
        }
        for (label, metric, meaning) in [
            ("send lateness", Metric::SendLateness, "planned → written"),
            (
                "our own lateness",
                Metric::OwnLateness,
                "woken late, or slow: the generator's; validity is judged by it",
            ),
            ("socket blocked", Metric::SocketBlocked, "the server's or the network's"),
        ] {
            if let Some(m) = r.metrics.get(metric.name()).filter(|m| m.count > 0) {
                let cell = |q| Cell::quantile(m, q).spoken(Shown::Millis);
                let max = Cell::max(m).spoken(Shown::Millis);
                facts.push((label, format!("p50 {}, p99 {}, max {max} ({meaning})", cell(0.5), cell(0.99))));
            }
        }
        for t in &g.threads {
            if t.ticker_lag_p99_us.is_some() {
                facts.push((
                    "thread",
                    format!(
                        "{}: {} devices, {} messages sent, timer served late p99 {}, max {}",
                        t.name,
                        count(t.devices.into()),
                        count(t.messages_sent),
                        span(t.ticker_lag_p99_us),
                        span(t.ticker_lag_max_us)
                    ),
                ));
            }
        }
        if let Some(probe) = self.probe() {
            facts.push(("probe", probe));
        }
        facts.push((
            "memory",
            format!(
                "{} a device over a base of {} (peak {})",
                bytes(g.rss_bytes_per_device),
                bytes(g.rss_base_bytes),
                bytes(g.rss_peak_bytes)
            ),
        ));
        let of = |limit: Option<u64>| limit.map_or_else(String::new, |n| format!(" of {}", count(n)));
        if let Some(peak) = g.open_files_peak {
            facts.push(("open files", format!("{}{}", count(peak), of(g.open_files_limit))));
        }
        if g.source_addresses > 0 {
            let addresses = match g.source_addresses {
                1 => "from one address".to_owned(),
                n => format!("from each of {} addresses", count(n)),
            };
            facts.push(("local ports", format!("{}{} {addresses}", count(g.ports_peak), of(g.ports_limit))));
        }
        facts.extend(self.processes());
        if let Some(quote) = &r.calibration {
            facts.push(("this machine", quote::sentence(quote)));
        }
        facts.into_iter().map(|(label, value)| Fact { label: label.to_owned(), value }).collect()
    }

    /// The part of the fleet that a process played, or the processes of a merged result.
    fn processes(&self) -> Vec<(&'static str, String)> {
        let r = self.result;
        let of = |s: &ShardInfo| {
            let machine =
                if s.machine.is_empty() { String::new() } else { format!(" on {}", one_line(&s.machine)) };
            format!("{}/{}{machine}", s.number, s.of)
        };
        let part = r
            .shard
            .iter()
            .map(|s| ("shard", format!("{}, from {}: a part of a run", of(s), one_line(&s.start_at))));
        let line = |p: &ProcessResult| {
            let word = match (p.complete, p.valid) {
                (false, _) => "INTERRUPTED",
                (true, false) => "INVALID",
                (true, true) => "VALID",
            };
            let g = &p.generator;
            let text = format!(
                "{}: {word}; {}, CPU {} of its cores, {} of memory, {}",
                of(&p.shard),
                counted(g.devices.into(), "device"),
                percent(g.cpu_share),
                bytes(g.rss_peak_bytes),
                span(Some(p.duration_us))
            );
            ("process", text)
        };
        part.chain(r.processes.iter().map(line)).collect()
    }

    /// The fleet against its probe, where there was one.
    fn probe(&self) -> Option<String> {
        let p = self.result.validity.probe.as_ref()?;
        let time = |us: Option<i64>| us.map_or_else(|| "∞".to_owned(), |us| span(Some(us)));
        let Some([low, high]) = p.ttfa_p50_interval_us else {
            return Some(format!("{} turns on a quiet thread: too few to compare", count(p.turns)));
        };
        Some(format!(
            "median TTFA {} in {} turns on a quiet thread ({} to {} with 99.9 % confidence), {} in the fleet",
            time(p.ttfa_p50_us),
            count(p.turns),
            time(low),
            time(high),
            time(p.fleet_ttfa_p50_us)
        ))
    }

    /// Agreement with the reference server's own log.
    pub(in crate::report) fn agreement(&self) -> Vec<Fact> {
        let Some(a) = &self.result.agreement else {
            return Vec::new();
        };
        let mut facts = vec![Fact {
            label: "turns compared".to_owned(),
            value: format!(
                "{}, {} not found in the server's log; differences are harness − server",
                count(a.turns),
                count(a.unmatched)
            ),
        }];
        if a.delayed > 0 {
            facts.push(Fact {
                label: "not compared".to_owned(),
                value: format!(
                    "{} over an imitated network, which lies between the two",
                    counted(a.delayed, "turn")
                ),
            });
        }
        for (label, d) in [("first token", &a.ttft), ("first audio", &a.ttfa)] {
            if d.count > 0 {
                facts.push(Fact { label: label.to_owned(), value: difference(d) });
            }
        }
        facts
    }
}

fn difference(d: &Difference) -> String {
    format!(
        "p50 {}; largest either way: p99 {}, max {}; {} within 5 ms",
        span(d.p50_us),
        span(d.p99_abs_us),
        span(d.max_abs_us),
        d.within_5ms.map_or_else(|| "–".to_owned(), percent)
    )
}
