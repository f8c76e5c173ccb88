//! The server's own log: one row per turn, when it heard and said what, on the clock of the run.
//!
//! The frame path only puts a row into a bounded channel; a thread of its own writes the file. Instants are
//! microseconds since the start of the run, spans are microseconds; an empty field means that it did not happen.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

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
}

/// Where finished turns go; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    rows: Option<SyncSender<Row>>,
    lost: Arc<AtomicU64>,
}

impl Truth {
    /// Logs a turn; never blocks.
    pub(super) fn log(&self, row: Row) {
        if let Some(rows) = &self.rows
            && rows.try_send(row).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A log that keeps rows for whoever holds the other end.
    #[cfg(test)]
    pub(super) fn kept() -> (Self, Receiver<Row>) {
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
    /// Creates the file and starts the thread.
    pub(super) fn start(path: &Path) -> Result<(Truth, Self), String> {
        let cannot = |e| format!("cannot write the truth log {}: {e}", path.display());
        let file = File::create(path).map_err(cannot)?;
        let (rows, waiting) = sync_channel(WAITING);
        let zero = Arc::<AtomicI64>::default();
        let zero_of_thread = Arc::clone(&zero);
        let thread = std::thread::Builder::new()
            .name("truth".to_owned())
            .spawn(move || write(file, &waiting, &zero_of_thread))
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

fn write(file: File, rows: &Receiver<Row>, zero: &AtomicI64) -> std::io::Result<()> {
    let since_zero = |row: Row| row.since(Micros(zero.load(Ordering::Relaxed)));
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(BufWriter::new(file));
    csv.write_record(Row::columns())?;
    // The head is there at once, so that a reader never meets an empty file.
    csv.flush()?;
    while let Ok(row) = rows.recv() {
        csv.serialize(since_zero(row))?;
        // Drain what waits, then flush: whole rows on the disk whenever the server is quiet.
        while let Ok(row) = rows.try_recv() {
            csv.serialize(since_zero(row))?;
        }
        csv.flush()?;
    }
    csv.into_inner().map_err(|e| std::io::Error::other(e.to_string()))?.flush()
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
    pub const fn columns() -> [&'static str; 23] {
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
        ]
    }
}

/// Reads a truth log back.
pub fn read(path: &Path) -> Result<Vec<Row>, String> {
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
        let (truth, writer) = Writer::start(&path).unwrap();
        let rows = [full, Row::default()];
        rows.iter().for_each(|r| truth.log(r.clone()));
        drop(truth);
        assert_eq!(writer.finish().unwrap(), 0);
        assert_eq!(read(&path).unwrap(), rows);
        let text = std::fs::read_to_string(&path).unwrap();
        insta::assert_snapshot!(text.lines().nth(1).unwrap(), @"127.0.0.1,40000,7,3,1200000,-5,,99,,,,123,,,,,,,,,,true,stall_mid_reply");
    }

    #[test]
    fn columns_are_the_fields_in_order() {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.serialize(Row::default()).unwrap();
        let text = String::from_utf8(csv.into_inner().unwrap()).unwrap();
        assert_eq!(text.lines().next().unwrap(), Row::columns().join(","));
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let e = Writer::start(Path::new("/nonexistent/truth.csv")).unwrap_err();
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
