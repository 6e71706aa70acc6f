//! HTTP with one engine, or another server of that kind: bounded in time, size and number, and with failures told apart.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, ACCEPT, AUTHORIZATION, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use crate::connector::{self, Connector};
use crate::{Credentials, Endpoint, Error, Token};

/// At most so many requests to one engine are under way; the others wait for their turn.
const MAX_REQUESTS: usize = 32;

/// Without a bound the pool keeps every connection of a burst.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// Long enough for the lookups of a starting cluster to follow each other on one connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// For the head of an answer: Docker's has under 1 KiB. hyper may read up to about twice as much before it refuses.
const MAX_BUFFER: usize = 64 * 1024;

/// Shows in the logs of a proxy before the engine who asks.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("eid/", env!("CARGO_PKG_VERSION")));

/// How much an engine may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How long it may take to have a connection, including the look-up of the engine's DNS name.
    pub connect: Duration,
    /// How long it may take from having a connection until the whole answer is read.
    pub response: Duration,
    /// How many bytes the body of an answer may have.
    pub body: usize,
}

impl Default for Limits {
    /// 2 s, 3 s and 1 MiB. An inspect answer has about 10 kB, a list about 1 kB for each container.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(3),
            body: 1024 * 1024,
        }
    }
}

/// A whole answer, of any status. Redirects are answers like others: nothing follows them.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What to do with the body of an answer.
#[derive(Clone, Copy)]
enum Keep {
    /// Read it up to so many bytes.
    Whole(usize),
    /// Leave it open if it is what was asked for.
    Open,
}

/// What has been kept of an answer.
pub(crate) enum Kept {
    Whole(Answer),
    /// The body of a `200 OK`, to be read as it comes.
    Open(Incoming),
}

/// The client of one engine, with its pool of kept-alive connections.
pub(crate) struct Http {
    endpoint: Endpoint,
    limits: Limits,
    token_file: Option<PathBuf>,
    accept: Option<HeaderValue>,
    connector: Connector,
    client: Client<Connector, Empty<Bytes>>,
    turns: Semaphore,
    requests: AtomicU64,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconnected {
    /// The kind that the system gave it: refused, timed out, no route, …; [`io::ErrorKind::Other`] for what is no matter
    /// of the system's, above all TLS.
    pub kind: io::ErrorKind,
    /// [`Error::Unreachable`] or [`Error::Timeout`].
    pub error: Error,
}

/// Why there is no answer.
enum Failure {
    /// The engine closed the connection before the first byte of an answer.
    Closed(Error),
    /// Anything else.
    Final(Error),
}

impl Http {
    /// Credentials that can't be used are an error of each request.
    pub(crate) fn new(endpoint: Endpoint, limits: Limits, credentials: Credentials) -> Self {
        let connector = Connector::new(&endpoint, limits.connect, credentials.certificates);
        // On the wire nobody may read it.
        let token_file = credentials.token_file.filter(|_| !endpoint.is_plain());
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_BUFFER)
            .build(connector.clone());
        Self {
            endpoint,
            limits,
            token_file,
            accept: None,
            connector,
            client,
            turns: Semaphore::new(MAX_REQUESTS),
            requests: AtomicU64::new(0),
        }
    }

    /// For a server that has other forms of its answers too.
    pub(crate) fn accepting_json(self) -> Self {
        let accept = Some(HeaderValue::from_static("application/json"));
        Self { accept, ..self }
    }

    /// Sends `GET path` and reads the answer, whose body may have `bound` bytes. How long this waits for its turn is up
    /// to the caller; from then on the [`Limits`] hold for each of at most two tries.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Timeout`]; [`Error::BadResponse`] for what is not HTTP, cut off or too large.
    pub(crate) async fn get(&self, path: &str, bound: usize) -> Result<Answer, Error> {
        let _turn = self.turns.acquire().await.map_err(|_| Error::abandoned())?;
        match self.twice(path, Keep::Whole(bound)).await? {
            Kept::Whole(answer) => Ok(answer),
            Kept::Open(_) => unreachable!("the whole was asked for"),
        }
    }

    /// Sends `GET path` and returns the body of a `200 OK` to be read as it comes, for as long as the engine likes; any
    /// other answer is read as a whole. The [`Limits`] hold for the answer's head. This takes nobody's turn.
    ///
    /// # Errors
    ///
    /// As for [`Http::get`].
    pub(crate) async fn open(&self, path: &str) -> Result<Kept, Error> {
        self.twice(path, Keep::Open).await
    }

    /// Makes a connection of its own, and closes it.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) async fn reach(&self) -> Result<(), Unconnected> {
        match self.connector.clone().call(self.endpoint.uri("/")).await {
            Ok(_) => Ok(()),
            Err(error) => Err(unconnected(&*error)),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How many requests have been made, those included for which there was no connection.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn twice(&self, path: &str, keep: Keep) -> Result<Kept, Error> {
        let answer = match self.exchange(path, keep).await {
            // An engine may close a kept-alive connection at the moment that we use it again (RFC 9112, section 9.3.1).
            // A GET may be sent once more then. Whether the connection was a used one can't be seen; it does not
            // matter.
            Err(Failure::Closed(_)) => self.exchange(path, keep).await,
            answer => answer,
        };
        answer.map_err(|(Failure::Closed(error) | Failure::Final(error))| error)
    }

    async fn exchange(&self, path: &str, keep: Keep) -> Result<Kept, Failure> {
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
        let mut answer = pin!(self.answer(request, keep));
        tokio::select! {
            answer = &mut answer => return answer,
            _ = connection.wait_for_connection_metadata() => {}
            () = sleep(self.limits.connect) => return Err(Failure::Final(Error::Timeout)),
        }
        let timely = timeout(self.limits.response, answer).await;
        timely.unwrap_or(Err(Failure::Final(Error::Timeout)))
    }

    async fn token(&self) -> Result<Option<Token>, Error> {
        let Some(file) = self.token_file.clone() else {
            return Ok(None);
        };
        let read = spawn_blocking(move || Token::read(&file)).await;
        read.unwrap_or_else(|_| Err(Error::abandoned())).map(Some)
    }

    async fn answer(&self, request: Request<Empty<Bytes>>, keep: Keep) -> Result<Kept, Failure> {
        let response = self.client.request(request).await.map_err(|error| explain(&error))?;
        let (head, body) = response.into_parts();
        let bound = match keep {
            Keep::Open if head.status == StatusCode::OK => return Ok(Kept::Open(body)),
            Keep::Open => self.limits.body,
            Keep::Whole(bound) => bound,
        };
        let body = Limited::new(body, bound).collect().await;
        Ok(Kept::Whole(Answer {
            status: head.status,
            headers: head.headers,
            body: body
                .map_err(|error| Failure::Final(explain_body(&*error, bound)))?
                .to_bytes(),
        }))
    }
}

fn explain_body(error: &(dyn StdError + 'static), bound: usize) -> Error {
    if error.is::<LengthLimitError>() {
        Error::TooLarge(bound)
    } else {
        Error::BadResponse("it was cut off".to_owned())
    }
}

fn explain(error: &legacy::Error) -> Failure {
    if let Some(reason) = connector::reason(error) {
        return Failure::Final(reason);
    }
    let hyper = cause::<hyper::Error>(error);
    if hyper.is_some_and(hyper::Error::is_parse) {
        return Failure::Final(Error::BadResponse("it is not HTTP".to_owned()));
    }
    match cause::<io::Error>(error) {
        Some(io) if io.kind() == io::ErrorKind::TimedOut => Failure::Final(Error::Timeout),
        Some(io) if error.is_connect() => Failure::Final(Error::Unreachable(io_text(io))),
        Some(io) => Failure::Closed(Error::Unreachable(io_text(io))),
        None => Failure::Closed(Error::Unreachable("the connection was closed".to_owned())),
    }
}

fn unconnected(error: &(dyn StdError + 'static)) -> Unconnected {
    let io = cause::<io::Error>(error);
    let reason = connector::reason(error);
    let kind = match (io, &reason) {
        (_, Some(Error::Timeout)) => io::ErrorKind::TimedOut,
        (Some(io), _) => io.kind(),
        (None, _) => io::ErrorKind::Other,
    };
    let error = reason.unwrap_or_else(|| match (kind, io) {
        (io::ErrorKind::TimedOut, _) => Error::Timeout,
        (_, Some(io)) => Error::Unreachable(io_text(io)),
        (_, None) => Error::Unreachable("no connection can be made".to_owned()),
    });
    Unconnected { kind, error }
}

/// The innermost error of this type.
pub(crate) fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref())
        .last()
}

/// `connection refused` for what the standard library shows as `Connection refused (os error 111)`.
pub(crate) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    first.to_lowercase() + rest
}
