//! What must hold for every link, whatever its path does.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::seed::Seed;

const fn ms(n: i64) -> Micros {
    Micros::from_millis(n)
}

fn link(profile: Profile, seed: u64) -> Link {
    let mut link = Link::new(Arc::new(profile), Seed(seed), 0, 0, Micros::ZERO);
    let took = link.handshake().min(Micros::from_secs(20));
    link.start(took);
    link
}

/// The stream's byte at an offset, different each way.
const fn byte(d: Direction, at: u64) -> u8 {
    let salt = match d {
        Direction::Up => 0,
        Direction::Down => 0x55,
    };
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ salt
}

/// A user of a link: writes, reads, checks.
struct User {
    link: Link,
    now: Micros,
    read: [u64; 2],
    /// Offset after each write, and when it was.
    writes: [Vec<(u64, Micros)>; 2],
    log: Vec<(i64, u64, u64)>,
}

impl User {
    fn new(profile: Profile, seed: u64) -> Self {
        let mut link = Link::new(Arc::new(profile), Seed(seed), 0, 0, Micros::ZERO);
        let now = link.handshake().min(Micros::from_secs(20));
        link.start(now);
        Self { link, now, read: [0; 2], writes: [Vec::new(), Vec::new()], log: Vec::new() }
    }

    fn write(&mut self, d: Direction, len: usize) {
        let from = self.link.written(d);
        let bytes: Vec<u8> = (from..from + len as u64).map(|at| byte(d, at)).collect();
        let room = self.link.room(d);
        let taken = self.link.write(d, self.now, &bytes);
        assert!(taken <= len && (taken == len || taken >= room.min(len)));
        assert_eq!(self.link.written(d), from + taken as u64);
        if taken > 0 {
            self.writes[d as usize].push((from + taken as u64, self.now));
        }
    }

    /// Takes what is ready, and looks at every byte.
    fn read(&mut self, d: Direction, least: Micros, most: usize) {
        let (a, b) = self.link.ready(d);
        let n = (a.len() + b.len()).min(most);
        let i = d as usize;
        for (k, got) in a.iter().chain(b).take(n).enumerate() {
            assert_eq!(*got, byte(d, self.read[i] + k as u64));
        }
        self.read[i] += n as u64;
        let delivered = self.link.delivered(d);
        // Nothing is there before the path's least delay has passed.
        let newest = self.writes[i].iter().find(|(end, _)| *end >= delivered);
        if let (Some((_, at)), true) = (newest, delivered > 0) {
            assert!(self.now >= *at + least, "{:?} after {at:?}", self.now);
        }
        self.link.consume(d, n);
        self.log.push((self.now.0, self.read[0], self.read[1]));
    }

    /// Lets time pass until `at`, going from deadline to deadline.
    fn until(&mut self, at: Micros, least: Micros, most: usize) {
        let mut still = 0;
        while self.link.deadline() <= at {
            let next = self.link.deadline();
            still = if next <= self.now { still + 1 } else { 0 };
            assert!(still < 3, "a deadline that is over and over: {next:?} at {:?}", self.now);
            self.now = self.now.max(next);
            self.link.advance(self.now);
            assert!(self.link.deadline() > self.now, "what is due has happened");
            for d in [Direction::Up, Direction::Down] {
                self.read(d, least, most);
            }
        }
        self.now = self.now.max(at);
        self.link.advance(self.now);
        for d in [Direction::Up, Direction::Down] {
            self.read(d, least, most);
        }
    }
}

fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![
        Just(Jitter::None),
        (1..30_000_i64, 1..400_000_i64)
            .prop_map(|(m, more)| Jitter::LogNormal { median: Micros(m), p99: Micros(m + more) }),
        (0..30_000_i64).prop_map(|s| Jitter::Uniform(Micros(s))),
    ]
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::None),
        (0.001..0.3_f64).prop_map(Loss::Independent),
        (0.001..0.2_f64, 1..400_i64).prop_map(|(mean, bad)| Loss::Burst { mean, bad: ms(bad) }),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    let rate = proptest::option::of(50_000..20_000_000_u32);
    let queue = proptest::option::of(3_000..100_000_u32);
    (0..200_000_i64, jitter(), loss(), rate, queue, proptest::bool::weighted(0.2)).prop_map(
        |(delay, jitter, loss, rate, queue, traced)| Way {
            delay: Micros(delay),
            jitter,
            loss,
            rate,
            queue,
            trace: traced.then(|| Arc::new(traces::find("lte-walk").unwrap())),
        },
    )
}

fn profile() -> impl Strategy<Value = Profile> {
    let stack = prop_oneof![Just(Stack::Linux), Just(Stack::LinuxNoSack), Just(Stack::Lwip)];
    let change = (1..5_000_i64, way(), way()).prop_map(|(at, up, down)| Change {
        at: ms(at),
        name: "later".to_owned(),
        up,
        down,
    });
    (way(), way(), stack, proptest::collection::vec(change, 0..2))
        .prop_map(|(up, down, stack, schedule)| Profile { name: "any".to_owned(), up, down, stack, schedule })
}

/// What a user does: wait, write, lose everything for a while.
fn doings() -> impl Strategy<Value = Vec<(i64, bool, usize, Option<i64>)>> {
    let gap = proptest::option::weighted(0.05, 1..3_000_i64);
    proptest::collection::vec((0..150_000_i64, any::<bool>(), 1..4_000_usize, gap), 1..60)
}

fn play(profile: &Profile, seed: u64, doings: &[(i64, bool, usize, Option<i64>)], most: usize) -> User {
    let ways = [&profile.up, &profile.down].into_iter();
    let ways = ways.chain(profile.schedule.iter().flat_map(|c| [&c.up, &c.down]));
    let least = ways.map(Way::least).min().unwrap_or(Micros::ZERO);
    let mut user = User::new(profile.clone(), seed);
    for (wait, up, len, gap) in doings {
        user.until(user.now + Micros(*wait), least, most);
        if let Some(gap) = gap {
            user.link.lose_until(user.now, user.now + ms(*gap));
        }
        user.write(if *up { Direction::Up } else { Direction::Down }, *len);
    }
    for d in [Direction::Up, Direction::Down] {
        user.link.finish(d, user.now);
    }
    user.until(user.now, least, most);
    // However bad it is, a day is enough.
    let last = user.now + Micros::from_secs(86_400);
    while !(user.link.finished(Direction::Up) && user.link.finished(Direction::Down)) {
        let unread = [Direction::Up, Direction::Down].iter().any(|d| !user.link.ready(*d).0.is_empty());
        let next = if unread { user.now + ms(10) } else { user.link.deadline() };
        assert!(next < last, "stuck: {:#?}", user.link);
        user.until(next.max(user.now), least, most);
    }
    user
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn bytes_come_out_once_and_in_order(
        profile in profile(), seed: u64, doings in doings(), most in prop_oneof![Just(usize::MAX), 100..3_000_usize],
    ) {
        let user = play(&profile, seed, &doings, most);
        for d in [Direction::Up, Direction::Down] {
            prop_assert_eq!(user.read[d as usize], user.link.written(d));
            prop_assert_eq!(user.link.delivered(d), user.link.written(d));
            prop_assert_eq!(user.link.ready(d), (&[][..], &[][..]));
        }
        let stats = user.link.stats();
        prop_assert_eq!((stats.up.bytes, stats.down.bytes), (user.read[0], user.read[1]));
        for way in [stats.up, stats.down] {
            prop_assert!(way.longest_stall <= way.stalled && (way.stalls == 0) == (way.stalled == Micros::ZERO));
        }
        // What is left on the way changes nothing any more, and ends.
        let mut link = user.link;
        let mut n = 0;
        while link.deadline() < Micros::NEVER {
            link.advance(link.deadline());
            n += 1;
            prop_assert!(n < 10_000, "never idle");
        }
        // Acknowledgements that nobody waited for.
        link.advance(user.now + Micros::from_secs(86_400));
        prop_assert_eq!(link.backlog(Direction::Up) + link.backlog(Direction::Down), 0);
        prop_assert!(link.held() <= 4_096, "{} bytes", link.held());
    }

    #[test]
    fn the_same_seed_gives_the_same_run(profile in profile(), seed: u64, doings in doings()) {
        let (a, b) = (play(&profile, seed, &doings, usize::MAX), play(&profile, seed, &doings, usize::MAX));
        prop_assert_eq!(a.log, b.log);
        prop_assert_eq!(a.link.stats(), b.link.stats());
    }
}

#[test]
fn a_link_that_does_nothing_is_not_there() {
    let mut link = link(Profile::none(), 1);
    assert_eq!(link.write(Direction::Up, ms(5), b"hello"), 5);
    assert_eq!((link.ready(Direction::Up).0, link.deadline()), (&b"hello"[..], Micros::NEVER));
    assert_eq!((link.delay(Direction::Up), link.backlog(Direction::Up)), (Micros::ZERO, 0));
    link.consume(Direction::Up, 5);
    link.finish(Direction::Up, ms(6));
    assert!(link.finished(Direction::Up) && !link.finished(Direction::Down));
}

#[test]
fn a_link_that_does_nothing_can_be_cut() {
    let mut link = link(Profile::none(), 1);
    link.write(Direction::Up, ms(5), b"abc");
    link.consume(Direction::Up, 1);
    link.lose_until(ms(10), ms(1_000));
    link.write(Direction::Up, ms(20), b"def");
    assert_eq!((link.ready(Direction::Up).0, link.delivered(Direction::Up)), (&b"bc"[..], 3));
    while link.delivered(Direction::Up) < 6 {
        let next = link.deadline();
        assert!(next < Micros::from_secs(3), "{link:#?}");
        link.advance(next);
    }
    let (a, b) = link.ready(Direction::Up);
    assert_eq!([a, b].concat(), b"bcdef");
    assert!(link.delay(Direction::Up) >= ms(980) && link.stats().up.timeouts > 0);
}

#[test]
fn a_black_hole_wants_nothing() {
    let mut link = link(Profile::preset("wifi-home").unwrap(), 1);
    let now = ms(200);
    link.write(Direction::Up, now, &[1; 500]);
    link.lose_until(now + ms(1), Micros::NEVER);
    // What had left the device gets through, its acknowledgement does not come back.
    while link.deadline() < Micros::NEVER {
        link.advance(link.deadline());
    }
    assert_eq!(link.delivered(Direction::Up), 500);
    link.write(Direction::Down, ms(400), &[1; 500]);
    while link.deadline() < Micros::NEVER {
        link.advance(link.deadline());
    }
    assert_eq!((link.delivered(Direction::Down), link.backlog(Direction::Down)), (0, 500));
}

#[test]
fn an_unread_stream_stops_its_sender() {
    for (stack, window) in [(Stack::Linux, 65_535), (Stack::Lwip, 5_744)] {
        let mut p = Profile::preset("lan").unwrap();
        p.stack = stack;
        let mut link = link(p, 1);
        let (mut now, mut written) = (ms(10), 0_usize);
        while now < Micros::from_secs(30) {
            written += link.write(Direction::Down, now, &[9; 1_000]);
            now += ms(10);
            link.advance(now);
        }
        let delivered = link.delivered(Direction::Down);
        assert!(delivered <= window && delivered > window - 1_500, "{stack:?}: {delivered}");
        assert!(written <= (window as usize) + (64 << 10) && link.room(Direction::Down) == 0);
        // Asking whether the window is still closed is rare, and ends when it opens.
        assert!(link.deadline() > now);
        while link.delivered(Direction::Down) < written as u64 {
            link.consume(Direction::Down, usize::MAX);
            now = link.deadline();
            assert!(now < Micros::from_secs(200));
            link.advance(now);
        }
    }
}

#[test]
fn an_idle_link_is_small_and_asleep() {
    let mut link = link(Profile::preset("wifi-congested").unwrap(), 3);
    let mut now = ms(500);
    for i in 0..2_000 {
        now += ms(60);
        link.write(if i % 2 == 0 { Direction::Up } else { Direction::Down }, now, &[1; 200]);
        while link.deadline() <= now + ms(59) {
            link.advance(link.deadline());
            link.consume(Direction::Up, usize::MAX);
            link.consume(Direction::Down, usize::MAX);
        }
    }
    while link.deadline() < Micros::NEVER {
        link.advance(link.deadline());
        link.consume(Direction::Up, usize::MAX);
        link.consume(Direction::Down, usize::MAX);
    }
    let (own, held) = (size_of::<Link>(), link.held());
    assert!(own <= 1_664 && held <= 448, "{own} bytes, and {held} in queues");
}

#[test]
fn acknowledgements_wake_nobody() {
    let mut p = Profile::preset("lan").unwrap();
    (p.up.delay, p.down.delay) = (ms(40), ms(40));
    let mut link = link(p, 1);
    let (mut now, mut woken) = (ms(500), 0);
    for _ in 0..1_000 {
        link.write(Direction::Up, now, &[1; 200]);
        while link.deadline() <= now + ms(60) {
            woken += 1;
            link.advance(link.deadline());
            link.consume(Direction::Up, usize::MAX);
        }
        now += ms(60);
    }
    assert!((999..=1_001).contains(&woken), "{woken} wake-ups for 1,000 messages");
    link.advance(now + ms(500));
    assert_eq!((link.backlog(Direction::Up), link.deadline()), (0, Micros::NEVER));
}

#[test]
fn schedules_change_the_path() {
    let mut p = Profile::preset("lan").unwrap();
    let slow = Way { delay: ms(100), ..Way::default() };
    p.schedule.push(Change { at: ms(1_000), name: "slow".to_owned(), up: slow.clone(), down: slow });
    let mut link = link(p, 1);
    for (at, delay) in [(900, Micros(500)), (1_000, ms(100)), (5_000, ms(100))] {
        link.write(Direction::Up, ms(at), b"x");
        link.advance(ms(at + 500));
        assert_eq!(link.delay(Direction::Up), delay);
    }
}

#[test]
fn a_queue_that_overflows_is_loss() {
    let way = Way { delay: ms(20), rate: Some(100_000), queue: Some(6_000), ..Way::default() };
    let p = Profile {
        name: "thin".to_owned(),
        up: way.clone(),
        down: way,
        stack: Stack::Linux,
        schedule: vec![],
    };
    let mut link = link(p, 1);
    let mut left = 60_000;
    let mut now = ms(100);
    while link.delivered(Direction::Down) < 60_000 {
        left -= link.write(Direction::Down, now, &vec![1; left]);
        now = link.deadline();
        assert!(now < Micros::from_secs(60), "{link:#?}");
        link.advance(now);
        link.consume(Direction::Down, usize::MAX);
    }
    let took = (now - ms(100)).as_secs_f64();
    // 60 kB and their headers at 12.5 kB/s take 5 s at least.
    assert!((4.9..9.0).contains(&took), "{took} s");
    assert!(link.stats().down.lost > 0 && link.stats().down.retransmissions >= link.stats().down.lost);
}

#[test]
fn every_preset_carries_speech() {
    for preset in Profile::presets() {
        let profile = Arc::new(preset.profile());
        let d = study::stream(&profile, Direction::Up, Seed(1), 3, Micros::from_secs(20));
        let half = profile.rtt() / 2;
        assert_eq!(d.count(), 3 * 333, "{}", preset.name);
        assert!(d.quantile(0.0) >= profile.up.least(), "{}", preset.name);
        assert!(
            d.quantile(0.5) > half * 4 / 5 - Micros(1) && d.quantile(0.5) < half * 2 + ms(60),
            "{}: {}",
            preset.name,
            d.quantile(0.5)
        );
    }
}
