//! The server's side of a WebSocket: the upgrade, with a chance to refuse it.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes read at once: small, because there is one buffer per connection.
const READ_BUFFER: usize = 4 * 1024;

/// Messages up to this many bytes in all wait for a flush, and go to the socket together.
const WRITE_BUFFER: usize = 16 * 1024;

/// An HTTP answer instead of the upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// One more header, as the status asks for.
    pub header: Option<(HeaderName, &'static str)>,
    /// For people: the body.
    pub text: &'static str,
}

impl Refusal {
    fn response(self) -> ErrorResponse {
        let mut response = ErrorResponse::new(Some(self.text.to_owned()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.text.len()));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Upgrades a connection to a WebSocket, unless `check` refuses. Messages up to `max_message` bytes are read; what is
/// sent goes to the socket when it is flushed.
pub async fn accept<S, F>(io: S, max_message: usize, check: F) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(&Request) -> Result<(), Refusal> + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    #[allow(clippy::result_large_err, reason = "the library's own signature")]
    let callback = |request: &Request, response: Response| match check(request) {
        Ok(()) => Ok(agreeing(request, response)),
        Err(refusal) => Err(refusal.response()),
    };
    // Boxed: the handshake's state is large, and would live as long as the connection's task.
    Box::pin(tokio_tungstenite::accept_hdr_async_with_config(io, callback, Some(config))).await
}

/// Agrees to the first subprotocol that the client offers.
fn agreeing(request: &Request, mut response: Response) -> Response {
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|v| v.to_str().ok());
    let first = offered.and_then(|o| o.split(',').next()).map(str::trim).filter(|p| !p.is_empty());
    if let Some(Ok(value)) = first.map(HeaderValue::from_str) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    response
}
