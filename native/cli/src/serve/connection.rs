//! Serves connections, within limits of number, time and memory.

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
use super::service::{Client, Service};
use crate::log_throttle::LogThrottle;
use crate::sockets::enable_keepalive;

/// Time limit for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit from the connection, or from the end of an answer, to the end of the next request's head. This also limits idle
/// connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// After SIGTERM: time left to receive the head of a connection's first request.
const LAST_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// A client that reads nothing for this time is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum size of a request's head, in bytes, and number of its headers. The heads of eid's own requests have about 100 bytes.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Pause after a failed accept. If the host is out of descriptors, another connection must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one line per interval for each problem that clients can cause.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The state that all listeners share.
pub struct Server {
    service: Arc<Service>,
    connection_slots: Arc<Semaphore>,
    accept_errors: LogThrottle,
    refusals: LogThrottle,
    handshake_errors: LogThrottle,
}

impl Server {
    /// Makes a server with this maximum number of connections.
    pub fn new(service: Arc<Service>, max_connections: usize) -> Self {
        Self {
            service,
            connection_slots: Arc::new(Semaphore::new(max_connections)),
            accept_errors: LogThrottle::every(LOG_INTERVAL),
            refusals: LogThrottle::every(LOG_INTERVAL),
            handshake_errors: LogThrottle::every(LOG_INTERVAL),
        }
    }

    /// Waits until no connection is open. `max_connections` is that of [`Server::new`].
    pub async fn all_closed(&self, max_connections: u32) {
        let _ = self.connection_slots.acquire_many(max_connections).await;
    }

    /// Accepts connections until the service ends.
    pub async fn accept(self: Arc<Self>, listener: Listener) {
        let mut ends = self.service.ends.clone();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener) => accepted,
                _ = ends.wait_for(|ends| *ends) => return,
            };
            match accepted {
                Ok((stream, address)) => self.spawn(stream, address),
                Err(error) => {
                    self.accept_errors
                        .log(|| warn!("no connection can be accepted: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, stream: Accepted, address: Option<IpAddr>) {
        let metrics = &self.service.metrics;
        let Ok(slot) = Arc::clone(&self.connection_slots).try_acquire_owned() else {
            metrics.turned_away.fetch_add(1, Relaxed);
            self.refusals
                .log(|| warn!("there are too many connections; one from {} is closed", name(address)));
            return;
        };
        metrics.connections.fetch_add(1, Relaxed);
        let server = Arc::clone(self);
        tokio::spawn(async move {
            server.service.metrics.open.fetch_add(1, Relaxed);
            if let Err(error) = server.serve(stream, address, slot).await {
                debug!("{}: {error}", name(address));
            }
            server.service.metrics.open.fetch_sub(1, Relaxed);
        });
    }

    async fn serve(
        &self,
        stream: Accepted,
        address: Option<IpAddr>,
        _slot: OwnedSemaphorePermit,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match stream {
            Accepted::Plain(tcp) => self.answer(WriteTimeout::new(tcp), address).await,
            Accepted::Unix(unix) => self.answer(WriteTimeout::new(unix), address).await,
            Accepted::Tls(tcp) => {
                let Some(tls) = self.service.secrets.tls() else {
                    return Err("there are no certificates".into());
                };
                let handshake = timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await;
                let handshake = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                let tls = handshake.inspect_err(|error| {
                    self.service.metrics.failed_handshakes.fetch_add(1, Relaxed);
                    self.handshake_errors
                        .log(|| warn!("{}: the TLS handshake failed: {error}", name(address)));
                })?;
                self.answer(WriteTimeout::new(tls), address).await
            }
        }
    }

    async fn answer<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: WriteTimeout<T>,
        address: Option<IpAddr>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let cut = Arc::new(Notify::new());
        let client = Client {
            address,
            cut: Arc::clone(&cut),
        };
        let has_request = AtomicBool::new(false);
        let answer = service_fn(|request| {
            has_request.store(true, Relaxed);
            let reply = self.service.answer(&request, &client);
            async { Ok::<_, Infallible>(reply) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection);
        let mut ends = self.service.ends.clone();
        let mut is_ending = false;
        // On a graceful shutdown hyper still waits for the head of the first request.
        let mut first_head_timeout = pin!(async {
            let _ = self.service.ends.clone().wait_for(|ends| *ends).await;
            sleep(LAST_HEAD_TIMEOUT).await;
            if has_request.load(Relaxed) {
                pending().await
            }
        });
        loop {
            tokio::select! {
                ended = connection.as_mut() => return Ok(ended?),
                () = first_head_timeout.as_mut() => return Ok(()),
                () = cut.notified() => return Err("the client is too slow for the events".into()),
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
    enable_keepalive(&stream)?;
    let accepted = if is_tls {
        Accepted::Tls(stream)
    } else {
        Accepted::Plain(stream)
    };
    Ok((accepted, Some(address.ip())))
}

/// Returns a client's name for the log.
fn name(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "the unix socket".to_owned(), |ip| ip.to_canonical().to_string())
}

/// A connection that fails if a write makes no progress for [`WRITE_TIMEOUT`].
struct WriteTimeout<T> {
    stream: T,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> WriteTimeout<T> {
    fn new(stream: T) -> Self {
        Self { stream, deadline: None }
    }

    fn timed<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteTimeout<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<T> {
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
