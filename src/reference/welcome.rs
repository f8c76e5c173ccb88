//! Connections as they come: TLS, the upgrade, who is refused.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::http::{StatusCode, header};

use super::connection::{self, Life};
use super::fault;
use super::session::Session;
use super::wire::{Socket, Wire};
use super::world::World;
use crate::dialect::Handshake;
use crate::drive::timer::Timers;
use crate::scenario::Fault;
use crate::seed::Seed;
use crate::time::{Clock, Micros, unix_now_us};
use crate::transport::accept::{Refusal, accept};

/// How long TLS and the upgrade may take together.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What the connections of one thread need.
pub(super) struct Local {
    pub(super) world: Rc<World>,
    pub(super) timers: Timers,
    pub(super) clock: Clock,
    pub(super) secure: Option<TlsAcceptor>,
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

/// Serves a connection from its first byte to its last.
pub(super) async fn welcome(tcp: TcpStream, peer: SocketAddr, local: Rc<Local>) {
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
    let delay = local.world.conditions.get().handshake;
    // Else refused, not what it should be, or too slow.
    if let Ok(Some(life)) = tokio::time::timeout(HANDSHAKE + delay.to_std(), connection).await {
        life.await;
    }
}

/// Upgrades the connection, unless it is refused.
async fn upgrade<S: Socket + 'static>(io: S, peer: SocketAddr, local: &Local) -> Option<Life> {
    let world = &local.world;
    let mut authorised = world.plan.token.is_none();
    let mut handshake = Handshake::default();
    let check = |request: &Request| {
        authorised |= admit(request, world)?;
        handshake = handshake_of(request);
        Ok(())
    };
    let delay = world.conditions.get().handshake;
    if delay > Micros::ZERO {
        local.timers.timer().until(local.clock.now() + delay).await;
    }
    let wire = Wire::new(io, Rc::clone(world));
    let mut ws = accept(wire, world.plan.max_message as usize, check).await.ok()?;
    ws.get_mut().upgraded();
    let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let session = Session::new(Rc::clone(world), peer, authorised, &handshake, local.clock.now(), waker);
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
    if world.conditions.get().refuses(plan.seed, number) {
        return unavailable("refused on purpose");
    }
    // This connection is counted already.
    if plan.max_connections > 0 && stats.live.load(Ordering::Relaxed) > plan.max_connections {
        return unavailable("too many connections");
    }
    if let Err(why) = plan.dialect.verify(&handshake_of(request), unix_now_us() / 1_000_000) {
        return refusal(StatusCode::FORBIDDEN, None, why);
    }
    let Some(token) = &plan.token else {
        return Ok(true);
    };
    // Where the dialect has its own place for it, that is where it stands.
    if let Some(shown) = plan.dialect.token_shown(&handshake_of(request)) {
        return if shown == token.reveal() { Ok(true) } else { unauthorised("the token is wrong") };
    }
    match request.headers().get(header::AUTHORIZATION).map(|v| v.as_bytes()) {
        Some(shown) if shown.strip_prefix(b"Bearer ") == Some(token.reveal().as_bytes()) => Ok(true),
        // It may stand there in another way, which the dialect knows.
        Some(_) if plan.dialect.described().is_some() => Ok(false),
        Some(_) => unauthorised("the bearer token is wrong"),
        // The opening may bring it; a dialect without one has no other place for it.
        None if plan.dialect.token_in_opening() => Ok(false),
        None => unauthorised("a bearer token is missing"),
    }
}

/// What of an upgrade request a dialect may want to know.
fn handshake_of(request: &Request) -> Handshake {
    let target = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let text = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    Handshake { target, headers: request.headers().iter().filter_map(text).collect() }
}
