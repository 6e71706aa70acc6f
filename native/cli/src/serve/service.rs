//! What is answered to a request.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

use eid_docker::Engine;
use hyper::body::{Bytes, Incoming};
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

use super::body::Answer;
use super::event::TellableEvent;
use super::metrics::{Metrics, Resource};
use super::query::{EventsQuery, ListQuery};
use super::rate::Rate;
use super::secrets::Secrets;
use super::store::{Missing, Store, BACKLOG};

/// Events that wait for one client, besides those that all share.
const WAITING_EVENTS: usize = 16;

/// So often it is looked whether a client that takes nothing is too far behind.
const PATIENCE: Duration = Duration::from_secs(1);

/// The oldest version of the API that a client may ask for.
const OLDEST: (u16, u16) = (1, 24);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const FIGURES: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const OURSELVES: HeaderValue = HeaderValue::from_static(concat!("eid/", env!("CARGO_PKG_VERSION")));
const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");

type Reply = Response<Answer>;

/// What all connections share.
pub struct Service {
    pub store: Arc<Store>,
    pub engine: Engine,
    pub advertised: Option<String>,
    pub secrets: Arc<Secrets>,
    pub rate: Rate,
    pub metrics: Metrics,
    /// Becomes true when no more is to be answered.
    pub ends: watch::Receiver<bool>,
}

/// Who is connected.
pub struct Peer {
    /// `None` at a unix socket.
    pub address: Option<IpAddr>,
    /// Told when the connection is to be cut.
    pub cut: Arc<Notify>,
}

impl Service {
    pub fn answer(self: &Arc<Self>, request: &Request<Incoming>, peer: &Peer) -> Reply {
        let (resource, mut reply) = self.reply(request, peer);
        self.metrics.count(resource, reply.status().as_u16());
        reply.headers_mut().insert(SERVER, OURSELVES);
        reply
    }

    fn reply(self: &Arc<Self>, request: &Request<Incoming>, peer: &Peer) -> (Resource, Reply) {
        if !self.rate.allows(peer.address) {
            let mut reply = message(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests; ask again in a second",
            );
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return (Resource::Other, reply);
        }
        if !self.knows(request) {
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
            // They are not of Docker's API, so they are there in no version of it.
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
            Resource::Events => self.events(query, request.method() == Method::HEAD, peer),
            Resource::Host => self.host(),
            Resource::Metrics | Resource::Other => self.figures(),
        };
        (resource, reply)
    }

    /// Compared in a time that does not depend on where they differ.
    fn knows(&self, request: &Request<Incoming>) -> bool {
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
        let wanted = all.iter().filter(|shown| query.wants(shown));
        let listed: Vec<_> = wanted.map(|shown| shown.listed(now)).collect();
        json(&listed)
    }

    fn inspect(&self, container: &str, query: &str) -> Reply {
        if !["", "size=0", "size=false"].contains(&query) {
            return message(StatusCode::BAD_REQUEST, "eid serve takes no parameters here");
        }
        match self.store.find(container) {
            Ok(shown) => whole(JSON, shown.inspected.clone()),
            Err(Missing::None) => message(StatusCode::NOT_FOUND, &format!("No such container: {container}")),
            Err(Missing::Ambiguous) => message(
                StatusCode::BAD_REQUEST,
                &format!("multiple IDs found with provided prefix: {container}"),
            ),
            Err(Missing::Unclear) => down("it does not answer about this container"),
            Err(Missing::Down(why)) => down(&why),
        }
    }

    fn events(self: &Arc<Self>, query: &str, only_head: bool, peer: &Peer) -> Reply {
        let query = match EventsQuery::parse(query) {
            Ok(query) => query,
            Err(why) => return message(StatusCode::BAD_REQUEST, &why),
        };
        // From here on no event is missed.
        let events = match self.store.subscribe() {
            Ok(events) => events,
            Err(why) => return down(&why),
        };
        if only_head {
            return whole(JSON, Bytes::new());
        }
        let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
        tokio::spawn(Arc::clone(self).tell(events, query, sender, Arc::clone(&peer.cut)));
        let mut reply = Response::new(Answer::Events(receiver));
        reply.headers_mut().insert(CONTENT_TYPE, JSON);
        reply
    }

    async fn tell(
        self: Arc<Self>,
        mut events: broadcast::Receiver<Arc<TellableEvent>>,
        query: EventsQuery,
        client: mpsc::Sender<Bytes>,
        cut: Arc<Notify>,
    ) {
        let mut ends = self.ends.clone();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = client.closed() => return,
                _ = ends.wait_for(|ends| *ends) => return,
            };
            match event {
                Ok(event) if query.wants(&event) => loop {
                    tokio::select! {
                        place = client.reserve() => match place {
                            Ok(place) => break place.send(event.line.clone()),
                            Err(_) => return,
                        },
                        () = sleep(PATIENCE) => if events.len() >= BACKLOG {
                            return self.cut_off(&cut);
                        },
                        _ = ends.wait_for(|ends| *ends) => return,
                    }
                },
                Ok(_) => {}
                // The engine is lost; who follows lists again.
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

    fn figures(&self) -> Reply {
        let (containers, subscribers) = (self.store.len(), self.store.subscribers());
        let text = self.metrics.text(containers, subscribers, self.engine.requests());
        whole(FIGURES, text.into())
    }
}

/// A path without `/v1.41` before it, and that version.
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

/// What may be a name or an ID, or the beginning of one.
fn is_container(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_beginning = |byte: &u8| byte.is_ascii_alphanumeric();
    text.len() <= 256 && text.as_bytes().first().is_some_and(is_beginning) && text.bytes().all(is_name)
}

fn whole(r#type: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Response::new(Answer::Whole(Some(body)));
    reply.headers_mut().insert(CONTENT_TYPE, r#type);
    reply
}

fn json(value: &impl serde::Serialize) -> Reply {
    let mut body = serde_json::to_vec(value).expect("all keys are texts");
    body.push(b'\n');
    whole(JSON, body.into())
}

/// As engines explain themselves.
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
