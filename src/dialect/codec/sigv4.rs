//! The signed URL of Amazon Transcribe's WebSocket (Signature Version 4, query parameters).
//!
//! ```text
//! string to sign: AWS4-HMAC-SHA256 │ time │ date/region/service/aws4_request │ SHA-256 of the canonical request
//! canonical request: GET │ path │ sorted query │ host:… │ │ host │ SHA-256 of the body
//! ```
//!
//! The time is a parameter: nothing here reads a clock. What is signed is as secret as a password for as long as it is valid,
//! and may hold a session token: a URL is a [`Secret`].

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::scenario::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// SHA-256 of no body.
const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Longest time for which Transcribe takes a URL, seconds.
pub const MOST_EXPIRES: u32 = 300;
/// How far ahead the clock of a signer may be, seconds.
const SKEW: i64 = 300;

/// Who asks. Prints as `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: Secret,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Secret,
    /// `AWS_SESSION_TOKEN`, of temporary credentials.
    pub session_token: Option<Secret>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Presign<'a> {
    /// `ws` or `wss`.
    pub scheme: &'a str,
    /// As in the `Host` header: with the port, where it is not the scheme's own.
    pub host: &'a str,
    /// Begins with `/`; letters, digits and `-._~/` only.
    pub path: &'a str,
    /// Parameters as they are meant, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// For example `us-east-1`.
    pub region: &'a str,
    /// `transcribe`.
    pub service: &'a str,
    /// When the URL begins to be valid, seconds since 1970.
    pub at: i64,
    /// For how long it is valid, seconds: 1 to [`MOST_EXPIRES`].
    pub expires: u32,
}

/// Host and port of Transcribe's WebSocket in a region.
pub fn transcribe_host(region: &str) -> String {
    format!("transcribestreaming.{region}.amazonaws.com:8443")
}

/// Signs a URL of Transcribe: `wss://HOST/PATH?QUERY`. The region is that of the host's name, unless it is given; valid for
/// [`MOST_EXPIRES`] from `at`, seconds since 1970. Errors name what is wrong, never what is in the query.
pub fn transcribe_url(
    url: &str,
    region: Option<&str>,
    credentials: &Credentials,
    at: i64,
) -> Result<Secret, String> {
    let wrong = || "not a URL that can be signed; expected wss://HOST/PATH?QUERY".to_owned();
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = address.find('/').map(|at| address.split_at(at)).ok_or_else(wrong)?;
    let of_host = || host.strip_prefix("transcribestreaming.")?.split('.').next();
    let region = region.or_else(of_host).ok_or_else(|| {
        format!("no AWS region: it is not in the host's name `{host}`; give it, for example us-east-1")
    })?;
    let pairs = parameters(query)
        .ok_or("the query has a `%` that stands for no UTF-8 text, so it cannot be signed")?;
    let query: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    Presign { scheme, host, path, query: &query, region, service: "transcribe", at, expires: MOST_EXPIRES }
        .url(credentials)
}

/// Names and values of a query, as they are meant.
fn parameters(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| Some((decoded(name)?, decoded(value)?)))
        .collect()
}

/// Whether a request is signed with these credentials, and no longer ago than it says: the server's side. `target`: path and query;
/// `now`: seconds since 1970.
pub fn verify(host: &str, target: &str, credentials: &Credentials, now: i64) -> Result<(), &'static str> {
    const UNSIGNED: &str =
        "the URL is not signed, or not whole: X-Amz-Credential, -Date, -Expires and -Signature are needed";
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = parameters(query).ok_or("the query has a `%` that stands for no UTF-8 text")?;
    let shown = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).ok_or(UNSIGNED);
    let mut scope = shown("X-Amz-Credential")?.split('/');
    let (Some(key), Some(_), Some(region), Some(service)) =
        (scope.next(), scope.next(), scope.next(), scope.next())
    else {
        return Err(UNSIGNED);
    };
    if key != credentials.access_key.reveal() {
        return Err("the access key in X-Amz-Credential is not known");
    }
    let at = NaiveDateTime::parse_from_str(shown("X-Amz-Date")?, "%Y%m%dT%H%M%SZ").map_err(|_| UNSIGNED)?;
    let (at, expires) = (at.and_utc().timestamp(), shown("X-Amz-Expires")?.parse().map_err(|_| UNSIGNED)?);
    let valid = at.saturating_sub(SKEW)..=at.saturating_add(i64::from(expires));
    if !valid.contains(&now) {
        return Err("the signature has expired, or is of the future");
    }
    let query: Vec<(&str, &str)> =
        pairs.iter().filter(|(n, _)| !n.starts_with("X-Amz-")).map(|(n, v)| (&**n, &**v)).collect();
    let own = Presign { scheme: "wss", host, path, query: &query, region, service, at, expires };
    let own = own.url(credentials).map_err(|_| "a URL that cannot have been signed")?;
    match own.reveal().rsplit_once("X-Amz-Signature=") {
        Some((_, signature)) if signature == shown("X-Amz-Signature")? => Ok(()),
        _ => Err("the signature is not that of this URL with this secret key"),
    }
}

impl Presign<'_> {
    /// The URL, signed. Errors name what is wrong, never a credential.
    pub fn url(&self, credentials: &Credentials) -> Result<Secret, String> {
        if self.expires == 0 || self.expires > MOST_EXPIRES {
            return Err(format!(
                "a URL that is valid for {} s; Transcribe takes 1 to {MOST_EXPIRES} s",
                self.expires
            ));
        }
        self.signed(credentials, NO_BODY)
    }

    fn signed(&self, credentials: &Credentials, body: &str) -> Result<Secret, String> {
        let plain = |b: u8| b == b'/' || unreserved(b);
        if !self.path.starts_with('/') || !self.path.bytes().all(plain) {
            return Err(format!(
                "the path `{}` cannot be signed; it begins with `/` and has letters, digits and -._~/ only",
                self.path
            ));
        }
        let plain = |b: u8| unreserved(b) || matches!(b, b':' | b'[' | b']');
        if self.host.is_empty() || !self.host.bytes().all(plain) {
            return Err(format!("`{}` is not a host name; expected NAME or NAME:PORT", self.host));
        }
        let named = |name: &str| !name.is_empty() && name.bytes().all(unreserved);
        if !named(self.region) || !named(self.service) {
            return Err(format!(
                "`{}` is not an AWS region, or `{}` not a service; expected for example us-east-1 and transcribe",
                self.region, self.service
            ));
        }
        let at: DateTime<Utc> = DateTime::from_timestamp(self.at, 0)
            .filter(|at| (1970..=9999).contains(&chrono::Datelike::year(at)))
            .ok_or_else(|| format!("{} s since 1970 is no time that can be signed", self.at))?;
        let (time, date) = (at.format("%Y%m%dT%H%M%SZ").to_string(), at.format("%Y%m%d").to_string());
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let key = credentials.access_key.reveal();
        let (credential, expires) = (format!("{key}/{scope}"), self.expires.to_string());
        let mut query = vec![
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &time),
            ("X-Amz-Expires", &expires),
            ("X-Amz-SignedHeaders", "host"),
        ];
        if let Some(token) = &credentials.session_token {
            query.push(("X-Amz-Security-Token", token.reveal()));
        }
        query.extend(self.query);
        let mut query: Vec<_> = query.into_iter().map(|(k, v)| (encoded(k), encoded(v))).collect();
        // By the encoded name, then by the encoded value.
        query.sort_unstable();
        let query: Vec<_> = query.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        let query = query.join("&");
        let request = format!("GET\n{}\n{query}\nhost:{}\n\nhost\n{body}", self.path, self.host);
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
        let key = signing_key(credentials.secret_key.reveal(), &date, self.region, self.service);
        let signature = hex(&mac(&key, &to_sign));
        Ok(Secret::new(format!(
            "{}://{}{}?{query}&X-Amz-Signature={signature}",
            self.scheme, self.host, self.path
        )))
    }
}

fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> [u8; 32] {
    let first = mac(format!("AWS4{secret}").as_bytes(), date);
    [region, service, "aws4_request"].into_iter().fold(first, |key, part| mac(&key, part))
}

fn mac(key: &[u8], text: &str) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

const fn unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// Everything but the unreserved characters of RFC 3986 as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if unreserved(b) {
            out.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// The other way; none when it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
