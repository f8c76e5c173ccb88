//! The toy's loudspeaker: when each part of a reply would be heard, and where playback runs dry.
//!
//! One reply is played at several prebuffers at once, with a few integers each. A prebuffer of p holds the first audio
//! back for p, which is what makes the required prebuffer of `docs/METRICS.md`, the largest of
//! `arrival_k − arrival_0 − media_k`, exactly the one that avoids every stall. A player maps media time to playing time
//! by adding a constant (`base`), and every stall raises that constant: after a stall it goes on with the next audio that
//! arrives, so that the time stalled in all is exactly what the prebuffer lacks.

use crate::event::{PREBUFFERS, Playout};
use crate::time::Micros;

/// Playback of one reply.
#[derive(Clone, Debug)]
pub struct Playback {
    /// At [`PREBUFFERS`], then at the scenario's own.
    players: [Player; PREBUFFERS.len() + 1],
    media: Micros,
    first_arrival: Option<Micros>,
    /// Media time of the first audible sample, once known.
    lead: Option<Micros>,
    required: Micros,
}

#[derive(Clone, Debug, Default)]
struct Player {
    prebuffer: Micros,
    /// Playing time of media time zero, after the stalls so far; `None` before the first audio.
    base: Option<Micros>,
    /// Stalls before the first audible sample was known: (media time, base before it).
    stalls_before_lead: Vec<(Micros, Micros)>,
    out: Playout,
}

impl Playback {
    /// A loudspeaker that has heard nothing yet; `prebuffer` is the scenario's own.
    pub fn new(prebuffer: Micros) -> Self {
        let mut players: [Player; PREBUFFERS.len() + 1] = Default::default();
        for (player, p) in players.iter_mut().zip(PREBUFFERS.into_iter().chain([prebuffer])) {
            player.prebuffer = p;
        }
        Self { players, media: Micros::ZERO, first_arrival: None, lead: None, required: Micros::ZERO }
    }

    /// Audio that plays for `duration` arrived.
    pub fn push(&mut self, arrival: Micros, duration: Micros) {
        let start = self.media;
        let first = *self.first_arrival.get_or_insert(arrival);
        self.required = self.required.max(arrival - first - start);
        self.media += duration;
        for p in &mut self.players {
            let base = *p.base.get_or_insert(arrival + p.prebuffer);
            let gap = arrival - (base + start);
            if gap > Micros::ZERO {
                if self.lead.is_none() {
                    p.stalls_before_lead.push((start, base));
                }
                p.out.stalls += 1;
                p.out.first_stall.get_or_insert(base + start);
                p.out.stalled += gap;
                p.base = Some(base + gap);
            }
        }
    }

    /// The first audible sample lies at this media time.
    pub fn set_lead(&mut self, lead: Micros) {
        if self.lead.is_some() {
            return;
        }
        self.lead = Some(lead);
        for p in &mut self.players {
            let before = p.stalls_before_lead.iter().find(|(media, _)| lead < *media).map(|(_, base)| *base);
            p.out.first_audible = before.or(p.base).map(|base| base + lead);
            p.stalls_before_lead = Vec::new();
        }
    }

    /// Media time received.
    pub const fn media(&self) -> Micros {
        self.media
    }

    /// Leading silence, once known.
    pub const fn lead(&self) -> Option<Micros> {
        self.lead
    }

    /// The prebuffer that would have avoided every stall.
    pub const fn required_prebuffer(&self) -> Micros {
        self.required
    }

    /// When what has arrived will have been played, at the scenario's prebuffer; `None` before playback starts.
    pub fn end(&self) -> Option<Micros> {
        self.judged().base.map(|base| base + self.media)
    }

    /// Playback at the scenario's prebuffer.
    pub fn judged_playout(&self) -> Playout {
        self.judged().out
    }

    /// Playback at [`PREBUFFERS`].
    pub fn playouts(&self) -> [Playout; PREBUFFERS.len()] {
        std::array::from_fn(|i| self.players[i].out)
    }

    const fn judged(&self) -> &Player {
        &self.players[PREBUFFERS.len()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000;

    fn play(packets: &[(i64, i64)], lead: Option<(usize, i64)>) -> Playback {
        let mut p = Playback::new(Micros(60 * MS));
        for (i, &(arrival, duration)) in packets.iter().enumerate() {
            p.push(Micros(arrival * MS), Micros(duration * MS));
            if let Some((after, at)) = lead
                && after == i
            {
                p.set_lead(Micros(at * MS));
            }
        }
        p
    }

    #[test]
    fn a_gap_stalls_small_prebuffers_only() {
        // 60 ms of audio at 0, 60, then 90 ms late.
        let p = play(&[(0, 60), (60, 60), (210, 60), (240, 60)], Some((0, 10)));
        let stalled: Vec<_> = p.playouts().iter().map(|o| (o.stalls, o.stalled.0 / MS)).collect();
        assert_eq!(stalled, [(1, 90), (1, 30), (0, 0), (0, 0)]);
        let dry: Vec<_> = p.playouts().iter().map(|o| o.first_stall.map(|t| t.0 / MS)).collect();
        assert_eq!(dry, [Some(120), Some(180), None, None], "after 120 ms of audio, and its prebuffer");
        let audible: Vec<_> = p.playouts().iter().map(|o| o.first_audible.unwrap().0 / MS).collect();
        assert_eq!(audible, [10, 70, 130, 210]);
        assert_eq!(p.required_prebuffer(), Micros(90 * MS));
        assert_eq!(p.end(), Some(Micros(330 * MS)), "60 of prebuffer, 30 of stall, 240 of audio");
    }

    #[test]
    fn a_late_found_onset_is_heard_where_it_was_played() {
        // The onset, at 30 ms of media, is known only after a stall at media 60 ms.
        let before_stall = play(&[(0, 60), (100, 60), (110, 60)], Some((2, 30)));
        assert_eq!(before_stall.playouts()[0].first_audible, Some(Micros(30 * MS)));
        let after_stall = play(&[(0, 60), (100, 60), (110, 60)], Some((2, 70)));
        assert_eq!(after_stall.playouts()[0].first_audible, Some(Micros(110 * MS)));
    }

    proptest! {
        /// The required prebuffer is enough, and each prebuffer stalls for what it lacks.
        #[test]
        fn stalled_time_is_what_the_prebuffer_lacks(
            packets in prop::collection::vec((0_i64..200, 20_i64..80), 1..30),
        ) {
            let mut at = 0;
            let packets: Vec<_> = packets.iter().map(|&(gap, d)| { at += gap; (at, d) }).collect();
            let p = play(&packets, None);
            let mut q = Playback::new(p.required_prebuffer());
            packets.iter().for_each(|&(a, d)| q.push(Micros(a * MS), Micros(d * MS)));
            prop_assert_eq!(q.judged_playout().stalls, 0);
            for (prebuffer, out) in PREBUFFERS.iter().zip(p.playouts()) {
                prop_assert_eq!(out.stalled, (p.required_prebuffer() - *prebuffer).max(Micros::ZERO));
            }
        }
    }
}
