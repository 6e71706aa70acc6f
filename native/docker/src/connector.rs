//! Connections to one endpoint, for hyper-util's client.

use std::error::Error as StdError;
use std::future::{poll_fn, Future};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tower_service::Service;

use crate::certificates::client_config;
use crate::client_first::ClientFirst;
use crate::endpoint::{Address, Transport};
use crate::http::{cause, io_text};
use crate::tls::Tls;
use crate::{Endpoint, Error};

/// TCP keepalive finds out about an idle connection whose other end is gone without a word: after so long …
const KEEPALIVE: Duration = Duration::from_secs(5);

/// … it asks, again after so long …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// … and gives up when so many questions have had no answer.
const KEEPALIVE_RETRIES: u32 = 3;

/// Keepalive does not ask while something sent is not acknowledged; this ends the connection then. About as long as
/// keepalive takes.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Connects to the endpoint, whatever the URI says: that a request goes nowhere else does not hang on what is in it.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    /// For all of a connection, the TLS handshake too.
    limit: Duration,
    tcp: HttpConnector,
    certificates: Option<PathBuf>,
}

/// Why there is no connection: an [`Error`], or one of [`HttpConnector`]'s.
type BoxError = Box<dyn StdError + Send + Sync>;

/// A connection of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connector {
    pub(crate) fn new(endpoint: &Endpoint, limit: Duration, certificates: Option<PathBuf>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(limit));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        // It would end attempts to connect as well.
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED.max(limit)));
        Self {
            inner: Arc::new(Inner {
                transport: endpoint.transport().clone(),
                limit,
                tcp,
                certificates,
            }),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ClientFirst<Box<dyn Io>>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            // The client may go on connecting when nobody waits for it any more.
            let connected = timeout(inner.limit, inner.connect()).await;
            let stream = connected.unwrap_or_else(|_| Err(Error::Timeout.into()))?;
            Ok(TokioIo::new(ClientFirst::new(stream)))
        })
    }
}

impl Inner {
    async fn connect(&self) -> Result<Box<dyn Io>, BoxError> {
        Ok(match &self.transport {
            Transport::Tcp(address) => Box::new(self.tcp(address).await?),
            Transport::Tls { server, dial } => {
                // Before anything is dialled: without certificates there is nothing to say.
                let config = self.config().await?;
                Box::new(Tls::connect(self.tcp(dial).await?, server, config).await?)
            }
            Transport::Unix(path) => {
                let connected = UnixStream::connect(path).await;
                Box::new(connected.map_err(|error| no_socket(path, &error))?)
            }
        })
    }

    async fn tcp(&self, address: &Address) -> Result<TcpStream, BoxError> {
        let uri = Uri::builder().scheme("http").authority(address.to_string());
        let uri = uri.path_and_query("/").build()?;
        let mut tcp = self.tcp.clone();
        poll_fn(|cx| tcp.poll_ready(cx)).await?;
        Ok(tcp.call(uri).await?.into_inner())
    }

    /// Read for each connection: they are few, and certificates are renewed under a running node.
    async fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let folder = self.certificates.clone();
        let config = spawn_blocking(move || client_config(folder.as_deref()).map(Arc::new));
        config.await.unwrap_or_else(|_| Err(Error::abandoned()))
    }
}

fn no_socket(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    Error::Unreachable(match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {path}"),
        // Also for what is not a socket.
        io::ErrorKind::ConnectionRefused => format!("nobody listens on {path}"),
        io::ErrorKind::PermissionDenied => format!("no permission for {path}"),
        _ => format!("{path}: {}", io_text(error)),
    })
}

/// What is known of a failed request here, beyond what hyper knows.
pub(crate) fn reason(error: &(dyn StdError + 'static)) -> Option<Error> {
    // An `io::Error` does not have what is inside of it as its source.
    let inside = || cause::<io::Error>(error)?.get_ref()?.downcast_ref();
    cause::<Error>(error).or_else(inside).cloned()
}
