//! The imitation against measured TCP, in virtual time.
use std::sync::Arc;
use voxload::network::study::{self, Tail};
use voxload::network::{Direction, Loss, Profile, Stack, Way};
use voxload::seed::Seed;
use voxload::time::Micros;

fn path(loss: f64, stack: Stack) -> Arc<Profile> {
    let way = Way { delay: Micros::from_millis(40), loss: Loss::Independent(loss), ..Way::default() };
    Arc::new(Profile { name: "t".into(), up: way.clone(), down: way, stack, schedule: vec![] })
}

#[test]
fn table() {
    let show = |name: &str, d: &study::Delays| {
        print!("{name:30}");
        for q in [0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            print!(" {:8.1}", d.quantile(q).as_millis_f64());
        }
        println!("  {:?}", d.stats.up);
    };
    for (loss, stack) in [
        (0.0, Stack::Linux),
        (0.01, Stack::Linux),
        (0.05, Stack::Linux),
        (0.01, Stack::LinuxNoSack),
        (0.01, Stack::Lwip),
    ] {
        for seed in 0..3 {
            let d = study::stream(&path(loss, stack), Direction::Up, Seed(seed), 40, Micros::from_secs(60));
            show(&format!("up {loss} {stack:?}"), &d);
        }
    }
    let burst = Tail { messages: 50, every: Micros::ZERO, period: Micros::from_secs(3), times: 20 };
    for loss in [0.0, 0.01] {
        show(
            &format!("burst {loss}"),
            &study::tails(&path(loss, Stack::Linux), Direction::Down, Seed(1), 120, &burst),
        );
    }
    let last = Tail { messages: 33, every: Micros::from_millis(60), period: Micros::from_secs(4), times: 15 };
    for loss in [0.0, 0.01, 0.05] {
        show(
            &format!("last frame {loss}"),
            &study::tails(&path(loss, Stack::Linux), Direction::Up, Seed(1), 400, &last),
        );
    }
    let c = study::handshakes(&path(0.05, Stack::Linux), Seed(1), 100_000);
    show("connect 0.05", &c);
    println!("{}", c.share_from(Micros::from_millis(1_000)));
}
