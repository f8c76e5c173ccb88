//! The bit rate of a device that watches its line: down when what it sends piles up, up again when all has been quiet.
//!
//! ```text
//! backlog ───▶ above what is usual here by MANY ─▶ one step down, at most one a second
//! heartbeat ─▶ above the quickest by SLOW ───────▶ likewise
//!              quiet for `patience` ─────────────▶ one step up; when that was a mistake, twice the patience
//! ```
//!
//! Down fast and up slowly, as adaptive senders do: a step too low costs some quality, a step too high an answer.

use crate::time::Micros;

/// A backlog this much above the least is too much: four usual chunks.
const MANY: Micros = Micros::from_millis(240);
/// A heartbeat this much slower than the quickest says that something queues.
const SLOW: Micros = Micros::from_millis(300);
/// Between two steps down: the first needs time to show.
const SETTLE: Micros = Micros::from_secs(1);
/// Quiet for this long: one step up.
const PATIENCE: Micros = Micros::from_secs(5);
/// The longest patience.
const MOST_PATIENCE: Micros = Micros::from_secs(60);

/// The rate of one device: a position in a list of rates, 0 the highest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bitrate {
    at: u8,
    lowest: u8,
    least_backlog: Micros,
    quickest: Micros,
    /// Not quiet before that.
    trouble: Micros,
    stepped: Micros,
    raised: Option<Micros>,
    patience: Micros,
}

/// A change of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Down,
    Up,
}

impl Bitrate {
    /// The highest of `rates` rates (at least one).
    pub(super) fn new(rates: usize) -> Self {
        Self {
            at: 0,
            lowest: u8::try_from(rates.saturating_sub(1)).unwrap_or(u8::MAX),
            least_backlog: Micros::NEVER,
            quickest: Micros::NEVER,
            trouble: Micros::ZERO,
            stepped: Micros::ZERO,
            raised: None,
            patience: PATIENCE,
        }
    }

    /// Which rate, 0 the highest.
    pub(super) const fn at(&self) -> usize {
        self.at as usize
    }

    /// A new connection: what was usual on the old one says nothing.
    pub(super) const fn reconnected(&mut self) {
        (self.least_backlog, self.quickest) = (Micros::NEVER, Micros::NEVER);
    }

    /// So much playing time of speech has been sent and has not come through.
    pub(super) fn backlog(&mut self, now: Micros, waiting: Micros) -> Option<Step> {
        self.least_backlog = self.least_backlog.min(waiting);
        self.judge(now, waiting - self.least_backlog > MANY)
    }

    /// A heartbeat was answered.
    pub(super) fn heartbeat(&mut self, now: Micros, rtt: Micros) -> Option<Step> {
        self.quickest = self.quickest.min(rtt);
        self.judge(now, rtt - self.quickest > SLOW)
    }

    fn judge(&mut self, now: Micros, troubled: bool) -> Option<Step> {
        if troubled {
            self.trouble = now;
            if self.at >= self.lowest || (self.stepped > Micros::ZERO && now - self.stepped < SETTLE) {
                return None;
            }
            if let Some(raised) = self.raised.take()
                && now - raised < self.patience
            {
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            self.at += 1;
            self.stepped = now;
            return Some(Step::Down);
        }
        let quiet_since = self.trouble.max(self.stepped);
        if self.at == 0 || now - quiet_since < self.patience {
            return None;
        }
        self.at -= 1;
        (self.stepped, self.raised) = (now, Some(now));
        Some(Step::Up)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audio::Chunk;
    use crate::device::ear::Ear;
    use crate::device::tests::plan;
    use crate::device::{Device, Input, Outgoing, Output};
    use crate::dialect::Encoding;
    use crate::event::{Event, Sent};
    use crate::scenario::EndOfTurn;
    use crate::transport::ConnectTimes;

    fn ms(n: i64) -> Micros {
        Micros::from_millis(n)
    }

    #[test]
    fn a_line_that_is_slow_all_the_time_is_no_trouble() {
        let mut b = Bitrate::new(3);
        for n in 1..1_000 {
            assert_eq!(b.backlog(ms(60 * n), ms(600)), None);
        }
        assert_eq!(b.at(), 0);
    }

    #[test]
    fn down_at_once_step_by_step_and_up_with_patience() {
        let mut b = Bitrate::new(3);
        assert_eq!(b.backlog(ms(1_000), ms(60)), None);
        assert_eq!(b.backlog(ms(1_060), ms(400)), Some(Step::Down));
        assert_eq!(b.backlog(ms(1_120), ms(460)), None, "the step needs time to show");
        assert_eq!(b.backlog(ms(2_080), ms(460)), Some(Step::Down));
        assert_eq!(b.backlog(ms(4_000), ms(460)), None, "there is no lower rate");
        assert_eq!(b.backlog(ms(8_900), ms(60)), None);
        assert_eq!(b.backlog(ms(9_000), ms(60)), Some(Step::Up));
        assert_eq!(b.backlog(ms(13_900), ms(60)), None);
        assert_eq!(b.backlog(ms(14_000), ms(60)), Some(Step::Up));
        assert_eq!(b.backlog(ms(60_000), ms(60)), None, "there is no higher rate");
    }

    #[test]
    fn a_rate_that_proved_too_high_is_tried_again_later() {
        let mut b = Bitrate::new(2);
        let _ = b.backlog(ms(900), ms(0));
        assert_eq!(b.backlog(ms(1_000), ms(300)), Some(Step::Down));
        assert_eq!(b.backlog(ms(6_000), ms(0)), Some(Step::Up));
        assert_eq!(b.backlog(ms(8_000), ms(300)), Some(Step::Down));
        assert_eq!(b.backlog(ms(14_000), ms(0)), None);
        assert_eq!(b.backlog(ms(18_000), ms(0)), Some(Step::Up));
    }

    #[test]
    fn heartbeats_tell_as_well_and_a_new_connection_has_another_usual() {
        let mut b = Bitrate::new(2);
        assert_eq!(b.heartbeat(ms(1_000), ms(40)), None);
        b.reconnected();
        assert_eq!(b.heartbeat(ms(2_000), ms(500)), None);
        assert_eq!(b.heartbeat(ms(22_000), ms(900)), Some(Step::Down));
    }

    #[test]
    fn a_device_sends_smaller_frames_while_its_line_is_slow() {
        let plan = plan(EndOfTurn::Signal, |p| {
            let (mut clip, dialect) = (p.utterances[0].clip.clone(), p.dialect.clone());
            clip.speech =
                clip.speech.iter().map(|c| Chunk { payload: c.payload.slice(..2), ..c.clone() }).collect();
            assert!(p.utterances[0].add_lower(&clip, &dialect, Encoding::Binary));
            clip.speech = clip.speech[1..].into();
            assert!(!p.utterances[0].add_lower(&clip, &dialect, Encoding::Binary), "other chunks");
        });
        let mut ear = Ear::new(plan.setup.down);
        let mut device = Device::new(0, plan, Micros::ZERO, Micros::from_secs(60));
        device.handle(Micros::ZERO, Input::Tick, &mut ear);
        device.handle(Micros::ZERO, Input::Connected(ConnectTimes::default()), &mut ear);
        let (mut sizes, mut changes, mut now) = (Vec::new(), 0, Micros::ZERO);
        while now < ms(1_500) {
            now = device.deadline();
            device.set_backlog(now, if now > ms(1_000) { ms(400) } else { ms(0) });
            device.handle(now, Input::Tick, &mut ear);
            while let Some(output) = device.poll() {
                match output {
                    Output::Send(Outgoing { what: Sent::Audio, frame, .. }) => sizes.push(frame.len()),
                    Output::Event(Event::BitrateChanged { down: true }) => changes += 1,
                    _ => {}
                }
            }
        }
        assert_eq!((sizes, changes), (vec![4, 4, 4, 4, 4, 2, 2, 2, 2, 2], 1));
        assert_eq!(device.turn().map(|t| t.lowered), Some(5));
    }

    proptest! {
        #[test]
        fn the_rate_is_always_one_of_the_list(
            rates in 1_usize..6,
            seen in prop::collection::vec((1_i64..5_000, 0_i64..2_000), 0..200),
        ) {
            let (mut b, mut now) = (Bitrate::new(rates), Micros::ZERO);
            let mut at = 0_i64;
            for (gap, waiting) in seen {
                now += ms(gap);
                match b.backlog(now, ms(waiting)) {
                    Some(Step::Down) => at += 1,
                    Some(Step::Up) => at -= 1,
                    None => {}
                }
                prop_assert!(b.at() < rates && b.at() as i64 == at);
            }
        }
    }
}
