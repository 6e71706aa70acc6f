//! A TLS connection that says in a person's words why it failed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, ClientConfig};
use tokio_rustls::TlsConnector;

use crate::endpoint::Host;
use crate::http::io_text;
use crate::Error;

/// A connection to a server whose certificate was verified.
pub(crate) struct Tls {
    stream: TlsStream<TcpStream>,
    has_certificate: bool,
}

impl Tls {
    /// The handshake. Nothing about the client goes out before the server is known to be `server`.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`].
    pub(crate) async fn connect(tcp: TcpStream, server: &Host, config: Arc<ClientConfig>) -> Result<Self, Error> {
        let has_certificate = config.client_auth_cert_resolver.has_certs();
        let name = match server {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::Name(name) => ServerName::try_from(name.clone())
                .map_err(|_| Error::Unreachable(format!("no certificate can be for {name}")))?,
        };
        let connected = TlsConnector::from(config).connect(name, tcp).await;
        let stream = connected.map_err(|error| match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(why)) => Error::Unreachable(untrusted(why, server)),
            Some(error) => Error::Unreachable(broken(error, has_certificate)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Error::Unreachable("the peer closed the connection in the TLS handshake".to_owned())
            }
            None if error.kind() == io::ErrorKind::TimedOut => Error::Timeout,
            None => Error::Unreachable(io_text(&error)),
        })?;
        Ok(Self {
            stream,
            has_certificate,
        })
    }

    /// Makes the reason an [`Error`] inside of this one. In TLS 1.3 the handshake is over for the client when the server
    /// refuses its certificate.
    fn explained(&self, error: io::Error) -> io::Error {
        match tls_error(&error) {
            Some(why) => io::Error::other(Error::Unreachable(broken(why, self.has_certificate))),
            // Without TLS's own farewell, which rustls has more to say about than a person wants to know.
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "the engine closed the connection")
            }
            None => error,
        }
    }
}

impl AsyncRead for Tls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        Poll::Ready(read.map_err(|error| self.explained(error)))
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(written.map_err(|error| self.explained(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.explained(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Why the server's certificate is not good enough.
fn untrusted(why: &CertificateError, server: &Host) -> String {
    let what = match why {
        // A wrong signature is that of another authority of the same name.
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

/// Why there is no TLS connection, or no longer.
fn broken(error: &rustls::Error, has_certificate: bool) -> String {
    use AlertDescription as Alert;
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
        ) => if has_certificate {
            "the server refused the client certificate"
        } else {
            "the server asks for a client certificate, and there is no cert.pem"
        }
        .to_owned(),
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
