//! The replies that a service can give to a request, down to the bytes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::sleep;

use super::http::Wire;

/// The reply to a request.
pub enum Reply {
    /// Send these bytes and wait for the next request on the same connection.
    Answer(Vec<u8>),
    /// The same, after a delay.
    Late(Duration, Vec<u8>),
    /// The same, once the gate is open.
    Held(Gate, Vec<u8>),
    /// Send these bytes, if any, and close the connection.
    Close(Vec<u8>),
    /// Keep the connection open and send nothing.
    Hang,
    /// Break the connection (RST).
    Reset,
    /// Cut every connection, including this one, and listen again.
    Restart,
    /// Hand the connection over to this function.
    Stream(Box<dyn FnOnce(Wire) -> Streaming + Send>),
}

/// Answers wait at a gate until a test opens it.
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

    /// Sends these bytes and then nothing more, until the client closes the connection.
    pub fn stall(bytes: Vec<u8>) -> Self {
        Self::stream(move |mut wire| async move {
            if wire.write_all(&bytes).await.is_ok() {
                closed(&mut wire).await;
            }
        })
    }

    /// Sends `head` at once, then `rest` byte by byte with a pause before each byte, and closes the connection.
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

    /// Sends `head`, and then repeats `more` until the client closes the connection.
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

/// Waits until the client closes the connection, and ignores the bytes that it sends.
pub async fn closed(wire: &mut Wire) {
    let mut ignored = [0; 1024];
    while wire.read(&mut ignored).await.is_ok_and(|n| n > 0) {}
}

/// A complete response. Each header must end in `\r\n`.
pub fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// One chunk of a chunked body. The bytes must not be empty, because an empty chunk ends the body.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let head = format!("{:x}\r\n", bytes.len());
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
