//! The server, where devices find it, and what they say first.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::{Check, url_host};
use crate::dialect::Dialect;
use crate::scenario::diagnostic::Place;
use crate::scenario::template::{Text, placeholders, shown_url};
use crate::scenario::units::nearest;
use crate::scenario::value::Value;
use crate::scenario::{DeviceValues, Secret, Target};
use crate::transport::source::{self, Sources};

impl Check<'_> {
    pub(super) fn target(&mut self, dialect: &Dialect) -> Target {
        let url = self.optional_text("target.url");
        let headers = match self.value("target.headers") {
            Some(Value::Table(entries)) => entries.clone(),
            _ => Vec::new(),
        };
        let tls = match &url {
            Some(url) => self.url(url),
            None => self.bool("target.secure"),
        };
        if url.is_some() && self.bool("target.secure") {
            self.fail(
                &["target.secure"],
                "`target.secure` is for the embedded server",
                "your own server decides by its URL: write `wss://`",
            );
        }
        if !tls {
            let without = if url.is_some() { "`ws://`" } else { "the embedded server" };
            for path in ["target.insecure", "target.ca", "target.client_cert"] {
                let given = match self.value(path) {
                    Some(Value::Bool(on)) => *on,
                    other => other.is_some(),
                };
                if given && !self.any_broken(&["target.url"]) {
                    self.fail(
                        &[path],
                        format!("`{path}` with {without}, which has no certificates"),
                        "write `wss://`, or leave it out",
                    );
                }
            }
        }
        let cert = self.path("target.client_cert");
        let key = self.path("target.client_key");
        for (one, other, given, missing) in [
            ("target.client_cert", "target.client_key", &cert, &key),
            ("target.client_key", "target.client_cert", &key, &cert),
        ] {
            if given.is_some() && missing.is_none() && !self.any_broken(&[other]) {
                self.fail(
                    &[one],
                    format!("`{one}` without `{other}`"),
                    "a client certificate and its key come together",
                );
            }
        }
        for path in ["target.ca", "target.client_cert", "target.client_key"] {
            self.file_exists(path);
        }
        let sources = self.sources(url.as_ref());
        let values = self.device_values();
        let complete = values.is_some();
        let values = values.unwrap_or_default();
        let columns: Vec<&str> = values.columns.iter().map(String::as_str).chain(["device"]).collect();
        let url_place = self.setting("target.url").and_then(|s| s.place.clone());
        if let Some(url) = url.as_ref().filter(|_| complete) {
            self.placeholders(url, url_place, &columns);
        }
        let parts = self.setting("target.headers").map(|s| s.parts.clone()).unwrap_or_default();
        for ((_, text), place) in headers.iter().zip(parts).filter(|_| complete) {
            self.placeholders(text, Some(place), &columns);
        }
        Target {
            shown: match &url {
                Some(url) => shown_url(url, &|name| self.environment.get(name)),
                None => format!("embedded reference server, preset {}", self.choice("reference.preset")),
            },
            url: url.map(|t| Secret::new(t.value)),
            dialect: dialect.clone(),
            token: self.optional_text("target.token").map(|t| Secret::new(t.value)),
            headers: headers.into_iter().map(|(name, t)| (name, Secret::new(t.value))).collect(),
            insecure: self.bool("target.insecure"),
            ca: self.path("target.ca"),
            client_cert: cert.zip(key),
            secure: self.bool("target.secure"),
            sources,
            values: Arc::new(values),
        }
    }

    /// Checks a URL; true when it is wss.
    pub(super) fn url(&mut self, url: &Text) -> bool {
        let mut plain = url.value.clone();
        for (_, span) in placeholders(&url.value).into_iter().rev() {
            plain.replace_range(span, "0");
        }
        let scheme = plain.split_once("://").map(|(scheme, _)| scheme);
        let help = match scheme {
            Some("http") => "write `ws://` instead of `http://`: it is the same server and port",
            Some("https") => "write `wss://` instead of `https://`: it is the same server and port",
            Some("ws" | "wss") => "",
            _ => "expected `ws://host:port/path` or `wss://host/path`",
        };
        if !help.is_empty() {
            self.fail(&["target.url"], "the URL is not one of a WebSocket", help);
        } else if plain
            .parse::<tokio_tungstenite::tungstenite::http::Uri>()
            .ok()
            .and_then(|uri| uri.host().map(|h| !h.is_empty()))
            != Some(true)
        {
            self.fail(
                &["target.url"],
                "the URL cannot be read",
                "expected `ws://host:port/path` or `wss://host/path`, without spaces",
            );
        } else if has_user_info(&plain) {
            self.fail(
                &["target.url"],
                "the user info before the `@` of the URL would not be sent",
                "put it into `target.headers`: `Authorization = \"Basic …\"`, with the base64 of `user:password`",
            );
        }
        scheme == Some("wss")
    }

    /// An address of this machine, with a port.
    pub(super) fn prometheus(&mut self) -> Option<SocketAddr> {
        let written = self.optional_text("report.prometheus")?.value;
        let address = written.parse().ok();
        if address.is_none() {
            self.fail(
                &["report.prometheus"],
                format!("`{written}` is not an address and a port"),
                "such as \"127.0.0.1:9464\", or \"0.0.0.0:9464\" for all addresses of this machine",
            );
        }
        address
    }

    /// Where devices connect from. An address in the URL must be of the same family.
    pub(super) fn sources(&mut self, url: Option<&Text>) -> Sources {
        let mut sources = Sources::default();
        let parts = self.setting("target.source_ips").map(|s| s.parts.clone()).unwrap_or_default();
        let mut places = parts.into_iter();
        for item in self.list("target.source_ips") {
            let place = places.next();
            if let Err(e) = sources.add(&item.value) {
                self.out.push(place, format!("`target.source_ips`: {e}"), source::EXPECTED);
            }
        }
        let host = url.map_or("127.0.0.1", |url| url_host(&url.value));
        if let Ok(target) = host.parse()
            && let Some(ip) = sources.mismatch(target)
        {
            self.fail(
                &["target.source_ips"],
                format!("`target.source_ips`: {ip} cannot connect to {target}"),
                "addresses of the same family as the target's: IPv4 to IPv4, IPv6 to IPv6",
            );
        }
        sources
    }

    pub(super) fn placeholders(&mut self, text: &Text, place: Option<Place>, columns: &[&str]) {
        for (name, _) in placeholders(&text.written) {
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c));
            if !is_name || columns.contains(&name) {
                continue;
            }
            let help = match (nearest(name, columns.iter().copied()), columns.len()) {
                (Some(near), _) => format!("did you mean `{{{near}}}`?"),
                (None, 1) => {
                    "`target.data` names a CSV file with such a column; `{device}` always exists".to_owned()
                }
                (None, _) => format!("`target.data` has the columns {}", columns.join(", ")),
            };
            self.out.push(
                place.clone(),
                format!("no column `{name}` for the placeholder `{{{name}}}`"),
                help,
            );
        }
    }

    /// The values per device; `None` after saying what is wrong with their file.
    pub(super) fn device_values(&mut self) -> Option<DeviceValues> {
        let Some(path) = self.path("target.data") else {
            return (!self.any_broken(&["target.data"])).then(DeviceValues::default);
        };
        match read_device_values(&path) {
            Ok(values) => Some(values),
            Err((message, help)) => {
                self.fail(&["target.data"], format!("{}: {message}", path.display()), help);
                None
            }
        }
    }

    pub(super) fn file_exists(&mut self, path: &str) {
        if let Some(file) = self.path(path)
            && let Err(e) = std::fs::File::open(&file)
        {
            self.fail(
                &[path],
                format!("{} cannot be read: {e}", file.display()),
                "paths in a scenario file start from its folder, those on the command line from the current one",
            );
        }
    }
}

/// `user:password@` before the host.
fn has_user_info(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    authority.split(['/', '?', '#']).next().is_some_and(|a| a.contains('@'))
}

/// Reads a CSV file with a header row. The error is what is wrong, and what to try; never a value.
fn read_device_values(path: &Path) -> Result<DeviceValues, (String, &'static str)> {
    let file = std::fs::File::open(path)
        .map_err(|e| (format!("cannot be read: {e}"), "paths start from the scenario file's folder"))?;
    DeviceValues::read(file)
}
