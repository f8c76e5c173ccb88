//! Connections that are signed (`connect.sign`): by the device that asks for one, and checked by the reference server if it knows the key.

use super::template::{Val, Values};
use super::{Described, device};
use crate::dialect::codec::{sigv4, twilio};
use crate::dialect::connect::Request;
use crate::dialect::{Handshake, SessionSetup};
use crate::scenario::Secret;

/// Who signs a connection, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// AWS Signature Version 4, in the query.
    AwsSigv4,
    /// `X-Twilio-Signature`, a header.
    Twilio,
}

impl Described {
    /// A value of `[values]`, as a device has it; none if it is empty.
    fn value(&self, setup: &SessionSetup, device: u32, name: &str) -> Option<String> {
        let context = device::context_of(&self.description, setup, device);
        let (_, var) = self.description.values.iter().find(|(n, _)| n == name)?;
        match Values::get(&context, var) {
            Val::Str(s) if !s.is_empty() => Some(s.into_owned()),
            _ => None,
        }
    }

    fn credentials(&self, setup: &SessionSetup, device: u32) -> Option<sigv4::Credentials> {
        let secret = |name: &str| self.value(setup, device, name).map(Secret::new);
        Some(sigv4::Credentials {
            access_key: secret("access_key_id")?,
            secret_key: secret("secret_access_key")?,
            session_token: secret("session_token"),
        })
    }

    /// Signs a request to `origin` (`wss://HOST`), where the description says so. `at`: seconds since 1970.
    pub(in crate::dialect) fn sign(
        &self,
        setup: &SessionSetup,
        device: u32,
        origin: &str,
        request: &mut Request,
        at: i64,
    ) -> Result<(), String> {
        let url = format!("{origin}{}", request.target);
        match self.description.connect.sign {
            None => {}
            Some(Signer::AwsSigv4) => {
                let credentials = self.credentials(setup, device).ok_or(
                    "no credentials to sign the URL with: give `access_key_id` and `secret_access_key` in `target.values`, for \
                     example from ${AWS_ACCESS_KEY_ID}",
                )?;
                let region = self.value(setup, device, "region");
                let signed = sigv4::transcribe_url(&url, region.as_deref(), &credentials, at)?;
                if let Some(target) = signed.reveal().strip_prefix(origin) {
                    target.clone_into(&mut request.target);
                }
            }
            Some(Signer::Twilio) => {
                // Without a token nothing is signed: apps can be told not to look.
                if let Some(token) = self.value(setup, device, "auth_token") {
                    let signature = twilio::signature(&url, &Secret::new(token))?;
                    request.headers.push((twilio::HEADER.to_owned(), signature.reveal().to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Whether a request is signed as it should be. A server that does not know the key takes any. `now`: seconds since 1970.
    pub(in crate::dialect) fn verify(&self, asked: &Handshake, now: i64) -> Result<(), &'static str> {
        let setup = SessionSetup::default();
        let host = asked.header("host").unwrap_or_default();
        match self.description.connect.sign {
            None => Ok(()),
            Some(Signer::AwsSigv4) => self
                .credentials(&setup, 0)
                .map_or(Ok(()), |credentials| sigv4::verify(host, &asked.target, &credentials, now)),
            Some(Signer::Twilio) => self.value(&setup, 0, "auth_token").map_or(Ok(()), |token| {
                twilio::verify(host, &asked.target, asked.header(twilio::HEADER), &Secret::new(token))
            }),
        }
    }
}
