//! Whose reply a message is of, by the ids that a server gives to its replies.

use std::collections::VecDeque;

use super::rule::Scalar;
use super::scan::Found;

/// Turns remembered; what is older is over.
const MEMORY: usize = 8;

/// What a message's id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// It has none.
    Unsaid,
    /// Of this turn.
    Turn(u32),
    /// Of a reply to nothing that the device has said: a greeting.
    Nobody,
}

/// The turns of a connection with the ids of their replies.
#[derive(Debug, Default)]
pub(super) struct Turns {
    turns: VecDeque<(u32, Option<Scalar>)>,
    /// Ids of replies to nothing.
    nobody: Vec<Scalar>,
}

impl Turns {
    /// A turn begins.
    pub(super) fn begin(&mut self, turn: u32) {
        if self.turns.iter().any(|(t, _)| *t == turn) {
            return;
        }
        if self.turns.len() == MEMORY {
            self.turns.pop_front();
        }
        self.turns.push_back((turn, None));
    }

    /// Nothing will come for the oldest turn that has no reply yet.
    pub(super) fn give_up(&mut self) {
        if let Some((_, id)) = self.turns.iter_mut().find(|(_, id)| id.is_none()) {
            *id = Some(Scalar::Bool(false));
        }
    }

    /// Whose reply the id of a message is of.
    pub(super) fn whose(&mut self, found: &Found<'_>, by_number: bool) -> Whose {
        if by_number {
            return match found.as_f64() {
                Some(n) if n >= 0.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX) => Whose::Turn(n as u32),
                _ => Whose::Unsaid,
            };
        }
        let Some(id) = found.to_value().as_ref().and_then(Scalar::of) else { return Whose::Unsaid };
        if let Some((turn, _)) = self.turns.iter().rev().find(|(_, known)| known.as_ref() == Some(&id)) {
            return Whose::Turn(*turn);
        }
        if self.nobody.contains(&id) {
            return Whose::Nobody;
        }
        if let Some((turn, unbound)) = self.turns.iter_mut().find(|(_, known)| known.is_none()) {
            *unbound = Some(id);
            return Whose::Turn(*turn);
        }
        // A second reply to the same turn, after a tool was called for example.
        match self.turns.back() {
            Some((turn, _)) => Whose::Turn(*turn),
            None => {
                if self.nobody.len() == MEMORY {
                    self.nobody.remove(0);
                }
                self.nobody.push(id);
                Whose::Nobody
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn id(s: &str) -> Found<'_> {
        Found::Str(Cow::Borrowed(s))
    }

    #[test]
    fn ids_are_bound_in_the_order_of_the_turns() {
        let mut t = Turns::default();
        assert_eq!(t.whose(&id("greeting"), false), Whose::Nobody);
        t.begin(0);
        assert_eq!(t.whose(&id("greeting"), false), Whose::Nobody, "what goes on is still of nobody");
        assert_eq!(t.whose(&id("a"), false), Whose::Turn(0));
        t.begin(1);
        assert_eq!(t.whose(&id("a"), false), Whose::Turn(0), "the rest of an interrupted reply");
        assert_eq!(t.whose(&id("b"), false), Whose::Turn(1));
        assert_eq!(t.whose(&id("tool"), false), Whose::Turn(1));
        assert_eq!(t.whose(&Found::Missing, false), Whose::Unsaid);
        t.begin(2);
        t.give_up();
        t.begin(3);
        assert_eq!(t.whose(&id("d"), false), Whose::Turn(3), "turn 2 has failed");
        assert_eq!(t.whose(&Found::Num(5.into()), true), Whose::Turn(5));
        assert_eq!(t.whose(&Found::Num((-5).into()), true), Whose::Unsaid);
    }
}
