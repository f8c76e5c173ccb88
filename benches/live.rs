//! What the live view costs: CPU time of its thread per picture, and per snapshot, against its refresh rate.
//!
//! `cargo bench --bench live`

use std::hint::black_box;
use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use voxload::live::view::{self, Look};
use voxload::live::{Board, Snapshot, exposition, sample};
use voxload::measure::health;
use voxload::report::sample::Kind;
use voxload::time::Micros;

/// Pictures a second, at most.
const HERTZ: u32 = 4;

/// CPU time of this thread for one of many.
fn cost(times: u32, mut work: impl FnMut(u32)) -> f64 {
    (0..times / 10).for_each(&mut work);
    let before = health::thread_cpu();
    (0..times).for_each(work);
    (health::thread_cpu() - before).0 as f64 / f64::from(times)
}

/// A run with a full history, another second later each time: nearly every cell of the chart changes.
fn at(s: &Snapshot, second: u32) -> Snapshot {
    let mut s = s.clone();
    let n = s.history.len().max(1);
    s.history = (0..300).map(|i| s.history[(i + second as usize) % n]).collect();
    for (i, m) in s.history.iter_mut().enumerate() {
        m.at = Micros::from_secs(i64::from(second) + i as i64);
    }
    s.now = Micros::from_secs(i64::from(second) + 300);
    s
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let s = sample::make(Kind::Failing, 7, 200_000);
    let snapshots: Vec<_> = (0..64).map(|n| at(&s, n)).collect();
    println!("CPU time of the thread, at {HERTZ} pictures a second, each of another snapshot:");
    for (width, height) in [(80, 24), (120, 40), (240, 70)] {
        // What a terminal would be sent, without one.
        let fixed = ratatui::TerminalOptions {
            viewport: ratatui::Viewport::Fixed(ratatui::layout::Rect::new(0, 0, width, height)),
        };
        let mut sent = Vec::new();
        let mut terminal = Terminal::with_options(CrosstermBackend::new(&mut sent), fixed)?;
        let us = cost(2_000, |n| {
            let s = &snapshots[n as usize % snapshots.len()];
            let look = Look { now: s.now, colour: true, stopping: false };
            let drawn = terminal.draw(|frame| view::draw(frame, s, &look));
            assert!(black_box(drawn).is_ok());
        });
        drop(terminal);
        let share = us * f64::from(HERTZ) / 1e4;
        println!(
            "  {width:>3} × {height:<2}   {us:>7.0} µs a picture, {:>6} B   {share:>6.3} % of a core (limit 2 %)",
            sent.len() / 2_200
        );
    }
    let board = Board::new(s.clone());
    let us = cost(2_000, |n| {
        board.put(snapshots[n as usize % snapshots.len()].clone());
        black_box(Arc::strong_count(&board.get()));
    });
    println!("  a snapshot put on the board {us:>6.0} µs, once an interval");
    let us = cost(500, |_| drop(black_box(exposition::page(&s))));
    println!("  a page for Prometheus       {us:>6.0} µs a scrape, {} B", exposition::page(&s).len());
    Ok(())
}
