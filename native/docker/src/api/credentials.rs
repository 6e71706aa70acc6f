//! The files that prove who the client is to an engine, and who the engine is to the client: certificates and a token.
//!
//! They are renewed under a running node, so they are read again for each connection or request.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::HeaderValue;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use crate::error::{io_text, Error, Subject};

const AUTHORITIES: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// Maximum size of each file of certificates, in bytes: four times Mozilla's list of certificate authorities.
const MAX_FILE: u64 = 1024 * 1024;

/// Maximum length of a token, in bytes. Signed tokens have a few hundred.
const MAX_TOKEN: usize = 4096;

/// The files with the credentials of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`, as in the environment variable `DOCKER_CERT_PATH`. An `https`
    /// endpoint needs it: a certificate authority in `ca.pem` must have signed the server's certificate. `cert.pem` and
    /// `key.pem` identify the client; both may be missing. Read for each new connection.
    pub certificates: Option<PathBuf>,
    /// The file with a [`Token`]. It is sent over `https` and to a unix socket, never over plain TCP. Read for each request.
    pub token_file: Option<PathBuf>,
}

/// A bearer token (RFC 6750): 1 to 4096 letters, digits and `-._~+/=`. Its debug output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads a file that contains the token, with or without a newline at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the reason.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let unusable = |why: &str| {
            let why = format!("the token file {} {why}", file.display());
            Err(Error::Config(Subject::TokenFile, why))
        };
        let mut text = Vec::new();
        // Opening a pipe would wait for its writer.
        let read = fs::metadata(file).and_then(|found| match found.is_file() {
            true => File::open(file)?.take(MAX_TOKEN as u64 + 3).read_to_end(&mut text),
            false => Err(io::Error::other("it is no file")),
        });
        if let Err(error) = read {
            return unusable(&format!("can't be read: {}", io_text(&error)));
        }
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match str::from_utf8(text) {
            Ok("") => unusable("is empty"),
            Ok(token) if token.len() <= MAX_TOKEN && token.bytes().all(is_allowed) => Ok(Self(token.to_owned())),
            _ => unusable("has no token: 1 to 4096 letters, digits and -._~+/="),
        }
    }

    /// The text of the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the header `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        let value = format!("Bearer {}", self.0);
        let mut value = HeaderValue::try_from(value).expect("a token has no other characters");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Reads a client's directory of certificates. The client trusts the certificate authorities in `ca.pem` only.
///
/// # Errors
///
/// [`Error::Config`] with the file and the reason.
pub(super) fn client_config(folder: Option<&Path>) -> Result<ClientConfig, Error> {
    let Some(folder) = folder else {
        return unusable(
            "https needs a folder with ca.pem, cert.pem and key.pem: set DOCKER_CERT_PATH, engine_certs for a node, or --certs",
        );
    };
    let shown = folder.display();
    if !folder.is_dir() {
        return unusable(format!("there is no folder {shown}"));
    }
    let Some(authorities) = read(folder, AUTHORITIES)? else {
        return unusable(format!("the folder {shown} has no {AUTHORITIES}"));
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .with_root_certificates(roots(&authorities)?);
    let mut config = match (read(folder, CERTIFICATE)?, read(folder, KEY)?) {
        (Some(certificate), Some(key)) => config
            .with_client_auth_cert(certificates(CERTIFICATE, &certificate)?, private_key(&key)?)
            .map_err(mismatch)?,
        (None, None) => config.with_no_client_auth(),
        (Some(_), None) => return unusable(format!("the folder {shown} has {CERTIFICATE} but no {KEY}")),
        (None, Some(_)) => return unusable(format!("the folder {shown} has {KEY} but no {CERTIFICATE}")),
    };
    // Each new connection must verify the certificate. Connections are kept alive, so resumption would save little.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Reads a server's directory of certificates: `cert.pem` and `key.pem` identify the server. If there is a `ca.pem`, one of
/// its certificate authorities must have signed each client's certificate, and the second result is `true`.
///
/// # Errors
///
/// [`Error::Config`] with the file and the reason.
pub fn server_config(folder: &Path) -> Result<(ServerConfig, bool), Error> {
    if !folder.is_dir() {
        return unusable(format!("there is no folder {}", folder.display()));
    }
    let (Some(certificate), Some(key)) = (read(folder, CERTIFICATE)?, read(folder, KEY)?) else {
        return unusable(format!("the folder {} needs {CERTIFICATE} and {KEY}", folder.display()));
    };
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(other)?;
    let authorities = read(folder, AUTHORITIES)?;
    let demands_certificates = authorities.is_some();
    let config = match authorities {
        Some(authorities) => {
            let roots = Arc::new(roots(&authorities)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            config.with_client_cert_verifier(verifier.map_err(other)?)
        }
        None => config.with_no_client_auth(),
    };
    let mut config = config
        .with_single_cert(certificates(CERTIFICATE, &certificate)?, private_key(&key)?)
        .map_err(mismatch)?;
    // Each connection must verify the client's certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, demands_certificates))
}

/// `None` if there is no such file.
fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(folder.join(name)).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE => unusable(format!("{name} has more than {MAX_FILE} bytes")),
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => unusable(format!("{name} can't be read: {}", io_text(&error))),
    }
}

/// A bundle may contain certificates that rustls does not understand. They are ignored.
fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(AUTHORITIES, pem)?);
    if roots.is_empty() {
        return unusable(format!("{AUTHORITIES} has no certificate that can be used"));
    }
    Ok(roots)
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => unusable(format!("{name} has no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(_) => unusable(format!("{name} is damaged")),
    }
}

/// PKCS#1, PKCS#8 and SEC1.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    // In the first line of PKCS#8 (`BEGIN ENCRYPTED PRIVATE KEY`), in a header of the others (`Proc-Type: 4,ENCRYPTED`).
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        return unusable(format!("the private key in {KEY} is encrypted"));
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => unusable(format!("{KEY} has no private key")),
        Err(_) => unusable(format!("{KEY} is damaged")),
    }
}

fn mismatch(error: rustls::Error) -> Error {
    other(match error {
        rustls::Error::InconsistentKeys(_) => format!("{KEY} is not the key of {CERTIFICATE}"),
        rustls::Error::InvalidCertificate(_) => format!("{CERTIFICATE} is damaged"),
        // A key that ring does not know, of Ed448 or P-521 for example.
        _ => format!("{KEY} has a private key of a kind that can't be used"),
    })
}

fn other(why: impl ToString) -> Error {
    Error::Config(Subject::Certificates, why.to_string())
}

fn unusable<T>(why: impl ToString) -> Result<T, Error> {
    Err(other(why))
}
