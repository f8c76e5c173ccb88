//! How a described dialect asks for its connection: path, query, headers and subprotocols, on either side.

use std::sync::Arc;

use super::describe::Described;
use super::{Dialect, Handshake, SessionSetup};

/// What a device adds to its upgrade request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Path and query.
    pub target: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// For `Sec-WebSocket-Protocol`.
    pub subprotocols: Vec<String>,
}

/// Makes upgrade requests for the devices of a run.
#[derive(Clone, Debug)]
pub struct Connector {
    described: Arc<Described>,
    setup: Arc<SessionSetup>,
}

impl Connector {
    /// `None`: the dialect has nothing to add.
    pub fn new(dialect: &Dialect, setup: &Arc<SessionSetup>) -> Option<Self> {
        let described = Arc::clone(dialect.described()?);
        Some(Self { described, setup: Arc::clone(setup) })
    }

    /// The request of a device. `target`: path and query of the scenario's URL, which come first. A header that the
    /// scenario has is the caller's to leave out.
    pub fn request(&self, target: &str, device: u32) -> Request {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let asked = self.described.ask(&self.setup, device);
        let path = match asked.path {
            Some(own) if matches!(path, "" | "/") => own,
            _ => path.to_owned(),
        };
        let named =
            |name: &str| query.is_some_and(|q| q.split('&').any(|p| p.split('=').next() == Some(name)));
        let own = asked.query.iter().filter(|(name, _)| !named(name));
        let own = own.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let pairs: Vec<String> =
            query.into_iter().filter(|q| !q.is_empty()).map(str::to_owned).chain(own).collect();
        let target = if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) };
        Request { target, headers: asked.headers, subprotocols: asked.subprotocols }
    }
}

impl Connector {
    /// Signs a request to `authority`, where the dialect says so: in its query, or by a header. `at`: seconds since 1970.
    pub fn sign(
        &self,
        scheme: &str,
        authority: &str,
        request: &mut Request,
        device: u32,
        at: i64,
    ) -> Result<(), String> {
        self.described.sign(&self.setup, device, &format!("{scheme}://{authority}"), request, at)
    }
}

/// What stands in a query (RFC 3986, section 2.3: all but the unreserved characters are encoded).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from_digit(u32::from(b >> 4), 16).unwrap_or('0').to_ascii_uppercase());
            out.push(char::from_digit(u32::from(b & 15), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
    out
}

fn decoded(text: &str) -> String {
    let (mut out, bytes) = (Vec::with_capacity(text.len()), text.as_bytes());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let hex = |n: usize| char::from(*bytes.get(at + n)?).to_digit(16);
        match (b, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                out.push(if b == b'+' { b' ' } else { b });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Handshake {
    /// A value of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pair = query.split('&').find(|p| decoded(p.split('=').next().unwrap_or_default()) == name)?;
        Some(decoded(pair.split_once('=').map_or("", |(_, value)| value)))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_query_comes_back(value in "\\PC{0,20}") {
            let h = Handshake { target: format!("/?a=1&x={}", encoded(&value)), headers: Vec::new() };
            prop_assert_eq!(h.query("x"), Some(value));
        }

        #[test]
        fn any_query_can_be_read(target in "[/?&=%+a-f0-9]{0,30}") {
            let _ = Handshake { target, headers: Vec::new() }.query("a");
        }
    }
}
