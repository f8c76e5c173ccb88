//! Misbehaviour on purpose: which connection and which turn it strikes.
//!
//! A draw decides for each connection, another for each turn, so a share of 0.01 strikes one in a hundred of them.
//! Shares of the same kind add up: a turn has at most one fault.

use crate::scenario::Fault;
use crate::seed::Stream;

/// True for faults that strike connections; the others strike turns.
pub(super) fn strikes_connections(fault: Fault) -> bool {
    matches!(fault, Fault::RefuseUpgrade | Fault::RefuseAuth)
}

/// The fault of a connection, if it has one.
pub(super) fn of_connection(faults: &[(Fault, f64)], r: &mut Stream) -> Option<Fault> {
    draw(faults, true, r)
}

/// The fault of a turn, if it has one.
pub(super) fn of_turn(faults: &[(Fault, f64)], r: &mut Stream) -> Option<Fault> {
    draw(faults, false, r)
}

fn draw(faults: &[(Fault, f64)], connections: bool, r: &mut Stream) -> Option<Fault> {
    let mut at = r.unit();
    faults
        .iter()
        .filter(|(f, _)| strikes_connections(*f) == connections)
        .find(|(_, share)| {
            at -= share;
            at < 0.0
        })
        .map(|(f, _)| *f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn strikes_its_share_and_only_its_kind() {
        let faults = [(Fault::Silence, 0.1), (Fault::RefuseUpgrade, 0.5), (Fault::Error, 0.2)];
        let mut r = Seed(3).stream("fault", 0);
        let n = 20_000;
        let turns: Vec<_> = (0..n).map(|_| of_turn(&faults, &mut r)).collect();
        let share = |f| turns.iter().filter(|t| **t == f).count() as f64 / f64::from(n);
        assert!((share(Some(Fault::Silence)) - 0.1).abs() < 0.01);
        assert!((share(Some(Fault::Error)) - 0.2).abs() < 0.01);
        assert!((share(None) - 0.7).abs() < 0.01);
        let refused = (0..n).filter(|_| of_connection(&faults, &mut r) == Some(Fault::RefuseUpgrade)).count();
        assert!((refused as f64 / f64::from(n) - 0.5).abs() < 0.02);
    }

    #[test]
    fn a_share_of_one_strikes_always() {
        let mut r = Seed(3).stream("fault", 0);
        assert!((0..1_000).all(|_| of_turn(&[(Fault::Garbage, 1.0)], &mut r) == Some(Fault::Garbage)));
    }
}
