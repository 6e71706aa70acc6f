//! HTTP with one engine: bounded in time, size and number of requests, and with a reason for each failure.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::hash::Hash;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared, WeakShared};
use futures_util::FutureExt;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, ACCEPT, AUTHORIZATION, USER_AGENT};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout, Instant};
use tower_service::Service;

use super::connect::Connector;
use super::credentials::{Credentials, Token};
use super::endpoint::Endpoint;
use crate::error::{cause, io_text, Error};

/// Maximum number of requests to one engine at the same time. Further ones wait for their turn.
const MAX_REQUESTS: usize = 32;

/// Maximum number of idle connections. Without a limit the pool keeps every connection of a burst.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// Time after which an idle connection is closed: the lookups of a starting cluster share one connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the head of an answer, in bytes. Docker's has less than 1 KiB. hyper may read twice as much.
const MAX_HEAD: usize = 64 * 1024;

/// The client's name in the logs of a proxy.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("eid/", env!("CARGO_PKG_VERSION")));

/// Limits for each request to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Maximum time to get a connection, including the lookup of the engine's DNS name.
    pub connect: Duration,
    /// Maximum time from the connection until the whole answer is read.
    pub response: Duration,
    /// Maximum size of the body of an answer, in bytes.
    pub body: usize,
}

impl Default for Limits {
    /// 2 s, 3 s and 1 MiB. An inspect has about 10 kB, a list about 1 kB for each container.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(3),
            body: 1024 * 1024,
        }
    }
}

/// A whole answer with any status. The client does not follow redirects.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The client of one engine, with its pool of connections.
pub(crate) struct Http {
    endpoint: Endpoint,
    limits: Limits,
    token_file: Option<PathBuf>,
    accept: Option<HeaderValue>,
    connector: Connector,
    client: Client<Connector, Empty<Bytes>>,
    permits: Semaphore,
    requests: AtomicU64,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The operating system's kind: refused, timed out, no route, …. [`io::ErrorKind::Other`] if the cause is not the
    /// operating system, for example TLS.
    pub kind: io::ErrorKind,
    /// The error that a request would have ended with.
    pub error: Error,
}

/// Why there is no answer.
enum Failure {
    /// The engine closed the connection before the first byte of an answer.
    Closed(Error),
    /// Any other reason.
    Final(Error),
}

impl Http {
    /// Unusable credentials are an error of each request.
    pub(crate) fn new(endpoint: Endpoint, limits: Limits, credentials: Credentials) -> Self {
        let connector = Connector::new(&endpoint, limits.connect, credentials.certificates);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD)
            .build(connector.clone());
        Self {
            // Others could read the token on a plain connection.
            token_file: credentials.token_file.filter(|_| !endpoint.is_plain()),
            endpoint,
            limits,
            accept: None,
            connector,
            client,
            permits: Semaphore::new(MAX_REQUESTS),
            requests: AtomicU64::new(0),
        }
    }

    /// Asks for JSON, for a server that also has other forms of its answers.
    pub(crate) fn accepting_json(self) -> Self {
        let accept = Some(HeaderValue::from_static("application/json"));
        Self { accept, ..self }
    }

    /// Sends `GET path` and reads the answer, up to `max_body` bytes. The wait for its turn has no time limit; after it the
    /// [`Limits`] apply to each of at most two tries.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Config`], [`Error::Timeout`], [`Error::TooLarge`]; [`Error::BadResponse`] for an
    /// answer that is not HTTP or that was cut off.
    pub(crate) async fn get(&self, path: &str, max_body: usize) -> Result<Answer, Error> {
        let _permit = self.permits.acquire().await.map_err(|_| Error::abandoned())?;
        let (response, since) = self.send_with_retry(path).await?;
        self.collect(response, since, max_body).await
    }

    /// Sends `GET path` and returns the open body of a `200 OK`, which may be endless, or any other answer as a whole. The
    /// [`Limits`] apply to the head of the answer. This does not wait for a turn.
    ///
    /// # Errors
    ///
    /// As for [`Http::get`].
    pub(crate) async fn open(&self, path: &str) -> Result<Result<Incoming, Answer>, Error> {
        let (response, since) = self.send_with_retry(path).await?;
        match response.status() {
            StatusCode::OK => Ok(Ok(response.into_body())),
            _ => self.collect(response, since, self.limits.body).await.map(Err),
        }
    }

    /// Makes a connection and closes it.
    ///
    /// # Errors
    ///
    /// The reason if there is no connection.
    pub(crate) async fn connect(&self) -> Result<(), ConnectError> {
        match self.connector.clone().call(self.endpoint.uri("/")).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.connect_error(&*error)),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The number of requests, including those that did not get a connection.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn send_with_retry(&self, path: &str) -> Result<(Response<Incoming>, Instant), Error> {
        let sent = match self.send(path).await {
            // An engine may close a kept-alive connection at the moment when it is used again (RFC 9112, section 9.3.1). A
            // GET may be sent once more then. hyper does not show if the connection was a new one; it does not matter.
            Err(Failure::Closed(_)) => self.send(path).await,
            sent => sent,
        };
        sent.map_err(|(Failure::Closed(error) | Failure::Final(error))| error)
    }

    /// Returns the head of the answer, and the time from which the limit for the answer counts.
    async fn send(&self, path: &str) -> Result<(Response<Incoming>, Instant), Failure> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.endpoint.uri(path);
        request.headers_mut().insert(USER_AGENT, AGENT);
        if let Some(accept) = &self.accept {
            request.headers_mut().insert(ACCEPT, accept.clone());
        }
        if let Some(token) = self.token().await.map_err(Failure::Final)? {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut connection = capture_connection(&mut request);
        let mut response = pin!(self.client.request(request));
        let mut since = Instant::now();
        let early = tokio::select! {
            response = &mut response => Some(response),
            _ = connection.wait_for_connection_metadata() => None,
            () = sleep(self.limits.connect) => return Err(Failure::Final(Error::Timeout)),
        };
        let response = match early {
            Some(response) => response,
            None => {
                since = Instant::now();
                let timely = timeout(self.limits.response, response).await;
                timely.map_err(|_| Failure::Final(Error::Timeout))?
            }
        };
        Ok((response.map_err(|error| self.explain(&error))?, since))
    }

    async fn collect(&self, response: Response<Incoming>, since: Instant, max_body: usize) -> Result<Answer, Error> {
        let (head, body) = response.into_parts();
        let left = self.limits.response.saturating_sub(since.elapsed());
        let body = timeout(left, Limited::new(body, max_body).collect()).await;
        let body = body
            .map_err(|_| Error::Timeout)?
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => Error::TooLarge(max_body),
                false => Error::BadResponse("it was cut off".to_owned()),
            })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    async fn token(&self) -> Result<Option<Token>, Error> {
        let Some(file) = self.token_file.clone() else {
            return Ok(None);
        };
        let read = spawn_blocking(move || Token::read(&file)).await;
        read.unwrap_or_else(|_| Err(Error::abandoned())).map(Some)
    }

    fn explain(&self, error: &legacy::Error) -> Failure {
        if let Some(reason) = self.connector.reason(error) {
            return Failure::Final(reason);
        }
        let hyper = cause::<hyper::Error>(error);
        if hyper.is_some_and(hyper::Error::is_parse) {
            return Failure::Final(Error::BadResponse("it is not HTTP".to_owned()));
        }
        match cause::<io::Error>(error) {
            Some(io) if io.kind() == io::ErrorKind::TimedOut => Failure::Final(Error::Timeout),
            Some(io) if error.is_connect() => Failure::Final(Error::unreachable(io_text(io))),
            // rustls has a long text for this.
            Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => {
                Failure::Closed(Error::unreachable("the engine closed the connection"))
            }
            Some(io) => Failure::Closed(Error::unreachable(io_text(io))),
            None => Failure::Closed(Error::unreachable("the connection was closed")),
        }
    }

    fn connect_error(&self, error: &(dyn StdError + 'static)) -> ConnectError {
        let io = cause::<io::Error>(error);
        let reason = self.connector.reason(error);
        let kind = match (io, &reason) {
            (_, Some(Error::Timeout)) => io::ErrorKind::TimedOut,
            (Some(io), _) => io.kind(),
            (None, _) => io::ErrorKind::Other,
        };
        let error = reason.unwrap_or_else(|| match (kind, io) {
            (io::ErrorKind::TimedOut, _) => Error::Timeout,
            (_, Some(io)) => Error::unreachable(io_text(io)),
            (_, None) => Error::unreachable("no connection can be made"),
        });
        ConnectError { kind, error }
    }
}

/// Requests in progress by key. Equal requests at the same time share one answer.
pub(super) struct SingleFlight<K, T: Clone>(Mutex<HashMap<K, WeakShared<Flight<T>>>>);

type Flight<T> = BoxFuture<'static, Result<T, Error>>;

impl<K: Clone + Eq + Hash, T: Clone> SingleFlight<K, T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Waits for the request with this key that is in progress, or starts it. If all callers give up, it is cancelled. If it
    /// panics, all callers get [`Error::abandoned`].
    pub(super) async fn join<F>(&self, key: &K, request: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let _leave = Leave(self, key);
        let flight: Shared<Flight<T>> = {
            let mut flights = self.lock();
            match flights.get(key).and_then(open) {
                Some(flight) => flight,
                None => {
                    let request = AssertUnwindSafe(request()).catch_unwind();
                    let flight = request.map(|outcome| outcome.unwrap_or_else(|_| Err(Error::abandoned())));
                    let flight = flight.boxed().shared();
                    flights.extend(flight.downgrade().map(|weak| (key.clone(), weak)));
                    flight
                }
            }
        };
        flight.await
    }

    /// Later calls of [`SingleFlight::join`] do not wait for a request that has begun by now, because its answer may be out of
    /// date. Callers that wait for it already still get it.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, WeakShared<Flight<T>>>> {
        // No code panics while it holds the lock, so the map of a poisoned one is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request, unless it has ended: an answer that has arrived is not shared any more.
fn open<T: Clone>(flight: &WeakShared<Flight<T>>) -> Option<Shared<Flight<T>>> {
    flight.upgrade().filter(|flight| flight.peek().is_none())
}

/// Removes the request from the map when a caller gets its answer, or when the last caller gives up.
struct Leave<'a, K: Clone + Eq + Hash, T: Clone>(&'a SingleFlight<K, T>, &'a K);

impl<K: Clone + Eq + Hash, T: Clone> Drop for Leave<'_, K, T> {
    fn drop(&mut self) {
        let Self(flights, key) = self;
        let mut flights = flights.lock();
        if flights.get(*key).is_some_and(|flight| open(flight).is_none()) {
            flights.remove(*key);
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/single_flight.rs"]
mod tests;
