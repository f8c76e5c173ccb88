//! Values of a drawing, and where they can be looked up: the page's script shows them under the pointer.
//!
//! Nobody needs them to read a page: what counts is in tables and captions, too.

use super::{Area, Plot};

/// Most columns of one plot: a document by somebody else may have more points than pixels.
const COLUMNS: usize = 400;

/// Half the side of a dot's spot.
const DOT: i32 = 12;

/// A rectangle with what is to be known about it, in pixels of the whole drawing.
struct Spot {
    at: [i32; 2],
    size: [i32; 2],
    /// Where an upright line goes while it is shown.
    mark: Option<i32>,
    /// Lines: the first is a heading.
    text: String,
}

/// All of a drawing. Of spots that overlap the last one is shown.
#[derive(Default)]
pub(crate) struct Spots(Vec<Spot>);

impl Spots {
    /// A rectangle on an area.
    pub(super) fn rect(&mut self, area: &Area<'_>, from: (i32, i32), to: (i32, i32), text: String) {
        let (x, y) = area.get_pixel_range();
        let at = [x.start + from.0.min(to.0), y.start + from.1.min(to.1)];
        let size = [(to.0 - from.0).abs(), (to.1 - from.1).abs()];
        self.0.push(Spot { at, size, mark: None, text });
    }

    /// A dot on a plot.
    pub(super) fn dot(&mut self, plot: &Plot<'_, '_>, at: (f64, f64), text: String) {
        let (x, y) = plot.backend_coord(&at);
        self.0.push(Spot { at: [x - DOT, y - DOT], size: [2 * DOT; 2], mark: None, text });
    }

    /// Columns of a plot, in the order of their x: each reaches half way to its neighbours.
    pub(super) fn columns(&mut self, plot: &Plot<'_, '_>, columns: impl IntoIterator<Item = (f64, String)>) {
        let (x, y) = plot.plotting_area().get_pixel_range();
        let columns: Vec<(i32, String)> = columns
            .into_iter()
            .map(|(at, text)| (plot.backend_coord(&(at, 0.0)).0, text))
            .filter(|(at, _)| (x.start..=x.end).contains(at))
            .collect();
        let every = columns.len().div_ceil(COLUMNS).max(1);
        let columns: Vec<(i32, String)> = columns.into_iter().step_by(every).collect();
        for (i, (at, text)) in columns.iter().enumerate() {
            let before = i.checked_sub(1).and_then(|i| columns.get(i)).map_or(x.start, |(b, _)| (b + at) / 2);
            let after = columns.get(i + 1).map_or(x.end, |(b, _)| (b + at) / 2);
            self.0.push(Spot {
                at: [before, y.start],
                size: [after - before, y.end - y.start],
                mark: Some(*at),
                text: text.clone(),
            });
        }
    }

    /// As the value of an HTML attribute: JSON, `[x, y, width, height, mark or -1, text]` each; empty without spots.
    pub(super) fn attribute(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let rows: Vec<_> = self
            .0
            .iter()
            .map(|s| (s.at[0], s.at[1], s.size[0], s.size[1], s.mark.unwrap_or(-1), s.text.as_str()))
            .collect();
        escape(&serde_json::to_string(&rows).unwrap_or_default())
    }
}

/// Text as the value of an attribute in double quotes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, plot, svg};
    use super::*;

    #[test]
    fn columns_tile_the_plot_and_text_cannot_leave_its_attribute() {
        let mut spots = Spots::default();
        let axis = Axis::linear(10.0, "");
        svg(300, "t", |area| {
            let plot = plot(area, &axis, &axis)?;
            spots.columns(&plot, (1..=9).map(|i| (f64::from(i), format!("\"<b>{i}\u{1b}"))));
            spots.rect(area, (10, 20), (5, 40), "bar".to_owned());
            Ok(())
        })
        .unwrap();
        let columns = &spots.0[..9];
        assert!(columns.windows(2).all(|w| w[0].at[0] + w[0].size[0] == w[1].at[0]));
        assert!(columns.iter().all(|s| s.mark.is_some_and(|m| (s.at[0]..=s.at[0] + s.size[0]).contains(&m))));
        let bar = &spots.0[9];
        assert_eq!((bar.at, bar.size), ([5, 56], [5, 20]), "below the title");
        let text = spots.attribute();
        assert!(!text.contains(['"', '<', '>', '\u{1b}']), "{text}");
        let back =
            text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        let rows: Vec<(i32, i32, i32, i32, i32, String)> = serde_json::from_str(&back).unwrap();
        assert_eq!(rows.len(), 10);
        assert_eq!(rows[0].5, "\"<b>1\u{1b}");
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let mut spots = Spots::default();
        let axis = Axis::linear(1e5, "");
        svg(300, "t", |area| {
            let plot = plot(area, &axis, &axis)?;
            spots.columns(&plot, (0..100_000).map(|i| (f64::from(i), String::new())));
            Ok(())
        })
        .unwrap();
        assert!((100..=COLUMNS).contains(&spots.0.len()), "{}", spots.0.len());
    }
}
