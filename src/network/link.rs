//! One connection of one device: a path each way, and a TCP at each end.
//!
//! ```text
//!  write ─▶ sender ─▶ path (delay, jitter, loss, rate) ─▶ receiver ─▶ ready, consume
//!             ▲                                              │
//!             └────────────── the other path ◀───────────────┘ acknowledgements
//! ```
//!
//! Nothing happens on its own: `advance` and `write` first let everything happen that was due by then, in the order of
//! time. [`Link::deadline`] names only instants at which something may come out, or a timer must decide; acknowledgements
//! that change nothing wait for the next occasion.

use std::collections::VecDeque;
use std::sync::Arc;

use super::path::Path;
use super::profile::Profile;
use super::tcp::{Ack, HEADERS, Out, Packet, Params, Receiver, Sender, push, shrink};
use super::{Direction, LinkStats, WayStats};
use crate::seed::Seed;
use crate::time::Micros;

/// Linux from 6.5 on sends its first SYNs a second apart (`tcp_syn_linear_timeouts`), and gives up after six.
const SYN_LINUX: [i64; 7] = [1, 1, 1, 1, 1, 2, 4];
/// lwIP does not back off while it connects; ESP-IDF asks for 1.5 s, and for twelve attempts.
const SYN_LWIP: (Micros, usize) = (Micros::from_millis(1_500), 12);
/// A SYN with its options, with IP.
const SYN_BYTES: u32 = 60;

/// One connection of one device, both ways.
#[derive(Debug)]
pub struct Link {
    profile: Arc<Profile>,
    /// Everything due by then has happened.
    now: Micros,
    /// Bytes come out as they go in: the profile does nothing, and nothing was ever cut.
    plain: bool,
    up: Flow,
    down: Flow,
    up_path: Path,
    down_path: Path,
    syn_lost: u32,
    handshake: Option<Micros>,
}

/// One way of a connection.
#[derive(Debug)]
struct Flow {
    direction: Direction,
    /// Written and not consumed.
    data: VecDeque<u8>,
    consumed: u64,
    /// The stream's end, where it has been written.
    end: Option<u64>,
    sender: Sender,
    receiver: Receiver,
    /// Segments on their way, in the order of their arrival.
    wire: VecDeque<Packet>,
    /// Acknowledgements on their way back, likewise.
    acks: VecDeque<Ack>,
    delay: Micros,
    released: Micros,
    stats: WayStats,
}

impl Flow {
    fn new(profile: &Profile, direction: Direction) -> Self {
        let params = Params::of(profile.stack, direction);
        Self {
            direction,
            data: VecDeque::new(),
            consumed: 0,
            end: None,
            sender: Sender::new(params),
            receiver: Receiver::new(params.receive),
            wire: VecDeque::new(),
            acks: VecDeque::new(),
            delay: Micros::ZERO,
            released: Micros(i64::MIN),
            stats: WayStats::default(),
        }
    }

    /// Bytes written so far.
    fn written(&self) -> u64 {
        self.consumed + self.data.len() as u64
    }

    /// Bytes delivered in order so far; the stream's end is no byte.
    fn delivered(&self) -> u64 {
        self.receiver.next.min(self.written())
    }

    /// The next thing that happens to it.
    fn next(&self) -> (Micros, What) {
        let mut next = (self.sender.deadline(), What::Timer);
        if let Some(ack) = self.acks.front().filter(|a| a.arrives <= next.0) {
            next = (ack.arrives, What::Ack);
        }
        if let Some(packet) = self.wire.front().filter(|p| p.arrives <= next.0) {
            next = (packet.arrives, What::Packet);
        }
        next
    }

    /// When something may come out of it, or a timer must decide.
    fn deadline(&self) -> Micros {
        let mut at = self.wire.front().map_or(Micros::NEVER, |p| p.arrives);
        if self.sender.wants_news() {
            at = at.min(self.acks.front().map_or(Micros::NEVER, |a| a.arrives));
        } else if let Some(ack) = self.acks.iter().find(|a| a.is_urgent()) {
            at = at.min(ack.arrives);
        }
        // The acknowledgement that stops the timer is on its way already.
        let stopped = self
            .acks
            .back()
            .is_some_and(|a| a.arrives <= self.sender.deadline() && self.sender.is_done_by(a.next));
        if stopped { at } else { at.min(self.sender.deadline()) }
    }

    /// The sender's way out.
    fn out<'a>(
        &'a mut self,
        path: &'a mut Path,
        profile: &'a Profile,
        now: Micros,
    ) -> (&'a mut Sender, Out<'a>) {
        let way = profile.way(self.direction, now);
        (&mut self.sender, Out { now, path, way, wire: &mut self.wire, stats: &mut self.stats })
    }

    /// A segment arrives; the acknowledgement that it calls for.
    fn arrive(&mut self, packet: &Packet) -> Ack {
        let before = self.delivered();
        let (released, ack) = self.receiver.arrive(packet, self.consumed);
        if let Some(released) = released {
            let now = packet.arrives;
            self.delay = now - released.written;
            self.stats.bytes += self.delivered() - before;
            let stalled = now - packet.due.max(self.released);
            if stalled > Micros::ZERO && packet.due < now {
                self.stats.stalls += 1;
                self.stats.stalled += stalled;
                self.stats.longest_stall = self.stats.longest_stall.max(stalled);
            }
            self.released = now;
        }
        ack
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Packet,
    Ack,
    Timer,
}

impl Link {
    /// The link of connection `connection` (0, 1, 2, … over its life) of device `device`, which starts to connect at `now`.
    pub fn new(profile: Arc<Profile>, seed: Seed, device: u32, connection: u32, now: Micros) -> Self {
        Self {
            now,
            plain: profile.is_none(),
            up: Flow::new(&profile, Direction::Up),
            down: Flow::new(&profile, Direction::Down),
            up_path: Path::new(Direction::Up, seed, device, connection),
            down_path: Path::new(Direction::Down, seed, device, connection),
            profile,
            syn_lost: 0,
            handshake: None,
        }
    }

    // ── Connecting ───────────────────────────────────────────────────────────────────────────────────────────

    /// How long TCP's handshake takes from now: the round trip, and the SYNs that get lost; `NEVER` when it gives up. To
    /// be called once, before anything is written; again after [`Link::lose_until`], when that hits a handshake.
    pub fn handshake(&mut self) -> Micros {
        let began = self.now;
        let took = if self.plain { Micros::ZERO } else { self.connect(began) };
        self.handshake = Some(took);
        took
    }

    fn connect(&mut self, began: Micros) -> Micros {
        let lwip = self.profile.stack == super::Stack::Lwip;
        let attempts = if lwip { SYN_LWIP.1 } else { SYN_LINUX.len() };
        let wait = |n: usize| match SYN_LINUX.get(n) {
            Some(s) if !lwip => Micros::from_secs(*s),
            _ => SYN_LWIP.0,
        };
        let mut syn = (began, 0);
        // The server's own timer, once it has seen a SYN: when, and how often it went off.
        let mut server: Option<(Micros, i64)> = None;
        let mut reply = Micros::NEVER;
        loop {
            // SYNs and the server's repetitions, in the order of time, until one answer is under way.
            let (client, again) = (syn.0, server.map_or(Micros::NEVER, |s| s.0));
            let at = client.min(again);
            if reply <= at {
                return reply - began;
            }
            if at == Micros::NEVER {
                return Micros::NEVER;
            }
            let arrives = if again <= client {
                server =
                    server.and_then(|(t, n)| (n < 5).then(|| (t + Micros::from_secs(1 << (n + 1)), n + 1)));
                again
            } else {
                syn = if syn.1 + 1 < attempts {
                    (client + wait(syn.1), syn.1 + 1)
                } else {
                    (Micros::NEVER, syn.1)
                };
                let way = self.profile.way(Direction::Up, at);
                let fate = self.up_path.send(way, at, SYN_BYTES, true);
                if fate.lost {
                    self.syn_lost += 1;
                    continue;
                }
                server.get_or_insert((fate.arrives + Micros::from_secs(1), 0));
                fate.arrives
            };
            let way = self.profile.way(Direction::Down, arrives);
            let fate = self.down_path.send(way, arrives, SYN_BYTES, true);
            if fate.lost {
                self.syn_lost += 1;
            } else {
                reply = reply.min(fate.arrives);
            }
        }
    }

    /// The connection is established at `now`.
    pub fn start(&mut self, now: Micros) {
        self.now = self.now.max(now);
        // A SYN that had to be repeated measures nothing.
        if let Some(rtt) = self.handshake.take().filter(|t| *t < Micros::from_millis(900) && !self.plain) {
            self.up.sender.measured(rtt, self.now);
            self.down.sender.measured(rtt, self.now);
        }
    }

    // ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Bytes that [`Link::write`] would take: the free part of the send buffer.
    pub fn room(&self, d: Direction) -> usize {
        let flow = self.flow(d);
        if self.plain {
            (flow.sender.buffer() + flow.receiver.buffer()).saturating_sub(flow.data.len())
        } else {
            flow.sender.room()
        }
    }

    /// Gives bytes to the sender; returns how many it took.
    pub fn write(&mut self, d: Direction, now: Micros, bytes: &[u8]) -> usize {
        self.advance(now);
        let taken = if self.flow(d).end.is_some() { 0 } else { self.room(d).min(bytes.len()) };
        let Some(bytes) = bytes.get(..taken).filter(|b| !b.is_empty()) else {
            return 0;
        };
        self.flow_mut(d).data.extend(bytes);
        if self.plain {
            let flow = self.flow_mut(d);
            flow.stats.bytes += taken as u64;
            flow.stats.segments += 1;
        } else {
            self.send(d, taken);
        }
        taken
    }

    /// Nothing more will be written.
    pub fn finish(&mut self, d: Direction, now: Micros) {
        self.advance(now);
        let flow = self.flow_mut(d);
        if flow.end.is_none() {
            flow.end = Some(flow.written());
            if !self.plain {
                self.send(d, 1);
            }
        }
    }

    fn send(&mut self, d: Direction, len: usize) {
        let (flow, path) = match d {
            Direction::Up => (&mut self.up, &mut self.up_path),
            Direction::Down => (&mut self.down, &mut self.down_path),
        };
        let (sender, mut out) = flow.out(path, &self.profile, self.now);
        sender.write(len, &mut out);
        // Where nothing delays, it is there.
        if self.next().0 <= self.now {
            self.run(self.now);
        }
    }

    // ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Time has come: everything due by now happens.
    pub fn advance(&mut self, now: Micros) {
        let now = now.max(self.now);
        if !self.plain {
            self.run(now);
        }
        self.now = now;
    }

    fn next(&self) -> (Micros, What, Direction) {
        let (up, down) = (self.up.next(), self.down.next());
        if up.0 <= down.0 { (up.0, up.1, Direction::Up) } else { (down.0, down.1, Direction::Down) }
    }

    fn run(&mut self, until: Micros) {
        loop {
            let (at, what, d) = self.next();
            if at > until || at == Micros::NEVER {
                return;
            }
            self.now = self.now.max(at);
            self.happen(what, d, at);
        }
    }

    fn happen(&mut self, what: What, d: Direction, at: Micros) {
        let (flow, path, back) = match d {
            Direction::Up => (&mut self.up, &mut self.up_path, &mut self.down_path),
            Direction::Down => (&mut self.down, &mut self.down_path, &mut self.up_path),
        };
        match what {
            What::Packet => {
                let Some(packet) = flow.wire.pop_front() else {
                    return;
                };
                shrink(&mut flow.wire);
                let ack = flow.arrive(&packet);
                send_ack(flow, back, &self.profile, at, ack);
            }
            What::Ack => {
                let Some(ack) = flow.acks.pop_front() else {
                    return;
                };
                shrink(&mut flow.acks);
                let (sender, mut out) = flow.out(path, &self.profile, at);
                sender.acknowledged(&ack, &mut out);
            }
            What::Timer => {
                let (sender, mut out) = flow.out(path, &self.profile, at);
                sender.fire(&mut out);
            }
        }
    }

    /// The next instant at which something may come out, or has to be done; `NEVER` when nothing will happen until
    /// something is written or consumed. Where a path has no delay, bytes are [`ready`](Self::ready) right after their write.
    pub fn deadline(&self) -> Micros {
        if self.plain || (self.up_path.is_black() && self.down_path.is_black() && self.is_silent()) {
            return Micros::NEVER;
        }
        self.up.deadline().min(self.down.deadline())
    }

    /// Nothing is on its way any more.
    fn is_silent(&self) -> bool {
        [&self.up, &self.down].iter().all(|f| f.wire.is_empty() && f.acks.is_empty())
    }

    // ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────

    /// What has been delivered in order and is not consumed yet.
    pub fn ready(&self, d: Direction) -> (&[u8], &[u8]) {
        let flow = self.flow(d);
        let (a, b) = flow.data.as_slices();
        if self.plain {
            return (a, b);
        }
        let n = (flow.delivered() - flow.consumed) as usize;
        let first = n.min(a.len());
        (a.get(..first).unwrap_or_default(), b.get(..n - first).unwrap_or_default())
    }

    /// Takes `n` bytes of what is ready.
    pub fn consume(&mut self, d: Direction, n: usize) {
        let n = if self.plain {
            n.min(self.flow(d).data.len())
        } else {
            n.min((self.flow(d).delivered() - self.flow(d).consumed) as usize)
        };
        let (flow, back) = match d {
            Direction::Up => (&mut self.up, &mut self.down_path),
            Direction::Down => (&mut self.down, &mut self.up_path),
        };
        flow.data.drain(..n);
        flow.consumed += n as u64;
        shrink(&mut flow.data);
        if !self.plain
            && let Some(ack) = flow.receiver.read(flow.consumed)
        {
            send_ack(flow, back, &self.profile, self.now, ack);
        }
    }

    /// True when the sender has finished, and all that it sent is consumed.
    pub fn finished(&self, d: Direction) -> bool {
        let flow = self.flow(d);
        flow.data.is_empty() && flow.end.is_some_and(|end| self.plain || flow.receiver.next > end)
    }

    // ── Looking ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Bytes written so far.
    pub fn written(&self, d: Direction) -> u64 {
        self.flow(d).written()
    }

    /// Bytes delivered in order so far: a frame is through when this reaches what [`Link::written`] was after it.
    pub fn delivered(&self, d: Direction) -> u64 {
        if self.plain { self.flow(d).written() } else { self.flow(d).delivered() }
    }

    /// Of the bytes delivered last: from their write to their delivery.
    pub fn delay(&self, d: Direction) -> Micros {
        self.flow(d).delay
    }

    /// Bytes written and not acknowledged yet: what an adaptive device sees of its send queue.
    pub fn backlog(&self, d: Direction) -> usize {
        if self.plain { 0 } else { self.flow(d).sender.backlog() }
    }

    /// What happened so far.
    pub fn stats(&self) -> LinkStats {
        LinkStats { up: self.up.stats, down: self.down.stats, syn_lost: self.syn_lost }
    }

    /// Bytes of memory that its queues hold, beside its own size.
    pub fn held(&self) -> usize {
        let flow = |f: &Flow| {
            f.data.capacity()
                + f.wire.capacity() * size_of::<Packet>()
                + f.acks.capacity() * size_of::<Ack>()
                + f.sender.held()
                + f.receiver.held()
        };
        flow(&self.up) + flow(&self.down)
    }

    // ── Trouble ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Everything on the path is lost, both ways, from `now` until `until`; `NEVER`: for good. The radio is at the
    /// device's end: what the device sent before gets through, and what would reach it does not.
    pub fn lose_until(&mut self, now: Micros, until: Micros) {
        self.advance(now);
        if self.plain {
            self.plain = false;
            for flow in [&mut self.up, &mut self.down] {
                let at = flow.written() + u64::from(flow.end.is_some());
                flow.sender.skip_to(at, flow.receiver.buffer());
                flow.receiver.skip_to(at);
                // Without a delay, a round trip is no time.
                flow.sender.measured(Micros(1), self.now);
            }
        }
        self.up_path.lose(self.now, until);
        self.down_path.lose(self.now, until);
        let path = &self.down_path;
        let lost = self.down.wire.len();
        self.down.wire.retain(|p| !path.in_gap(p.arrives));
        self.down.stats.lost += (lost - self.down.wire.len()) as u64;
        self.up.acks.retain(|a| !path.in_gap(a.arrives));
    }

    const fn flow(&self, d: Direction) -> &Flow {
        match d {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    const fn flow_mut(&mut self, d: Direction) -> &mut Flow {
        match d {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// Sends an acknowledgement of `flow` at `at`, over the other way's path.
fn send_ack(flow: &mut Flow, back: &mut Path, profile: &Profile, at: Micros, ack: Ack) {
    let way = profile.way(opposite(flow.direction), at);
    let blocks = if ack.blocks[0].1 > 0 { 12 } else { 0 };
    let fate = back.send(way, at, HEADERS + blocks, true);
    if !fate.lost {
        push(&mut flow.acks, Ack { arrives: fate.arrives, ..ack });
    }
}

const fn opposite(d: Direction) -> Direction {
    match d {
        Direction::Up => Direction::Down,
        Direction::Down => Direction::Up,
    }
}
