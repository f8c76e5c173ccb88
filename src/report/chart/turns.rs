//! One turn from the end of speech to the end of its reply: what was waited for, one line for each.

use std::fmt::Write as _;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{
    Area, Axis, BLUE, Chart, FAINT, GREEN, GRID, Ink, ORANGE, PURPLE, Spots, TEXT, WIDTH, say, svg, write,
};
use crate::report::BUDGET;
use crate::report::result::TurnRow;
use crate::report::text::{counted, one_line};
use crate::report::view::View;
use crate::time::Micros;

/// Height of a line, and of the bar in it; the height of what is below the lines.
const ROW: i32 = 30;
const BAR: i32 = 18;
const FOOT: i32 = 52;

/// Where the time begins and ends, and the space that text behind a bar needs.
const LEFT: i32 = 150;
const RIGHT: i32 = WIDTH as i32 - 24;
const BEHIND: i32 = 210;

/// Turns that are drawn: so many slow ones, and failures of so many classes.
const SLOW: usize = 3;
const FAILED: usize = 2;

/// File names, in order.
const NAMES: [&str; SLOW + FAILED] =
    ["turn-worst-1", "turn-worst-2", "turn-worst-3", "turn-worst-4", "turn-worst-5"];

/// The typical turn.
pub(super) fn typical(view: &View<'_>) -> Result<Option<Chart>, String> {
    let Some(t) = &view.result.typical_turn else { return Ok(None) };
    waterfall(t, "turn-typical", "A typical turn", "A turn whose TTFA is about the median.").map(Some)
}

/// The slowest turns, and the first failure of each class.
pub(super) fn worst(view: &View<'_>) -> (Vec<Chart>, Vec<String>) {
    let (mut charts, mut problems) = (Vec::new(), Vec::new());
    for (t, name) in chosen(&view.result.worst_turns).into_iter().zip(NAMES) {
        let (title, about) = if answered(t) {
            ("A slow turn", "One of the slowest that were answered.")
        } else {
            ("A failed turn", "The first that failed in this way.")
        };
        match waterfall(t, name, title, about) {
            Ok(chart) => charts.push(chart),
            Err(e) => problems.push(format!("a chart cannot be drawn: {e}")),
        }
    }
    (charts, problems)
}

fn answered(t: &TurnRow) -> bool {
    matches!(t.outcome.as_str(), "ok" | "interrupted")
}

/// A few turns that have something to tell each.
fn chosen(worst: &[TurnRow]) -> Vec<&TurnRow> {
    let mut failed: Vec<&TurnRow> = Vec::new();
    for t in worst.iter().filter(|t| !answered(t)) {
        if failed.len() < FAILED && failed.iter().all(|f| f.outcome != t.outcome) {
            failed.push(t);
        }
    }
    worst.iter().filter(|t| answered(t)).take(SLOW).chain(failed).collect()
}

/// What was waited for: from one instant to another, µs after the end of speech.
struct Lane {
    label: &'static str,
    from: i64,
    to: i64,
    ink: Ink,
    /// Behind the bar.
    text: String,
    /// Parts of it that are drawn over it.
    over: Vec<(i64, i64, Ink)>,
}

/// The lines of a turn, in the order in which things should happen.
fn lanes(t: &TurnRow) -> Vec<Lane> {
    let after = |at: i64| format!("at {}", Micros(at));
    let mut lanes = vec![Lane {
        label: "speech",
        from: t.planned_start_us.saturating_sub(t.end_of_speech_us).min(0),
        to: 0,
        ink: BLUE,
        text: "ends".to_owned(),
        over: Vec::new(),
    }];
    let mut lane =
        |label, from, to, ink, text| lanes.push(Lane { label, from, to, ink, text, over: Vec::new() });
    // What the next thing waited for.
    let mut since = 0;
    if let Some(done) = t.last_send_done_us {
        let sent = done.saturating_sub(t.end_of_speech_us);
        lane("last send", since, sent, BLUE, after(sent));
        since = sent;
    }
    if let Some(up) = t.network_up_us {
        let arrived = since.saturating_add(up);
        lane("network, up", since, arrived, PURPLE, format!("{}, imitated", Micros(up)));
        since = arrived;
    }
    for (label, at, more) in [
        ("end of turn", t.endpoint_delay_us, String::new()),
        ("transcript", t.final_transcript_us, String::new()),
        ("first token", t.ttft_us, format!(", {} in all", counted(t.tokens.into(), "token"))),
        ("first audio", t.ttfa_first_byte_us, String::new()),
    ] {
        let Some(at) = at else { continue };
        // What came before it was expected waited for nothing.
        lane(label, since.min(at), at, ORANGE, after(at) + &more);
        since = since.max(at);
    }
    if let (Some(down), Some(byte)) = (t.network_down_us, t.ttfa_first_byte_us) {
        lane("network, down", byte.saturating_sub(down), byte, PURPLE, format!("{}, imitated", Micros(down)));
    }
    let ended = t.ended_us.saturating_sub(t.end_of_speech_us);
    if let (Some(byte), Some(audible)) = (t.ttfa_first_byte_us, t.ttfa_us) {
        lane("leading silence", byte, audible, FAINT, format!("audible {}", after(audible)));
        let end = ended.max(audible);
        let mut text = format!("until {}", Micros(end));
        let mut over = Vec::new();
        if t.stalls > 0 {
            let _ = write!(text, "; {}, {}", counted(t.stalls.into(), "stall"), Micros(t.stalled_us));
            // Where the first one lies is known, and how long all are.
            let dry = t.first_stall_us.unwrap_or_else(|| end.saturating_sub(t.stalled_us));
            over.push((dry, dry.saturating_add(t.stalled_us).min(end), PURPLE));
        }
        lanes.push(Lane { label: "playback", from: audible, to: end, ink: GREEN, text, over });
    }
    if let Some(at) = t.barge_in_us {
        let from = at.saturating_sub(t.end_of_speech_us);
        let to = from.saturating_add(t.barge_in_stop_us.unwrap_or(0));
        let text = t.barge_in_stop_us.map_or_else(String::new, |us| format!("quiet after {}", Micros(us)));
        lanes.push(Lane { label: "barge-in", from, to, ink: BLUE, text, over: Vec::new() });
    }
    if !answered(t) {
        let name: String = one_line(&t.outcome).chars().take(24).collect();
        lanes.push(Lane {
            label: "failed",
            from: since.min(ended),
            to: ended,
            ink: FAINT,
            text: format!("× {name} {}", after(ended)),
            over: Vec::new(),
        });
    }
    lanes
}

/// The part of the time that is drawn: up to the first sound; the whole reply where it stalled; a little of the speech.
fn window(t: &TurnRow, lanes: &[Lane]) -> (f64, f64) {
    let whole = |l: &&Lane| l.label != "playback" || t.stalls > 0;
    let last = lanes.iter().filter(whole).map(|l| l.to.max(l.from)).fold(BUDGET.0, i64::max);
    let first = lanes.iter().skip(1).map(|l| l.from.min(l.to)).fold(0, i64::min);
    let end = last as f64 / 1e3 * 1.06;
    // Tokens before the end of speech are seen as far as they lie within as much again.
    let begin = (first as f64 / 1e3).max(-end) - end * 0.14;
    (begin, end)
}

fn waterfall(t: &TurnRow, name: &'static str, title: &'static str, about: &str) -> Result<Chart, String> {
    let lanes = lanes(t);
    let (begin, end) = window(t, &lanes);
    let axis = Axis::in_steps(end, 6.0, "");
    let (begin_px, end_px) = (LEFT, RIGHT - BEHIND);
    let px = |ms: f64| {
        let share = ((ms - begin) / (end - begin)).clamp(0.0, 1.0);
        begin_px + (share * f64::from(end_px - begin_px)).round() as i32
    };
    let at = |us: i64| px(us as f64 / 1e3);
    let height = ROW * lanes.len() as i32;
    let mut spots = Spots::default();
    let svg = svg(36 + (height + FOOT).unsigned_abs(), title, |area| {
        let upright = |x: i32, ink: Ink, width: u32| {
            let rule = PathElement::new([(x, 2), (x, height + 6)], ink.light.stroke_width(width));
            area.draw(&rule).map_err(say)
        };
        let budget = at(BUDGET.0);
        for (v, label) in axis.ticks.iter().filter(|(v, _)| *v <= end) {
            upright(px(*v), GRID, 1)?;
            write(area, label, (px(*v), height + 10), 16, FAINT, HPos::Center)?;
        }
        upright(at(0), FAINT, 1)?;
        upright(budget, GREEN, 2)?;
        for (i, lane) in lanes.iter().enumerate() {
            let y = ROW * i as i32 + 6;
            write(area, lane.label, (LEFT - 12, y + 1), 17, TEXT, HPos::Right)?;
            let drawn = bar(area, (at(lane.from.min(lane.to)), at(lane.from.max(lane.to))), y, lane.ink)?;
            for (from, to, ink) in &lane.over {
                bar(area, (at(*from), at(*to)), y, *ink)?;
            }
            // What goes on beyond an edge has a gap in it.
            let beyond =
                [(lane.from as f64 / 1e3 < begin, begin_px + 8), (lane.to as f64 / 1e3 > end, end_px - 14)];
            for (_, at) in beyond.into_iter().filter(|(beyond, _)| *beyond) {
                for x in [at, at + 7] {
                    let gap = [(x, y - 1), (x + 4, y - 1), (x + 1, y + BAR + 1), (x - 3, y + BAR + 1)];
                    area.draw(&Polygon::new(gap, super::GROUND.light.filled())).map_err(say)?;
                }
            }
            // No line runs through a text. No font at hand: about half an em a character.
            let wide = lane.text.chars().count() as i32 * 7 + 6;
            let ground =
                Rectangle::new([(drawn + 5, y), (drawn + 8 + wide, y + BAR)], super::GROUND.light.filled());
            area.draw(&ground).map_err(say)?;
            write(area, &lane.text, (drawn + 8, y + 1), 16, TEXT, HPos::Left)?;
            let took = Micros(lane.to.saturating_sub(lane.from));
            let values =
                format!("{}\nfrom {}\nto {}\ntook {took}", lane.label, Micros(lane.from), Micros(lane.to));
            spots.rect(area, (0, y - 5), (RIGHT, y + ROW - 5), values);
        }
        write(area, "ms after the end of speech", (end_px + 26, height + 10), 16, FAINT, HPos::Left)?;
        write(area, "budget 300 ms", (budget, height + 30), 16, GREEN, HPos::Center)
    })?;
    Ok(Chart { name, title, caption: caption(t, about), svg, spots })
}

/// A bar that can be seen; where it ends.
fn bar(area: &Area<'_>, (from, to): (i32, i32), y: i32, ink: Ink) -> Result<i32, String> {
    let to = to.max(from + 2);
    area.draw(&Rectangle::new([(from, y), (to, y + BAR)], ink.light.filled())).map_err(say)?;
    Ok(to)
}

fn caption(t: &TurnRow, about: &str) -> String {
    let mut text = format!("{about} Device {}, turn {}", t.device, t.turn);
    let cut = |text: &str| one_line(text).chars().take(60).collect::<String>();
    if !t.fixture.is_empty() {
        let _ = write!(text, " (fixture {})", cut(&t.fixture));
    }
    if !t.group.is_empty() {
        let _ = write!(text, ", group {}", cut(&t.group));
    }
    let came_to = match (answered(t), t.ttfa_us) {
        (true, Some(us)) => format!("TTFA {}", Micros(us)),
        _ => cut(&t.outcome),
    };
    let _ = write!(text, ", {came_to}.");
    if !t.detail.is_empty() {
        let _ = write!(text, " {}.", one_line(&t.detail));
    }
    if t.reconnects > 0 {
        let _ = write!(text, " It lost its connection {} and went on.", counted(t.reconnects.into(), "time"));
    }
    if t.stalls > 1 {
        text += " All stalls are drawn as one, where the first was.";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Kind};

    fn told(t: &TurnRow) -> String {
        let line = |l: &Lane| format!("{:>13} {:>9} → {:>9}  {}", l.label, l.from, l.to, l.text);
        lanes(t).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn turn() -> TurnRow {
        TurnRow {
            outcome: "ok".into(),
            planned_start_us: 1_000_000,
            end_of_speech_us: 3_000_000,
            last_send_done_us: Some(3_020_000),
            endpoint_delay_us: Some(40_000),
            final_transcript_us: Some(60_000),
            ttft_us: Some(120_000),
            ttfa_first_byte_us: Some(180_000),
            ttfa_us: Some(195_000),
            tokens: 12,
            ended_us: 5_000_000,
            ..TurnRow::default()
        }
    }

    #[test]
    fn each_line_begins_where_what_it_waited_for_ended() {
        let stalled = TurnRow { stalls: 2, stalled_us: 90_000, first_stall_us: Some(700_000), ..turn() };
        let linked = TurnRow { network_up_us: Some(15_000), network_down_us: Some(22_000), ..turn() };
        let early = TurnRow { ttft_us: Some(-50_000), ..turn() };
        let failed = TurnRow {
            outcome: "timeout".into(),
            ttft_us: None,
            ttfa_us: None,
            ttfa_first_byte_us: None,
            ended_us: 8_000_000,
            ..turn()
        };
        let all = [turn(), stalled, linked, early, failed].map(|t| told(&t)).join("\n\n");
        insta::assert_snapshot!(all);
    }

    #[test]
    fn a_few_turns_of_every_sort_are_drawn() {
        let result = sample::make(Kind::Failing, 7, 2_000).result;
        let chosen = chosen(&result.worst_turns);
        assert_eq!(chosen.iter().filter(|t| answered(t)).count(), SLOW);
        assert_eq!(chosen.len(), SLOW + FAILED);
        assert_ne!(chosen[SLOW].outcome, chosen[SLOW + 1].outcome);
        let (charts, problems) = worst(&View::new(&result));
        assert!(problems.is_empty());
        assert_eq!(charts.len(), NAMES.len());
        assert!(typical(&View::new(&result)).unwrap().is_some());
    }

    #[test]
    fn nonsense_is_drawn_within_the_picture() {
        for us in [i64::MIN, -1, 0, i64::MAX] {
            let t = TurnRow {
                planned_start_us: us,
                end_of_speech_us: us.wrapping_mul(3),
                ttft_us: Some(us),
                ttfa_us: Some(us),
                ttfa_first_byte_us: Some(us),
                network_up_us: Some(us),
                network_down_us: Some(us),
                stalls: 1,
                stalled_us: us,
                first_stall_us: Some(us),
                barge_in_us: Some(us),
                barge_in_stop_us: Some(us),
                ..turn()
            };
            let svg = waterfall(&t, "t", "t", "").unwrap().svg;
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{us}");
        }
        assert!(waterfall(&TurnRow::default(), "t", "t", "").is_ok());
    }
}
