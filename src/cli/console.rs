//! The standard input of `voxload serve`: what the server is told at run time, one command and one answer per line.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use crate::reference::{Control, Counts};
use crate::scenario::Trouble;
use crate::scenario::units::nearest;
use crate::time::Micros;

/// How long a server in the background waits before it looks whether it is in front of its terminal again.
const BACKGROUND: Duration = Duration::from_secs(1);

/// Reads commands in a thread of its own. The end of the input is not the end of the server.
pub(super) fn listen(server: Control) {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        survive_in_the_background();
    }
    // Not waited for: it sits in a read until the process ends.
    let reader = move || {
        let mut line = Vec::new();
        loop {
            line.clear();
            match stdin.lock().read_until(b'\n', &mut line) {
                Ok(0) => return,
                // Nobody at a terminal to answer, for now.
                Err(_) if stdin.is_terminal() => std::thread::sleep(BACKGROUND),
                Err(_) => return,
                Ok(_) => {
                    let answer = answer(&server, String::from_utf8_lossy(&line).trim());
                    if !answer.is_empty() && super::print(&format!("{answer}\n")).is_err() {
                        return;
                    }
                }
            }
        }
    };
    // Without a thread for it there are no commands, and the server serves all the same.
    let _ = std::thread::Builder::new().name("console".to_owned()).spawn(reader);
}

/// One line, or nothing for an empty one.
fn answer(server: &Control, line: &str) -> String {
    match line {
        "" => String::new(),
        "help" => help(),
        "status" => status(&server.counts(), &server.told()),
        _ => match Trouble::parse(line) {
            Ok(trouble) => {
                server.tell(trouble);
                format!("ok: {trouble}")
            }
            Err(e) => {
                let near = nearest(line, ["help", "status"]).map(|near| format!("; did you mean `{near}`?"));
                format!("error: {e}{}", near.unwrap_or_default())
            }
        },
    }
}

fn help() -> String {
    let words: Vec<_> = Trouble::WORDS.iter().map(|(words, _)| *words).collect();
    format!("{}, status, help", words.join(", "))
}

fn status(c: &Counts, told: &[(Trouble, Micros)]) -> String {
    let mut text = format!(
        "{} live, {} connections, {} sessions, {} turns, {} parked, {} resumed, {} abandoned, {} stuck",
        c.live, c.connections, c.sessions, c.turns, c.parked, c.resumed, c.abandoned, c.stuck
    );
    for (trouble, left) in told {
        // Writing to a String cannot fail.
        let _ = write!(text, "; {trouble}");
        if *left != Micros::NEVER {
            let _ = write!(text, " ({left} left)");
        }
    }
    text
}

/// A server that was put into the background must not be stopped for looking at its terminal.
#[allow(unsafe_code, reason = "a system call")]
fn survive_in_the_background() {
    // SAFETY: ignoring a signal installs no code of ours.
    unsafe { libc::signal(libc::SIGTTIN, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_line() {
        let counts = Counts { live: 3, parked: 2, ..Counts::default() };
        let told = [
            (Trouble::Refuse { share: 0.5, length: Micros::from_secs(10) }, Micros::from_millis(4_200)),
            (Trouble::Pongs { on: false, length: Micros::NEVER }, Micros::NEVER),
        ];
        insta::assert_snapshot!(status(&counts, &told), @"3 live, 0 connections, 0 sessions, 0 turns, 2 parked, 0 resumed, 0 abandoned, 0 stuck; refuse 50% for 10s (4.20 s left); pongs off");
        insta::assert_snapshot!(help(), @"drain CODE [SHARE], reset [SHARE], freeze LENGTH, refuse SHARE [for LENGTH], pongs off|on [for LENGTH], handshake DELAY [for LENGTH], silence for LENGTH, status, help");
    }
}
