//! A TLS server that acts as an engine and counts requests, and helpers that make certificates.

// Each test file uses only some of these items.
#![allow(dead_code)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    date_time_ymd, BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, PKCS_ED25519, PKCS_RSA_SHA256,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio_rustls::TlsAcceptor;

/// The TLS versions, for tests that must pass with each of them.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate authority. All authorities have the same name by default, so only their keys differ.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A certificate and its private key.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// The validity period of a certificate.
pub enum Validity {
    Now,
    Past,
    Future,
}

impl Authority {
    pub fn new() -> Self {
        Self::called("eid's tests")
    }

    pub fn called(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A server's certificate for this name or address.
    pub fn server(&self, name: &str) -> Identity {
        self.server_when(name, &Validity::Now)
    }

    pub fn server_when(&self, name: &str, validity: &Validity) -> Identity {
        let key = KeyPair::generate().unwrap();
        self.identity(&[name], validity, ExtendedKeyUsagePurpose::ServerAuth, &key)
    }

    /// A client's certificate with a P-256 key in PKCS#8.
    pub fn client(&self) -> Identity {
        self.client_with(&KeyPair::generate().unwrap())
    }

    pub fn client_with(&self, key: &KeyPair) -> Identity {
        self.identity(&[], &Validity::Now, ExtendedKeyUsagePurpose::ClientAuth, key)
    }

    fn identity(
        &self,
        names: &[&str],
        validity: &Validity,
        purpose: ExtendedKeyUsagePurpose,
        key: &KeyPair,
    ) -> Identity {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages.push(purpose);
        match validity {
            Validity::Now => {}
            Validity::Past => params.not_after = date_time_ymd(2001, 1, 1),
            Validity::Future => params.not_before = date_time_ymd(3001, 1, 1),
        }
        Identity {
            certificate: params.signed_by(key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        Arc::new(roots)
    }
}

impl Identity {
    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        (
            vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap(),
        )
    }
}

/// Client certificates with all usual kinds of private keys, and the name of each kind.
pub fn clients_of_all_kinds(authority: &Authority) -> Vec<(&'static str, Identity)> {
    let rsa = openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "");
    let rsa_pair = KeyPair::from_pkcs8_pem_and_sign_algo(&rsa, &PKCS_RSA_SHA256).unwrap();
    let ec = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "");
    let ec_pair = KeyPair::from_pem(&ec).unwrap();
    let ed_pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let with_key = |key: String, pair: &KeyPair| Identity {
        key,
        ..authority.client_with(pair)
    };
    let pkcs1 = openssl("rsa -traditional", &rsa);
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    let sec1 = openssl("ec", &ec);
    assert!(sec1.contains("BEGIN EC PRIVATE KEY"));
    // The format that `openssl ecparam -genkey` writes.
    let with_parameters = format!("-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n{sec1}");
    vec![
        ("RSA, PKCS#8", with_key(rsa, &rsa_pair)),
        ("RSA, PKCS#1", with_key(pkcs1, &rsa_pair)),
        ("EC, PKCS#8", with_key(ec, &ec_pair)),
        ("EC, SEC1", with_key(sec1, &ec_pair)),
        ("EC, SEC1 with parameters", with_key(with_parameters, &ec_pair)),
        ("Ed25519, PKCS#8", with_key(ed_pair.serialize_pem(), &ed_pair)),
    ]
}

/// Runs `openssl` with this input and returns its output.
pub fn openssl(arguments: &str, input: &str) -> String {
    let file = Folder::new(&[("input", input)]);
    let mut command = Command::new("openssl");
    command.args(arguments.split(' '));
    if !input.is_empty() {
        command.arg("-in").arg(file.path().join("input"));
    }
    let output = command.output().expect("these tests need openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A temporary directory, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("eid-docker-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        for (name, content) in files {
            fs::write(path.join(name), content).unwrap();
        }
        Self(path)
    }

    /// A certificate directory for a client: the certificate authority, and the client's certificate and key if it has
    /// them.
    pub fn of_client(authority: &Authority, client: Option<&Identity>) -> Self {
        let ca = authority.pem();
        match client {
            Some(Identity { certificate, key }) => {
                Self::new(&[("ca.pem", &ca), ("cert.pem", certificate), ("key.pem", key)])
            }
            None => Self::new(&[("ca.pem", &ca)]),
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The settings of a server.
pub struct Setup<'a> {
    pub address: &'a str,
    pub identity: &'a Identity,
    /// The certificate authority for client certificates, if the server demands them.
    pub clients: Option<&'a Authority>,
    pub versions: &'a [&'static SupportedProtocolVersion],
    /// The answer to every request.
    pub answer: String,
}

impl<'a> Setup<'a> {
    /// Both versions of TLS, no client certificates, and an empty list of containers as the answer.
    pub fn new(identity: &'a Identity) -> Self {
        Self {
            address: "127.0.0.1:0",
            identity,
            clients: None,
            versions: &VERSIONS,
            answer: "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
        }
    }

    pub async fn start(self) -> TlsDouble {
        let notes = Arc::new(Notes::default());
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .unwrap();
        let (certificates, key) = self.identity.der();
        let builder = match self.clients {
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider);
                builder.with_client_cert_verifier(Arc::new(NotingVerifier {
                    verifier: verifier.build().unwrap(),
                    notes: Arc::clone(&notes),
                }))
            }
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(certificates, key).unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        TlsDouble {
            address: listener.local_addr().unwrap(),
            notes: Arc::clone(&notes),
            listening: tokio::spawn(listen(listener, Arc::new(config).into(), self.answer, notes)),
        }
    }
}

/// A listening server.
pub struct TlsDouble {
    address: SocketAddr,
    notes: Arc<Notes>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Notes {
    connections: AtomicUsize,
    client_certificates: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl TlsDouble {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connections(&self) -> usize {
        self.notes.connections.load(Ordering::SeqCst)
    }

    /// Number of client certificates seen, valid or not.
    pub fn client_certificates(&self) -> usize {
        self.notes.client_certificates.load(Ordering::SeqCst)
    }

    /// The heads of all requests.
    pub fn requests(&self) -> Vec<String> {
        self.notes.requests.lock().unwrap().clone()
    }
}

impl Drop for TlsDouble {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, answer: String, notes: Arc<Notes>) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        notes.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, answer, notes) = (acceptor.clone(), answer.clone(), Arc::clone(&notes));
        tokio::spawn(async move {
            // On an error, the client has got an alert and the connection is closed.
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                while let Some(request) = read_request(&mut tls).await {
                    notes.requests.lock().unwrap().push(request);
                    if tls.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Reads the head of a request. Returns `None` if the client closes the connection.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

#[derive(Debug)]
struct NotingVerifier {
    verifier: Arc<dyn ClientCertVerifier>,
    notes: Arc<Notes>,
}

impl ClientCertVerifier for NotingVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.notes.client_certificates.fetch_add(1, Ordering::SeqCst);
        self.verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
