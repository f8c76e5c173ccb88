//! Files that are written while a run lasts: bounded memory, one row at a time.
//!
//! A disk that fills up must not end a run: the first error is returned, once, with what is lost; from then on the
//! writer does nothing.

use std::fmt::Display;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::result::{IntervalPoint, LinkRow, TurnRow};

/// Bytes kept back between flushes.
pub(super) const BUFFER: usize = 1 << 16;

/// A writer that is dropped at its first error, and knows what had reached the operating system by then.
pub(crate) struct Guarded<W> {
    path: PathBuf,
    /// `None` after an error.
    inner: Option<W>,
    /// What one entry is called in messages.
    entry: &'static str,
    written: u64,
    flushed: u64,
}

impl<W> Guarded<W> {
    /// Creates the file `name` in `dir`, and the writer on it.
    pub(crate) fn create(
        dir: &Path,
        name: &str,
        entry: &'static str,
        writer: impl FnOnce(File) -> W,
    ) -> Result<Self, String> {
        let path = dir.join(name);
        let file = File::create(&path).map_err(|e| format!("cannot create {}: {e}", path.display()))?;
        Ok(Self { path, inner: Some(writer(file)), entry, written: 0, flushed: 0 })
    }

    /// Writes with `f`, which adds so many entries.
    pub(crate) fn write<E: Display>(
        &mut self,
        entries: u64,
        f: impl FnOnce(&mut W) -> Result<(), E>,
    ) -> Result<(), String> {
        self.attempt(f)?;
        self.written += entries;
        Ok(())
    }

    /// Flushes with `f`: everything written so far is then safe.
    pub(crate) fn flush<E: Display>(
        &mut self,
        f: impl FnOnce(&mut W) -> Result<(), E>,
    ) -> Result<(), String> {
        self.attempt(f)?;
        self.flushed = self.written;
        Ok(())
    }

    fn attempt<E: Display>(&mut self, f: impl FnOnce(&mut W) -> Result<(), E>) -> Result<(), String> {
        let Some(writer) = &mut self.inner else {
            return Ok(());
        };
        f(writer).map_err(|e| {
            self.inner = None;
            format!(
                "cannot write {}: {e}; it ends after {} {}, the rest is lost",
                self.path.display(),
                self.flushed,
                self.entry
            )
        })
    }
}

/// A record that has a CSV file of its own; the columns are its fields.
pub trait CsvRow: Serialize + Default {
    /// The file's name.
    const FILE: &'static str;
    /// What several are called in messages.
    const ENTRIES: &'static str;
}

impl CsvRow for TurnRow {
    const FILE: &'static str = "turns.csv";
    const ENTRIES: &'static str = "turns";
}

impl CsvRow for IntervalPoint {
    const FILE: &'static str = "intervals.csv";
    const ENTRIES: &'static str = "intervals";
}

impl CsvRow for LinkRow {
    const FILE: &'static str = "links.csv";
    const ENTRIES: &'static str = "devices";
}

/// Writes `links.csv`, one row a device; no file when no device had a link.
pub fn write_links(dir: &Path, rows: impl Iterator<Item = LinkRow>) -> Result<(), String> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut file = RowsCsv::<LinkRow>::create(dir)?;
    for row in rows {
        file.write(&row)?;
    }
    file.finish()
}

/// `turns.csv`: one row a turn, in the order in which they ended.
pub type TurnsCsv = RowsCsv<TurnRow>;

/// `intervals.csv`: one row an interval.
pub type IntervalsCsv = RowsCsv<IntervalPoint>;

/// A CSV file, written row by row. An empty field means that it did not happen.
pub struct RowsCsv<R> {
    file: Guarded<csv::Writer<File>>,
    row: PhantomData<R>,
}

impl<R: CsvRow> RowsCsv<R> {
    /// Creates the file in `dir`, with its header.
    pub fn create(dir: &Path) -> Result<Self, String> {
        let file = Guarded::create(dir, R::FILE, R::ENTRIES, |file| {
            csv::WriterBuilder::new().has_headers(false).buffer_capacity(BUFFER).from_writer(file)
        })?;
        let mut me = Self { file, row: PhantomData };
        me.file.write(0, |csv| csv.write_record(&header::<R>()?))?;
        me.flush()?;
        Ok(me)
    }

    /// Appends a row. An error is returned once; later rows are dropped without one.
    pub fn write(&mut self, row: &R) -> Result<(), String> {
        self.file.write(1, |csv| csv.serialize(row))
    }

    /// Hands what is buffered to the operating system: after each interval.
    pub fn flush(&mut self) -> Result<(), String> {
        self.file.flush(csv::Writer::flush)
    }

    /// The end of the file.
    pub fn finish(mut self) -> Result<(), String> {
        self.flush()
    }
}

/// The names of the fields. The csv crate derives them with the first row; a file without rows has a header too.
fn header<R: CsvRow>() -> Result<csv::StringRecord, csv::Error> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.serialize(R::default())?;
    let bytes = csv.into_inner().map_err(|e| csv::Error::from(e.into_error()))?;
    csv::Reader::from_reader(bytes.as_slice()).headers().cloned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rows_come_back_as_they_went() {
        let dir = tempfile::tempdir().unwrap();
        let rows = [
            TurnRow { outcome: "ok".into(), ttft_us: Some(-4_000), rtf: Some(0.25), ..TurnRow::default() },
            TurnRow {
                device: 7,
                outcome: "closed_1011".into(),
                detail: "said \"no\", then\nhung up".into(),
                ..TurnRow::default()
            },
        ];
        let mut file = TurnsCsv::create(dir.path()).unwrap();
        for row in &rows {
            file.write(row).unwrap();
        }
        file.finish().unwrap();
        let mut reader = csv::Reader::from_path(dir.path().join("turns.csv")).unwrap();
        assert_eq!(reader.headers().unwrap().get(0), Some("device"));
        let back: Vec<TurnRow> = reader.deserialize().map(Result::unwrap).collect();
        assert_eq!(back, rows);
    }

    #[test]
    fn a_file_without_rows_has_a_header() {
        let dir = tempfile::tempdir().unwrap();
        IntervalsCsv::create(dir.path()).unwrap().finish().unwrap();
        let text = fs::read_to_string(dir.path().join("intervals.csv")).unwrap();
        assert!(text.starts_with("start_us,width_us,connected,"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let e = TurnsCsv::create(&dir.path().join("gone")).err().unwrap();
        assert!(e.contains("gone/turns.csv"), "{e}");
    }

    /// `/dev/full` takes nothing: a full disk at hand.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_said_once_and_then_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = TurnsCsv::create(dir.path()).unwrap();
        file.write(&TurnRow::default()).unwrap();
        file.flush().unwrap();
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        file.file.inner = Some(csv::Writer::from_writer(full));
        file.write(&TurnRow::default()).unwrap();
        let e = file.flush().unwrap_err();
        assert!(e.contains("turns.csv: No space left") && e.contains("ends after 1 turns"), "{e}");
        file.write(&TurnRow::default()).unwrap();
        file.flush().unwrap();
        file.finish().unwrap();
    }
}
