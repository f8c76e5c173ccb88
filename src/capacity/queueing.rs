//! What a server with slots can carry, on paper: the yardstick of the search.
//!
//! A stage with `c` slots and first come, first served is a queue with `c` servers. Two cases have answers without
//! simulation:
//!
//! - **Open**: requests come at a rate whatever the server does, at random instants; work takes exponentially long: M/M/c.
//!   A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
//!   exchanges", 1917; L. Kleinrock, *Queueing Systems* I (1975), §3.5; response times: D. Gross, C. M. Harris,
//!   *Fundamentals of Queueing Theory*, §2.3.
//! - **Closed**: `N` devices, each of which asks again some time after it was answered: the machine-repair model, M/M/c//N
//!   (Gross and Harris, §2.7). What happens between (speaking, listening, thinking) may be distributed in any way: only
//!   its mean counts (F. Baskett, K. M. Chandy, R. R. Muntz, F. G. Palacios, J. ACM 22 (1975) 248–260). A request finds
//!   the system as it would be without its device (S. S. Lavenberg, M. Reiser, J. Appl. Prob. 17 (1980) 1048–1061;
//!   K. C. Sevcik, I. Mitrani, J. ACM 28 (1981) 358–371).
//!
//! Times are in any one unit, rates per that unit.

/// The probability that a request is lost when there is no queue (Erlang B), `a` = arrivals × mean work.
pub fn erlang_b(slots: u32, a: f64) -> f64 {
    (1..=slots).fold(1.0, |b, k| a * b / (f64::from(k) + a * b))
}

/// The probability that a request has to wait (Erlang C); 1 when more comes than can be done.
pub fn erlang_c(slots: u32, a: f64) -> f64 {
    let c = f64::from(slots);
    if a >= c {
        return 1.0;
    }
    let b = erlang_b(slots, a);
    c * b / (c - a * (1.0 - b))
}

/// A stage with slots: work takes exponentially long, mean `work`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slots {
    /// At work at once.
    pub slots: u32,
    /// Mean time of one piece of work.
    pub work: f64,
}

impl Slots {
    /// Open arrivals at `rate`: the share of requests that take longer than `t`, waiting and work together.
    pub fn open_longer_than(&self, rate: f64, t: f64) -> f64 {
        let (c, mu) = (f64::from(self.slots), 1.0 / self.work);
        let a = rate * self.work;
        if a >= c {
            return 1.0;
        }
        let (wait, spare) = (erlang_c(self.slots, a), c - 1.0 - a);
        let x = mu * t;
        // Of waiting and working together; at `spare` = 0 the limit.
        let waited = if spare.abs() < 1e-9 { x } else { (1.0 - (-spare * x).exp()) / spare };
        ((-x).exp() * (1.0 + wait * waited)).clamp(0.0, 1.0)
    }

    /// The largest rate of open arrivals at which at most the share `allowed` takes longer than `t`.
    pub fn open_capacity(&self, t: f64, allowed: f64) -> f64 {
        let (mut low, mut high) = (0.0, f64::from(self.slots) / self.work);
        for _ in 0..100 {
            let middle = (low + high) / 2.0;
            if self.open_longer_than(middle, t) <= allowed { low = middle } else { high = middle }
        }
        low
    }

    /// How likely so many of `devices` are at the stage (index: how many), when each is away for `away` on average.
    fn closed_states(&self, devices: u32, away: f64) -> Vec<f64> {
        let mut logs = Vec::with_capacity(devices as usize + 1);
        logs.push(0.0_f64);
        for k in 0..devices {
            let come = f64::from(devices - k) / away;
            let go = f64::from((k + 1).min(self.slots)) / self.work;
            logs.push(logs.last().copied().unwrap_or(0.0) + (come / go).ln());
        }
        let most = logs.iter().copied().fold(f64::MIN, f64::max);
        let mut shares: Vec<f64> = logs.iter().map(|l| (l - most).exp()).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|p| *p /= sum);
        shares
    }

    /// `devices` that ask again after being away for `away` on average: the share of requests that take longer than `t`.
    pub fn closed_longer_than(&self, devices: u32, away: f64, t: f64) -> f64 {
        let Some(others) = devices.checked_sub(1) else { return 0.0 };
        let states = self.closed_states(others, away);
        let mu = 1.0 / self.work;
        let mut tail = Waits::new(self.slots, mu, t);
        let mut longer = 0.0;
        for (found, share) in states.iter().enumerate() {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            longer += share
                * match found.checked_sub(self.slots) {
                    None => (-mu * t).exp(),
                    // So many must end before a slot is free.
                    Some(queued) => tail.longer_than(queued + 1),
                };
        }
        longer.clamp(0.0, 1.0)
    }

    /// Requests per unit of time from `devices` that are away for `away` on average.
    pub fn closed_rate(&self, devices: u32, away: f64) -> f64 {
        let states = self.closed_states(devices, away);
        let busy: f64 = (0_u32..).zip(&states).map(|(k, p)| f64::from(k.min(self.slots)) * p).sum();
        busy / self.work
    }

    /// The most devices with which at most the share `allowed` of the requests takes longer than `t`; 0: not even one.
    pub fn closed_capacity(&self, away: f64, t: f64, allowed: f64) -> u32 {
        let holds = |n: u32| self.closed_longer_than(n, away, t) <= allowed;
        if !holds(1) {
            return 0;
        }
        let mut high = 2;
        while holds(high) && high < 1 << 20 {
            high *= 2;
        }
        let mut low = high / 2;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if holds(middle) { low = middle } else { high = middle }
        }
        low
    }
}

/// P(waiting for `j` ends of work at all slots, then working, takes longer than t), for j = 1, 2, … in that order.
struct Waits {
    slots: f64,
    /// All slots' rate × t, and one slot's.
    all: f64,
    one: f64,
    j: u32,
    /// P(Poisson(all) < j), its last mass, and the same for all slots but one.
    below: f64,
    mass: f64,
    below_rest: f64,
    mass_rest: f64,
}

impl Waits {
    fn new(slots: u32, mu: f64, t: f64) -> Self {
        let slots = f64::from(slots);
        let (all, one) = (slots * mu * t, mu * t);
        Self {
            slots,
            all,
            one,
            j: 0,
            below: 0.0,
            mass: (-all).exp(),
            below_rest: 0.0,
            mass_rest: (-(all - one)).exp(),
        }
    }

    fn longer_than(&mut self, j: u32) -> f64 {
        while self.j < j {
            self.below += self.mass;
            self.below_rest += self.mass_rest;
            self.j += 1;
            let n = f64::from(self.j);
            self.mass *= self.all / n;
            self.mass_rest *= (self.all - self.one) / n;
        }
        if self.slots <= 1.0 {
            // j ends and the own work, all of one slot.
            return self.below + self.mass;
        }
        // Waited less than t, but not waited and worked: ∫ f(x) exp(-μ(t-x)) dx over an Erlang density.
        let ended = (1.0 - self.below_rest).max(0.0);
        let log = f64::from(j) * (self.slots / (self.slots - 1.0)).ln() - self.one;
        let worked = if ended > 0.0 { (log + ended.ln()).exp() } else { 0.0 };
        (self.below + worked).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of Erlang's formulas: every textbook has them.
    #[test]
    fn erlangs_formulas() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 5e-4, "{a} {b}");
        near(erlang_b(1, 1.0), 0.5);
        near(erlang_b(10, 4.46), 0.01);
        near(erlang_c(1, 0.7), 0.7);
        near(erlang_c(2, 1.0), 1.0 / 3.0);
        near(erlang_c(10, 8.0), 0.4092);
        assert_eq!(erlang_c(3, 3.0), 1.0);
    }

    /// M/M/1: the response time is exponential with rate μ − λ.
    #[test]
    fn one_slot_is_the_textbook_case() {
        let s = Slots { slots: 1, work: 0.5 };
        for t in [0.1, 0.5, 2.0] {
            assert!((s.open_longer_than(1.2, t) - (-(2.0 - 1.2) * t).exp()).abs() < 1e-9);
        }
        let rate = s.open_capacity(1.0, 0.05);
        assert!((rate - (2.0 - 20_f64.ln())).abs() < 1e-6 || rate < 1e-6, "{rate}");
    }

    /// A closed system of very many devices that are away for very long is an open one.
    #[test]
    fn many_devices_that_ask_seldom_are_open_arrivals() {
        for slots in [1, 2, 8] {
            let s = Slots { slots, work: 0.1 };
            let rate = 0.8 * f64::from(slots) / s.work;
            for t in [0.05, 0.2, 0.5] {
                let closed = s.closed_longer_than(20_000, 20_000.0 / rate - s.work, t);
                let open = s.open_longer_than(rate, t);
                assert!((closed - open).abs() < 0.01, "{slots} {t}: {closed} {open}");
            }
        }
    }

    #[test]
    fn the_only_device_never_waits() {
        let s = Slots { slots: 1, work: 0.2 };
        assert!((s.closed_longer_than(1, 3.0, 0.4) - (-2.0_f64).exp()).abs() < 1e-12);
        assert!((s.closed_rate(1, 3.0) - 1.0 / 3.2).abs() < 1e-12);
        // Two of them: whoever comes finds the other at work for 0.2 of 3.2.
        let found = 0.2 / 3.2;
        let expected = (1.0 - found) * (-2.0_f64).exp() + found * (-2.0_f64).exp() * 3.0;
        assert!((s.closed_longer_than(2, 3.0, 0.4) - expected).abs() < 1e-12);
    }

    #[test]
    fn capacity_is_where_the_budget_ends() {
        let s = Slots { slots: 8, work: 0.1 };
        let n = s.closed_capacity(2.2, 0.5, 0.05);
        assert!(s.closed_longer_than(n, 2.2, 0.5) <= 0.05);
        assert!(s.closed_longer_than(n + 1, 2.2, 0.5) > 0.05);
        assert!((100..200).contains(&n), "{n}");
        assert!(s.closed_rate(n, 2.2) < 80.0);
        assert_eq!(s.closed_capacity(2.2, 0.1, 0.05), 0, "the work alone takes longer");
        assert!(Slots { slots: 3, work: 0.01 }.closed_capacity(10.0, 0.05, 0.05) > 2_000);
    }

    #[test]
    fn more_devices_wait_longer() {
        let s = Slots { slots: 4, work: 0.25 };
        let longer: Vec<f64> = (1..400).map(|n| s.closed_longer_than(n, 5.0, 1.0)).collect();
        assert!(longer.windows(2).all(|w| w[0] <= w[1] + 1e-12));
        assert!(longer.iter().all(|p| (0.0..=1.0).contains(p)));
        assert!(longer[398] > 0.999, "{}", longer[398]);
    }
}
