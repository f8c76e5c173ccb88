//! `X-Twilio-Signature`: how a voice app knows that it is Twilio who connects.
//!
//! ```text
//! base64(HMAC-SHA1(auth token, URL of the stream, as <Stream url="…"> has it))
//! ```
//!
//! Source: Twilio's documentation, "Validate signatures of WebSocket requests"; the vector below is that of its page on webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::scenario::Secret;

/// The header that carries it.
pub const HEADER: &str = "X-Twilio-Signature";

/// The signature of a URL, for [`HEADER`].
pub fn signature(url: &str, auth_token: &Secret) -> Result<Secret, String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(auth_token.reveal().as_bytes())
        .map_err(|_| "the auth token cannot be a key".to_owned())?;
    mac.update(url.as_bytes());
    Ok(Secret::new(BASE64.encode(mac.finalize().into_bytes())))
}

/// Whether the signature that a request showed is that of its URL. A server behind a proxy does not know the scheme.
pub fn verify(
    host: &str,
    target: &str,
    shown: Option<&str>,
    auth_token: &Secret,
) -> Result<(), &'static str> {
    let Some(shown) = shown else { return Err("X-Twilio-Signature is missing") };
    let fits = ["wss", "ws", "https", "http"].into_iter().any(|scheme| {
        signature(&format!("{scheme}://{host}{target}"), auth_token).is_ok_and(|own| own.reveal() == shown)
    });
    if fits { Ok(()) } else { Err("X-Twilio-Signature is not that of this URL with this auth token") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_twilios() {
        // Of Twilio's documentation, "Validating requests": the parameters of a webhook are appended to its URL; a stream has none.
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2CallSidCA1234567890ABCDECaller+14158675310Digits1234From+14158675310To+18005551212";
        let own = signature(url, &Secret::new("12345")).unwrap();
        assert_eq!(own.reveal(), "GvWf1cFY/Q7PnoempGyD5oXAezc=");
        assert_eq!(format!("{own:?}"), "***");
    }

    #[test]
    fn another_url_or_another_token_is_refused() {
        let token = Secret::new("t");
        let shown = signature("wss://app.example.com/media", &token).unwrap();
        let own = Some(shown.reveal());
        assert_eq!(verify("app.example.com", "/media", own, &token), Ok(()));
        assert!(verify("app.example.com", "/other", own, &token).is_err());
        assert!(verify("app.example.com:8443", "/media", own, &token).is_err());
        assert!(verify("app.example.com", "/media", own, &Secret::new("u")).is_err());
        assert!(verify("app.example.com", "/media", None, &token).unwrap_err().contains("missing"));
    }
}
