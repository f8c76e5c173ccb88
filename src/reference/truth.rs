//! The server's own log: one row per turn, when it heard and said what, on the clock of the run. Where the plan asks
//! for them, also one row per message of audio and one per freeze, in files beside it.
//!
//! The frame path only puts a row into a bounded channel; a thread of its own writes the file. Instants are
//! microseconds since the start of the run, spans are microseconds; an empty field means that it did not happen.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::scenario::{ReferencePlan, ServerEvent, Trouble};
use crate::time::Micros;

/// Rows that may wait for the disk before rows are lost (and counted).
const WAITING: usize = 16_384;

/// One turn, as the server saw it. Columns stand in this order in `reference-truth.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The device's address, as the server saw it.
    pub peer_ip: Option<IpAddr>,
    /// The device's port, likewise.
    pub peer_port: u16,
    /// The session, in the order in which connections were accepted.
    pub session: u64,
    /// The turn's id on its connection.
    pub session_turn: u32,
    /// Playing time of the speech that was received for this turn. With server-side detection: from the message in
    /// which speech was noticed to the last loud 10 ms.
    pub speech_us: Micros,
    /// First audio of the turn arrived.
    pub first_audio_in_us: Option<Micros>,
    /// Last audio of the turn arrived.
    pub last_audio_in_us: Option<Micros>,
    /// The turn ended: `audio_end` arrived, or the silence was long enough.
    pub turn_end_in_us: Micros,
    /// The server's end-of-speech event was written.
    pub speech_stopped_out_us: Option<Micros>,
    /// The final transcript was written.
    pub final_out_us: Option<Micros>,
    /// The first token was written.
    pub first_token_out_us: Option<Micros>,
    /// The frame with the first audio was written to the socket.
    pub first_audio_out_us: Option<Micros>,
    /// Leading silence of the reply: what lies between the first audio and the first audible sample.
    pub first_audible_offset_us: Option<Micros>,
    /// The frame with the last audio was written.
    pub last_audio_out_us: Option<Micros>,
    /// The end of the reply, or the error instead of it, was written.
    pub done_out_us: Option<Micros>,
    /// Latency drawn for the recogniser.
    pub stt_us: Option<Micros>,
    /// How long the turn waited for a recogniser.
    pub stt_wait_us: Option<Micros>,
    /// Latency drawn for the language model.
    pub llm_us: Option<Micros>,
    /// How long the turn waited for a language model.
    pub llm_wait_us: Option<Micros>,
    /// Latency drawn for the synthesiser.
    pub tts_us: Option<Micros>,
    /// How long the turn waited for a synthesiser.
    pub tts_wait_us: Option<Micros>,
    /// The reply was cut: by `interrupt`, by speech over it, or by the next turn.
    pub interrupted: bool,
    /// The fault that struck this turn; empty: none.
    pub fault: String,
    /// The connection was lost during this turn, and the session went on over another.
    pub resumed: bool,
}

/// A message of audio, as it was read. Columns stand in this order in `reference-chunks.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// The device's port.
    pub peer_port: u16,
    /// The session.
    pub session: u64,
    /// The turn's id on its connection.
    pub session_turn: u32,
    /// Which message of the turn, from 0.
    pub chunk: u32,
    /// When it was read.
    pub in_us: Micros,
}

/// A freeze of one thread. Columns stand in this order in `reference-freezes.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRow {
    /// The thread, from 0.
    pub thread: u32,
    /// When it was to begin.
    pub planned_from_us: Micros,
    /// When it was to end.
    pub planned_until_us: Micros,
    /// When it began.
    pub from_us: Micros,
    /// When it ended.
    pub until_us: Micros,
}

/// Something for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Turn(Box<Row>),
    Chunk(ChunkRow),
    Freeze(FreezeRow),
}

/// Where finished turns go; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    rows: Option<SyncSender<Entry>>,
    lost: Arc<AtomicU64>,
}

impl Truth {
    /// Logs a turn; never blocks.
    pub(super) fn log(&self, row: Row) {
        self.add(|| Entry::Turn(Box::new(row)));
    }

    /// Likewise, anything.
    pub(super) fn add(&self, entry: impl FnOnce() -> Entry) {
        if let Some(rows) = &self.rows
            && rows.try_send(entry()).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A log that keeps rows for whoever holds the other end.
    #[cfg(test)]
    pub(super) fn kept() -> (Self, Receiver<Entry>) {
        let (rows, kept) = sync_channel(WAITING);
        let truth = Self { rows: Some(rows), lost: Arc::default() };
        (truth, kept)
    }
}

/// The thread that writes the file: ends when every [`Truth`] is gone.
#[derive(Debug)]
pub(super) struct Writer {
    thread: JoinHandle<std::io::Result<()>>,
    lost: Arc<AtomicU64>,
    zero: Arc<AtomicI64>,
    path: PathBuf,
}

impl Writer {
    /// Creates the files and starts the thread.
    pub(super) fn start(path: &Path, plan: &ReferencePlan) -> Result<(Truth, Self), String> {
        let cannot = |e| format!("cannot write the truth log {}: {e}", path.display());
        let beside = |kind, wanted: bool| wanted.then(|| File::create(sibling(path, kind))).transpose();
        let freezes = |e: &ServerEvent| matches!(e.trouble, Trouble::Freeze { .. });
        let planned = plan.freeze.is_some() || plan.events.iter().any(freezes);
        let files = Files {
            turns: File::create(path).map_err(cannot)?,
            chunks: beside(CHUNKS, plan.log_chunks).map_err(cannot)?,
            freezes: beside(FREEZES, planned).map_err(cannot)?,
        };
        let (rows, waiting) = sync_channel(WAITING);
        let zero = Arc::<AtomicI64>::default();
        let (zero_of_thread, sibling_of_thread) = (Arc::clone(&zero), sibling(path, FREEZES));
        let thread = std::thread::Builder::new()
            .name("truth".to_owned())
            .spawn(move || write(files, &sibling_of_thread, &waiting, &zero_of_thread))
            .map_err(cannot)?;
        let lost = Arc::<AtomicU64>::default();
        let truth = Truth { rows: Some(rows), lost: Arc::clone(&lost) };
        let path = path.to_owned();
        Ok((truth, Self { thread, lost, zero, path }))
    }

    /// From now on rows count from `zero` on the server's clock: the run begins after the server does.
    pub(super) fn set_zero(&self, zero: Micros) {
        self.zero.store(zero.0, Ordering::Relaxed);
    }

    /// Waits until everything is on its way to the disk; the number of rows that were lost. Call when every
    /// [`Truth`] has been dropped.
    pub(super) fn finish(self) -> Result<u64, String> {
        let cannot =
            |e: &dyn std::fmt::Display| format!("cannot write the truth log {}: {e}", self.path.display());
        match self.thread.join() {
            Ok(Ok(())) => Ok(self.lost.load(Ordering::Relaxed)),
            Ok(Err(e)) => Err(cannot(&e)),
            Err(_) => Err(cannot(&"its thread failed")),
        }
    }
}

/// The files of a log.
struct Files {
    turns: File,
    chunks: Option<File>,
    freezes: Option<File>,
}

/// The file beside the truth log that holds something else: `reference-truth.csv` → `reference-chunks.csv`.
pub fn sibling(path: &Path, kind: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let head = stem.strip_suffix("truth").map_or_else(|| format!("{stem}-"), str::to_owned);
    path.with_file_name(format!("{head}{kind}.csv"))
}

/// The messages of audio.
pub const CHUNKS: &str = "chunks";
/// The freezes.
pub const FREEZES: &str = "freezes";

type Csv = csv::Writer<BufWriter<File>>;

fn open(file: File, columns: &[&str]) -> std::io::Result<Csv> {
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(BufWriter::new(file));
    csv.write_record(columns)?;
    // The head is there at once, so that a reader never meets an empty file.
    csv.flush()?;
    Ok(csv)
}

/// Freezes that were not planned get their file, `unplanned`, with the first of them.
fn write(files: Files, unplanned: &Path, entries: &Receiver<Entry>, zero: &AtomicI64) -> std::io::Result<()> {
    let mut turns = open(files.turns, &Row::columns())?;
    let mut chunks = files.chunks.map(|f| open(f, &ChunkRow::COLUMNS)).transpose()?;
    let mut freezes = files.freezes.map(|f| open(f, &FreezeRow::COLUMNS)).transpose()?;
    while let Ok(first) = entries.recv() {
        // Drain what waits, then flush: whole rows on the disk whenever the server is quiet.
        for entry in std::iter::once(first).chain(std::iter::from_fn(|| entries.try_recv().ok())) {
            let zero = Micros(zero.load(Ordering::Relaxed));
            if freezes.is_none() && matches!(entry, Entry::Freeze(_)) {
                freezes = Some(open(File::create(unplanned)?, &FreezeRow::COLUMNS)?);
            }
            match (entry, &mut chunks, &mut freezes) {
                (Entry::Turn(row), ..) => turns.serialize(row.since(zero))?,
                (Entry::Chunk(row), Some(csv), _) => {
                    csv.serialize(ChunkRow { in_us: row.in_us - zero, ..row })?;
                }
                (Entry::Freeze(row), _, Some(csv)) => csv.serialize(row.since(zero))?,
                (Entry::Chunk(_) | Entry::Freeze(_), ..) => {}
            }
        }
        for csv in [Some(&mut turns), chunks.as_mut(), freezes.as_mut()].into_iter().flatten() {
            csv.flush()?;
        }
    }
    Ok(())
}

impl ChunkRow {
    /// The column names, in order.
    const COLUMNS: [&str; 5] = ["peer_port", "session", "session_turn", "chunk", "in_us"];
}

impl FreezeRow {
    /// The column names, in order.
    const COLUMNS: [&str; 5] = ["thread", "planned_from_us", "planned_until_us", "from_us", "until_us"];

    fn since(mut self, zero: Micros) -> Self {
        for t in
            [&mut self.planned_from_us, &mut self.planned_until_us, &mut self.from_us, &mut self.until_us]
        {
            *t -= zero;
        }
        self
    }
}

impl Row {
    /// The row with its instants counted from `zero`.
    fn since(mut self, zero: Micros) -> Self {
        self.turn_end_in_us -= zero;
        for instant in [
            &mut self.first_audio_in_us,
            &mut self.last_audio_in_us,
            &mut self.speech_stopped_out_us,
            &mut self.final_out_us,
            &mut self.first_token_out_us,
            &mut self.first_audio_out_us,
            &mut self.last_audio_out_us,
            &mut self.done_out_us,
        ] {
            *instant = instant.map(|t| t - zero);
        }
        self
    }

    /// The column names, in order.
    pub const fn columns() -> [&'static str; 24] {
        [
            "peer_ip",
            "peer_port",
            "session",
            "session_turn",
            "speech_us",
            "first_audio_in_us",
            "last_audio_in_us",
            "turn_end_in_us",
            "speech_stopped_out_us",
            "final_out_us",
            "first_token_out_us",
            "first_audio_out_us",
            "first_audible_offset_us",
            "last_audio_out_us",
            "done_out_us",
            "stt_us",
            "stt_wait_us",
            "llm_us",
            "llm_wait_us",
            "tts_us",
            "tts_wait_us",
            "interrupted",
            "fault",
            "resumed",
        ]
    }
}

/// Reads a truth log back.
pub fn read(path: &Path) -> Result<Vec<Row>, String> {
    read_rows(path)
}

/// Reads a file beside it back.
pub fn read_rows<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("cannot read the truth log {}: {e}", path.display());
    let file = File::open(path).map_err(|e| wrong(&e))?;
    csv::Reader::from_reader(BufReader::new(file))
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|e| wrong(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reference-truth.csv");
        let full = Row {
            peer_ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            peer_port: 40_000,
            session: 7,
            session_turn: 3,
            speech_us: Micros(1_200_000),
            first_audio_in_us: Some(Micros(-5)),
            turn_end_in_us: Micros(99),
            first_audio_out_us: Some(Micros(123)),
            interrupted: true,
            fault: "stall_mid_reply".to_owned(),
            ..Row::default()
        };
        let (truth, writer) = Writer::start(&path, &ReferencePlan::instant()).unwrap();
        let rows = [full, Row::default()];
        rows.iter().for_each(|r| truth.log(r.clone()));
        drop(truth);
        assert_eq!(writer.finish().unwrap(), 0);
        assert_eq!(read(&path).unwrap(), rows);
        let text = std::fs::read_to_string(&path).unwrap();
        insta::assert_snapshot!(text.lines().nth(1).unwrap(), @"127.0.0.1,40000,7,3,1200000,-5,,99,,,,123,,,,,,,,,,true,stall_mid_reply,false");
    }

    #[test]
    fn columns_are_the_fields_in_order() {
        fn head(row: impl Serialize) -> String {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.serialize(row).unwrap();
            let text = String::from_utf8(csv.into_inner().unwrap()).unwrap();
            text.lines().next().unwrap().to_owned()
        }
        assert_eq!(head(Row::default()), Row::columns().join(","));
        assert_eq!(head(ChunkRow::default()), ChunkRow::COLUMNS.join(","));
        assert_eq!(head(FreezeRow::default()), FreezeRow::COLUMNS.join(","));
    }

    #[test]
    fn chunks_and_freezes_go_into_files_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reference-truth.csv");
        let freeze = Some(crate::scenario::Freeze { every: Micros(9), length: Micros(1) });
        let plan = ReferencePlan { freeze, log_chunks: true, ..ReferencePlan::instant() };
        let (truth, writer) = Writer::start(&path, &plan).unwrap();
        writer.set_zero(Micros(100));
        let chunk = ChunkRow { peer_port: 9, session: 1, session_turn: 2, chunk: 3, in_us: Micros(104) };
        let [a, b, c, d] = [108, 109, 110, 111].map(Micros);
        let frozen =
            FreezeRow { thread: 1, planned_from_us: a, planned_until_us: b, from_us: c, until_us: d };
        truth.add(|| Entry::Chunk(chunk.clone()));
        truth.add(|| Entry::Freeze(frozen.clone()));
        drop(truth);
        writer.finish().unwrap();
        assert_eq!(
            read_rows::<ChunkRow>(&sibling(&path, CHUNKS)).unwrap(),
            [ChunkRow { in_us: Micros(4), ..chunk }]
        );
        let text = std::fs::read_to_string(dir.path().join("reference-freezes.csv")).unwrap();
        assert_eq!(text.lines().nth(1).unwrap(), "1,8,9,10,11");
        assert_eq!(sibling(Path::new("a/log.csv"), CHUNKS), Path::new("a/log-chunks.csv"));
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let e = Writer::start(Path::new("/nonexistent/truth.csv"), &ReferencePlan::instant()).unwrap_err();
        insta::assert_snapshot!(e, @"cannot write the truth log /nonexistent/truth.csv: No such file or directory (os error 2)");
    }

    #[test]
    fn a_slow_disk_costs_rows_and_not_time() {
        let (truth, _kept) = Truth::kept();
        for _ in 0..WAITING + 5 {
            truth.log(Row::default());
        }
        assert_eq!(truth.lost.load(Ordering::Relaxed), 5);
    }
}
