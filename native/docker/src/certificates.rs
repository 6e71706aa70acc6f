//! A folder of certificates as Docker's own client has it (`DOCKER_CERT_PATH`): `ca.pem`, `cert.pem` and `key.pem`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use crate::http::io_text;
use crate::Error;

const AUTHORITIES: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// Four times what all of Mozilla's authorities have.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads the folder. The server's certificate has to be from an authority in `ca.pem`; no other authority is trusted.
///
/// # Errors
///
/// [`Error::Unreachable`], saying what is wrong with which file.
pub(crate) fn client_config(folder: Option<&Path>) -> Result<ClientConfig, Error> {
    let Some(folder) = folder else {
        return unusable(
            "https needs a folder with ca.pem, cert.pem and key.pem: set DOCKER_CERT_PATH, engine_certs for a node, or --certs",
        );
    };
    if !folder.is_dir() {
        return unusable(format!("there is no folder {}", folder.display()));
    }
    let Some(authorities) = read(folder, AUTHORITIES)? else {
        return unusable(format!("the folder {} has no {AUTHORITIES}", folder.display()));
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Unreachable(error.to_string()))?
        .with_root_certificates(roots(&authorities)?);
    let mut config = match (read(folder, CERTIFICATE)?, read(folder, KEY)?) {
        (Some(certificate), Some(key)) => config
            .with_client_auth_cert(certificates(CERTIFICATE, &certificate)?, private_key(&key)?)
            .map_err(|error| mismatch(&error))?,
        (None, None) => config.with_no_client_auth(),
        (Some(_), None) => {
            return unusable(format!(
                "the folder {} has {CERTIFICATE} but no {KEY}",
                folder.display()
            ))
        }
        (None, Some(_)) => {
            return unusable(format!(
                "the folder {} has {KEY} but no {CERTIFICATE}",
                folder.display()
            ))
        }
    };
    // Connections are kept alive, so little is to be won; and each new one verifies the certificate as it is then.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Reads the same folder for a server: `cert.pem` and `key.pem` say who it is, and where there is a `ca.pem`, clients have to
/// have a certificate from an authority in it. The answer also says whether they do.
///
/// # Errors
///
/// [`Error::Unreachable`], saying what is wrong with which file.
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
        .map_err(|error| Error::Unreachable(error.to_string()))?;
    let authorities = read(folder, AUTHORITIES)?;
    let demands_certificates = authorities.is_some();
    let config = match authorities {
        Some(authorities) => {
            let roots = Arc::new(roots(&authorities)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            config.with_client_cert_verifier(verifier.map_err(|error| Error::Unreachable(error.to_string()))?)
        }
        None => config.with_no_client_auth(),
    };
    let mut config = config
        .with_single_cert(certificates(CERTIFICATE, &certificate)?, private_key(&key)?)
        .map_err(|error| mismatch(&error))?;
    // Each connection verifies the client's certificate as it is then.
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

/// Bundles may hold certificates that rustls does not understand; the others count.
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
    // PKCS#8 has it in the first line (`BEGIN ENCRYPTED PRIVATE KEY`), the others in a header (`Proc-Type: 4,ENCRYPTED`).
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

fn mismatch(error: &rustls::Error) -> Error {
    Error::Unreachable(match error {
        rustls::Error::InconsistentKeys(_) => format!("{KEY} is not the key of {CERTIFICATE}"),
        rustls::Error::InvalidCertificate(_) => format!("{CERTIFICATE} is damaged"),
        // All that is left is a key that ring does not know, of Ed448 or P-521 for example.
        _ => format!("{KEY} has a private key of a kind that can't be used"),
    })
}

fn unusable<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Unreachable(why.into()))
}
