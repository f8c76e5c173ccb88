//! The server at the edge: listener, threads, TLS, upgrade checks.
//!
//! ```text
//! listener ─┬─▶ thread: accept ─▶ TLS ─▶ upgrade (token, limit, faults) ─▶ a task: Connection
//!           └─▶ thread: …                                                   all tasks share slots, replies, log
//! ```

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::http::{StatusCode, header};

use super::connection::{self, Life, Socket};
use super::ears::Memory;
use super::pipeline::Stages;
use super::replies::{Replies, Spoken};
use super::session::Session;
use super::world::{Stats, World};
use super::{fault, freeze, tls, truth};
use crate::audio::AudioFormat;
use crate::dialect::Dialect;
use crate::drive::timer::Timers;
use crate::scenario::{Fault, ReferencePlan};
use crate::seed::Seed;
use crate::time::{Clock, Micros};
use crate::transport::accept::{Refusal, accept};

/// Connections that may wait to be accepted: a fleet may come all at once.
const BACKLOG: i32 = 4096;

/// How long TLS and the upgrade may take together.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
    /// Rows that the truth log lost because the disk was too slow.
    pub truth_rows_lost: u64,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ca_pem: Option<String>,
    stats: Arc<Stats>,
    stop: watch::Sender<bool>,
    zero: watch::Sender<Option<Micros>>,
    threads: Vec<JoinHandle<()>>,
    log: Option<truth::Writer>,
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
        let listener = listen(options.listen)
            .map_err(|e| format!("cannot listen on {}: {e}; choose another address", options.listen))?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let (stop, stopped) = watch::channel(false);
        let (zero, zero_set) = watch::channel(None);
        let shared = Shared {
            stages: Stages::new(&plan),
            plan: Arc::new(plan),
            replies,
            truth,
            stats: Arc::default(),
            clock,
            secure,
            stopped,
            zero: zero_set,
        };
        let stats = Arc::clone(&shared.stats);
        let mut server = Self { address, ca_pem, stats, stop, zero, threads: Vec::new(), log };
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
        let s = &self.stats;
        Counts {
            live: s.live.load(Ordering::Relaxed),
            connections: s.connections.load(Ordering::Relaxed),
            sessions: s.sessions.load(Ordering::Relaxed),
            turns: s.turns.load(Ordering::Relaxed),
            truth_rows_lost: 0,
        }
    }

    /// Drops every connection, finishes the log and returns what was done.
    pub fn stop(mut self) -> Result<Counts, String> {
        self.halt();
        let lost = self.log.take().map_or(Ok(0), truth::Writer::finish)?;
        Ok(Counts { truth_rows_lost: lost, ..self.counts() })
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
    stats: Arc<Stats>,
    clock: Clock,
    secure: Option<TlsAcceptor>,
    stopped: watch::Receiver<bool>,
    zero: watch::Receiver<Option<Micros>>,
}

/// What the connections of one thread need.
struct Local {
    world: Rc<World>,
    timers: Timers,
    clock: Clock,
    secure: Option<TlsAcceptor>,
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
                plan: shared.plan,
                stages: shared.stages,
                replies: shared.replies,
                truth: shared.truth,
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
            tokio::task::spawn_local(freeze::freeze(number, plan, timer, clock, shared.zero, truth));
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

/// Counts a live connection, until it is dropped.
struct Live(Rc<World>);

impl Live {
    fn new(world: &Rc<World>) -> Self {
        world.stats.live.fetch_add(1, Ordering::Relaxed);
        Self(Rc::clone(world))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.stats.live.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn welcome(tcp: TcpStream, peer: SocketAddr, local: Rc<Local>) {
    let _live = Live::new(&local.world);
    // Without it, small messages would wait for the acknowledgement of the one before.
    let _ = tcp.set_nodelay(true);
    // Boxed, so that the state of the handshakes does not live as long as the connection.
    let connection: Pin<Box<dyn Future<Output = Option<Life>>>> = match &local.secure {
        None => Box::pin(upgrade(tcp, peer, &local)),
        Some(acceptor) => Box::pin(async {
            let io = acceptor.accept(tcp).await.ok()?;
            upgrade(io, peer, &local).await
        }),
    };
    // Else refused, not what it should be, or too slow.
    if let Ok(Some(life)) = tokio::time::timeout(HANDSHAKE, connection).await {
        life.await;
    }
}

/// Upgrades the connection, unless it is refused.
async fn upgrade<S: Socket + 'static>(io: S, peer: SocketAddr, local: &Local) -> Option<Life> {
    let world = &local.world;
    let mut authorised = world.plan.token.is_none();
    let check = |request: &Request| {
        authorised |= admit(request, world)?;
        Ok(())
    };
    let ws = accept(io, world.plan.max_message as usize, check).await.ok()?;
    let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let session = Session::new(Rc::clone(world), peer, authorised, local.clock.now(), waker);
    Some(connection::serve(ws, session, local.timers.timer(), local.clock))
}

/// Whether a connection may be upgraded, and whether its header has shown the token.
fn admit(request: &Request, world: &World) -> Result<bool, Refusal> {
    let refusal = |status, header, text| Err(Refusal { status, header, text });
    let unauthorised =
        |text| refusal(StatusCode::UNAUTHORIZED, Some((header::WWW_AUTHENTICATE, "Bearer")), text);
    let unavailable = |text| refusal(StatusCode::SERVICE_UNAVAILABLE, Some((header::RETRY_AFTER, "1")), text);
    let (plan, stats) = (&world.plan, &world.stats);
    let number = stats.connections.fetch_add(1, Ordering::Relaxed);
    let mut r = Seed(plan.seed).stream("reference connection", number);
    match fault::of_connection(&plan.faults, &mut r) {
        Some(Fault::RefuseUpgrade) => return unavailable("this connection was chosen to fail"),
        Some(Fault::RefuseAuth) => return unauthorised("this connection was chosen to fail"),
        _ => {}
    }
    // This connection is counted already.
    if plan.max_connections > 0 && stats.live.load(Ordering::Relaxed) > plan.max_connections {
        return unavailable("too many connections");
    }
    let Some(token) = &plan.token else {
        return Ok(true);
    };
    match request.headers().get(header::AUTHORIZATION).map(|v| v.as_bytes()) {
        Some(shown) if shown.strip_prefix(b"Bearer ") == Some(token.reveal().as_bytes()) => Ok(true),
        Some(_) => unauthorised("the bearer token is wrong"),
        // `session_start` may bring it; a dialect without an opening has no other place for it.
        None if plan.dialect == Dialect::Envelope => Ok(false),
        None => unauthorised("a bearer token is missing"),
    }
}
