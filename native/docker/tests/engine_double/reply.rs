//! What a service does about a request, down to the bytes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::sleep;

use super::http::Wire;

/// What to do about a request.
pub enum Reply {
    /// Send these bytes and wait for the next request on the same connection.
    Answer(Vec<u8>),
    /// The same, after some time.
    Late(Duration, Vec<u8>),
    /// The same, once the gate is open.
    Held(Gate, Vec<u8>),
    /// Send these bytes, which may be none, and close the connection.
    Close(Vec<u8>),
    /// Keep the connection open and send nothing.
    Hang,
    /// Break the connection (RST).
    Reset,
    /// Cut every connection, this one too, and listen anew.
    Restart,
    /// Leave the connection to this.
    Stream(Box<dyn FnOnce(Wire) -> Streaming + Send>),
}

/// What answers wait at until a test opens it.
#[derive(Clone, Default)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|is_open| *is_open).await;
    }
}

pub type Streaming = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Reply {
    /// `200 OK` with this body.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::Answer(response("200 OK", "", body))
    }

    /// Another status with this body.
    pub fn status(status: &str, body: impl AsRef<[u8]>) -> Self {
        Self::Answer(response(status, "", body))
    }

    /// Sends these bytes and then nothing any more, until the client closes the connection.
    pub fn stall(bytes: Vec<u8>) -> Self {
        Self::stream(move |mut wire| async move {
            if wire.write_all(&bytes).await.is_ok() {
                closed(&mut wire).await;
            }
        })
    }

    /// Sends `head` at once, then one byte of `rest` after the other with a pause before each, and closes.
    pub fn drip(head: Vec<u8>, rest: Vec<u8>, pause: Duration) -> Self {
        Self::stream(move |mut wire| async move {
            if wire.write_all(&head).await.is_err() {
                return;
            }
            for byte in rest {
                sleep(pause).await;
                if wire.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        })
    }

    /// Sends `head`, and then `more` again and again until the client has had enough.
    pub fn endless(head: Vec<u8>, more: Vec<u8>) -> Self {
        Self::stream(move |mut wire| async move {
            let mut sent = wire.write_all(&head).await;
            while sent.is_ok() {
                sent = wire.write_all(&more).await;
            }
        })
    }

    pub fn stream<F>(streaming: impl FnOnce(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::Stream(Box::new(|wire| Box::pin(streaming(wire))))
    }
}

/// Ends when the client has closed the connection; what it sends until then is ignored.
pub async fn closed(wire: &mut Wire) {
    let mut ignored = [0; 1024];
    while wire.read(&mut ignored).await.is_ok_and(|n| n > 0) {}
}

/// A whole response; each of the headers ends in `\r\n`.
pub fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// One chunk of a chunked body; an empty one would be the last.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let head = format!("{:x}\r\n", bytes.len());
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
