//! One engine's API: ping, inspect, list and events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use tokio::task::JoinSet;

pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod description;
pub(crate) mod endpoint;
pub(crate) mod events;
pub(crate) mod http;
pub(crate) mod wire;

use credentials::Credentials;
use description::Description;
use endpoint::{ApiVersion, Endpoint};
use events::EventStream;
use http::{Answer, ConnectError, Http, Limits, SingleFlight};
use wire::{Inspected, Listed};

use crate::container::Container;
use crate::error::{excerpt, Error};
use crate::node_name::{is_host, ContainerRef};

/// A list may have this many times the bytes of other answers: it has 1 to 2 kB for each container.
pub(crate) const LIST_FACTOR: usize = 16;

/// Path at which `eid serve` returns the name of its host in node names. An engine has nothing there.
const HOST_NAME: &str = "/eid/host";

/// The API of a Docker Engine, of Podman, or of a proxy.
///
/// Cloning is cheap. Clones share connections, requests in progress and the negotiated API version.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    limits: Limits,
    /// The negotiated version; `None` before the first request and after the engine refused the version.
    version: Mutex<Option<ApiVersion>>,
    pings: SingleFlight<(), ApiVersion>,
    inspects: SingleFlight<ContainerRef, Container>,
}

/// The answer of an engine to a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// The engine's name for itself, `Docker/20.10.24 (linux)`: sanitised, at most 200 characters. A proxy may send another
    /// name, or none.
    pub server: Option<String>,
    /// The negotiated version of the API, such as `1.41`; `None` if the engine does not say which it knows.
    pub version: Option<String>,
}

/// The containers that a list includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListScope {
    /// The running ones.
    Running,
    /// Also containers that have ended or have never been started.
    All,
}

impl Engine {
    /// An engine without credentials. This makes no connection.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self::with_credentials(endpoint, limits, Credentials::default())
    }

    /// An engine that identifies its clients. If a file of the credentials is unusable, each request ends with
    /// [`Error::Config`].
    pub fn with_credentials(endpoint: Endpoint, limits: Limits, credentials: Credentials) -> Self {
        Self {
            inner: Arc::new(Inner {
                http: Http::new(endpoint, limits, credentials),
                limits,
                version: Mutex::new(None),
                pings: SingleFlight::new(),
                inspects: SingleFlight::new(),
            }),
        }
    }

    /// Makes a connection, including the TLS handshake, and closes it. In TLS 1.3 a server refuses a client's certificate only
    /// afterwards: then [`Engine::ping`] returns that error.
    ///
    /// # Errors
    ///
    /// The reason if there is no connection within the [`Limits`].
    pub async fn connect(&self) -> Result<(), ConnectError> {
        self.inner.http.connect().await
    }

    /// Pings the engine (`GET /_ping`).
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Config`], [`Error::Timeout`]; [`Error::Refused`] if it refuses the ping, which does
    /// not mean that it refuses other requests; [`Error::BadResponse`] if this is not an engine.
    pub async fn ping(&self) -> Result<ServerInfo, Error> {
        let (version, answer) = self.inner.ping().await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        // A web server may answer every path.
        if version == ApiVersion::Unnumbered && answer.body.trim_ascii() != b"OK" {
            return Err(Error::BadResponse("it is not what an engine says to a ping".to_owned()));
        }
        let server = answer.headers.get("server");
        let server = server.map(|name| excerpt(&String::from_utf8_lossy(name.as_bytes())));
        Ok(ServerInfo {
            server: server.filter(|name| !name.is_empty()),
            version: match version {
                ApiVersion::Numbered(major, minor) => Some(format!("{major}.{minor}")),
                ApiVersion::Unnumbered => None,
            },
        })
    }

    /// Asks about one container (`GET /containers/{id}/json`). Equal questions at the same time share one request.
    ///
    /// The caller should set a deadline: the [`Limits`] apply to each request, but not to the wait for its turn.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], also if the engine found another container whose ID begins with the text;
    /// [`Error::Unreachable`], [`Error::Config`], [`Error::Refused`], [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn inspect(&self, container: &ContainerRef) -> Result<Container, Error> {
        let inspect = || {
            let (inner, asked) = (Arc::clone(&self.inner), container.clone());
            async move { found(&inner.inspect(&asked).await?, &asked) }
        };
        self.inner.inspects.join(container, inspect).await
    }

    /// Later inspects do not share the answer of a request that has been sent by now, because it may be out of date.
    pub fn forget(&self) {
        self.inner.inspects.forget();
    }

    /// Lists the running containers (`GET /containers/json`), with up to 16 times the bytes of other answers.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Config`], [`Error::Refused`], [`Error::BadResponse`], [`Error::TooLarge`],
    /// [`Error::Timeout`].
    pub async fn list(&self) -> Result<Vec<Container>, Error> {
        self.list_containers(ListScope::Running).await
    }

    /// Lists all containers (`GET /containers/json?all=1`), also those that do not run.
    ///
    /// # Errors
    ///
    /// As for [`Engine::list`].
    pub async fn list_all(&self) -> Result<Vec<Container>, Error> {
        self.list_containers(ListScope::All).await
    }

    async fn list_containers(&self, scope: ListScope) -> Result<Vec<Container>, Error> {
        let list: Vec<Listed> = self.list_as(scope).await?;
        Ok(list.into_iter().map(Container::from).collect())
    }

    /// Lists containers as any type that can be read from the list's JSON.
    ///
    /// # Errors
    ///
    /// As for [`Engine::list`].
    pub async fn list_as<T: DeserializeOwned>(&self, scope: ListScope) -> Result<Vec<T>, Error> {
        let all = if scope == ListScope::All { "?all=1" } else { "" };
        let max_body = self.inner.limits.body.saturating_mul(LIST_FACTOR);
        let answer = self.inner.get(&format!("containers/json{all}"), max_body).await?;
        match answer.status {
            StatusCode::OK => decode(&answer),
            _ => Err(refusal(&answer)),
        }
    }

    /// Asks about one container and returns any type that can be read from the inspect's JSON. The caller must check which
    /// container the engine found. This shares no request.
    ///
    /// # Errors
    ///
    /// As for [`Engine::inspect`].
    pub async fn inspect_as<T: DeserializeOwned>(&self, container: &ContainerRef) -> Result<T, Error> {
        decode(&self.inner.inspect(container).await?)
    }

    /// Describes one container. This shares no request.
    ///
    /// # Errors
    ///
    /// As for [`Engine::inspect`].
    pub async fn describe(&self, container: &ContainerRef) -> Result<Description, Error> {
        let answer = self.inner.inspect(container).await?;
        Ok(Description::read(found(&answer, container)?, &decode(&answer)?))
    }

    /// Lists the containers and describes each of them, in no order. It leaves out a container that disappears meanwhile. If
    /// the engine fails to inspect one (status 500: its files are damaged), its description is what the list says. This must
    /// run on a tokio runtime.
    ///
    /// # Errors
    ///
    /// As for [`Engine::list`].
    pub async fn descriptions(&self, scope: ListScope) -> Result<Vec<Description>, Error> {
        let mut tasks = JoinSet::new();
        for listed in self.list_containers(scope).await? {
            let Some(id) = ContainerRef::from_id(&listed.id) else {
                continue;
            };
            let engine = self.clone();
            tasks.spawn(async move {
                match engine.describe(&id).await {
                    Err(Error::Refused { status: 500, .. }) => Ok(Description::listed(listed)),
                    described => described,
                }
            });
        }
        let mut found = Vec::with_capacity(tasks.len());
        while let Some(described) = tasks.join_next().await {
            match described.unwrap_or_else(|_| Err(Error::abandoned())) {
                Ok(description) => found.push(description),
                Err(Error::NoSuchContainer) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Asks `eid serve` for the name of its host in node names, the part after the `@` (`GET /eid/host`): an IP address or a
    /// DNS name.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if `eid serve` does not know it, or if this is not `eid serve`; [`Error::Unreachable`],
    /// [`Error::Config`], [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn advertised_host(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Advertised {
            host: String,
        }
        let answer = self.inner.http.get(HOST_NAME, self.inner.limits.body).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        let Advertised { host } = decode(&answer)?;
        let problem = || Error::BadResponse("its host is no IP address and no DNS name".to_owned());
        Some(host).filter(|host| is_host(host)).ok_or_else(problem)
    }

    /// Subscribes to the events of containers and networks (`GET /events`). Ask about the containers after that; an event of
    /// the first second may be missing.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Config`], [`Error::Refused`], [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn subscribe(&self) -> Result<EventStream, Error> {
        let inner = &self.inner;
        // Another engine may answer here now, so negotiate again.
        let (version, _) = inner.ping().await?;
        match inner.http.open(&format!("{version}/events?{}", events::QUERY)).await? {
            Ok(body) => Ok(EventStream::new(body, inner.limits.body)),
            Err(answer) => Err(refusal(&answer)),
        }
    }

    /// The negotiated version of the API: the newest that both sides know. `None` if the engine does not say which it knows,
    /// and before the first request.
    pub fn api_version(&self) -> Option<(u16, u16)> {
        match *self.inner.known_version() {
            Some(ApiVersion::Numbered(major, minor)) => Some((major, minor)),
            Some(ApiVersion::Unnumbered) | None => None,
        }
    }

    /// The engine's address.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.http.endpoint()
    }

    /// The number of requests, including those that did not get a connection.
    pub fn requests(&self) -> u64 {
        self.inner.http.requests()
    }
}

impl Inner {
    /// Returns a `200 OK`, which may be about another container.
    async fn inspect(self: &Arc<Self>, asked: &ContainerRef) -> Result<Answer, Error> {
        let answer = self.get(&format!("containers/{asked}/json"), self.limits.body).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND if !is_unknown_path(&answer) => Err(Error::NoSuchContainer),
            _ if is_ambiguous_prefix(&answer) => Err(Error::NoSuchContainer),
            _ => Err(refusal(&answer)),
        }
    }

    async fn get(self: &Arc<Self>, path: &str, max_body: usize) -> Result<Answer, Error> {
        let version = self.version().await?;
        let answer = self.http.get(&format!("{version}/{path}"), max_body).await?;
        if !is_bad_version(&answer) {
            return Ok(answer);
        }
        // An older or a newer engine answers here now. Another task may have negotiated with it already.
        self.known_version().take_if(|known| *known == version);
        let version = self.version().await?;
        self.http.get(&format!("{version}/{path}"), max_body).await
    }

    /// The version to use. The first request negotiates it.
    async fn version(self: &Arc<Self>) -> Result<ApiVersion, Error> {
        if let Some(version) = *self.known_version() {
            return Ok(version);
        }
        let ping = || {
            let inner = Arc::clone(self);
            async move { inner.ping().await.map(|(version, _)| version) }
        };
        self.pings.join(&(), ping).await
    }

    async fn ping(&self) -> Result<(ApiVersion, Answer), Error> {
        let answer = self.http.get("/_ping", self.limits.body).await?;
        let header = answer.headers.get("api-version");
        let header = header.filter(|_| answer.status == StatusCode::OK);
        let version = ApiVersion::negotiate(header.and_then(|value| value.to_str().ok()));
        *self.known_version() = Some(version);
        Ok((version, answer))
    }

    fn known_version(&self) -> MutexGuard<'_, Option<ApiVersion>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine also finds a container whose ID begins with the text.
fn found(answer: &Answer, asked: &ContainerRef) -> Result<Container, Error> {
    let container = Container::from(decode::<Inspected>(answer)?);
    let is_meant = container.is_meant_by(asked);
    is_meant.then_some(container).ok_or(Error::NoSuchContainer)
}

/// `client version 1.24 is too old. Minimum supported API version is 1.44, …` (`versionUnsupportedError` in moby's
/// `server/middleware/version.go`). Other engines have other words, and one negotiation too many does no harm.
fn is_bad_version(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_REQUEST && contains(answer, b"version")
}

/// Not an engine's answer about a container: a web server's page, or `{"message":"page not found"}` (moby's
/// `api/server/server.go`).
fn is_unknown_path(answer: &Answer) -> bool {
    answer.body.trim_ascii_start().starts_with(b"<") || contains(answer, b"page not found")
}

/// `Multiple IDs found with provided prefix: db` (`ErrAmbiguousPrefix` in moby's `pkg/truncindex`), with status 400 or 500.
/// Then no container has that name, and such a short prefix is not an ID for eid.
fn is_ambiguous_prefix(answer: &Answer) -> bool {
    contains(answer, b"ultiple IDs found with provided prefix")
}

fn contains(answer: &Answer, text: &[u8]) -> bool {
    answer.body.windows(text.len()).any(|window| window == text)
}

fn refusal(answer: &Answer) -> Error {
    Error::refused(answer.status, &answer.body)
}

fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| Error::bad_json("the API", &error))
}
