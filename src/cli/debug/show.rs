//! Moments as lines of text, at most 100 columns wide, or as JSON.
//!
//! ```text
//!     at ms   planned
//!    1060.4    1060.0 → binary    180 B  opus 60 ms · −23 dBFS · chunk 1 of 17 · hello 0–60 ms
//!    2034.2           ← text       53 B  {"type":"llm_token","turn":0,"text":"Sure"}
//!    2034.2             ● first token +54.2 ms
//! ```

use serde_json::{Value, json};

use crate::device::moment::{Audio, Moment, Part, Seen, Source, Step, What};
use crate::event::{Outcome, TurnRecord};
use crate::measure::turn_row;
use crate::report::result::TurnRow;
use crate::report::terminal::Style;
use crate::report::text::{bytes, is_steering, wrap};
use crate::scenario::Mask;
use crate::time::Micros;
use crate::transport::Frame;

/// Widest line.
const WIDTH: usize = 100;

/// Where the meaning of a frame begins.
const MEANING: usize = 41;

/// Where a milestone begins.
const STEP: usize = 23;

/// Characters of a text frame in JSON, unless all of it is asked for.
const EXCERPT: usize = 400;

/// Below this, sound is called silence, dBFS.
const QUIETEST: f64 = -99.0;

/// Bytes in a line of a dump.
const DUMP: usize = 24;

/// How things are shown.
pub(super) struct Show {
    /// What must not be.
    pub(super) mask: Mask,
    /// Colours.
    pub(super) style: Style,
    /// Frames in full.
    pub(super) raw: bool,
}

/// The line above everything.
pub(super) fn heading(style: Style) -> String {
    style.faint(&format!("{:>10}{:>10}   {:<6} {:>10} meaning", "at ms", "planned", "frame", "size"))
}

impl Show {
    /// The lines for a moment.
    pub(super) fn text(&self, moment: &Moment) -> String {
        match &moment.what {
            What::Frame(seen) => self.frame(moment.at, seen),
            What::Step(step) => self.step(moment.at, step),
        }
    }

    fn frame(&self, at: Micros, seen: &Seen) -> String {
        let planned = seen.planned.map_or_else(String::new, millis);
        let (arrow, kind, size) = (if seen.ours { "→" } else { "←" }, kind(seen), size(seen));
        let room = WIDTH - MEANING;
        let mut meaning = match &seen.audio {
            Some(audio) => cut(&self.clean(&audio_text(audio)), room),
            None => cut(&self.content(seen), room),
        };
        if !seen.note.is_empty() && seen.frame.is_some() {
            // What the content does not say comes first: it may be the reason why one looks.
            let between = if meaning.is_empty() { "" } else { ": " };
            meaning = cut(&format!("{}{between}{meaning}", self.clean(&seen.note)), room);
        }
        let head = format!("{:>10}", millis(at));
        let planned = self.style.faint(&format!("{planned:>10}"));
        let arrow = if seen.ours { arrow.to_owned() } else { self.style.good(arrow) };
        let line = format!("{head}{planned} {arrow} {kind:<6} {size:>10} {meaning}");
        let mut text = line.trim_end().to_owned();
        if self.raw {
            for line in self.dump(seen) {
                text.push('\n');
                text.push_str(&self.style.faint(&line));
            }
        }
        text
    }

    fn step(&self, at: Micros, step: &Step) -> String {
        let mut words = self.clean(&step.text);
        if let Some(after) = step.after {
            words += if after < Micros::ZERO { " " } else { " +" };
            words += &after.to_string();
        }
        if !step.detail.is_empty() {
            words = format!("{words} ({})", self.clean(&step.detail));
        }
        let mut lines = wrap(&words, WIDTH - STEP);
        if let Some(explanation) = step.explanation {
            lines.extend(wrap(explanation, WIDTH - STEP));
        }
        let painted = |text: &str| match step.class {
            Some(_) => self.style.bad(text),
            None => self.style.heading(text),
        };
        let head = format!("{:>10}{:10} {}", millis(at), "", painted("●"));
        let indent = format!("\n{:STEP$}", "");
        let lines: Vec<String> = lines.iter().map(|line| painted(line)).collect();
        format!("{head} {}", lines.join(&indent))
    }

    /// The content of a frame on one line, in full.
    fn content(&self, seen: &Seen) -> String {
        match (&seen.frame, &seen.content) {
            (None, _) => self.clean(&seen.note),
            (_, Some(content)) => self.clean(content),
            (Some(Frame::Text(text)), _) => self.clean(text),
            (Some(Frame::Binary(b) | Frame::Ping(b) | Frame::Pong(b)), _) => {
                self.hex(b.get(..DUMP).unwrap_or(b))
            }
        }
    }

    /// Text from outside: no secrets, one line, nothing that steers the reader's terminal.
    fn clean(&self, text: &str) -> String {
        let mut line = String::new();
        for c in self.mask.text(text).chars() {
            if is_steering(c) {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        line
    }

    fn hex(&self, bytes: &[u8]) -> String {
        let hidden = self.mask.hidden(bytes);
        let words: Vec<_> = bytes
            .iter()
            .zip(hidden)
            .map(|(b, hidden)| if hidden { "**".to_owned() } else { format!("{b:02x}") })
            .collect();
        words.join(" ")
    }

    /// Everything in a frame.
    fn dump(&self, seen: &Seen) -> Vec<String> {
        let lines: Vec<String> = match &seen.frame {
            None => Vec::new(),
            Some(Frame::Text(text)) => {
                let chars: Vec<char> = self.clean(text).chars().collect();
                chars.chunks(WIDTH - STEP).map(|c| c.iter().collect()).collect()
            }
            Some(Frame::Binary(b) | Frame::Ping(b) | Frame::Pong(b)) => {
                // Masked as a whole: a secret may lie across two lines.
                let hex = self.hex(b);
                hex.as_bytes()
                    .chunks(3 * DUMP)
                    .map(|c| String::from_utf8_lossy(c).trim_end().to_owned())
                    .collect()
            }
        };
        lines.into_iter().map(|l| format!("{:STEP$}{l}", "")).collect()
    }

    /// The same for programs.
    pub(super) fn json(&self, moment: &Moment) -> Value {
        let mut value = match &moment.what {
            What::Frame(seen) => self.frame_json(seen),
            What::Step(step) => self.step_json(step),
        };
        value["at_us"] = moment.at.0.into();
        if let Some(turn) = moment.turn {
            value["turn"] = turn.into();
        }
        value
    }

    fn frame_json(&self, seen: &Seen) -> Value {
        let mut value = json!({
            "event": "frame",
            "direction": if seen.ours { "sent" } else { "received" },
            "frame": kind(seen),
            "bytes": seen.frame.as_ref().map_or(0, Frame::len),
        });
        if let Some(planned) = seen.planned {
            value["planned_us"] = planned.0.into();
        }
        if !seen.meanings.is_empty() {
            value["means"] = json!(seen.meanings);
        }
        if !seen.note.is_empty() {
            value["note"] = self.mask.text(&seen.note).into();
        }
        match &seen.frame {
            Some(Frame::Text(text)) => {
                let text = self.mask.text(text);
                value["text"] = if self.raw { text } else { cut(&text, EXCERPT) }.into();
            }
            Some(Frame::Binary(b) | Frame::Ping(b) | Frame::Pong(b)) if self.raw => {
                value["hex"] = self.hex(b).into()
            }
            _ => {}
        }
        if let Some(content) = &seen.content {
            let content = self.mask.text(content);
            value["content"] = if self.raw { content } else { cut(&content, EXCERPT) }.into();
        }
        if let Some(audio) = &seen.audio {
            value["audio"] = audio_json(audio);
        }
        value
    }

    fn step_json(&self, step: &Step) -> Value {
        let mut value = json!({ "event": step.name, "text": self.mask.text(&step.text) });
        if !step.detail.is_empty() {
            value["detail"] = self.mask.text(&step.detail).into();
        }
        if let Some(after) = step.after {
            value["after_end_of_speech_us"] = after.0.into();
        }
        if let Some(class) = &step.class {
            value["class"] = self.mask.text(&class.to_string()).into();
        }
        if let Some(explanation) = step.explanation {
            value["explanation"] = explanation.into();
        }
        for (name, number) in &step.values {
            value[*name] = (*number).into();
        }
        value
    }

    /// A turn as a row of `turns.csv`.
    pub(super) fn row(&self, turn: &TurnRecord, fixtures: &[String]) -> TurnRow {
        let row = turn_row(turn, fixtures, &[]);
        TurnRow { outcome: self.mask.text(&row.outcome), detail: self.mask.text(&row.detail), ..row }
    }

    /// The numbers of the turns, one a line, and what went wrong with them.
    pub(super) fn table(&self, turns: &[TurnRecord], fixtures: &[String]) -> String {
        let span = |t: Option<Micros>| t.map_or_else(|| "–".to_owned(), |t| t.to_string());
        let head = [
            "turn",
            "TTFT",
            "TTFA",
            "first byte",
            "endpoint",
            "transcript",
            "reply",
            "stalled",
            "send late",
            "outcome",
        ];
        let mut rows: Vec<[String; 10]> = vec![head.map(str::to_owned)];
        let mut turns: Vec<&TurnRecord> = turns.iter().collect();
        turns.sort_by_key(|t| t.turn);
        for t in &turns {
            let late = |at: Option<Micros>| at.map(|at| at - t.end_of_speech);
            let fixture = fixtures.get(usize::from(t.fixture)).map_or("", String::as_str);
            rows.push([
                format!("{} {fixture}", t.turn),
                span(t.ttft()),
                span(t.ttfa()),
                span(t.ttfa_first_byte()),
                span(late(t.endpoint)),
                span(late(t.final_transcript)),
                t.reply_media.to_string(),
                t.judged.stalled.to_string(),
                span(t.send_delay()),
                outcome(&t.outcome),
            ]);
        }
        let widths: [usize; 10] =
            std::array::from_fn(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0));
        let mut text = String::new();
        for (n, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths).enumerate().map(|(i, (cell, width))| match i {
                // Words to the left, numbers to the right.
                0 | 9 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            let line = self.clean(cells.collect::<Vec<_>>().join("  ").trim_end());
            text += &if n == 0 { self.style.heading(&line) } else { line };
            text.push('\n');
        }
        text
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "ok".to_owned(),
        Outcome::Interrupted => "interrupted".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Failed(class, _) => class.to_string(),
    }
}

fn kind(seen: &Seen) -> &'static str {
    match &seen.frame {
        None => "close",
        Some(Frame::Text(_)) => "text",
        Some(Frame::Binary(_)) => "binary",
        Some(Frame::Ping(_)) => "ping",
        Some(Frame::Pong(_)) => "pong",
    }
}

fn size(seen: &Seen) -> String {
    seen.frame.as_ref().map_or_else(String::new, |f| bytes(f.len() as u64))
}

fn audio_text(audio: &Audio) -> String {
    let codec = audio.format.codec.name();
    let media = match &audio.media {
        Ok(media) => *media,
        Err(why) => return format!("not {codec} as agreed: {why}"),
    };
    let level = match audio.level {
        // Nothing listens to what belongs to no turn.
        None if audio.part.is_none() => String::new(),
        None => "garbled".to_owned(),
        Some(level) if level < QUIETEST => "silence".to_owned(),
        Some(level) => format!("{level:.0} dBFS"),
    };
    let sound = format!("{codec} {} ms {level:>8}", media.as_millis_f64());
    let Some(Part { of, number, total, from }) = &audio.part else {
        return sound;
    };
    let what = match of {
        Source::Utterance(_) => "chunk",
        Source::Silence => "room",
        Source::Sound(name) => name,
        Source::Reply => "reply",
    };
    let which = match total {
        Some(total) => format!("{number:>width$} of {total}", width = total.to_string().len()),
        None => format!("{number:>3}"),
    };
    format!("{sound}  {what} {which}  {}–{} ms", from.0 / 1_000, (*from + media).0 / 1_000)
}

fn audio_json(audio: &Audio) -> Value {
    let mut value = json!({ "codec": audio.format.codec.name(), "sample_rate": audio.format.sample_rate });
    match &audio.media {
        Ok(media) => value["media_us"] = media.0.into(),
        Err(why) => value["error"] = why.as_str().into(),
    }
    // JSON has no −∞: digital silence is null.
    value["level_dbfs"] = audio.level.filter(|l| l.is_finite()).map(|l| (l * 10.0).round() / 10.0).into();
    if let Some(part) = &audio.part {
        let (of, fixture) = match &part.of {
            Source::Utterance(name) => ("utterance", Some(name)),
            Source::Silence => ("room", None),
            Source::Sound(name) => ("sound", Some(name)),
            Source::Reply => ("reply", None),
        };
        value["of"] = of.into();
        if let Some(fixture) = fixture {
            value["fixture"] = fixture.as_str().into();
        }
        value["number"] = part.number.into();
        value["total"] = part.total.into();
        value["from_us"] = part.from.0.into();
    }
    value
}

/// Milliseconds since the start of the run.
fn millis(at: Micros) -> String {
    format!("{:.1}", at.as_millis_f64())
}

/// At most `width` characters.
fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::audio::{AudioFormat, Codec};
    use crate::event::FailureClass;
    use crate::scenario::Secret;

    fn show(raw: bool) -> Show {
        Show { mask: Mask::new(&[Secret::new("s3cret")]), style: Style::plain(), raw }
    }

    fn frame(frame: Frame, note: &str, audio: Option<Audio>) -> Moment {
        let seen = Seen { frame: Some(frame), note: note.to_owned(), audio, ..Seen::default() };
        Moment { at: Micros(1_234_567), turn: Some(3), what: seen.into() }
    }

    fn step(step: Step) -> Moment {
        Moment { at: Micros(99), turn: None, what: step.into() }
    }

    fn audio(level: Option<f64>, part: Option<Part>) -> Option<Audio> {
        let format = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };
        Some(Audio { format, media: Ok(Micros(2_500)), level, part })
    }

    fn part(of: Source, total: Option<u32>) -> Option<Part> {
        Some(Part { of, number: 7, total, from: Micros::from_millis(360) })
    }

    #[test]
    fn frames_fit_into_a_hundred_columns() {
        let sound = |audio| frame(Frame::Binary(Bytes::from(vec![0; 2_000])), "", audio);
        let mismatch = audio(None, None).map(|a| Audio { media: Err("not Opus: 5 bytes".to_owned()), ..a });
        let moments = [
            frame(Frame::text("{\"pin\":\"s3cret\",\n\"say\":\"\u{1b}[2J\u{202e}ä\"}"), "", None),
            frame(Frame::text("x".repeat(300)), "not understood: a text", None),
            frame(Frame::Binary(Bytes::from_static(b"s3cret\0\x01")), "", None),
            frame(Frame::Ping(Bytes::new()), "no consequence: ping", None),
            sound(audio(Some(-23.4), part(Source::Utterance("hello".into()), Some(39)))),
            sound(audio(Some(-23.4), part(Source::Silence, None))),
            sound(audio(Some(-8.0), part(Source::Sound("cough".into()), Some(9)))),
            sound(audio(Some(f64::NEG_INFINITY), part(Source::Reply, None))),
            sound(audio(None, part(Source::Reply, None))),
            sound(audio(None, None)),
            sound(mismatch),
        ];
        let lines: Vec<_> = moments.iter().map(|m| show(false).text(m)).collect();
        assert!(lines.iter().all(|l| l.chars().count() <= WIDTH && !l.contains('\n')), "{lines:#?}");
        insta::assert_snapshot!(lines.join("\n"), @r#"
1234.6           ← text         35 B {"pin":"***",\n"say":"\u{1b}[2J\u{202e}ä"}
1234.6           ← text        300 B not understood: a text: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
1234.6           ← binary        8 B ** ** ** ** ** ** 00 01
1234.6           ← ping          0 B no consequence: ping
1234.6           ← binary    2.0 KiB opus 2.5 ms -23 dBFS  chunk  7 of 39  360–362 ms
1234.6           ← binary    2.0 KiB opus 2.5 ms -23 dBFS  room   7  360–362 ms
1234.6           ← binary    2.0 KiB opus 2.5 ms  -8 dBFS  cough 7 of 9  360–362 ms
1234.6           ← binary    2.0 KiB opus 2.5 ms  silence  reply   7  360–362 ms
1234.6           ← binary    2.0 KiB opus 2.5 ms  garbled  reply   7  360–362 ms
1234.6           ← binary    2.0 KiB opus 2.5 ms
1234.6           ← binary    2.0 KiB not opus as agreed: not Opus: 5 bytes
"#);
    }

    #[test]
    fn everything_in_a_frame() {
        let text = show(true).text(&frame(Frame::text("ab".repeat(60)), "", None));
        insta::assert_snapshot!(text, @r"
1234.6           ← text        120 B ababababababababababababababababababababababababababababab…
                   ababababababababababababababababababababababababababababababababababababababa
                   bababababababababababababababababababababab
");
        let bytes: Vec<u8> = (0..20).chain(*b"s3cret").chain(0..6).collect();
        let text = show(true).text(&frame(Frame::Binary(bytes.into()), "", None));
        insta::assert_snapshot!(text, @r"
1234.6           ← binary       32 B 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 1…
                   00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 ** ** ** **
                   ** ** 00 01 02 03 04 05
");
    }

    #[test]
    fn milestones_and_failures() {
        let mut late = Step { text: "first token".into(), ..Step::default() };
        late.after = Some(Micros(87_300));
        let mut early = late.clone();
        early.after = Some(Micros(-1_500));
        let mut failed = Step {
            text: format!("turn 0 failed: closed_4000: {}", "s3cret word ".repeat(9)),
            ..Step::default()
        };
        failed.class = Some(FailureClass::Closed(4_000));
        failed.explanation = Some(FailureClass::Closed(4_000).explain());
        let lines: Vec<_> = [late, early, failed].into_iter().map(|s| show(false).text(&step(s))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
0.1           ● first token +87.3 ms
0.1           ● first token -1.5 ms
0.1           ● turn 0 failed: closed_4000: *** word *** word *** word *** word *** word ***
                word *** word *** word *** word 
                the server closed the connection in the middle
");
        let coloured = Show { style: Style::colour(), ..show(false) };
        let line = coloured.text(&step(Step { text: "connecting".into(), ..Step::default() }));
        assert!(line.contains("\u{1b}["), "{line:?}");
    }
}
