//! Before the first device: speech encoded, the target resolved, the embedded server started, one knock at the door.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::ServerName;

use super::hearsay;
use super::links::Links;
use crate::audio::chunk::encode_all;
use crate::audio::library::Library;
use crate::audio::{CodecSettings, Sound};
use crate::device::plan::{Beat, Plan, Spoken, departures};
use crate::dialect::connect::Connector;
use crate::dialect::{Given, SessionSetup};
use crate::event::FailureClass;
use crate::exit::{Exit, Failure};
use crate::reference::child::{Child, Order};
use crate::report::result::FixtureInfo;
use crate::scenario::{EndOfTurn, Scenario, Secret};
use crate::seed::Seed;
use crate::time::{Clock, Micros};
use crate::transport::source::{self, Sources};
use crate::transport::tls::client_config;
use crate::transport::websocket::Endpoint;
use crate::transport::{Closed, Transport};

/// Attempts to reach the target before giving up, a second apart.
const KNOCKS: u32 = 3;

/// Speech, encoded, and what is to be known about it.
pub struct Speech {
    /// The conversation that devices have.
    pub plan: Arc<Plan>,
    /// The fixtures, for the report, in the order of [`Plan::utterances`].
    pub fixtures: Vec<FixtureInfo>,
    /// The sounds themselves, in the same order.
    pub sounds: Vec<Sound>,
}

/// Loads and encodes what the scenario says.
pub fn speech(scenario: &Scenario) -> Result<Speech, Failure> {
    let audio = &scenario.audio;
    let load = |names: &[String]| {
        Library::load(names, &audio.base).map_err(|problems| {
            Failure::usage(format!("the fixtures cannot be used:\n  {}", problems.join("\n  ")))
        })
    };
    let encode = |sounds: &[Sound], end: EndOfTurn| {
        encode_all(sounds, &audio.settings, end, scenario.turn.flush)
            .map_err(|e| Failure::usage(format!("the fixtures cannot be encoded: {e}")))
    };
    let sounds = load(&audio.fixtures)?;
    let utterances = encode(&sounds, scenario.turn.end)?;
    let coughs = match &scenario.turn.backchannel {
        Some(b) => encode(&load(&b.sounds)?, EndOfTurn::Signal)?,
        None => Vec::new(),
    };
    let (dialect, encoding) = (&scenario.target.dialect, audio.encoding);
    let spoken =
        |clips: Vec<_>| clips.into_iter().map(|c| Spoken::new(c, dialect, encoding)).collect::<Vec<_>>();
    let mut spoken_utterances = spoken(utterances);
    for &bitrate in &audio.adaptive {
        let settings = CodecSettings { bitrate, ..audio.settings };
        let lower = encode_all(&sounds, &settings, scenario.turn.end, scenario.turn.flush)
            .map_err(|e| Failure::usage(format!("the fixtures cannot be encoded at {bitrate} bit/s: {e}")))?;
        for (spoken, clip) in spoken_utterances.iter_mut().zip(&lower) {
            if !spoken.add_lower(clip, dialect, encoding) {
                return Err(Failure::usage(format!(
                    "audio.adaptive: {} is cut into other chunks at {bitrate} bit/s than at {} bit/s",
                    clip.id, audio.settings.bitrate
                )));
            }
        }
    }
    let plan = Plan {
        seed: Seed(scenario.seed),
        dialect: dialect.clone(),
        setup: setup(scenario),
        utterances: spoken_utterances,
        sounds: spoken(coughs),
        turn: scenario.turn.clone(),
        session: scenario.session.clone(),
        faults: Arc::clone(&scenario.faults),
        playback: scenario.playback,
        warmup: scenario.fleet.warmup,
        beat: Beat::of(&scenario.fleet, audio.settings.chunk),
        departures: departures(scenario.most()),
    };
    let at = |sample, s: &Sound| Micros::of_samples(sample, s.sample_rate).0;
    let fixtures = sounds
        .iter()
        .map(|s| FixtureInfo {
            id: s.id.clone(),
            sha256: s.sha256.clone(),
            length_us: at(s.samples.len() as u64, s),
            speech_start_us: at(s.speech_start, s),
            speech_end_us: at(s.speech_end, s),
        })
        .collect();
    Ok(Speech { plan: Arc::new(plan), fixtures, sounds })
}

/// What connections are opened with.
fn setup(scenario: &Scenario) -> Arc<SessionSetup> {
    let audio = &scenario.audio;
    // The embedded server's own token is known.
    let own = scenario.reference.token.as_ref().filter(|_| scenario.target.url.is_none());
    let token = scenario.target.token.as_ref().or(own);
    Arc::new(SessionSetup {
        up: audio.settings.format,
        down: audio.down,
        encoding: audio.encoding,
        vad: scenario.turn.end == EndOfTurn::Vad,
        locale: scenario.session.locale.clone(),
        voice: scenario.session.voice.clone(),
        given: Arc::new(Given {
            seed: Seed(scenario.seed),
            token: token.cloned(),
            columns: Arc::clone(&scenario.target.values),
            chunk: audio.settings.chunk,
            frame: audio.settings.frame,
        }),
    })
}

/// Starts the embedded server, when the scenario has no target of its own. Its log goes to `truth`.
pub fn embedded_server(scenario: &Scenario, truth: Option<PathBuf>) -> Result<Option<Child>, Failure> {
    if scenario.target.url.is_some() {
        return Ok(None);
    }
    let order = Order {
        plan: scenario.reference.clone(),
        formats: vec![scenario.audio.down],
        secure: scenario.target.secure,
        truth,
        epoch_us: Clock::start().epoch_us(),
    };
    Child::start(&order).map(Some).map_err(Failure::usage)
}

/// Resolves where to connect.
pub async fn endpoint(scenario: &Scenario, server: Option<&Child>) -> Result<Endpoint, Failure> {
    let target = &scenario.target;
    let url = match (&target.url, server) {
        (Some(url), _) => url.reveal(),
        (None, Some(server)) => server.url(),
        (None, None) => return Err(Failure::usage("there is neither target.url nor an embedded server")),
    };
    let parts = Url::parse(url).ok_or_else(|| {
        Failure::usage(format!(
            "target.url: `{}` is not of the form ws://host[:port]/path or wss://…",
            target.shown
        ))
    })?;
    let addresses: Vec<_> = tokio::net::lookup_host((parts.host, parts.port))
        .await
        .map_err(|e| unreachable(&target.shown, &e.to_string(), &FailureClass::Dns))?
        .collect();
    let addresses = of_one_family(addresses, &target.sources);
    let sources = sources(scenario, &addresses)?;
    let tls = if parts.secure {
        let config = client_config(target, server.and_then(Child::ca_pem)).map_err(Failure::usage)?;
        let name = ServerName::try_from(parts.host.to_owned()).map_err(|_| {
            Failure::usage(format!("target.url: `{}` is not a host name for a certificate", parts.host))
        })?;
        Some((config, name))
    } else {
        None
    };
    // The embedded server's own token is known; a user's server is told in target.headers.
    let mut headers = target.headers.clone();
    if let (Some(_), Some(token)) = (server, &scenario.reference.token)
        && (target.dialect.described().is_none() || !target.dialect.token_in_opening())
        && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    {
        headers.push(("Authorization".to_owned(), Secret::new(format!("Bearer {}", token.reveal()))));
    }
    Ok(Endpoint {
        addresses,
        sources,
        authority: parts.authority.to_owned(),
        path: Secret::new(parts.path),
        headers,
        connector: Connector::new(&target.dialect, &setup(scenario)),
        values: Arc::clone(&target.values),
        tls,
        max_message: scenario.session.max_message as usize,
        secrets: scenario.secrets(),
        links: Links::of(scenario),
    })
}

/// One address family: `localhost` has two, and a server may listen on one of them only. IPv4, unless devices are to
/// connect from IPv6 addresses.
fn of_one_family(addresses: Vec<SocketAddr>, from: &Sources) -> Vec<SocketAddr> {
    let v4 = from.of(0).is_none_or(|ip| ip.is_ipv4());
    let wanted: Vec<_> = addresses.iter().copied().filter(|a| a.is_ipv4() == v4).collect();
    if wanted.is_empty() { addresses } else { wanted }
}

/// Where devices connect from: addresses of this machine, of the target's family, with enough ports between them.
fn sources(scenario: &Scenario, addresses: &[SocketAddr]) -> Result<Sources, Failure> {
    let devices = scenario.most();
    let ports = source::local_ports();
    let given = &scenario.target.sources;
    let loopback = !addresses.is_empty() && addresses.iter().all(|a| a.is_ipv4() && a.ip().is_loopback());
    let sources = if given.is_empty() { source::of_fleet(devices, ports, loopback) } else { given.clone() };
    let refuse = |message: String| Err(Failure::usage(message));
    if let Some((target, ip)) = addresses.iter().find_map(|a| Some((a.ip(), sources.mismatch(a.ip())?))) {
        return refuse(format!(
            "source address {ip} cannot connect to {target}, the address of {}\n  \
             give addresses of the same family in target.source_ips (--source-ip)",
            scenario.target.shown
        ));
    }
    if let Some((ip, e)) = sources.stranger(devices) {
        return refuse(not_ours(ip, &e));
    }
    let room = ports.map_or(u64::MAX, |ports| sources.room(ports, addresses.len() as u64));
    if room < u64::from(devices) {
        return refuse(too_few_ports(devices, room, &sources));
    }
    Ok(sources.of_part(scenario.part))
}

/// An address that nobody here can connect from.
pub fn not_ours(ip: IpAddr, e: &std::io::Error) -> String {
    if e.kind() == std::io::ErrorKind::AddrNotAvailable {
        format!(
            "source address {ip} is not an address of this machine\n  \
             target.source_ips (--source-ip) takes those that `ip address` shows; on loopback, any of 127.0.0.0/8"
        )
    } else {
        format!("source address {ip} cannot be used: {e}\n  see target.source_ips (--source-ip)")
    }
}

/// More devices than connections can be told apart.
pub fn too_few_ports(devices: u32, room: u64, sources: &Sources) -> String {
    let from = match sources.count() {
        0 | 1 => "one address of this machine has".to_owned(),
        n => format!("{n} addresses of this machine have"),
    };
    format!(
        "{devices} devices need as many local ports, and {from} {room} towards the server\n  \
         connect from more addresses (--source-ip LIST), widen net.ipv4.ip_local_port_range, or use fewer devices: -u {room}"
    )
}

/// The parts of a WebSocket URL; placeholders may stand in the path.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    secure: bool,
    authority: &'a str,
    host: &'a str,
    port: u16,
    path: String,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return None,
        };
        let rest = rest.split('#').next()?;
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let standard = if secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, standard),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty() && !authority.contains('@')).then_some(Self { secure, authority, host, port, path })
    }
}

/// Knocks before the fleet comes: a target that cannot be reached at all ends the run within seconds.
pub async fn knock(scenario: &Scenario, endpoint: &Endpoint, clock: &Clock) -> Result<(), Failure> {
    // The devices' own limit: a target that is too slow for the knock is too slow for them.
    let limit = scenario.session.connect_timeout;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let closed = match tokio::time::timeout(limit.to_std(), endpoint.connect(0, clock)).await {
            Ok(Ok((transport, _))) => {
                goodbye(transport).await;
                return Ok(());
            }
            Ok(Err(closed)) => closed,
            Err(_) => {
                Closed { class: FailureClass::ConnectTimeout, detail: format!("no answer within {limit}") }
            }
        };
        if attempt == KNOCKS || !may_pass(&closed.class) {
            let seen = hearsay::text(&endpoint.secrets, 0, &closed.detail);
            return Err(unreachable(&scenario.target.shown, &seen, &closed.class));
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// Whether to knock again: some failures will not go away by themselves, and a time-out has been waited for already.
const fn may_pass(class: &FailureClass) -> bool {
    use FailureClass::{Auth, ConnectTimeout, Dns, Tls};
    !matches!(class, Tls | Auth | Dns | ConnectTimeout)
}

/// What was seen, what it means, and what to check.
fn unreachable(shown: &str, seen: &str, class: &FailureClass) -> Failure {
    let message =
        format!("cannot reach {shown}: {seen}\n  {}\n  check: {}", class.explain(), what_to_check(class));
    Failure { exit: Exit::Unreachable, message }
}

const fn what_to_check(class: &FailureClass) -> &'static str {
    match class {
        FailureClass::Refused => "does the server run? are host and port in target.url right?",
        FailureClass::Dns => "the host name in target.url",
        FailureClass::ConnectTimeout => {
            "does the port speak WebSocket? is it wss? is a proxy in between? \
             For a server that is only slow, raise session.connect_timeout"
        }
        FailureClass::Network => "the address in target.url, and the route to it: VPN, firewall, IPv6",
        FailureClass::LocalLimit => "`ulimit -n`, and what else on this machine holds connections open",
        FailureClass::Tls => {
            "is it wss at all, or ws? is the certificate for this host name, in date, and signed by target.ca?"
        }
        FailureClass::UpgradeStatus(_) => "the path in target.url, target.headers, and the server's log",
        FailureClass::Auth => {
            "Authorization in target.headers, the query of target.url, and the server's log"
        }
        FailureClass::Reset | FailureClass::Closed(_) => {
            "is the port wss rather than ws? does a proxy or a limit of connections cut it off? see the server's log"
        }
        _ => "does the port speak WebSocket? `voxload debug` shows every message",
    }
}

async fn goodbye(mut transport: Box<dyn Transport>) {
    let closing = std::future::poll_fn(|cx| transport.poll_close(cx, 1000));
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parse = |u| Url::parse(u).map(|u| (u.secure, u.host.to_owned(), u.port, u.path));
        let s = |t: &str| t.to_owned();
        assert_eq!(
            parse("ws://localhost:8765/talk?x={token}"),
            Some((false, s("localhost"), 8765, s("/talk?x={token}")))
        );
        assert_eq!(parse("wss://example.com"), Some((true, s("example.com"), 443, s("/"))));
        assert_eq!(parse("ws://[::1]:80?a=b"), Some((false, s("::1"), 80, s("/?a=b"))));
        assert_eq!(parse("WSS://[::1]/"), Some((true, s("::1"), 443, s("/"))));
        for bad in ["http://x", "ws://", "ws://host:port/", "ws://user:pass@host/", "nothing"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_family_is_that_of_the_source_addresses() {
        let from = |items: &[&str]| {
            let mut sources = Sources::default();
            items.iter().for_each(|item| sources.add(item).unwrap());
            sources
        };
        let both: Vec<SocketAddr> = vec!["[::1]:9".parse().unwrap(), "127.0.0.1:9".parse().unwrap()];
        let chosen = |items: &[&str]| of_one_family(both.clone(), &from(items));
        assert_eq!((chosen(&[]), chosen(&["127.0.0.2"])), (vec![both[1]], vec![both[1]]));
        assert_eq!(chosen(&["::1"]), [both[0]]);
        assert_eq!(of_one_family(vec![both[0]], &from(&[])), [both[0]], "there is no other");
        let text = "target = { url = \"ws://named:9/\", source_ips = [\"::1\"] }";
        let scenario =
            crate::scenario::load(&crate::scenario::Source::inline("named.toml", text), &[]).unwrap();
        let refused = sources(&scenario, &[both[1]]).unwrap_err().message;
        assert!(
            refused.starts_with("source address ::1 cannot connect to 127.0.0.1, the address of ws://named"),
            "{refused}"
        );
    }

    /// 192.0.2.0/24 is for documentation (RFC 5737): it is not asked.
    #[tokio::test]
    async fn more_devices_than_ports_are_refused_before_they_try() {
        let Some(ports) = source::local_ports() else { return };
        let of = |url: &str, devices: u64, sources: &str| {
            let text = format!(
                "target = {{ url = \"{url}\", source_ips = [{sources}] }}\nfleet.devices = {devices}"
            );
            crate::scenario::load(&crate::scenario::Source::inline("ports.toml", text), &[]).unwrap()
        };
        let there = "ws://192.0.2.1:9/";
        let failure = endpoint(&of(there, ports + 1, ""), None).await.err().unwrap();
        assert_eq!(failure.exit, Exit::Usage);
        let shown =
            failure.message.replace(&(ports + 1).to_string(), "MORE").replace(&ports.to_string(), "PORTS");
        insta::assert_snapshot!(shown, @r"
        MORE devices need as many local ports, and one address of this machine has PORTS towards the server
          connect from more addresses (--source-ip LIST), widen net.ipv4.ip_local_port_range, or use fewer devices: -u PORTS
        ");
        assert!(endpoint(&of(there, ports, ""), None).await.is_ok());
        assert!(endpoint(&of(there, ports + 1, "\"127.0.0.2-127.0.0.3\""), None).await.is_ok());
        let here = endpoint(&of("ws://127.0.0.1:9/", ports + 1, ""), None).await.unwrap();
        assert_eq!(here.sources.text(), "127.0.0.1-127.0.0.3", "by itself on loopback");
    }

    #[tokio::test]
    async fn a_target_that_says_nothing_is_asked_once() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", silent.local_addr().unwrap());
        let text = format!("target.url = \"{url}\"\nsession.connect_timeout = \"50ms\"");
        let scenario =
            crate::scenario::load(&crate::scenario::Source::inline("silent.toml", text), &[]).unwrap();
        let endpoint = endpoint(&scenario, None).await.unwrap();
        let failure = knock(&scenario, &endpoint, &Clock::start()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        insta::assert_snapshot!(failure.message.replace(&url, "URL"), @r"
        cannot reach URL: no answer within 50.0 ms
          no connection within session.connect_timeout
          check: does the port speak WebSocket? is it wss? is a proxy in between? For a server that is only slow, raise session.connect_timeout
        ");
        silent.set_nonblocking(true).unwrap();
        let knocks = std::iter::from_fn(|| silent.accept().ok()).count();
        assert_eq!(knocks, 1);
    }
}
