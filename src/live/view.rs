//! The picture: a snapshot, laid out for whatever room there is. Draws into a frame and reads nothing else.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph};

use super::{Latency, Moment, Snapshot};
use crate::drive::run::Phase;
use crate::measure::Quantile;
use crate::report::text::{bytes, chosen, count, harmless, millis, percent, share};
use crate::time::Micros;

/// From this width on panels stand side by side.
const WIDE: u16 = 72;

/// How it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Now: later than the snapshot.
    pub now: Micros,
    /// With colours.
    pub colour: bool,
    /// A key has asked the run to stop.
    pub stopping: bool,
}

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, s: &Snapshot, look: &Look) {
    let area = frame.area();
    let mut pen = Pen { frame, s, look: *look };
    let [mut top, mut rest] = cut(area, 2);
    if area.height > 3 {
        let help;
        [rest, help] = cut(rest, rest.height.saturating_sub(1));
        pen.help(help);
    }
    let title;
    [title, top] = cut(top, 1);
    pen.title(title);
    pen.bar(top);
    if area.width >= WIDE { pen.wide(rest) } else { pen.narrow(rest) }
}

/// Cuts off the upper `height` lines.
const fn cut(area: Rect, height: u16) -> [Rect; 2] {
    let height = if height < area.height { height } else { area.height };
    let below = Rect { y: area.y + height, height: area.height - height, ..area };
    [Rect { height, ..area }, below]
}

/// Cuts off the left `width` columns, and leaves a gap of two.
fn cut_left(area: Rect, width: u16) -> [Rect; 2] {
    let width = width.min(area.width);
    let gap = 2.min(area.width - width);
    let right = Rect { x: area.x + width + gap, width: area.width - width - gap, ..area };
    [Rect { width, ..area }, right]
}

/// The smallest picture over time.
const CHART: u16 = 5;

struct Pen<'a, 'f> {
    frame: &'a mut Frame<'f>,
    s: &'a Snapshot,
    look: Look,
}

impl Pen<'_, '_> {
    fn wide(&mut self, area: Rect) {
        let counts = self.counts();
        let upper = (counts.len() as u16 + 1).min(area.height);
        let left = area.height - upper;
        // The lower panels take what the chart does not need.
        let lower = match left {
            20.. => 11,
            11..20 => left.saturating_sub(CHART).min(7),
            _ => left,
        };
        let [first, rest] = cut(area, upper);
        let [chart, last] = cut(rest, left - lower);
        let half = area.width / 2;
        let [a, b] = cut_left(first, half.max(46).min(area.width));
        self.panel(a, "Devices and turns", counts);
        let thresholds = self.thresholds();
        self.panel(b, "Thresholds so far", thresholds);
        if chart.height >= CHART {
            self.chart(chart);
        }
        let [a, b] = cut_left(last, half.max(1));
        let failures = self.failures();
        self.panel(a, "Failures", failures);
        self.generator(b);
    }

    fn narrow(&mut self, mut area: Rect) {
        let counts = self.counts();
        let panels = [
            ("Devices and turns", counts.len() as u16 + 1, counts),
            ("Thresholds so far", 4, self.thresholds()),
            ("", 5, Vec::new()),
            ("Failures", 4, self.failures()),
        ];
        for (title, most, lines) in panels {
            let wanted = if title.is_empty() { most } else { most.min(lines.len() as u16 + 1) };
            let [panel, rest] = cut(area, wanted);
            // A title alone says nothing.
            if panel.height < 2 {
                return;
            }
            if title.is_empty() {
                self.generator(panel)
            } else {
                self.panel(panel, title, lines)
            }
            area = rest;
        }
        if area.height >= CHART {
            self.chart(area);
        }
    }

    // ── Parts ────────────────────────────────────────────────────────────────────────────────────────────────

    fn title(&mut self, area: Rect) {
        let about = &self.s.about;
        let name = format!("voxload  {}", harmless(&about.name));
        let right = self.phase();
        let used = name.chars().count() + right.width();
        let mut line = vec![Span::styled(name, self.strong())];
        let room = usize::from(area.width).saturating_sub(used);
        let target = format!("  {}", harmless(&about.target));
        let target = if target.chars().count() + 2 <= room { target } else { String::new() };
        let gap = room.saturating_sub(target.chars().count());
        line.push(Span::styled(target, self.faint()));
        line.push(Span::raw(" ".repeat(gap.max(1))));
        line.push(right);
        self.frame.render_widget(Line::from(line), area);
    }

    fn phase(&self) -> Span<'static> {
        match self.s.phase {
            Phase::Interrupted => Span::styled("stopping: waiting for turns", self.bad()),
            _ if self.look.stopping => Span::styled("stopping", self.bad()),
            phase => Span::styled(phase.name(), self.strong()),
        }
    }

    fn bar(&mut self, area: Rect) {
        let (now, end) = (self.look.now, self.s.about.end);
        let left = end - now;
        let text = if left > Micros::ZERO {
            format!(" {} of {}, {} left", clock(now), clock(end), clock(left))
        } else {
            format!(" {}, load has ended", clock(now))
        };
        let room = usize::from(area.width).saturating_sub(text.chars().count());
        let done = if end > Micros::ZERO { now.0 as f64 / end.0 as f64 } else { 1.0 };
        let full = ((room as f64 * done.clamp(0.0, 1.0)) as usize).min(room);
        let line = Line::from(vec![
            Span::styled("━".repeat(full), self.good()),
            Span::styled("─".repeat(room - full), self.faint()),
            Span::raw(text),
        ]);
        self.frame.render_widget(line, area);
    }

    fn help(&mut self, area: Rect) {
        let key = |key| Span::styled(key, self.strong());
        let line = if self.look.stopping {
            vec![key("q"), Span::raw(" again: leave at once, and report what there is")]
        } else {
            vec![
                key("s"),
                Span::raw(" stop gently   "),
                key("q"),
                Span::raw(" quit (twice: at once)   "),
                key("^Z"),
                Span::raw(" pause"),
            ]
        };
        self.frame.render_widget(Line::from(line), area);
    }

    fn counts(&self) -> Vec<Line<'static>> {
        let (s, c) = (self.s, &self.s.counts);
        let failed = c.failed + c.timed_out;
        let answered = c.succeeded + c.interrupted;
        let of = |l: &Latency| format!("p50 {}  p95 {}  p99 {}", spoken(l.p50), spoken(l.p95), spoken(l.p99));
        let line = |label: &str, text: String| {
            Line::from(vec![Span::styled(format!("{label:<10}"), self.faint()), Span::raw(text)])
        };
        let planned = count(s.about.devices.into());
        let mut turns = line("turns", format!("{} answered, ", count(answered)));
        let failed_text = format!("{} failed ({})", count(failed), share(failed, failed + answered));
        turns.push_span(Span::styled(failed_text, if failed > 0 { self.bad() } else { Style::new() }));
        let lost = c.connect_failures + c.lost;
        let mut connections = line("links", format!("{} opened, ", count(c.connected_total)));
        let back = if c.reconnected > 0 { format!(", {} back", count(c.reconnected)) } else { String::new() };
        let lost_text = format!("{} failed or lost{back}", count(lost));
        connections.push_span(Span::styled(lost_text, if lost > 0 { self.bad() } else { Style::new() }));
        vec![
            line("devices", format!("{} of {planned}, {} in a turn", count(s.connected), count(s.in_turn))),
            turns,
            line("TTFA", of(&s.ttfa)),
            line(" uncorr.", of(&s.ttfa_uncorrected)),
            line("TTFT", of(&s.ttft)),
            connections,
        ]
    }

    fn thresholds(&self) -> Vec<Line<'static>> {
        if self.s.thresholds.is_empty() {
            return vec![Line::styled("the scenario has none", self.faint())];
        }
        let line = |t: &crate::report::result::ThresholdResult| {
            let unknown = t.actual.is_none() && !t.passed && t.actual_text == "no samples";
            let mark = match () {
                () if unknown => Span::styled("· ", self.faint()),
                () if t.passed => Span::styled("✓ ", self.good()),
                () => Span::styled("✗ ", self.bad()),
            };
            Line::from(vec![
                mark,
                Span::raw(harmless(&t.expression)),
                Span::raw("  "),
                Span::raw(t.actual_text.clone()),
            ])
        };
        let mut all: Vec<_> = self.s.thresholds.iter().collect();
        // What fails must not be what there is no room for.
        all.sort_by_key(|t| t.passed);
        all.into_iter().map(line).collect()
    }

    fn failures(&self) -> Vec<Line<'static>> {
        if self.s.failures.is_empty() {
            return vec![Line::styled("none", self.faint())];
        }
        let line = |f: &crate::report::result::FailureGroup| {
            let mut text = vec![Span::styled(format!("{:<18} ", harmless(&f.class)), self.bad())];
            let parts = [(f.turns, "turns"), (f.connections, "links")];
            let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, of)| format!("{} {of}", count(*n)));
            text.push(Span::raw(parts.collect::<Vec<_>>().join(", ")));
            Line::from(text)
        };
        self.s.failures.iter().map(line).collect()
    }

    fn generator(&mut self, area: Rect) {
        let (g, v) = (&self.s.generator, &self.s.validity);
        let judged = !v.checks.is_empty();
        let (title, style) = match (judged, v.valid) {
            (false, _) => ("Generator", self.strong()),
            (true, true) => ("Generator: VALID so far", self.good()),
            (true, false) => ("Generator: INVALID so far", self.bad()),
        };
        let optional = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
        let (cpu, steal) = (percent(g.cpu_share), optional(g.steal_share));
        let mut lines = vec![Line::raw(format!("CPU {cpu}  steal {steal}  {}", bytes(self.s.rss)))];
        let mut checks: Vec<_> = v.checks.iter().collect();
        checks.sort_by_key(|c| c.ok);
        for c in checks {
            let mark =
                if c.ok { Span::styled("✓ ", self.good()) } else { Span::styled("✗ ", self.bad()) };
            lines.push(Line::from(vec![mark, Span::raw(format!("{}  {} ({})", c.name, c.seen, c.limit))]));
        }
        // What waits for a CPU may be the server: it is not judged by default.
        lines.push(Line::styled(format!("  CPU pressure  {}", optional(g.pressure_share)), self.faint()));
        self.framed(area, Span::styled(title, style), lines);
    }

    fn panel(&mut self, area: Rect, title: &str, lines: Vec<Line<'static>>) {
        let title = Span::styled(title.to_owned(), self.strong());
        self.framed(area, title, lines);
    }

    fn framed(&mut self, area: Rect, title: Span<'static>, lines: Vec<Line<'static>>) {
        let block = Block::new().borders(Borders::TOP).border_style(self.faint()).title(title);
        self.frame.render_widget(Paragraph::new(lines).block(block), area);
    }

    // ── The chart ────────────────────────────────────────────────────────────────────────────────────────────

    fn chart(&mut self, area: Rect) {
        let history = &self.s.history;
        let finite = |q: Option<Quantile>| q.and_then(Quantile::finite).map(|t| t.0 as f64);
        let highest =
            history.iter().flat_map(|m| [finite(m.p50), finite(m.p95)]).flatten().fold(0.0, f64::max);
        // Room above, so that the highest point is not on the edge; and never an empty range.
        let top = if highest > 0.0 { highest * 1.1 } else { 1_000.0 };
        let at = |m: Option<&Moment>| m.map_or(0.0, |m| m.at.as_secs_f64());
        let (from, to) = (at(history.front()), at(history.back()));
        let to = if to > from { to } else { from + 1.0 };
        let p50 = runs(history.iter().map(|m| (m.at, m.p50)));
        let p95 = runs(history.iter().map(|m| (m.at, m.p95)));
        let infinite = history.iter().filter(|m| m.p95 == Some(Quantile::Infinite));
        let infinite: Vec<_> = infinite.map(|m| (m.at.as_secs_f64(), top)).collect();
        let colour = |c| if self.look.colour { Style::new().fg(c) } else { Style::new() };
        let (low, high, never) = (colour(Color::Cyan), colour(Color::Yellow), colour(Color::Red));
        let mut sets = Vec::new();
        for (all, marker, style) in [(&p95, Marker::Dot, high), (&p50, Marker::Braille, low)] {
            for run in all {
                let kind = if run.len() > 1 { GraphType::Line } else { GraphType::Scatter };
                sets.push(Dataset::default().marker(marker).graph_type(kind).style(style).data(run));
            }
        }
        sets.push(Dataset::default().marker(Marker::Block).style(never).data(&infinite));
        let title = Line::from(vec![
            Span::styled("TTFA", self.strong()),
            Span::raw(format!(" of each {}, ms  ", chosen(self.s.about.interval.0))),
            Span::styled("⠤ p50", low),
            Span::styled("  • p95", high),
            Span::styled("  █ failures", never),
        ]);
        let label = |us: f64| Span::raw(millis(us as i64));
        let time = |s: f64| Span::raw(clock(Micros::from_secs_f64(s)));
        let chart = Chart::new(sets)
            .legend_position(None)
            .x_axis(Axis::default().bounds([from, to]).labels([time(from), time(to)]).style(self.faint()))
            .y_axis(
                Axis::default()
                    .bounds([0.0, top])
                    .labels([label(0.0), label(top / 2.0), label(top)])
                    .style(self.faint()),
            )
            .block(Block::new().borders(Borders::TOP).border_style(self.faint()).title(title));
        self.frame.render_widget(chart, area);
    }

    // ── Styles ───────────────────────────────────────────────────────────────────────────────────────────────

    const fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    const fn faint(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    const fn good(&self) -> Style {
        if self.look.colour { Style::new().fg(Color::Green) } else { Style::new() }
    }

    const fn bad(&self) -> Style {
        if self.look.colour {
            Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
        } else {
            self.strong()
        }
    }
}

/// What is finite, in stretches: a failure interrupts the line, an interval without a turn does not.
fn runs(all: impl Iterator<Item = (Micros, Option<Quantile>)>) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for (at, q) in all {
        match q {
            Some(Quantile::Finite(t)) => {
                if let Some(run) = runs.last_mut() {
                    run.push((at.as_secs_f64(), t.0 as f64));
                }
            }
            Some(Quantile::Infinite) => runs.push(Vec::new()),
            None => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn spoken(q: Option<Quantile>) -> String {
    match q {
        Some(Quantile::Finite(t)) => t.to_string(),
        Some(Quantile::Infinite) => "∞".to_owned(),
        None => "–".to_owned(),
    }
}

/// `1:05`, `2:00:00`.
fn clock(t: Micros) -> String {
    let s = t.0.max(0) / 1_000_000;
    match (s / 3_600, s / 60 % 60, s % 60) {
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::live::sample;
    use crate::report::sample::Kind;

    fn drawn(s: &Snapshot, (width, height): (u16, u16), look: Look) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, s, &look)).unwrap();
        terminal
    }

    fn look(s: &Snapshot) -> Look {
        Look { now: s.now, colour: true, stopping: false }
    }

    fn text(s: &Snapshot, size: (u16, u16), look: Look) -> String {
        let terminal = drawn(s, size, look);
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(usize::from(size.0).max(1));
        let lines = lines.map(|line| line.iter().map(|c| c.symbol()).collect::<String>());
        lines.map(|l| l.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// A run in the middle of its load, some minutes long.
    fn running(kind: Kind) -> Snapshot {
        let mut s = sample::make(kind, 7, 6_000);
        s.now = Micros::from_secs(45);
        s.history.truncate(45);
        s
    }

    #[test]
    fn a_good_run() {
        let s = running(Kind::Good);
        insta::assert_snapshot!("good_80x24", text(&s, (80, 24), look(&s)));
        insta::assert_snapshot!("good_120x40", text(&s, (120, 40), look(&s)));
        insta::assert_snapshot!("good_50x30", text(&s, (50, 30), look(&s)));
    }

    #[test]
    fn runs_in_trouble() {
        let s = running(Kind::Failing);
        insta::assert_snapshot!("failing_80x24", text(&s, (80, 24), Look { stopping: true, ..look(&s) }));
        let s = running(Kind::Invalid);
        insta::assert_snapshot!("invalid_100x30", text(&s, (100, 30), look(&s)));
    }

    #[test]
    fn nothing_yet() {
        let s = Snapshot::default();
        insta::assert_snapshot!("nothing_80x24", text(&s, (80, 24), look(&s)));
    }

    /// As much as numbers can be, and as long as names can be.
    fn huge() -> Snapshot {
        let mut s = running(Kind::Failing);
        let (most, long) = (u64::MAX, "x".repeat(300));
        (s.connected, s.in_turn, s.rss) = (most, most, most);
        (s.counts.succeeded, s.counts.failed) = (most / 8, most / 8);
        (s.counts.lost, s.counts.connected_total) = (most / 8, most);
        s.ttfa = Latency {
            count: most,
            p50: Some(Quantile::Finite(Micros::from_secs(86_400))),
            p95: Some(Quantile::Infinite),
            p99: Some(Quantile::Infinite),
        };
        for (i, m) in s.history.iter_mut().enumerate() {
            m.p50 = Some(Quantile::Finite(Micros(1 << (i % 37))));
            m.p95 = if i % 3 == 0 { Some(Quantile::Infinite) } else { None };
        }
        s.failures.iter_mut().for_each(|f| f.class.clone_from(&long));
        s.thresholds.iter_mut().for_each(|t| t.expression.clone_from(&long));
        s.about = std::sync::Arc::new(crate::live::About {
            name: format!("{long}\u{1b}[31m"),
            target: long,
            devices: u32::MAX,
            end: Micros::from_secs(1_000_000),
            ..Default::default()
        });
        s
    }

    #[test]
    fn every_size_is_drawn() {
        let snapshots = [Snapshot::default(), running(Kind::Good), running(Kind::Empty), huge()];
        for s in &snapshots {
            for width in [0, 1, 2, 7, 20, 46, 71, 72, 80, 250] {
                for height in [0, 1, 2, 3, 4, 5, 9, 12, 24, 70] {
                    for now in [Micros::ZERO, s.now, Micros::from_secs(200_000)] {
                        drawn(s, (width, height), Look { now, colour: false, stopping: true });
                    }
                }
            }
        }
        let text = text(&snapshots[3], (80, 24), look(&snapshots[3]));
        assert!(text.contains('∞') && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn without_colours_there_are_none() {
        let s = running(Kind::Failing);
        let coloured = |look| {
            let terminal = drawn(&s, (100, 40), look);
            let cells = terminal.backend().buffer().content();
            cells.iter().filter(|c| c.fg != Color::Reset || c.bg != Color::Reset).count()
        };
        assert_eq!(coloured(Look { colour: false, ..look(&s) }), 0);
        assert!(coloured(look(&s)) > 0);
    }

    #[test]
    fn a_failure_interrupts_a_line_and_silence_does_not() {
        let at = |s| Micros::from_secs(s);
        let some = |us| Some(Quantile::Finite(Micros(us)));
        let history = [
            (at(1), some(5)),
            (at(2), None),
            (at(3), some(6)),
            (at(4), Some(Quantile::Infinite)),
            (at(5), some(7)),
        ];
        assert_eq!(runs(history.into_iter()), [vec![(1.0, 5.0), (3.0, 6.0)], vec![(5.0, 7.0)]]);
    }
}
