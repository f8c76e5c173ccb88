//! `capacity.html`: one file, in the look of a run's report.

use askama::Template;

use super::document::CapacityReport;
use super::words;
use crate::report::chart::Chart;
use crate::report::look::{Figure, Look};
use crate::report::section::Section;
use crate::report::text::{count, percent, share, span};
use crate::time::Micros;

/// A number that stands out.
struct Tile {
    label: &'static str,
    value: String,
    note: String,
}

/// The page, for `src/capacity/capacity.html`.
#[derive(Template)]
#[template(path = "capacity.html")]
struct Page<'a> {
    r: &'a CapacityReport,
    word: &'static str,
    tone: &'static str,
    fleet: Option<String>,
    setting: String,
    tiles: Vec<Tile>,
    sections: Vec<Section>,
    charts: Vec<Figure<'a>>,
    look: Look<'a>,
}

/// Renders the page.
pub(super) fn render(r: &CapacityReport, charts: &[Chart]) -> Result<String, String> {
    let (word, tone) = words::headline(r);
    Page {
        r,
        word,
        tone,
        fleet: words::fleet_sentence(r),
        setting: words::setting(r),
        tiles: tiles(r),
        sections: words::sections(r),
        charts: Figure::all(charts),
        look: Look::new(&r.voxload_version),
    }
    .render()
    .map_err(|e| e.to_string())
}

fn tiles(r: &CapacityReport) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut tile = |label, value: String, note: String| tiles.push(Tile { label, value, note });
    if let Some(a) = r.answer {
        let interval =
            format!("{}, 95 % in {}…{}", r.unit.heading(), r.unit.number(a.low), r.unit.number(a.high));
        tile("One server carries", r.unit.number(a.load), interval);
    } else if let Some(held) = r.held {
        tile("One server carries", format!("≥ {}", r.unit.number(held)), r.unit.heading().to_owned());
    }
    if let Some(b) = r.budgets.iter().find(|b| b.binds) {
        tile("Ended by", words::spoken(&b.expression), "the threshold that is crossed first".to_owned());
    }
    if let Some(at) = r.at_shares.last() {
        let note = format!("probe {}: {}", at.trial, r.unit.text(at.load));
        tile("TTFA p95 there", span(at.ttfa_p95_us), note);
        let rate = r.trials.iter().find(|t| t.number == at.trial);
        if let Some(t) = rate {
            tile(
                "Turns per second",
                format!("{:.1}", t.turn_rate),
                format!("{} failed", share(t.failed, t.turns)),
            );
            if t.server_cpu_cores.is_some() {
                let note = format!("and {} of memory", words::memory(t.server_rss_bytes));
                tile("The server's CPU there", words::cores(t.server_cpu_cores), note);
            }
        }
    }
    if let Some(f) = &r.fleet {
        let note = format!(
            "for {} toys, at {} of the capacity, and {} to spare",
            count(f.toys),
            words::whole(f.used),
            f.spare
        );
        tile("Servers", count(f.servers), note);
        let note = format!("of the time; quiet for {} in between", Micros(f.think_us));
        tile("A toy is in a turn", percent(f.in_turn_share), note);
    }
    tiles
}
