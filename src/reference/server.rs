//! The server at the edge: listener and threads.
//!
//! ```text
//! listener ─┬─▶ thread: accept ─▶ welcome: TLS ─▶ upgrade (token, limit, faults) ─▶ a task: Connection
//!           ├─▶ thread: …                               all tasks share slots, replies, sessions, log
//!           └ on each thread: conductor: trouble as planned and as told
//! ```

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::ears::Memory;
use super::heard::Shelf;
use super::pipeline::Stages;
use super::replies::{Replies, Spoken};
use super::sessions::Sessions;
use super::timetable::{Conditions, Told, tell};
use super::welcome::{Local, welcome};
use super::world::{Stats, World};
use super::{conductor, freeze, tls, truth};
use crate::audio::AudioFormat;
use crate::drive::timer::Timers;
use crate::scenario::{ReferencePlan, Trouble};
use crate::time::{Clock, Micros};

/// Connections that may wait to be accepted: a fleet may come all at once.
const BACKLOG: i32 = 4096;

/// Pause after an accept that failed for want of descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it behaves.
    pub plan: ReferencePlan,
    /// What it answers.
    pub replies: Vec<Spoken>,
    /// Formats whose replies are encoded before the first connection; others when first asked for.
    pub formats: Vec<AudioFormat>,
    /// Where to listen; port 0: any free one.
    pub listen: SocketAddr,
    /// Speak wss, with a certificate made on the spot.
    pub secure: bool,
    /// Where to log what was done when.
    pub truth: Option<PathBuf>,
    /// Where to keep the speech of each turn, as WAV files.
    pub heard: Option<PathBuf>,
    /// The clock of the log.
    pub clock: Clock,
}

/// What a server did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections open now.
    pub live: u32,
    /// Connections that came, refused ones included.
    pub connections: u64,
    /// Connections that were upgraded.
    pub sessions: u64,
    /// Turns that were answered, or chosen to fail.
    pub turns: u64,
    /// Sessions kept now for devices that are away.
    pub parked: u32,
    /// Sessions that went on over another connection.
    pub resumed: u64,
    /// Sessions whose device did not come back in time, or for which there was no room.
    pub abandoned: u64,
    /// Connections reset because their socket took nothing for too long.
    pub stuck: u64,
    /// Rows that the truth log lost because the disk was too slow.
    pub truth_rows_lost: u64,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ca_pem: Option<String>,
    control: Control,
    sessions: Arc<Sessions>,
    stop: watch::Sender<bool>,
    zero: watch::Sender<Option<Micros>>,
    truth: truth::Truth,
    threads: Vec<JoinHandle<()>>,
    log: Option<truth::Writer>,
}

/// What can be asked of a running server, and told to it, from any thread.
#[derive(Clone, Debug)]
pub struct Control {
    stats: Arc<Stats>,
    told: watch::Sender<Told>,
    clock: Clock,
}

impl Control {
    /// Makes trouble from now on.
    pub fn tell(&self, trouble: Trouble) {
        let now = self.clock.now();
        self.told.send_modify(|told| *told = tell(told, now, trouble));
    }

    /// Trouble that lasts and was told, with how long it still does; [`Micros::NEVER`]: until told otherwise.
    pub fn told(&self) -> Vec<(Trouble, Micros)> {
        let now = self.clock.now();
        let left = |at: Micros, t: Trouble| match t.length() {
            Micros::NEVER => Micros::NEVER,
            length => at + length - now,
        };
        self.told
            .borrow()
            .iter()
            .map(|e| (e.trouble, left(e.at, e.trouble)))
            .filter(|(_, left)| left.0 > 0)
            .collect()
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let s = &self.stats;
        Counts {
            live: s.live.load(Ordering::Relaxed),
            connections: s.connections.load(Ordering::Relaxed),
            sessions: s.sessions.load(Ordering::Relaxed),
            turns: s.turns.load(Ordering::Relaxed),
            parked: s.parked.load(Ordering::Relaxed),
            resumed: s.resumed.load(Ordering::Relaxed),
            abandoned: s.abandoned.load(Ordering::Relaxed),
            stuck: s.stuck.load(Ordering::Relaxed),
            truth_rows_lost: 0,
        }
    }
}

impl Server {
    /// Listens and serves. An error says what is wrong and what to try.
    pub fn start(options: Options) -> Result<Self, String> {
        let Options { plan, clock, .. } = options;
        let (secure, ca_pem) = if options.secure {
            let (config, pem) = tls::on_the_spot(options.listen.ip())?;
            (Some(TlsAcceptor::from(config)), Some(pem))
        } else {
            (None, None)
        };
        let replies = Arc::new(Replies::new(options.replies, &plan));
        for format in &options.formats {
            replies.get(*format)?;
        }
        let (truth, log) = match &options.truth {
            Some(path) => truth::Writer::start(path, &plan).map(|(t, w)| (t, Some(w)))?,
            None => (truth::Truth::default(), None),
        };
        let heard = options.heard.as_deref().map(Shelf::new).transpose()?;
        let listener = listen(options.listen)
            .map_err(|e| format!("cannot listen on {}: {e}; choose another address", options.listen))?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let (stop, stopped) = watch::channel(false);
        let (zero, zero_set) = watch::channel(None);
        let (told, hear) = watch::channel(Told::default());
        let (plan, stats) = (Arc::new(plan), Arc::<Stats>::default());
        let sessions = Arc::new(Sessions::new(Arc::clone(&plan), Arc::clone(&stats)));
        let shared = Shared {
            stages: Stages::new(&plan),
            plan,
            replies,
            truth: truth.clone(),
            heard,
            stats: Arc::clone(&stats),
            sessions: Arc::clone(&sessions),
            clock,
            secure,
            stopped,
            zero: zero_set,
            told: hear,
        };
        let threads = Vec::new();
        let control = Control { stats, told, clock };
        let mut server = Self { address, ca_pem, control, sessions, stop, zero, truth, threads, log };
        let (ready, started) = mpsc::channel();
        for n in 0..shared.plan.threads.max(1) {
            let (shared, ready) = (shared.clone(), ready.clone());
            let listener = listener.try_clone().map_err(|e| e.to_string())?;
            let thread = std::thread::Builder::new()
                .name(format!("reference-{n}"))
                .spawn(move || thread(n, shared, listener, ready))
                .map_err(|e| format!("cannot start a thread: {e}"))?;
            server.threads.push(thread);
        }
        drop((ready, shared));
        for result in started {
            result?;
        }
        Ok(server)
    }

    /// Counts the truth log's instants and the freezes from `zero` on the server's clock. Before, it never freezes.
    pub fn set_zero(&self, zero: Micros) {
        // Fails only when every thread has ended.
        let _ = self.zero.send(Some(zero));
        if let Some(log) = &self.log {
            log.set_zero(zero);
        }
    }

    /// The way to it from elsewhere.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Where devices connect to.
    pub fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "wss" } else { "ws" };
        // The address "any" is none to connect to.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("{scheme}://{address}/")
    }

    /// The certificate to trust, when it speaks wss.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.control.counts()
    }

    /// Drops every connection, finishes the log and returns what was done.
    pub fn stop(mut self) -> Result<Counts, String> {
        self.halt();
        let counts = self.counts();
        self.sessions.give_up_all(self.control.clock.now(), &self.truth);
        // The log ends when nobody can write to it any more.
        self.truth = truth::Truth::default();
        let lost = self.log.take().map_or(Ok(0), truth::Writer::finish)?;
        Ok(Counts { truth_rows_lost: lost, ..counts })
    }

    fn halt(&mut self) {
        // Fails only when every thread has ended already.
        let _ = self.stop.send(true);
        for t in self.threads.drain(..) {
            let _ = t.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.halt();
    }
}

#[derive(Clone)]
struct Shared {
    plan: Arc<ReferencePlan>,
    stages: Stages,
    replies: Arc<Replies>,
    truth: truth::Truth,
    heard: Option<Shelf>,
    stats: Arc<Stats>,
    sessions: Arc<Sessions>,
    clock: Clock,
    secure: Option<TlsAcceptor>,
    stopped: watch::Receiver<bool>,
    zero: watch::Receiver<Option<Micros>>,
    told: watch::Receiver<Told>,
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, BACKLOG)?;
    Ok(fd.into())
}

fn thread(number: u32, shared: Shared, listener: TcpListener, ready: mpsc::Sender<Result<(), String>>) {
    let cannot = |e: std::io::Error| format!("cannot start serving: {e}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime.map_err(cannot) {
        Ok(runtime) => runtime,
        Err(why) => return drop(ready.send(Err(why))),
    };
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async move {
        let set_up =
            Timers::new(shared.clock).and_then(|t| Ok((t, tokio::net::TcpListener::from_std(listener)?)));
        let (timers, listener) = match set_up.map_err(cannot) {
            Ok(set_up) => set_up,
            Err(why) => return drop(ready.send(Err(why))),
        };
        let level = shared.plan.vad_level;
        let local = Rc::new(Local {
            world: Rc::new(World {
                conditions: Cell::new(Conditions::usual(&shared.plan)),
                plan: shared.plan,
                sessions: shared.sessions,
                stages: shared.stages,
                replies: shared.replies,
                truth: shared.truth,
                heard: shared.heard,
                stats: shared.stats,
                memory: RefCell::new(Memory::new(level)),
            }),
            timers,
            clock: shared.clock,
            secure: shared.secure,
        });
        let ticker = local.timers.clone();
        tokio::task::spawn_local(async move { ticker.run().await });
        if let Some(plan) = local.world.plan.freeze {
            let (timer, clock, truth) = (local.timers.timer(), local.clock, local.world.truth.clone());
            tokio::task::spawn_local(freeze::freeze(number, plan, timer, clock, shared.zero.clone(), truth));
        }
        let (world, timer, clock) = (Rc::clone(&local.world), local.timers.timer(), local.clock);
        tokio::task::spawn_local(conductor::conduct(number, world, timer, clock, shared.zero, shared.told));
        if number == 0 {
            let (world, timer) = (Rc::clone(&local.world), local.timers.timer());
            tokio::task::spawn_local(conductor::keep(world, timer, clock));
        }
        let mut stopped = shared.stopped;
        let _ = ready.send(Ok(()));
        drop(ready);
        tokio::select! {
            () = accept_all(listener, &local) => {}
            // An error means that the server itself is gone.
            _ = stopped.wait_for(|s| *s) => {}
        }
    }));
}

async fn accept_all(listener: tokio::net::TcpListener, local: &Rc<Local>) {
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let local = Rc::clone(local);
                tokio::task::spawn_local(async move { welcome(tcp, peer, local).await });
            }
            // Out of descriptors or memory: those who wait in the backlog are served when others have left. An aborted
            // connection is its peer's affair.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}
