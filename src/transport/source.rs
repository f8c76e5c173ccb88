//! Source addresses: a fleet with more devices than one address has ports connects from several.
//!
//! A connection is told apart by four numbers: both addresses, both ports. From one address to one server there are
//! as many connections as there are local ports, 28,232 by default; from two addresses, twice as many.
//!
//! ```text
//! device 0 ─▶ 127.0.0.1:40000 ─┐
//! device 1 ─▶ 127.0.0.2:40000 ─┼─▶ 127.0.0.1:8765
//! device 2 ─▶ 127.0.0.1:40002 ─┘
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::{TcpSocket, TcpStream};

use crate::scenario::Part;

/// What a list of source addresses looks like.
pub const EXPECTED: &str =
    "expected an address, a range such as `127.0.0.2-127.0.0.9`, or a network such as `127.1.0.0/28`";

/// Addresses to connect from, in order; device n uses address n modulo their number (of the
/// devices that this process plays, the n-th). Without any, the kernel chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    ranges: Vec<Range>,
    part: Part,
}

/// Consecutive addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    count: u64,
}

impl Range {
    fn nth(&self, n: u64) -> IpAddr {
        // Ranges end within their family: nothing overflows.
        match self.first {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits().wrapping_add(n as u32))),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits().wrapping_add(n.into()))),
        }
    }
}

impl Sources {
    /// Adds `127.0.0.2`, `127.0.0.2-127.0.0.9` or `127.1.0.0/28`. The network and the broadcast address of an IPv4
    /// network are no addresses to connect from, and are left out.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let ip =
            |text: &str| text.trim().parse::<IpAddr>().map_err(|_| format!("`{text}` is not an address"));
        let (first, count) = if let Some((from, to)) = text.split_once('-') {
            let (from, to) = (ip(from)?, ip(to)?);
            let count = match (from, to) {
                (IpAddr::V4(a), IpAddr::V4(b)) => b.to_bits().checked_sub(a.to_bits()).map(u128::from),
                (IpAddr::V6(a), IpAddr::V6(b)) => b.to_bits().checked_sub(a.to_bits()),
                _ => {
                    return Err(format!(
                        "`{text}` begins with an IPv4 and ends with an IPv6 address, or the other way round"
                    ));
                }
            };
            let count = count.ok_or_else(|| format!("`{text}` ends before it begins"))?;
            (from, count.saturating_add(1))
        } else if let Some((network, bits)) = text.split_once('/') {
            let network = ip(network)?;
            let width = if network.is_ipv4() { 32 } else { 128 };
            let bits: u32 = bits.parse().ok().filter(|b| *b <= width).ok_or_else(|| {
                format!("`{text}`: a network of this kind has 0 to {width} bits after the `/`")
            })?;
            let host_bits = width - bits;
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            let size = 1_u128.checked_shl(host_bits).unwrap_or(u128::MAX);
            match network {
                IpAddr::V4(ip) => {
                    let first = ip.to_bits() & mask as u32;
                    if host_bits > 1 {
                        (Ipv4Addr::from_bits(first + 1).into(), size - 2)
                    } else {
                        (Ipv4Addr::from_bits(first).into(), size)
                    }
                }
                IpAddr::V6(ip) => (Ipv6Addr::from_bits(ip.to_bits() & mask).into(), size),
            }
        } else {
            (ip(text)?, 1)
        };
        self.ranges.push(Range { first, count: u64::try_from(count).unwrap_or(u64::MAX) });
        Ok(())
    }

    /// So many addresses of 127.0.0.0/8, from 127.0.0.1 on.
    pub fn loopback(count: u64) -> Self {
        Self {
            ranges: vec![Range { first: Ipv4Addr::LOCALHOST.into(), count: count.min(0xff_fffe) }],
            part: Part::WHOLE,
        }
    }

    /// For the devices of this part.
    #[must_use]
    pub fn of_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// How many; 0: the kernel chooses.
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0, |n, r| n.saturating_add(r.count))
    }

    /// True when the kernel chooses.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The address that a device connects from.
    pub fn of(&self, device: u32) -> Option<IpAddr> {
        let mut n = u64::from(self.part.local(device)).checked_rem(self.count())?;
        for range in &self.ranges {
            if n < range.count {
                return Some(range.nth(n));
            }
            n -= range.count;
        }
        None
    }

    /// The first address of the other family: IPv4 addresses cannot connect to IPv6 ones.
    pub fn mismatch(&self, target: IpAddr) -> Option<IpAddr> {
        self.ranges.iter().map(|r| r.first).find(|ip| ip.is_ipv4() != target.is_ipv4())
    }

    /// The first address, of those that so many devices use, that is not one of this machine.
    pub fn stranger(&self, devices: u32) -> Option<(IpAddr, io::Error)> {
        let used = u64::from(devices).min(self.count()) as u32;
        (0..used).filter_map(|device| self.of(device)).find_map(|ip| {
            // Datagram sockets have ports of their own: none is taken from the fleet.
            UdpSocket::bind((ip, 0)).err().map(|e| (ip, e))
        })
    }

    /// Connections that these addresses can have to so many addresses of a server, when each has `ports`.
    pub fn room(&self, ports: u64, targets: u64) -> u64 {
        self.count().max(1).saturating_mul(ports).saturating_mul(targets.max(1))
    }

    /// As text: `127.0.0.1-127.0.0.3`.
    pub fn text(&self) -> String {
        let range = |r: &Range| match r.count {
            1 => r.first.to_string(),
            n => format!("{}-{}", r.first, r.nth(n - 1)),
        };
        self.ranges.iter().map(range).collect::<Vec<_>>().join(", ")
    }
}

/// Where a fleet connects from that was not told: from 127.0.0.0/8 when the server is on IPv4 loopback and one address
/// has too few ports for comfort, else from wherever the kernel says.
///
/// Half of the ports is comfort: the kernel looks through those first when it connects, and leaves the other half to
/// those who bind. Beyond, each connection searches longer than the one before.
pub fn of_fleet(devices: u32, ports: Option<u64>, to_loopback: bool) -> Sources {
    let comfort = ports.unwrap_or(u64::MAX) / 2;
    if to_loopback && u64::from(devices) > comfort {
        Sources::loopback(u64::from(devices).div_ceil(comfort.max(1)))
    } else {
        Sources::default()
    }
}

/// True for an address of this machine.
pub fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Local ports that one address has for connections to one address of a server.
pub fn local_ports() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
    let (low, high) = (numbers.next()?, numbers.next()?);
    high.checked_sub(low).map(|n| n + 1)
}

/// Connects, from a chosen address or from wherever the kernel says.
pub(super) async fn connect(from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(to).await };
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    choose_port_late(&socket);
    let wrong = |e: io::Error| io::Error::new(e.kind(), format!("from {from}: {e}"));
    socket.bind(SocketAddr::new(from, 0)).map_err(wrong)?;
    socket.connect(to).await
}

/// Lets `connect` choose the port instead of `bind`: then it need only be free towards this server, not altogether.
/// Where that is not possible, `bind` chooses, and there are fewer ports.
#[cfg(target_os = "linux")]
fn choose_port_late(socket: &TcpSocket) {
    use std::os::fd::AsRawFd as _;
    let on: libc::c_int = 1;
    #[allow(unsafe_code, reason = "no crate in the tree has this option")]
    // SAFETY: the descriptor is open while `socket` lives; the kernel reads the four bytes of `on` and keeps nothing.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
}

#[cfg(not(target_os = "linux"))]
const fn choose_port_late(_: &TcpSocket) {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sources(items: &[&str]) -> Result<Sources, String> {
        let mut all = Sources::default();
        items.iter().try_for_each(|item| all.add(item))?;
        Ok(all)
    }

    fn used(items: &[&str], devices: u32) -> Vec<String> {
        let all = sources(items).unwrap();
        (0..devices).filter_map(|d| all.of(d)).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn devices_take_turns() {
        assert_eq!(
            used(&["127.0.0.9", "127.0.0.2-127.0.0.3"], 5),
            ["127.0.0.9", "127.0.0.2", "127.0.0.3", "127.0.0.9", "127.0.0.2"]
        );
        assert_eq!(used(&["10.0.0.255-10.0.1.0"], 2), ["10.0.0.255", "10.0.1.0"]);
        assert_eq!(used(&["fd00::ffff-fd00::1:1"], 3), ["fd00::ffff", "fd00::1:0", "fd00::1:1"]);
        assert_eq!(Sources::default().of(7), None);
    }

    #[test]
    fn networks_are_without_their_first_and_last_address() {
        assert_eq!(used(&["127.1.0.5/30"], 3), ["127.1.0.5", "127.1.0.6", "127.1.0.5"]);
        assert_eq!(used(&["10.0.0.0/31"], 2), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(used(&["10.0.0.7/32"], 1), ["10.0.0.7"]);
        assert_eq!(used(&["fd00::/127"], 2), ["fd00::", "fd00::1"]);
        assert_eq!(sources(&["127.1.0.0/28"]).unwrap().count(), 14);
        assert_eq!(sources(&["0.0.0.0/0"]).unwrap().count(), (1 << 32) - 2);
        assert_eq!(sources(&["::/0"]).unwrap().count(), u64::MAX);
    }

    #[test]
    fn mistakes_are_named() {
        let mistakes =
            ["", "127.0.0", "localhost", "127.0.0.9-127.0.0.2", "127.0.0.1-::1", "10.0.0.0/33", "fd00::/x"];
        insta::assert_snapshot!(mistakes.map(|t| sources(&[t]).unwrap_err()).join("\n"), @r"
        `` is not an address
        `127.0.0` is not an address
        `localhost` is not an address
        `127.0.0.9-127.0.0.2` ends before it begins
        `127.0.0.1-::1` begins with an IPv4 and ends with an IPv6 address, or the other way round
        `10.0.0.0/33`: a network of this kind has 0 to 32 bits after the `/`
        `fd00::/x`: a network of this kind has 0 to 128 bits after the `/`
        ");
    }

    #[test]
    fn the_family_must_be_that_of_the_target() {
        let all = sources(&["127.0.0.2", "::1"]).unwrap();
        assert_eq!(all.mismatch(Ipv4Addr::LOCALHOST.into()), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(sources(&["127.0.0.2"]).unwrap().mismatch(Ipv4Addr::LOCALHOST.into()), None);
    }

    /// 192.0.2.0/24 is for documentation (RFC 5737): nobody has an address of it.
    #[test]
    fn addresses_of_others_are_found_out() {
        let stranger =
            |items: &[&str], devices| sources(items).unwrap().stranger(devices).map(|(ip, _)| ip.to_string());
        assert_eq!(stranger(&["127.0.0.1", "192.0.2.7"], 2).as_deref(), Some("192.0.2.7"));
        assert_eq!(stranger(&["127.0.0.1", "192.0.2.7"], 1), None, "no device uses it");
    }

    #[test]
    fn loopback_fleets_spread_by_themselves() {
        let of = |devices, loopback| of_fleet(devices, Some(28_232), loopback).text();
        assert_eq!(
            [of(14_116, true), of(14_117, true), of(100_000, true)],
            ["", "127.0.0.1-127.0.0.2", "127.0.0.1-127.0.0.8"]
        );
        assert_eq!(of(100_000, false), "");
        assert_eq!(of_fleet(100_000, None, true), Sources::default());
    }

    #[tokio::test]
    async fn connections_come_from_where_they_should() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        let all = sources(&["127.0.0.2", "127.0.0.3"]).unwrap();
        for device in 0..4 {
            let (client, (_, peer)) =
                tokio::try_join!(connect(all.of(device), to), listener.accept()).unwrap();
            assert_eq!((Some(peer.ip()), peer), (all.of(device), client.local_addr().unwrap()));
        }
        let e = connect(sources(&["192.0.2.7"]).unwrap().of(0), to).await.unwrap_err();
        assert!(e.to_string().starts_with("from 192.0.2.7: "), "{e}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-f.:/-]{0,20}", device: u32) {
            let mut all = Sources::default();
            let _ = all.add(&text);
            prop_assert_eq!(all.of(device).is_some(), all.count() > 0);
        }

        #[test]
        fn every_address_is_used_alike(count in 1_u64..200, rounds in 1_u32..5) {
            let all = Sources::loopback(count);
            let devices = count as u32 * rounds;
            let mut seen = std::collections::BTreeMap::<_, u32>::new();
            (0..devices).for_each(|d| *seen.entry(all.of(d)).or_default() += 1);
            prop_assert!(seen.len() as u64 == count && seen.values().all(|n| *n == rounds));
        }
    }
}
