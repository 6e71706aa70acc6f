//! A connection on which the client speaks first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads nothing before something was written, as in HTTP/1.1 nothing is to be read then but the end of the connection.
///
/// hyper reads at once. If the other end is gone at the very moment that the first request is handed over, that request
/// may get no answer and no error, ever (hyperium/hyper#4122). A server that refuses a client's certificate in TLS 1.3
/// goes at about that moment. Read afterwards, the end is an error of the request.
pub(crate) struct ClientFirst<T> {
    stream: T,
    has_written: bool,
    reader: Option<Waker>,
}

impl<T> ClientFirst<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self {
            stream,
            has_written: false,
            reader: None,
        }
    }
}

impl<T> Connection for ClientFirst<T> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ClientFirst<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.has_written {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ClientFirst<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.has_written = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_comes_early_is_read_after_the_first_write() {
        let (ours, mut theirs) = duplex(64);
        theirs.write_all(b"early").await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(ClientFirst::new(ours));
        let reader = tokio::spawn(async move { reading.read_u8().await.unwrap() });
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
        writing.write_all(b"?").await.unwrap();
        assert_eq!(reader.await.unwrap(), b'e');
    }
}
