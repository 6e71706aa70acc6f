//! Connections to one endpoint over TCP, TLS or a unix socket, and why one could not be made.

use std::error::Error as StdError;
use std::future::{poll_fn, Future};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, AlertDescription as Alert, CertificateError, ClientConfig};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::credentials::client_config;
use super::endpoint::{Address, Endpoint, Host, Transport};
use crate::error::{cause, io_text, Error, Subject};

/// TCP keepalive finds an idle connection whose other end has disappeared. Idle time before the first probe.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// Number of probes without an answer after which the connection ends.
const KEEPALIVE_RETRIES: u32 = 3;

/// Keepalive sends no probes while sent data is not acknowledged. This limit ends the connection then, after about the same
/// time.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Connects to its endpoint and ignores the URI, so that no URI can send a request to another place.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    transport: Transport,
    /// Time limit for the whole connection, including the TLS handshake.
    limit: Duration,
    tcp: HttpConnector,
    certificates: Option<PathBuf>,
}

/// Why there is no connection: an [`Error`], or an error of [`HttpConnector`].
type BoxError = Box<dyn StdError + Send + Sync>;

/// A connection of any kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connector {
    pub(super) fn new(endpoint: &Endpoint, limit: Duration, certificates: Option<PathBuf>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(limit));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        // It also ends attempts to connect.
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED.max(limit)));
        let transport = endpoint.transport().clone();
        Self(Arc::new(Inner {
            transport,
            limit,
            tcp,
            certificates,
        }))
    }

    /// Returns `true` if there is a client certificate in the directory of certificates.
    pub(super) fn has_certificate(&self) -> bool {
        let folder = self.0.certificates.as_deref();
        folder.is_some_and(|folder| folder.join("cert.pem").exists())
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
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            // hyper-util's client may continue to connect after the request was cancelled.
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
                // Read the certificates before dialling: a server should see no connection without a handshake.
                let folder = self.certificates.clone();
                let config = spawn_blocking(move || client_config(folder.as_deref()).map(Arc::new)).await;
                let config = config.unwrap_or_else(|_| Err(Error::abandoned()))?;
                Box::new(handshake(self.tcp(dial).await?, server, config).await?)
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
}

fn no_socket(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    let why = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {path}"),
        // This is also the error for a file that is not a socket.
        io::ErrorKind::ConnectionRefused => format!("nobody listens on {path}"),
        io::ErrorKind::PermissionDenied => format!("no permission for {path}"),
        _ => format!("{path}: {}", io_text(error)),
    };
    Error::Unreachable(Subject::Socket, why)
}

/// The TLS handshake. The client sends nothing about itself before it has verified that the server is `server`.
async fn handshake(tcp: TcpStream, server: &Host, config: Arc<ClientConfig>) -> Result<impl Io, Error> {
    let tls = |why| Error::Unreachable(Subject::Certificates, why);
    let has_certificate = config.client_auth_cert_resolver.has_certs();
    let name = match server {
        Host::Ip(ip) => ServerName::from(*ip),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| tls(format!("no certificate can be for {name}")))?
        }
    };
    let connected = TlsConnector::from(config).connect(name, tcp).await;
    connected.map_err(|error| match tls_error(&error) {
        Some(rustls::Error::InvalidCertificate(why)) => tls(untrusted(why, server)),
        Some(error) => tls(broken(error, has_certificate)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            tls("the peer closed the connection in the TLS handshake".to_owned())
        }
        None if error.kind() == io::ErrorKind::TimedOut => Error::Timeout,
        None => Error::unreachable(io_text(&error)),
    })
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Why eid does not trust the server's certificate.
fn untrusted(why: &CertificateError, server: &Host) -> String {
    let what = match why {
        // The signature is wrong if another certificate authority of the same name signed the certificate.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "is not from the authority in ca.pem",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            return match server {
                Host::Ip(ip) => format!("the server's certificate is not for {ip}"),
                Host::Name(name) => format!("the server's certificate is not for {name}"),
            }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "is not one for servers",
        why => return format!("the server's certificate can't be verified: {why}"),
    };
    format!("the server's certificate {what}")
}

/// Why a TLS connection failed, in the handshake or later.
fn broken(error: &rustls::Error, has_certificate: bool) -> String {
    match error {
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError,
        ) => match has_certificate {
            true => "the server refused the client certificate".to_owned(),
            false => "the server asks for a client certificate, and there is no cert.pem".to_owned(),
        },
        rustls::Error::AlertReceived(Alert::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
            "the server has no version or cipher of TLS in common with eid".to_owned()
        }
        // In TLS 1.2 this may be about a missing certificate (RFC 5246, section 7.4.6) or about anything else.
        rustls::Error::AlertReceived(Alert::HandshakeFailure) if !has_certificate => {
            "the server refused the TLS handshake; it may ask for a client certificate, and there is no cert.pem"
                .to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("the server refused the TLS handshake: {alert:?}"),
        rustls::Error::InvalidMessage(_) => "the peer does not speak TLS".to_owned(),
        error => format!("TLS failed: {error}"),
    }
}

impl Connector {
    /// The error of this module, or of TLS, that caused a request to fail; `None` for every other failure. In TLS 1.3 the
    /// client finishes the handshake before the server refuses its certificate.
    pub(super) fn reason(&self, error: &(dyn StdError + 'static)) -> Option<Error> {
        let io = cause::<io::Error>(error);
        if let Some(tls) = io.and_then(tls_error) {
            return Some(Error::Unreachable(
                Subject::Certificates,
                broken(tls, self.has_certificate()),
            ));
        }
        // An `io::Error` does not report the error inside it as its source.
        let inside = || io?.get_ref()?.downcast_ref();
        cause::<Error>(error).or_else(inside).cloned()
    }
}

/// Reads nothing before the first write: before it, an HTTP/1.1 server can only close the connection.
///
/// hyper reads at once. If the other end closes at the moment when hyper gets the first request, that request may get no
/// answer and no error (hyperium/hyper#4122). A server that refuses a client's certificate in TLS 1.3 closes at about that
/// moment. With the delayed read the end becomes an error of the request. Remove this type when hyper reports that error.
pub(super) struct ClientFirst<T> {
    stream: T,
    has_written: bool,
    reader: Option<Waker>,
}

impl<T> ClientFirst<T> {
    fn new(stream: T) -> Self {
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
#[path = "../../tests/unit/client_first.rs"]
mod tests;
