//! Access control: TLS certificates and a token, which are reloaded when they change, and the request rate per client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use eid_docker::{server_config, Error, Subject, Token};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::args::detail;

/// Time between checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The files with the secrets.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The folder with `cert.pem`, `key.pem` and perhaps `ca.pem`.
    pub certificates: Option<PathBuf>,
    /// The file with the token.
    pub token: Option<PathBuf>,
}

/// The certificates and the token that are in use.
pub struct Secrets {
    files: Files,
    /// The versions of the files at the first read.
    first: Vec<Option<FileVersion>>,
    loaded: RwLock<Loaded>,
}

/// Identifies the content of a file: its inode, modification time and status change time in seconds and nanoseconds, and its
/// size. The inode and the status change time also reveal a replacement with the same size and time.
type FileVersion = (u64, [i64; 4], u64);

#[derive(Clone)]
struct Loaded {
    tls: Option<TlsAcceptor>,
    demands_certificates: bool,
    token: Option<Arc<Token>>,
}

impl Secrets {
    /// Reads the files.
    /// Errors: A message that names the file and the problem.
    pub fn read(files: Files) -> Result<Self, Error> {
        let first = files.versions();
        let loaded = RwLock::new(files.read()?);
        Ok(Self { files, first, loaded })
    }

    /// Returns the TLS configuration, or `None` without certificates.
    pub fn tls(&self) -> Option<TlsAcceptor> {
        self.loaded().tls
    }

    /// Returns whether TLS clients must have certificates.
    pub fn demands_certificates(&self) -> bool {
        self.loaded().demands_certificates
    }

    /// Returns the token, or `None` if clients need no token.
    pub fn token(&self) -> Option<Arc<Token>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).token.clone()
    }

    fn loaded(&self) -> Loaded {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reloads the files whenever they change. If they are wrong, logs that once and keeps the previous secrets.
    pub async fn renew(self: Arc<Self>) {
        let mut logged: Option<String> = None;
        let mut modified = self.first.clone();
        loop {
            sleep(CHECK_INTERVAL).await;
            let now = self.files.versions();
            if now == modified && logged.is_none() {
                continue;
            }
            let files = self.files.clone();
            let read = spawn_blocking(move || files.read()).await;
            let read = read.unwrap_or_else(|_| Err(Error::abandoned()));
            // Only a restart may stop demanding certificates from clients.
            let read = read.and_then(|new| {
                if self.demands_certificates() && !new.demands_certificates {
                    return Err(Error::Config(Subject::Certificates, "ca.pem is gone".to_owned()));
                }
                Ok(new)
            });
            match read {
                Ok(new) => {
                    *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = new;
                    info!("the certificates and the token have been read again");
                    (logged, modified) = (None, now);
                }
                Err(error) => {
                    let error = detail(&error);
                    if logged.as_ref() != Some(&error) {
                        warn!("the certificates and the token are not renewed: {error}");
                    }
                    logged = Some(error);
                }
            }
        }
    }
}

impl Files {
    fn read(&self) -> Result<Loaded, Error> {
        let tls = self.certificates.as_deref().map(server_config).transpose()?;
        let demands_certificates = tls.as_ref().is_some_and(|(_, demanded)| *demanded);
        Ok(Loaded {
            tls: tls.map(|(config, _)| TlsAcceptor::from(Arc::new(config))),
            demands_certificates,
            token: self.token.as_deref().map(Token::read).transpose()?.map(Arc::new),
        })
    }

    /// Returns the version of each file, or `None` for a missing file.
    fn versions(&self) -> Vec<Option<FileVersion>> {
        let folder = self.certificates.iter();
        let files = folder.flat_map(|folder| ["ca.pem", "cert.pem", "key.pem"].map(|file| folder.join(file)));
        let files = files.chain(self.token.clone());
        files
            .map(|file| {
                let found = std::fs::metadata(file).ok()?;
                let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
                Some((found.ino(), times, found.len()))
            })
            .collect()
    }
}

/// The maximum number of clients with a bucket. Full buckets are dropped first.
const MAX_CLIENTS: usize = 10_000;

/// Limits the requests per second of each client: a token bucket that holds the requests of two seconds.
pub struct RequestRate {
    per_second: f64,
    buckets: Mutex<HashMap<ClientKey, Bucket>>,
}

/// A client: an IPv4 address, an IPv6 network of 64 bits, whose owner can use any address in it, or a unix socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ClientKey {
    V4([u8; 4]),
    V6([u8; 8]),
    Unix,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl RequestRate {
    /// Makes a limit; 0 means unlimited.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.into(),
            buckets: Mutex::default(),
        }
    }

    /// Returns whether the client may send a request now.
    pub fn allows(&self, client: Option<IpAddr>) -> bool {
        if self.per_second == 0.0 {
            return true;
        }
        let now = Instant::now();
        let most = 2.0 * self.per_second;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let client = ClientKey::of(client);
        if buckets.len() >= MAX_CLIENTS && !buckets.contains_key(&client) {
            buckets.retain(|_, bucket| bucket.filled(now, self.per_second) < most);
            if buckets.len() >= MAX_CLIENTS {
                return false;
            }
        }
        let bucket = buckets.entry(client).or_insert(Bucket { left: most, at: now });
        bucket.left = bucket.filled(now, self.per_second).min(most);
        bucket.at = now;
        let is_allowed = bucket.left >= 1.0;
        if is_allowed {
            bucket.left -= 1.0;
        }
        is_allowed
    }
}

impl Bucket {
    fn filled(&self, now: Instant, per_second: f64) -> f64 {
        self.left + now.duration_since(self.at).as_secs_f64() * per_second
    }
}

impl ClientKey {
    fn of(address: Option<IpAddr>) -> Self {
        match address.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => Self::V4(ip.octets()),
            Some(IpAddr::V6(ip)) => Self::V6(*ip.octets().first_chunk().expect("it has 16")),
            None => Self::Unix,
        }
    }
}
