//! What says who the server is and who may ask: certificates and a token, renewed under the running server.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use eid_docker::{server_config, Error, Token};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// The files are looked at so often.
const INTERVAL: Duration = Duration::from_secs(2);

/// Where they are.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub certificates: Option<PathBuf>,
    pub token: Option<PathBuf>,
}

pub struct Secrets {
    files: Files,
    /// As they were when they were read first.
    first: Vec<Option<Version>>,
    held: RwLock<Held>,
}

/// Differs when a file has been replaced, also by one of the same size and time: its number, its time and that of its
/// last change of any kind, in seconds and nanoseconds, and its size.
type Version = (u64, [i64; 4], u64);

#[derive(Clone)]
struct Held {
    tls: Option<TlsAcceptor>,
    demands_certificates: bool,
    token: Option<Arc<Token>>,
}

impl Secrets {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], saying what is wrong with which file.
    pub fn read(files: Files) -> Result<Self, Error> {
        let first = files.versions();
        let held = RwLock::new(files.read()?);
        Ok(Self { files, first, held })
    }

    /// `None` if there are no certificates.
    pub fn tls(&self) -> Option<TlsAcceptor> {
        self.held().tls
    }

    /// Whether TLS clients have to have certificates.
    pub fn demands_certificates(&self) -> bool {
        self.held().demands_certificates
    }

    /// `None` if nobody needs one.
    pub fn token(&self) -> Option<Arc<Token>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).token.clone()
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in what changes in the files, for ever. What can't be used is told once, and what was before goes on.
    pub async fn renew(self: Arc<Self>) {
        let mut told = None;
        let mut modified = self.first.clone();
        loop {
            sleep(INTERVAL).await;
            let now = self.files.versions();
            if now == modified && told.is_none() {
                continue;
            }
            let files = self.files.clone();
            let read = spawn_blocking(move || files.read()).await;
            match read.unwrap_or_else(|_| Err(Error::abandoned())) {
                // That clients need no certificates any more is for somebody to say who starts the server.
                Ok(new) if self.demands_certificates() && !new.demands_certificates => {
                    let error = "ca.pem is gone".to_owned();
                    if told.as_ref() != Some(&error) {
                        warn!("the certificates are not renewed: {error}");
                    }
                    told = Some(error);
                }
                Ok(new) => {
                    *self.held.write().unwrap_or_else(PoisonError::into_inner) = new;
                    info!("the certificates and the token have been read again");
                    (told, modified) = (None, now);
                }
                Err(error) => {
                    let error = match error {
                        Error::Config(_, why) | Error::Unreachable(_, why) => why,
                        other => other.to_string(),
                    };
                    if told.as_ref() != Some(&error) {
                        warn!("the certificates and the token are not renewed: {error}");
                    }
                    told = Some(error);
                }
            }
        }
    }
}

impl Files {
    fn read(&self) -> Result<Held, Error> {
        let tls = self.certificates.as_deref().map(server_config).transpose()?;
        let demands_certificates = tls.as_ref().is_some_and(|(_, demanded)| *demanded);
        Ok(Held {
            tls: tls.map(|(config, _)| TlsAcceptor::from(Arc::new(config))),
            demands_certificates,
            token: self.token.as_deref().map(Token::read).transpose()?.map(Arc::new),
        })
    }

    /// `None` for one that is not there.
    fn versions(&self) -> Vec<Option<Version>> {
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
