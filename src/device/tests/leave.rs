//! Devices that hang up between turns (`session.turns`).

use super::keys::{speaks, world};
use super::*;

// A device that connects for its turn: at 500 ms, within 1 ms. End of speech at 1,450.

fn hangs_up(most: u32) -> impl FnOnce(&mut Plan) {
    move |p| p.session.turns = Some(most)
}

impl World {
    /// When connections were asked for and hung up, ms.
    fn connections(&self) -> (Vec<i64>, Vec<i64>) {
        let at = |f: &dyn Fn(&Event) -> bool| -> Vec<i64> {
            self.events.iter().filter(|(_, e)| f(e)).map(|(at, _)| at.0 / 1_000).collect()
        };
        (at(&|e| *e == Event::Connecting), at(&|e| *e == Event::Disconnected))
    }

    fn losses(&self) -> usize {
        self.count(|e| matches!(e, Event::ConnectionLost { .. }))
    }

    fn closes(&mut self, at: i64, code: u16) -> &mut Self {
        self.until(at);
        self.now = ms(at);
        self.input(Input::Closed(Closed { class: FailureClass::Closed(code), detail: "closed".to_owned() }));
        self
    }
}

#[test]
fn each_turn_has_a_connection_of_its_own() {
    let mut w = World::new(plan(EndOfTurn::Signal, hangs_up(1)));
    // The second turn is planned for 500 ms after the first reply has been played.
    w.replies(1_700, 0, 2).until(2_319);
    assert_eq!(w.connections(), (vec![500], vec![1_760]));
    w.replies(3_600, 0, 2).until(4_000);
    assert_eq!(w.connections(), (vec![500, 2_320], vec![1_760, 3_660]));
    let turns = w.turns();
    let of = |t: &&TurnRecord| (t.planned_start, t.session_turn, t.outcome.clone());
    let both: Vec<_> = turns.iter().map(of).collect();
    let ok = Outcome::Succeeded;
    assert_eq!(both, [(ms(500), 0, ok.clone()), (ms(2_320), 0, ok)], "{turns:#?}");
    assert_eq!(turns[0].speech_lost, Micros::ZERO, "the first chunk is due once it is connected");
    assert_eq!(w.losses(), 0);
    w.input(Input::LeaveAt(ms(4_000)));
    assert!(w.done, "without another connection");
    assert_eq!(w.connections().0.len(), 2);
}

#[test]
fn a_connection_carries_as_many_turns_as_it_says() {
    let mut w = World::new(plan(EndOfTurn::Signal, hangs_up(2)));
    w.replies(1_700, 0, 2).replies(3_600, 1, 2).until(4_000);
    assert_eq!(w.turns().len(), 2);
    assert_eq!(w.connections(), (vec![500], vec![3_660]));
}

#[test]
fn an_interruption_and_the_turn_that_makes_it_are_on_one_connection() {
    let mut w = World::new(plan(EndOfTurn::Signal, |p| {
        p.session.turns = Some(1);
        p.turn.barge_in = Some(BargeInPlan { share: 1.0, after: Dist::Constant(ms(200)) });
    }));
    for n in 0..4 {
        w.says(1_700 + 60 * n, loud());
    }
    w.says(2_000, text(r#"{"type":"turn_end","turn":0,"interrupted":true}"#)).until(2_500);
    assert_eq!(w.turns()[0].outcome, Outcome::Interrupted);
    assert_eq!(w.connections(), (vec![500], vec![]), "the second turn is under way");
}

#[test]
fn a_turn_that_is_due_waits_for_no_answer_to_a_goodbye() {
    let file = |think: i64| {
        let tables = "[close]\nsend = \"leaving\"\nexpect = \"bye\"\ntimeout = \"3s\"\n";
        world(tables, EndOfTurn::Signal, move |p| {
            p.session.turns = Some(1);
            p.turn.think = Dist::Constant(ms(think));
        })
    };
    // Hung up at 1,760 + the think time beyond 500; the reply is played until 1,820.
    let mut w = file(500);
    w.says(1_700, loud()).says(1_701, loud()).says(1_760, text("over")).says(1_900, text("bye")).until(2_400);
    assert_eq!(w.connections(), (vec![500, 2_320], vec![1_900]));
    let mut w = file(500);
    w.says(1_700, loud()).says(1_701, loud()).says(1_760, text("over")).until(2_400);
    assert_eq!(w.connections(), (vec![500, 2_320], vec![2_320]), "the answer did not come");
    assert_eq!(w.losses(), 0);
}

#[test]
fn a_server_that_closes_after_its_reply_has_lost_nothing() {
    let outcome = |tables: &str, most: Option<u32>, code: u16| {
        let mut w = world(tables, EndOfTurn::Signal, |p| p.session.turns = most);
        w.says(1_700, loud()).says(1_760, loud()).closes(1_800, code).until(1_900);
        let outcome = match &w.only_turn().outcome {
            Outcome::Failed(class, _) => class.to_string(),
            other => format!("{other:?}"),
        };
        (outcome, w.losses(), w.connections().1)
    };
    let quiet = "[turn]\nquiet = \"1s\"\n";
    assert_eq!(outcome(quiet, Some(1), 1000), ("Succeeded".to_owned(), 0, vec![1_800]));
    // Nobody had said that it would; it is an error; another message would have ended the reply.
    let lost = |code: u16| (FailureClass::Closed(code).to_string(), 1, vec![]);
    assert_eq!(outcome(quiet, None, 1000), lost(1000));
    assert_eq!(outcome(quiet, Some(2), 1000), lost(1000));
    assert_eq!(outcome(quiet, Some(1), 1011), lost(1011));
    assert_eq!(outcome("", Some(1), 1000), lost(1000));
}

#[test]
fn a_connection_that_cannot_be_opened_costs_its_turn_and_not_the_next() {
    let mut w = World::new(plan(EndOfTurn::Signal, hangs_up(1)));
    w.doors = VecDeque::from([(ms(1), Ok(())), (ms(1), Err(FailureClass::Refused)), (ms(1), Ok(()))]);
    w.replies(1_700, 0, 2).until(3_000);
    let turns = w.turns();
    assert_eq!(turns.len(), 2);
    assert!(matches!(&turns[1].outcome, Outcome::Failed(FailureClass::Refused, _)), "{turns:#?}");
    w.until(6_000);
    assert!(
        w.turns().iter().skip(2).all(|t| !matches!(&t.outcome, Outcome::Failed(FailureClass::Refused, _)))
    );
    assert!(w.connections().0.len() >= 3);
}

#[test]
fn a_recogniser_is_hung_up_on_after_its_last_word() {
    let file = "[dialect]\nname = \"keys\"\nkind = \"stt\"\n[audio.up]\nformats = [\"pcm16/16000\"]\n[turn]\nend = \"EOS\"\n\
        [event.final]\nis = \"final\"\nwhen = { \"/text\" = { nonempty = true } }\ntext = \"/text\"\n";
    let mut w = speaks(file, EndOfTurn::Signal, hangs_up(1));
    w.says(1_600, text(r#"{"text":"words"}"#)).until(1_700);
    assert_eq!(w.connections(), (vec![500], vec![1_600]));
    assert_eq!((w.losses(), w.only_turn().outcome.clone()), (0, Outcome::Succeeded));
}

#[test]
fn idle_devices_do_not_hang_up_all_at_once() {
    let plan = plan(EndOfTurn::Signal, |p| {
        p.departures = ms(1_000);
        p.turn.think = Dist::Constant(Micros::from_secs(5));
    });
    let mut ear = Ear::new(FORMAT);
    let mut hung_up: Vec<i64> = (0..100)
        .map(|id| {
            // Their next turn would be planned for the very end.
            let mut device = Device::new(id, Arc::clone(&plan), Micros::ZERO, ms(5_000));
            device.handle(Micros::ZERO, Input::Tick, &mut ear);
            device.handle(Micros::ZERO, Input::Connected(ConnectTimes::default()), &mut ear);
            let mut now = Micros::ZERO;
            loop {
                while let Some(output) = device.poll() {
                    match output {
                        Output::Done => return now.0 / 1_000,
                        Output::Event(Event::TurnStarted { .. }) => panic!("a turn at {now}"),
                        _ => {}
                    }
                }
                now = device.deadline();
                device.handle(now, Input::Tick, &mut ear);
            }
        })
        .collect();
    hung_up.sort_unstable();
    assert!(hung_up[0] >= 5_000 && hung_up[99] <= 6_000, "{hung_up:?}");
    assert!(hung_up[25] > 5_100 && hung_up[50] < 5_800 && hung_up[75] > 5_600, "{hung_up:?}");
}
