//! Connections: how many, how long, and what they may cost.

use std::convert::Infallible;
use std::future::{pending, Future};
use std::io;
use std::net::IpAddr;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout, Sleep};
use tracing::{debug, warn};

use super::listener::Listener;
use super::quiet::Quiet;
use super::service::{Peer, Service};
use crate::keep_alive::keep_alive;

/// For a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// From the connection, or the end of an answer, to the end of the next request's head: so long a connection may be idle too.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// At the end, what is left for the head of a connection's first request.
const LAST_HEAD_TIME: Duration = Duration::from_secs(1);

/// A client that takes nothing for so long is gone.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// For the head of a request. eid's has 100 bytes.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// A host that is out of descriptors has to wait for somebody to go.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all listeners share.
pub struct Gate {
    pub service: Arc<Service>,
    pub places: Arc<Semaphore>,
    pub quiet: Quiet,
}

impl Gate {
    /// Takes connections until the end.
    pub async fn accept(self: Arc<Self>, listener: Listener) {
        let mut ends = self.service.ends.clone();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener) => accepted,
                _ = ends.wait_for(|ends| *ends) => return,
            };
            match accepted {
                Ok((stream, address)) => self.take(stream, address),
                Err(error) => {
                    self.quiet
                        .tell("accept", || warn!("no connection can be taken: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, stream: Accepted, address: Option<IpAddr>) {
        let metrics = &self.service.metrics;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics.turned_away.fetch_add(1, Relaxed);
            self.quiet.tell("places", || {
                warn!("there are too many connections; one from {} is closed", name(address))
            });
            return;
        };
        metrics.connections.fetch_add(1, Relaxed);
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            gate.service.metrics.open.fetch_add(1, Relaxed);
            if let Err(error) = gate.serve(stream, address, place).await {
                debug!("{}: {error}", name(address));
            }
            gate.service.metrics.open.fetch_sub(1, Relaxed);
        });
    }

    async fn serve(
        &self,
        stream: Accepted,
        address: Option<IpAddr>,
        _place: OwnedSemaphorePermit,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match stream {
            Accepted::Plain(tcp) => self.answer(Patient::new(tcp), address).await,
            Accepted::Unix(unix) => self.answer(Patient::new(unix), address).await,
            Accepted::Tls(tcp) => {
                let Some(tls) = self.service.secrets.tls() else {
                    return Err("there are no certificates".into());
                };
                let shaken = timeout(HANDSHAKE_TIME, tls.accept(tcp)).await;
                let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                let tls = shaken.inspect_err(|error| {
                    self.service.metrics.failed_handshakes.fetch_add(1, Relaxed);
                    self.quiet
                        .tell("tls", || warn!("{}: the TLS handshake failed: {error}", name(address)));
                })?;
                self.answer(Patient::new(tls), address).await
            }
        }
    }

    async fn answer<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: Patient<T>,
        address: Option<IpAddr>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let cut = Arc::new(Notify::new());
        let peer = Peer {
            address,
            cut: Arc::clone(&cut),
        };
        let is_asked = AtomicBool::new(false);
        let answer = service_fn(|request| {
            is_asked.store(true, Relaxed);
            let reply = self.service.answer(&request, &peer);
            async { Ok::<_, Infallible>(reply) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection);
        let mut ends = self.service.ends.clone();
        let mut is_ending = false;
        // hyper would wait for all of a first request's head, be it in vain.
        let mut asks_too_late = pin!(async {
            let _ = self.service.ends.clone().wait_for(|ends| *ends).await;
            sleep(LAST_HEAD_TIME).await;
            if is_asked.load(Relaxed) {
                pending().await
            }
        });
        loop {
            tokio::select! {
                ended = connection.as_mut() => return Ok(ended?),
                () = asks_too_late.as_mut() => return Ok(()),
                () = cut.notified() => return Err("it is too slow for the events".into()),
                _ = ends.wait_for(|ends| *ends), if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

enum Accepted {
    Plain(TcpStream),
    Tls(TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn accept(listener: &Listener) -> io::Result<(Accepted, Option<IpAddr>)> {
    let (tcp, is_tls) = match listener {
        Listener::Unix(unix) => return Ok((Accepted::Unix(unix.accept().await?.0), None)),
        Listener::Plain(tcp) => (tcp, false),
        Listener::Tls(tcp) => (tcp, true),
    };
    let (stream, address) = tcp.accept().await?;
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    let accepted = match is_tls {
        true => Accepted::Tls(stream),
        false => Accepted::Plain(stream),
    };
    Ok((accepted, Some(address.ip())))
}

/// For lines of the log.
fn name(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "the unix socket".to_owned(), |ip| ip.to_canonical().to_string())
}

/// A connection whose other end has to take what it is sent.
struct Patient<T> {
    stream: T,
    waits: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    fn new(stream: T) -> Self {
        Self { stream, waits: None }
    }

    fn timed<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        match waits.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.timed(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.timed(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.timed(cx, shut)
    }
}
