//! What a run under way has written so far.

use std::fs;
use std::path::Path;

use crate::report::result::IntervalPoint;

/// Larger files are not read while a run writes them.
const READ_AT_MOST: u64 = 16 << 20;

/// Errors are no share before there are so many events.
const FEWEST_EVENTS: u64 = 20;

/// The share of turns and connections that failed, and of how many; `None` while there are few.
pub(super) fn errors(intervals: &[IntervalPoint]) -> Option<(f64, u64)> {
    let (good, bad) =
        intervals.iter().fold((0, 0), |(g, b), i| (g + i.succeeded, b + i.failed + i.connection_failures));
    let all = good + bad;
    (all >= FEWEST_EVENTS).then(|| (bad as f64 / all as f64, all))
}

/// The rows of a file that is being written, up to the last whole one. No file, no rows.
pub(super) fn rows<R: serde::de::DeserializeOwned>(path: &Path) -> Vec<R> {
    if fs::metadata(path).map_or(true, |m| m.len() > READ_AT_MOST) {
        return Vec::new();
    }
    let Ok(mut reader) = csv::Reader::from_path(path) else { return Vec::new() };
    reader.deserialize().map_while(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::result::TurnRow;

    #[test]
    fn errors_are_a_share_when_there_are_enough() {
        let point = |succeeded, failed, connection_failures| IntervalPoint {
            succeeded,
            failed,
            connection_failures,
            ..IntervalPoint::default()
        };
        assert_eq!(errors(&[point(3, 9, 0)]), None);
        assert_eq!(errors(&[point(30, 5, 0), point(10, 0, 5)]), Some((0.2, 50)));
    }

    #[test]
    fn a_file_that_is_being_written_is_read_as_far_as_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut csv = crate::report::TurnsCsv::create(dir.path()).unwrap();
        for n in 0..3 {
            csv.write(&TurnRow { device: n, outcome: "ok".to_owned(), ..TurnRow::default() }).unwrap();
        }
        csv.flush().unwrap();
        let path = dir.path().join("turns.csv");
        assert_eq!(rows::<TurnRow>(&path).len(), 3);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 30]).unwrap();
        assert_eq!(rows::<TurnRow>(&path).len(), 2);
        assert_eq!(rows::<TurnRow>(&dir.path().join("gone")).len(), 0);
    }
}
