//! One engine's API: the questions that are asked of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Incoming;
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::api_version::ApiVersion;
use crate::container::{Inspected, Listed};
use crate::error::excerpt;
use crate::events::{self, EventStream, Events};
use crate::http::{Answer, Http, Kept, Unconnected};
use crate::node_name::is_host;
use crate::single_flight::SingleFlight;
use crate::{Container, ContainerRef, Credentials, Description, Endpoint, Error, Limits, Which};

/// A list may have so many times the bytes of other answers: it has 1 to 2 kB for each container.
const LIST_FACTOR: usize = 16;

/// Where `eid serve` tells how its host is called in node names. An engine has nothing there.
const ADVERTISED: &str = "/eid/host";

/// A Docker Engine, or whatever answers in its place: Podman, a proxy. Cloning is cheap, and clones share everything:
/// connections, requests under way and the negotiated API version.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    limits: Limits,
    /// What was negotiated; `None` before the first request and after the engine has changed its mind.
    version: Mutex<Option<ApiVersion>>,
    pings: SingleFlight<(), ApiVersion>,
    inspects: SingleFlight<ContainerRef, Container>,
}

/// What an engine says of itself when it is greeted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// What it calls itself, `Docker/20.10.24 (linux)`: printable, at most 200 characters. A proxy may give another name, or none.
    pub server: Option<String>,
    /// The version of the API that it is asked in, such as `1.41`; `None` if it has not said which it knows.
    pub version: Option<String>,
}

/// What is asked for. Only a [`ContainerRef`] becomes part of a path.
enum Resource<'a> {
    Events,
    Containers(Which),
    Container(&'a ContainerRef),
}

impl Engine {
    /// An engine that nothing has been asked of yet; no connection is made. [`Engines`](crate::Engines) shares them.
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self::with_credentials(endpoint, limits, Credentials::default())
    }

    /// The same for an engine that wants to know who asks. What is wrong with the files is an [`Error::Unreachable`] of the
    /// request.
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

    /// Makes a connection, for TLS with its handshake, and closes it. In TLS 1.3 a client's certificate is only refused
    /// afterwards, so that [`Engine::greet`] will tell.
    ///
    /// # Errors
    ///
    /// Why there is none, within the [`Limits`].
    pub async fn reach(&self) -> Result<(), Unconnected> {
        self.inner.http.reach().await
    }

    /// Greets it (`GET /_ping`).
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Timeout`]; [`Error::Refused`] if it turns the greeting away, which it may do and
    /// answer other questions nevertheless; [`Error::BadResponse`] if this is no engine.
    pub async fn greet(&self) -> Result<Greeting, Error> {
        let (version, answer) = self.inner.greeted().await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        // A web server likes to answer every path.
        if version == ApiVersion::Unnumbered && answer.body.trim_ascii() != b"OK" {
            return Err(Error::BadResponse("it is not what an engine says to a ping".to_owned()));
        }
        let server = answer
            .headers
            .get("server")
            .map(|name| String::from_utf8_lossy(name.as_bytes()));
        Ok(Greeting {
            server: server.map(|name| excerpt(&name)).filter(|name| !name.is_empty()),
            version: match version {
                ApiVersion::Numbered(major, minor) => Some(format!("{major}.{minor}")),
                ApiVersion::Unnumbered => None,
            },
        })
    }

    /// Asks for one container (`GET /containers/{id}/json`). Who asks for the same one at the same time shares the
    /// request.
    ///
    /// Once its turn has come, each request of ours ends within the engine's [`Limits`]; the wait for that turn, and so
    /// this future, should have a deadline of the caller's.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`] also if the engine found another container, whose ID begins with what was asked for;
    /// [`Error::Unreachable`], [`Error::Refused`], [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn inspect(&self, container: &ContainerRef) -> Result<Container, Error> {
        let inspect = || {
            let (inner, asked) = (Arc::clone(&self.inner), container.clone());
            async move { inner.inspect(&asked).await }
        };
        self.inner.inspects.join(container, inspect).await
    }

    /// Later inspects do not share an answer whose request has been sent by now: it may be out of date.
    pub fn forget(&self) {
        self.inner.inspects.forget();
    }

    /// Lists the running containers (`GET /containers/json`), with up to 16 times the bytes of other answers.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Refused`], [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn list(&self) -> Result<Vec<Container>, Error> {
        self.list_as(Which::Running).await.map(containers)
    }

    /// Lists those too that do not run (`GET /containers/json?all=1`), like [`Engine::list`].
    ///
    /// # Errors
    ///
    /// As for [`Engine::list`].
    pub async fn list_all(&self) -> Result<Vec<Container>, Error> {
        self.list_as(Which::All).await.map(containers)
    }

    /// The same list as whatever reads of each container what it needs.
    ///
    /// # Errors
    ///
    /// As for [`Engine::list`].
    pub async fn list_as<T: DeserializeOwned>(&self, which: Which) -> Result<Vec<T>, Error> {
        let inner = &self.inner;
        let bound = inner.limits.body.saturating_mul(LIST_FACTOR);
        let answer = inner.get(&Resource::Containers(which), bound).await?;
        match answer.status {
            StatusCode::OK => decode(&answer),
            _ => Err(refusal(&answer)),
        }
    }

    /// Asks for one container, as whatever reads of it what it needs. Which container the engine has found is for the caller
    /// to check. This shares no request.
    ///
    /// # Errors
    ///
    /// As for [`Engine::inspect`].
    pub async fn inspect_as<T: DeserializeOwned>(&self, container: &ContainerRef) -> Result<T, Error> {
        let answer = self.inner.asked_about(container).await?;
        decode(&answer)
    }

    /// Describes one container, and shares no request with others.
    ///
    /// # Errors
    ///
    /// As for [`Engine::inspect`].
    pub async fn describe(&self, container: &ContainerRef) -> Result<Description, Error> {
        let answer = self.inner.asked_about(container).await?;
        let found = found(&answer, container)?;
        Ok(Description::read(found, &decode(&answer)?))
    }

    /// Lists the containers and describes each of them, in no order. One that goes meanwhile is left out; of one that the engine
    /// fails to inspect (status 500: its files are damaged) there is what the list says. Has to run on a tokio runtime.
    ///
    /// # Errors
    ///
    /// As for [`Engine::list`].
    pub async fn descriptions(&self, which: Which) -> Result<Vec<Description>, Error> {
        let list = containers(self.list_as(which).await?);
        let mut asked = JoinSet::new();
        for listed in list {
            let Some(id) = ContainerRef::from_id(&listed.id) else {
                continue;
            };
            let engine = self.clone();
            asked.spawn(async move {
                match engine.describe(&id).await {
                    Err(Error::Refused { status: 500, .. }) => Ok(Description::listed(listed)),
                    described => described,
                }
            });
        }
        let mut found = Vec::with_capacity(asked.len());
        while let Some(described) = asked.join_next().await {
            match described.unwrap_or_else(|_| Err(Error::abandoned())) {
                Ok(description) => found.push(description),
                Err(Error::NoSuchContainer) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Asks `eid serve` what stands for its host after the `@` of node names (`GET /eid/host`): an IP address, or a DNS name.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it has not been told, or if this is no `eid serve`; [`Error::Unreachable`],
    /// [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn advertised_host(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Advertised {
            host: String,
        }
        let answer = self.inner.http.get(ADVERTISED, self.inner.limits.body).await?;
        match answer.status {
            StatusCode::OK => match decode(&answer)? {
                Advertised { host } if is_host(&host) => Ok(host),
                _ => Err(Error::BadResponse(
                    "its host is no IP address and no DNS name".to_owned(),
                )),
            },
            _ => Err(refusal(&answer)),
        }
    }

    /// Subscribes to the events of containers and networks (`GET /events`). What they are about has to be asked for after
    /// that; an event in the second before may be missing.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Refused`], [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn subscribe(&self) -> Result<EventStream, Error> {
        let body = self.open_events().await?;
        Ok(EventStream::new(body, self.inner.limits.body))
    }

    /// The version of the API that was agreed on with the engine: the newest that both sides know. `None` if the engine
    /// tells none, or has not been asked for anything yet.
    pub fn api_version(&self) -> Option<(u16, u16)> {
        match *self.inner.known_version() {
            Some(ApiVersion::Numbered(major, minor)) => Some((major, minor)),
            Some(ApiVersion::Unnumbered) | None => None,
        }
    }

    /// Subscribes to the events of containers and networks (`GET /events`).
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Refused`], [`Error::BadResponse`], [`Error::Timeout`].
    pub async fn events(&self, which: Which) -> Result<Events, Error> {
        let body = self.open_events().await?;
        Ok(Events::new(body, self.inner.limits.body, which))
    }

    async fn open_events(&self) -> Result<Incoming, Error> {
        let inner = &self.inner;
        // The last engine to answer here may have been replaced.
        let version = inner.ping().await?;
        match inner.http.open(&Resource::Events.path(version)).await? {
            Kept::Open(body) => Ok(body),
            Kept::Whole(answer) => Err(refusal(&answer)),
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.http.endpoint()
    }

    /// How many requests have been made, those included for which there was no connection.
    pub fn requests(&self) -> u64 {
        self.inner.http.requests()
    }
}

impl Inner {
    async fn inspect(self: &Arc<Self>, asked: &ContainerRef) -> Result<Container, Error> {
        let answer = self.asked_about(asked).await?;
        found(&answer, asked)
    }

    /// A `200 OK` to `GET /containers/{id}/json`, which may be about another container.
    async fn asked_about(self: &Arc<Self>, asked: &ContainerRef) -> Result<Answer, Error> {
        let answer = self.get(&Resource::Container(asked), self.limits.body).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND if !is_about_the_page(&answer) => Err(Error::NoSuchContainer),
            _ if is_about_prefixes(&answer) => Err(Error::NoSuchContainer),
            _ => Err(refusal(&answer)),
        }
    }

    async fn get(self: &Arc<Self>, resource: &Resource<'_>, bound: usize) -> Result<Answer, Error> {
        let version = self.version().await?;
        let answer = self.http.get(&resource.path(version), bound).await?;
        if !is_about_the_version(&answer) {
            return Ok(answer);
        }
        // The engine was replaced by an older or a newer one.
        self.forget_version(version);
        let version = self.version().await?;
        self.http.get(&resource.path(version), bound).await
    }

    /// The version to use, asked for once (`GET /_ping`, whose answer names the newest that the engine knows).
    async fn version(self: &Arc<Self>) -> Result<ApiVersion, Error> {
        if let Some(version) = *self.known_version() {
            return Ok(version);
        }
        let ping = || {
            let inner = Arc::clone(self);
            async move { inner.ping().await }
        };
        self.pings.join(&(), ping).await
    }

    async fn ping(&self) -> Result<ApiVersion, Error> {
        self.greeted().await.map(|(version, _)| version)
    }

    async fn greeted(&self) -> Result<(ApiVersion, Answer), Error> {
        let answer = self.http.get("/_ping", self.limits.body).await?;
        let header = answer
            .headers
            .get("api-version")
            .filter(|_| answer.status == StatusCode::OK);
        let version = ApiVersion::negotiate(header.and_then(|value| value.to_str().ok()));
        *self.known_version() = Some(version);
        Ok((version, answer))
    }

    /// Does nothing if another version has been negotiated meanwhile.
    fn forget_version(&self, version: ApiVersion) {
        self.known_version().take_if(|known| *known == version);
    }

    fn known_version(&self) -> MutexGuard<'_, Option<ApiVersion>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resource<'_> {
    fn path(&self, version: ApiVersion) -> String {
        match self {
            Self::Events => format!("{version}/events?{}", events::QUERY),
            Self::Containers(Which::Running) => format!("{version}/containers/json"),
            Self::Containers(Which::All) => format!("{version}/containers/json?all=1"),
            Self::Container(container) => format!("{version}/containers/{container}/json"),
        }
    }
}

fn containers(list: Vec<Listed>) -> Vec<Container> {
    list.into_iter().map(|Listed(container)| container).collect()
}

/// The engine also finds a container whose ID begins with what was asked for.
fn found(answer: &Answer, asked: &ContainerRef) -> Result<Container, Error> {
    let Inspected(container) = decode(answer)?;
    if container.is_meant_by(asked) {
        Ok(container)
    } else {
        Err(Error::NoSuchContainer)
    }
}

/// `client version 1.24 is too old. Minimum supported API version is 1.44, …` (`versionUnsupportedError` in moby's
/// `server/middleware/version.go`). Other engines have other words, and to ask for the version once too often does no
/// harm.
fn is_about_the_version(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_REQUEST && contains(answer, b"version")
}

/// No engine that knows this path: a web server's page, or `{"message":"page not found"}` (moby's `api/server/server.go`).
fn is_about_the_page(answer: &Answer) -> bool {
    answer.body.trim_ascii_start().starts_with(b"<") || contains(answer, b"page not found")
}

/// `Multiple IDs found with provided prefix: db` (`ErrAmbiguousPrefix` in moby's `pkg/truncindex`), with status 400 or 500.
/// No container has that name then, and IDs are not shortened so far.
fn is_about_prefixes(answer: &Answer) -> bool {
    contains(answer, b"ultiple IDs found with provided prefix")
}

fn contains(answer: &Answer, text: &[u8]) -> bool {
    answer.body.windows(text.len()).any(|window| window == text)
}

fn refusal(answer: &Answer) -> Error {
    Error::refused(answer.status, &answer.body)
}

fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    // The error's own text may repeat what the engine sent; its place is enough to find it.
    serde_json::from_slice(&answer.body).map_err(|error| {
        Error::BadResponse(format!(
            "it is not what the API describes, at line {} column {}",
            error.line(),
            error.column()
        ))
    })
}
