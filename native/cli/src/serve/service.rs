//! Answers requests from the store.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use eid_docker::Engine;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    HeaderName, HeaderValue, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SERVER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch, Notify};
use tokio::time::sleep;

use super::access::{RequestRate, Secrets};
use super::event::PublicEvent;
use super::metrics::{Metrics, Resource};
use super::query::{EventsQuery, ListQuery};
use super::store::{FindError, Store, BACKLOG};

/// The number of events queued for one client, in addition to the shared backlog.
const WAITING_EVENTS: usize = 16;

/// Time between checks whether a client that reads nothing lags too far behind.
const LAG_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The oldest version of the API that a client may ask for.
pub const OLDEST: (u16, u16) = (1, 24);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const OURSELVES: HeaderValue = HeaderValue::from_static(concat!("eid/", env!("CARGO_PKG_VERSION")));
const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");

type Reply = Response<ResponseBody>;

/// The state that all connections share.
pub struct Service {
    /// The public containers and their events.
    pub store: Arc<Store>,
    /// The engine, only for its request count.
    pub engine: Engine,
    /// The value of `--advertise`.
    pub advertised: Option<String>,
    /// The certificates and the token.
    pub secrets: Arc<Secrets>,
    /// The request limit per client address.
    pub rate: RequestRate,
    /// The counters.
    pub metrics: Metrics,
    /// Becomes true when the server shuts down.
    pub ends: watch::Receiver<bool>,
}

/// The client of a connection.
pub struct Client {
    /// The address; `None` at a unix socket.
    pub address: Option<IpAddr>,
    /// Notified when the connection must be cut.
    pub cut: Arc<Notify>,
}

impl Service {
    /// Answers a request, and counts it.
    pub fn answer(self: &Arc<Self>, request: &Request<Incoming>, client: &Client) -> Reply {
        let (resource, mut reply) = self.reply(request, client);
        self.metrics.count(resource, reply.status().as_u16());
        reply.headers_mut().insert(SERVER, OURSELVES);
        reply
    }

    fn reply(self: &Arc<Self>, request: &Request<Incoming>, client: &Client) -> (Resource, Reply) {
        if !self.rate.allows(client.address) {
            let mut reply = message(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests; ask again in a second",
            );
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return (Resource::Other, reply);
        }
        if !self.has_token(request) {
            let mut reply = message(StatusCode::UNAUTHORIZED, "a token is needed that eid serve knows");
            reply
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return (Resource::Other, reply);
        }
        let (path, asked) = versioned(request.uri().path());
        let container = path
            .strip_prefix("/containers/")
            .and_then(|rest| rest.strip_suffix("/json"))
            .filter(|id| is_container(id));
        let resource = match (path, container) {
            (_, Some(_)) => Resource::Inspect,
            ("/_ping", _) => Resource::Ping,
            ("/version", _) => Resource::Version,
            ("/containers/json", _) => Resource::List,
            ("/events", _) => Resource::Events,
            // These are not part of Docker's API, so they have no version.
            ("/eid/host", _) if asked.is_none() => Resource::Host,
            ("/metrics", _) if asked.is_none() => Resource::Metrics,
            _ => return (Resource::Other, message(StatusCode::NOT_FOUND, "page not found")),
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut reply = message(StatusCode::METHOD_NOT_ALLOWED, "eid serve answers GET and HEAD");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return (resource, reply);
        }
        if let Some(reply) = self.refused_version(asked) {
            return (resource, reply);
        }
        let query = request.uri().query().unwrap_or_default();
        let reply = match resource {
            Resource::Ping => self.ping(),
            Resource::Version => self.version(),
            Resource::List => self.list(query),
            Resource::Inspect => self.inspect(container.unwrap_or_default(), query),
            Resource::Events => self.events(query, request.method() == Method::HEAD, client),
            Resource::Host => self.host(),
            Resource::Metrics | Resource::Other => self.metrics_text(),
        };
        (resource, reply)
    }

    /// Returns whether the request has the token, if one is needed. The comparison takes constant time.
    fn has_token(&self, request: &Request<Incoming>) -> bool {
        let Some(token) = self.secrets.token() else {
            return true;
        };
        let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let given = given.and_then(|given| match given.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(rest),
            _ => None,
        });
        given.is_some_and(|given| given.ct_eq(token.as_str().as_bytes()).into())
    }

    fn refused_version(&self, asked: Option<(u16, u16)>) -> Option<Reply> {
        let asked @ (major, minor) = asked?;
        let (newest @ (newest_major, newest_minor), (oldest_major, oldest_minor)) =
            (self.store.api_version().ok()?.max(OLDEST), OLDEST);
        let text = if asked < OLDEST {
            format!(
                "client version {major}.{minor} is too old. Minimum supported API version is {oldest_major}.{oldest_minor}, please upgrade \
                 your client to a newer version"
            )
        } else if asked > newest {
            format!(
                "client version {major}.{minor} is too new. Maximum supported API version is {newest_major}.{newest_minor}"
            )
        } else {
            return None;
        };
        Some(message(StatusCode::BAD_REQUEST, &text))
    }

    fn ping(&self) -> Reply {
        let (major, minor) = match self.store.api_version() {
            Ok(version) => version,
            Err(why) => return down(&why),
        };
        let mut reply = whole(TEXT, "OK".into());
        let version = HeaderValue::try_from(format!("{major}.{minor}"));
        let headers = reply.headers_mut();
        headers.insert(API_VERSION, version.expect("digits and a point"));
        headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
        headers.insert(CACHE_CONTROL, NO_CACHE);
        reply
    }

    fn version(&self) -> Reply {
        match self.store.api_version() {
            Ok((major, minor)) => json(&json!({
                "Version": env!("CARGO_PKG_VERSION"),
                "ApiVersion": format!("{major}.{minor}"),
                "MinAPIVersion": format!("{}.{}", OLDEST.0, OLDEST.1),
                "Os": "linux",
                "Platform": {"Name": "eid serve"},
            })),
            Err(why) => down(&why),
        }
    }

    fn list(&self, query: &str) -> Reply {
        let query = match ListQuery::parse(query) {
            Ok(query) => query,
            Err(why) => return message(StatusCode::BAD_REQUEST, &why),
        };
        let all = match self.store.all() {
            Ok(all) => all,
            Err(why) => return down(&why),
        };
        let now = OffsetDateTime::now_utc();
        let wanted = all.iter().filter(|container| query.wants(container));
        let listed: Vec<_> = wanted.map(|container| container.list_entry(now)).collect();
        json(&listed)
    }

    fn inspect(&self, container: &str, query: &str) -> Reply {
        if !["", "size=0", "size=false"].contains(&query) {
            return message(StatusCode::BAD_REQUEST, "eid serve takes no parameters here");
        }
        match self.store.find(container) {
            Ok(container) => whole(JSON, container.inspected.clone()),
            Err(FindError::NotFound) => message(StatusCode::NOT_FOUND, &format!("No such container: {container}")),
            Err(FindError::Ambiguous) => message(
                StatusCode::BAD_REQUEST,
                &format!("multiple IDs found with provided prefix: {container}"),
            ),
            Err(FindError::Stale) => down("it does not answer about this container"),
            Err(FindError::Down(why)) => down(&why),
        }
    }

    fn events(self: &Arc<Self>, query: &str, only_head: bool, client: &Client) -> Reply {
        let query = match EventsQuery::parse(query) {
            Ok(query) => query,
            Err(why) => return message(StatusCode::BAD_REQUEST, &why),
        };
        // From here on no event is lost.
        let events = match self.store.subscribe() {
            Ok(events) => events,
            Err(why) => return down(&why),
        };
        if only_head {
            return whole(JSON, Bytes::new());
        }
        let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
        tokio::spawn(Arc::clone(self).send_events(events, query, sender, Arc::clone(&client.cut)));
        let mut reply = Response::new(ResponseBody::Events(receiver));
        reply.headers_mut().insert(CONTENT_TYPE, JSON);
        reply
    }

    async fn send_events(
        self: Arc<Self>,
        mut events: broadcast::Receiver<Arc<PublicEvent>>,
        query: EventsQuery,
        sender: mpsc::Sender<Bytes>,
        cut: Arc<Notify>,
    ) {
        let mut ends = self.ends.clone();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => return,
                _ = ends.wait_for(|ends| *ends) => return,
            };
            match event {
                Ok(event) if query.wants(&event) => loop {
                    tokio::select! {
                        permit = sender.reserve() => match permit {
                            Ok(permit) => break permit.send(event.line.clone()),
                            Err(_) => return,
                        },
                        () = sleep(LAG_CHECK_INTERVAL) => if events.len() >= BACKLOG {
                            return self.cut_off(&cut);
                        },
                        _ = ends.wait_for(|ends| *ends) => return,
                    }
                },
                Ok(_) => {}
                // The engine is lost. The client must list again.
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(_)) => return self.cut_off(&cut),
            }
        }
    }

    fn cut_off(&self, cut: &Notify) {
        self.metrics.cut_off.fetch_add(1, Relaxed);
        cut.notify_one();
    }

    fn host(&self) -> Reply {
        match &self.advertised {
            Some(host) => json(&json!({ "Host": host })),
            None => message(
                StatusCode::NOT_FOUND,
                "this eid serve does not know the host's address; start it with --advertise ADDR",
            ),
        }
    }

    fn metrics_text(&self) -> Reply {
        let (containers, subscribers) = (self.store.len(), self.store.subscribers());
        let text = self.metrics.text(containers, subscribers, self.engine.requests());
        whole(METRICS, text.into())
    }
}

/// Splits a path such as `/v1.41/version` into the path and the API version.
fn versioned(path: &str) -> (&str, Option<(u16, u16)>) {
    let found = path.strip_prefix("/v").and_then(|rest| {
        let (version, path) = rest.split_at_checked(rest.find('/')?)?;
        let (major, minor) = version.split_once('.')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| text.parse().ok().filter(|_| is_number(text));
        Some((path, Some((number(major)?, number(minor)?))))
    });
    found.unwrap_or((path, None))
}

/// Returns whether the text may be a name, an ID, or a prefix of an ID.
fn is_container(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_beginning = |byte: &u8| byte.is_ascii_alphanumeric();
    text.len() <= 256 && text.as_bytes().first().is_some_and(is_beginning) && text.bytes().all(is_name)
}

fn whole(r#type: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Response::new(ResponseBody::Whole(Some(body)));
    reply.headers_mut().insert(CONTENT_TYPE, r#type);
    reply
}

fn json(value: &impl serde::Serialize) -> Reply {
    let mut body = serde_json::to_vec(value).expect("all keys are texts");
    body.push(b'\n');
    whole(JSON, body.into())
}

/// Makes an error in the format of engines.
fn message(status: StatusCode, text: &str) -> Reply {
    let mut reply = json(&json!({ "message": text }));
    *reply.status_mut() = status;
    reply
}

fn down(why: &str) -> Reply {
    message(
        StatusCode::SERVICE_UNAVAILABLE,
        &format!("eid serve can't ask its engine: {why}"),
    )
}

/// The body of a response.
pub enum ResponseBody {
    /// All at once.
    Whole(Option<Bytes>),
    /// A stream of events, which ends when the sender is dropped.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => events
                .poll_recv(cx)
                .map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
