//! What servers say of a failure, made fit to be repeated: reports, logs and terminals get no secret that a server
//! sends back ("invalid token: …"), no control characters, and no second line.

use crate::event::{Event, FailureClass, Outcome, plain_code};
use crate::fault::Cause;
use crate::report::text::one_line;
use crate::scenario::{Mask, Secret, Secrets};

/// Codes shorter than this are no secret's remains.
const SHORT: usize = 4;

/// A text that a server said to this device.
pub fn text(secrets: &Secrets, device: u32, said: &str) -> String {
    one_line(&Mask::new(&secrets.of(device)).text(said))
}

/// An event of this device.
pub fn tidy(secrets: &Secrets, device: u32, event: &mut Event) {
    let mut none = Box::from("");
    let (class, detail) = match event {
        Event::Noticed { cause: Cause::Lost(class), .. } => (class, &mut none),
        Event::Recovered(recovery) => match &mut recovery.cause {
            Cause::Lost(class) => (class, &mut none),
            Cause::Fault(_) => return,
        },
        Event::ConnectionLost { class, detail, .. } => (class, detail),
        Event::TurnEnded(turn) => match &mut turn.outcome {
            Outcome::Failed(class, detail) => (class, detail),
            _ => return,
        },
        _ => return,
    };
    *detail = text(secrets, device, detail).into();
    if let FailureClass::Server(code) = class
        && secrets.of(device).iter().any(|s| remains(code, s))
    {
        "hidden".clone_into(code);
    }
}

/// True when a code is made of a secret.
fn remains(code: &str, secret: &Secret) -> bool {
    let secret = plain_code(secret.reveal());
    secret.len() >= SHORT && code.contains(&secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, Override, Source};
    use crate::time::Micros;

    fn secrets() -> Secrets {
        let toml = "[target]\nurl = \"ws://h/?key=abc-123\"\nheaders = { A = \"Bearer Tok.EN-{device}\" }";
        scenario::load(&Source::inline("test", toml), &[] as &[Override]).unwrap().secrets()
    }

    #[test]
    fn texts_lose_secrets_and_steering() {
        let said = "bad key abc-123,\n\u{1b}[31mbad token Tok.EN-7";
        assert_eq!(text(&secrets(), 7, said), "bad key ***, \u{fffd}[31mbad token ***");
        assert!(text(&secrets(), 8, said).contains("Tok.EN-7"), "the token of another device");
    }

    #[test]
    fn codes_made_of_secrets_are_hidden() {
        let lost = |code: &str| {
            let class = FailureClass::of_code(code);
            let mut event = Event::ConnectionLost { class, detail: "x".into(), established: true };
            tidy(&secrets(), 7, &mut event);
            match event {
                Event::ConnectionLost { class, .. } => class.to_string(),
                _ => String::new(),
            }
        };
        assert_eq!(lost("no_tok_en_7_here"), "server_hidden");
        assert_eq!(lost("overloaded"), "server_overloaded");
    }

    #[test]
    fn other_events_are_left_alone() {
        let mut event = Event::TokenGap(Micros(5));
        tidy(&secrets(), 0, &mut event);
        assert_eq!(event, Event::TokenGap(Micros(5)));
    }
}
