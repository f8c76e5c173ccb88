use super::*;
use crate::dialect::Dialect;
use crate::reference::testing::{MS, reply};
use crate::scenario::Dist;

fn plan() -> ReferencePlan {
    ReferencePlan {
        stt: Dist::Constant(MS(100)),
        llm: Dist::Constant(MS(200)),
        token_rate: 10.0,
        tts: Dist::Constant(MS(50)),
        tts_speed: 2.0,
        chunk: MS(100),
        burst: MS(200),
        ..ReferencePlan::instant()
    }
}

/// Turns that share a server; all that is said is kept, with its instant.
struct Crowd {
    plan: Arc<ReferencePlan>,
    stages: Stages,
    reply: Arc<Reply>,
    turns: Vec<Option<Pipeline>>,
    said: Vec<Vec<(Micros, Say)>>,
    waits: Vec<Waits>,
}

impl Crowd {
    fn new(plan: ReferencePlan) -> Self {
        Self {
            stages: Stages::new(&plan),
            reply: reply(&plan),
            plan: Arc::new(plan),
            turns: Vec::new(),
            said: Vec::new(),
            waits: Vec::new(),
        }
    }

    fn arrive(&mut self, at: Micros) {
        self.until(at);
        let mut r = crate::seed::Seed(1).stream("crowd", self.turns.len() as u64);
        let draws = Draws::new(&self.plan, &mut r);
        let reply = Arc::clone(&self.reply);
        let turn = Pipeline::start(at, &self.plan, &self.stages, draws, reply, Waker::noop());
        self.turns.push(Some(turn));
        self.said.push(Vec::new());
        self.waits.push(Waits::default());
    }

    fn until(&mut self, end: Micros) {
        loop {
            let next = |t: &Option<Pipeline>| t.as_ref().map_or(Micros::NEVER, Pipeline::next);
            let Some(turn) = (0..self.turns.len()).min_by_key(|i| next(&self.turns[*i])) else {
                return;
            };
            let at = next(&self.turns[turn]);
            if at > end || at == Micros::NEVER {
                return;
            }
            let pipeline = self.turns[turn].as_mut().unwrap();
            while let Some(said) = pipeline.pop(at) {
                self.said[turn].push(said);
            }
            self.waits[turn] = pipeline.waits();
            if self.said[turn].last().is_some_and(|(_, s)| *s == Say::Done) {
                self.turns[turn] = None;
            }
        }
    }

    fn when(&self, turn: usize, what: Say) -> Option<i64> {
        self.said[turn].iter().find(|(_, s)| *s == what).map(|(at, _)| at.0 / 1_000)
    }
}

fn one(plan: ReferencePlan) -> Crowd {
    let mut crowd = Crowd::new(plan);
    crowd.arrive(MS(0));
    crowd.until(Micros(i64::MAX - 1));
    crowd
}

#[test]
fn overlapped_synthesis_begins_with_the_first_sentence() {
    let c = one(plan());
    assert_eq!(c.when(0, Say::Final), Some(100));
    let tokens: Vec<_> = (0..6).map(|k| c.when(0, Say::Token(k)).unwrap()).collect();
    assert_eq!(tokens, [300, 400, 500, 600, 700, 800]);
    // The third word ends the first sentence at 500; 50 ms later there is sound, two chunks of it at once as far as
    // it is made (2 s of speech per second), the rest in real time.
    let audio: Vec<_> = (0..10).map(|k| c.when(0, Say::Audio(k)).unwrap()).collect();
    assert_eq!(audio, [550, 600, 650, 700, 750, 850, 950, 1050, 1150, 1250]);
    assert_eq!(c.when(0, Say::Done), Some(1250));
}

#[test]
fn serial_synthesis_waits_for_the_last_word() {
    let c = one(ReferencePlan { pipeline: Arrangement::Serial, ..plan() });
    assert_eq!(c.when(0, Say::Token(5)), Some(800));
    assert_eq!(c.when(0, Say::Audio(0)), Some(850));
}

#[test]
fn a_slow_synthesiser_holds_the_audio_back() {
    let c = one(ReferencePlan { tts_speed: 0.5, ..plan() });
    let audio: Vec<_> = (0..4).map(|k| c.when(0, Say::Audio(k)).unwrap()).collect();
    assert_eq!(audio, [550, 750, 950, 1150]);
}

#[test]
fn a_later_sentence_waits_for_its_words() {
    let slow = one(ReferencePlan { token_rate: 1.0, ..plan() });
    // Words at 300, 1300, …, 5300: the second sentence is written at 5300, and its sound begins after half a second.
    let audio: Vec<_> = (0..10).map(|k| slow.when(0, Say::Audio(k)).unwrap()).collect();
    assert_eq!(audio[0], 2350);
    assert!(audio[4] < 2800 && audio[5] >= 5300, "{audio:?}");
}

#[test]
fn a_reply_in_one_message_is_not_paced() {
    let c = one(ReferencePlan { dialect: Dialect::Plain, tts_speed: 10.0, token_rate: 10_000.0, ..plan() });
    // 100 + 200 + 50 for the stages, 0.2 for two words, 100 ms to make one second of speech.
    assert_eq!(c.when(0, Say::Done), Some(450));
}

#[test]
fn with_one_slot_and_constant_service_waits_are_exact() {
    let mut c = Crowd::new(ReferencePlan { stt_slots: 1, ..plan() });
    for at in [0, 10, 20, 250, 500] {
        c.arrive(MS(at));
    }
    c.until(MS(10_000));
    let waits: Vec<_> = c.waits.iter().map(|w| w.stt.unwrap()).collect();
    assert_eq!(waits, [MS(0), MS(90), MS(180), MS(50), MS(0)]);
    let finals: Vec<_> = (0..5).map(|t| c.when(t, Say::Final).unwrap()).collect();
    assert_eq!(finals, [100, 200, 300, 400, 600]);
}

#[test]
fn a_saturated_stage_makes_everyone_after_it_wait_in_turn() {
    let mut c = Crowd::new(ReferencePlan { llm_slots: 2, ..plan() });
    // Each keeps a model for 200 + 500 ms; one comes every 100 ms where two slots can serve one every 350.
    for k in 0..20 {
        c.arrive(MS(100 * k));
    }
    c.until(MS(100_000));
    let waits: Vec<_> = c.waits.iter().map(|w| w.llm.unwrap()).collect();
    for k in 0..20 {
        let expected = MS(700 * (k / 2) + 100 * (k % 2) - 100 * k);
        assert_eq!(waits[k as usize], expected.max(MS(0)), "turn {k}: {waits:?}");
    }
}

#[test]
fn a_cancelled_turn_frees_what_it_holds() {
    let mut c = Crowd::new(ReferencePlan { llm_slots: 1, ..plan() });
    c.arrive(MS(0));
    c.arrive(MS(1));
    c.arrive(MS(2));
    c.until(MS(350));
    // The first has the model, the second waits for it: both go.
    c.turns[1].take().unwrap().cancel(MS(350));
    c.turns[0].take().unwrap().cancel(MS(350));
    c.until(MS(100_000));
    assert_eq!(c.waits[2].llm, Some(MS(350 - 102)));
    assert_eq!(c.when(2, Say::Token(0)), Some(550));
}

#[test]
fn a_late_caller_hears_the_planned_instants() {
    let plan = Arc::new(plan());
    let (stages, mut r) = (Stages::new(&plan), crate::seed::Seed(1).stream("late", 0));
    let draws = Draws::new(&plan, &mut r);
    let mut p = Pipeline::start(MS(0), &plan, &stages, draws, reply(&plan), Waker::noop());
    let mut said = Vec::new();
    while let Some(s) = p.pop(MS(60_000)) {
        said.push(s);
    }
    assert_eq!(said, one(ReferencePlan::clone(&plan)).said[0]);
}

proptest::proptest! {
    /// First come, first served on c slots with any service times: Kiefer and Wolfowitz's recursion says who waits.
    #[test]
    fn queues_follow_the_recursion(
        slots in 1_u32..4,
        gaps in proptest::collection::vec(0_i64..150, 1..40),
        seed in 0_u64..1_000,
    ) {
        let plan = ReferencePlan { stt_slots: slots, stt: Dist::Uniform(MS(1), MS(200)), seed, ..plan() };
        let mut c = Crowd::new(plan);
        let mut at = MS(0);
        let mut free = vec![MS(0); slots as usize];
        let mut expected = Vec::new();
        for (k, gap) in gaps.iter().enumerate() {
            at += MS(*gap);
            c.arrive(at);
            let mut r = crate::seed::Seed(1).stream("crowd", k as u64);
            let service = Draws::new(&c.plan, &mut r).stt;
            free.sort();
            let start = free[0].max(at);
            expected.push(start - at);
            free[0] = start + service;
        }
        c.until(MS(1_000_000));
        let waits: Vec<_> = c.waits.iter().map(|w| w.stt.unwrap()).collect();
        proptest::prop_assert_eq!(waits, expected);
        proptest::prop_assert!(c.turns.iter().all(Option::is_none), "every turn ends");
    }

    /// Whatever the plan: everything is said once, in order, never back in time.
    #[test]
    fn everything_is_said_once_and_in_order(
        (stt, llm, tts) in (0_i64..500, 0_i64..500, 0_i64..500),
        rate in 0.5_f64..1e4, speed in 0.1_f64..1e4, burst in 0_i64..2_000, chunk in 1_i64..20, serial in proptest::bool::ANY,
    ) {
        let c = one(ReferencePlan {
            stt: Dist::Constant(MS(stt)), llm: Dist::Constant(MS(llm)), tts: Dist::Constant(MS(tts)),
            token_rate: rate, tts_speed: speed, burst: MS(burst), chunk: MS(chunk * 10),
            pipeline: if serial { Arrangement::Serial } else { Arrangement::Overlapped },
            ..plan()
        });
        let said = &c.said[0];
        proptest::prop_assert!(said.is_sorted_by_key(|(at, _)| *at));
        proptest::prop_assert_eq!(said.len(), 1 + c.reply.words.len() + c.reply.chunks.len() + 1);
        proptest::prop_assert_eq!(said[0].1, Say::Final);
        proptest::prop_assert_eq!(said[said.len() - 1].1, Say::Done);
        let first = c.said[0].iter().find(|(_, s)| *s == Say::Audio(0)).unwrap().0;
        for (at, say) in said {
            if let Say::Audio(k) = say {
                let media = MS(chunk * 10) * *k as i64;
                proptest::prop_assert!(*at >= first + (media - MS(burst)).max(MS(0)), "paced");
            }
        }
    }
}
