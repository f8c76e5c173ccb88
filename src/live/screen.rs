//! The terminal: taken over for the view, read for keys, and given back whatever happens.
//!
//! It is given back when the run ends, when any thread panics (before the panic is printed), when the process is stopped
//! (Ctrl-Z, SIGTSTP), and after SIGINT and SIGTERM, which end a run in its own way. It is taken only in the foreground: a
//! process in the background that touched the terminal's modes would be stopped.

use std::io::{self, BufWriter, IsTerminal as _, Stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use rustix::process::{Signal, kill_current_process_group};
use tokio::sync::mpsc::UnboundedSender;

use super::view::{self, Look};
use super::{Board, Snapshot};
use crate::drive::run::Ask;
use crate::time::{Clock, Micros};

/// Between two pictures, at least.
const TICK: Duration = Duration::from_millis(250);

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether somebody wants the process to stop (SIGTSTP).
static STOP: AtomicBool = AtomicBool::new(false);

/// Whether standard error is a terminal that a view can be shown on, with this process before it.
pub fn possible() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb");
    !dumb && io::stderr().is_terminal() && in_foreground()
}

fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// The view, in a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Screen {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes the terminal, and shows what is on the board. Keys become `asks`.
    pub fn open(board: Arc<Board>, asks: UnboundedSender<Ask>, clock: Clock) -> io::Result<Self> {
        mind_panics();
        take()?;
        let terminal = blank().inspect_err(|_| give_back())?;
        let over = Arc::new(AtomicBool::new(false));
        let view = Show {
            terminal,
            board,
            asks,
            clock,
            over: Arc::clone(&over),
            colour: std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            stopping: false,
            shown: None,
        };
        let thread = std::thread::Builder::new().name("live".to_owned()).spawn(move || view.run());
        let thread = thread.inspect_err(|_| give_back())?;
        Ok(Self { over, thread: Some(thread) })
    }

    /// False when the terminal was lost, or a panic has ended the view.
    pub fn is_open(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has panicked at worst, and the terminal has been given back then.
            let _ = thread.join();
        }
        give_back();
    }
}

struct Show {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    board: Arc<Board>,
    asks: UnboundedSender<Ask>,
    clock: Clock,
    over: Arc<AtomicBool>,
    colour: bool,
    stopping: bool,
    /// The snapshot that is shown, and the second.
    shown: Option<(Arc<Snapshot>, i64)>,
}

impl Show {
    fn run(mut self) {
        // A terminal that cannot be read or written any more is one that has been closed.
        while let Ok(true) = self.turn() {}
        give_back();
    }

    /// One picture, if there is something new, and the keys until the next. False: the view is over.
    fn turn(&mut self) -> io::Result<bool> {
        if STOP.swap(false, Ordering::Relaxed) {
            self.rest(false)?;
        }
        if self.over.load(Ordering::Relaxed) || !TAKEN.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.draw()?;
        let next = Instant::now() + TICK;
        loop {
            if !event::poll(next.saturating_duration_since(Instant::now()))? {
                return Ok(true);
            }
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key)?,
                Event::Resize(..) => self.shown = None,
                _ => {}
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (snapshot, now) = (self.board.get(), self.clock.now());
        let second = now.0.div_euclid(1_000_000);
        if self.shown.as_ref().is_some_and(|(s, at)| Arc::ptr_eq(s, &snapshot) && *at == second) {
            return Ok(());
        }
        let look = Look { now: Micros(now.0.max(0)), colour: self.colour, stopping: self.stopping };
        self.terminal.draw(|frame| view::draw(frame, &snapshot, &look))?;
        self.shown = Some((snapshot, second));
        Ok(())
    }

    fn key(&mut self, key: KeyEvent) -> io::Result<()> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let ask = match key.code {
            KeyCode::Char('z') if control => return self.rest(true),
            KeyCode::Char('c') if control => Ask::Quit,
            _ if control => return Ok(()),
            KeyCode::Char('q' | 'Q') => Ask::Quit,
            KeyCode::Char('s' | 'S' | 'g' | 'G') => Ask::Stop,
            _ => return Ok(()),
        };
        self.stopping = true;
        self.shown = None;
        // Nobody listens any more when the run is over.
        let _ = self.asks.send(ask);
        Ok(())
    }

    /// Stops the process, or with a key all that the shell has started with it, and comes back when it goes on.
    fn rest(&mut self, all: bool) -> io::Result<()> {
        give_back();
        stop_here(all);
        // Here it goes on, perhaps in the background: then the view waits until it is in front again.
        while !in_foreground() {
            if self.over.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
        take()?;
        self.shown = None;
        self.terminal = blank()?;
        Ok(())
    }
}

/// Ratatui's own way to clear asks the terminal where its cursor is, on standard output, and waits for the answer: a
/// terminal that knows of no picture draws all of the next.
fn blank() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stderr>>>> {
    Terminal::new(CrosstermBackend::new(BufWriter::new(io::stderr())))
}

/// Takes the terminal.
fn take() -> io::Result<()> {
    handle_stop(true);
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::Relaxed);
    let clear = terminal::Clear(terminal::ClearType::All);
    execute!(io::stderr(), terminal::EnterAlternateScreen, clear, cursor::Hide).inspect_err(|_| give_back())
}

/// Gives it back; once.
fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        handle_stop(false);
        // Both fail only when there is no terminal any more.
        let _ = execute!(io::stderr(), terminal::LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// A panic in any thread gives the terminal back before it is printed.
fn mind_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            usual(panic);
        }));
    });
}

/// While the terminal is ours, SIGTSTP has to wait until it is given back.
fn handle_stop(ours: bool) {
    extern "C" fn note(_: libc::c_int) {
        STOP.store(true, Ordering::Relaxed);
    }
    on_stop(if ours { note as extern "C" fn(libc::c_int) as libc::sighandler_t } else { libc::SIG_DFL });
}

/// Stops the process, as SIGTSTP would have; with `all`, whatever the shell has started with it too. Comes back when it
/// goes on.
#[allow(unsafe_code, reason = "a system call")]
fn stop_here(all: bool) {
    if all {
        // A signal to all would reach us at some moment in some thread, perhaps when the terminal is ours again.
        on_stop(libc::SIG_IGN);
        let _ = kill_current_process_group(Signal::TSTP);
    }
    on_stop(libc::SIG_DFL);
    // SAFETY: it stops this thread before it returns, and with it the process; it touches no memory.
    unsafe { libc::raise(libc::SIGTSTP) };
}

#[allow(unsafe_code, reason = "a system call")]
fn on_stop(handler: libc::sighandler_t) {
    // SAFETY: the only handler of ours stores a flag, which is allowed at any moment.
    unsafe { libc::signal(libc::SIGTSTP, handler) };
}
