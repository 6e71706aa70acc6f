//! Turns a request into the model's answer, and spoils the answer if a misbehaviour is planned.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::sleep;

use super::answer::{ambiguous, message, Answer, Body, LATE};
use super::event::Filters;
use super::http::{is_version, kind, Request, Service};
use super::misbehaviour::{Misbehaviour, Plan};
use super::model::{Model, NotFound};
use super::notes::{Kind, Notebook};
use super::reply::{Gate, Reply};
use super::stream::EventStream;

/// An engine without its server.
pub struct EngineService {
    model: Mutex<Model>,
    plan: Mutex<Plan>,
    /// Good answers of this kind wait at this gate.
    gate: Mutex<Option<(Kind, Gate)>>,
    versions: Mutex<(ApiVersion, ApiVersion)>,
    notebook: Notebook,
    /// The target of redirects.
    elsewhere: SocketAddr,
}

/// `1.41`
pub type ApiVersion = (u16, u16);

/// The right reaction to a request.
enum Right {
    Answer(Answer),
    Events(Filters, Option<u64>),
}

impl Service for EngineService {
    fn accepted(&self) -> Option<Reply> {
        match self.plan().at_connection()? {
            Misbehaviour::Reset => Some(Reply::Reset),
            _ => Some(Reply::Close(vec![])),
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        let misbehaviour = self.plan().at_request(kind(&request.path));
        if misbehaviour == Some(Misbehaviour::Restart) {
            self.model().restart_engine(true);
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match (self.right(&request.method, path, &query_of(query)), misbehaviour) {
            (Right::Answer(answer), Some(misbehaviour)) => {
                let asked = path.rsplit('/').nth(1).unwrap_or_default();
                answer.spoilt(misbehaviour, asked, self.elsewhere)
            }
            (Right::Answer(answer), None) => match (answer.reply(), &*lock(&self.gate)) {
                (Reply::Answer(bytes), Some((held, gate))) if *held == kind(&request.path) => {
                    Reply::Held(gate.clone(), bytes)
                }
                (reply, _) => reply,
            },
            (Right::Events(filters, since), misbehaviour) if misbehaviour.is_none_or(Misbehaviour::is_of_streams) => {
                self.stream(filters, since, misbehaviour)
            }
            // The misbehaviour sends an ordinary answer instead of an event stream.
            (Right::Events(..), Some(misbehaviour)) => {
                let history = self.ok(Body::Text(self.model().history()));
                history.spoilt(misbehaviour, "", self.elsewhere)
            }
            (Right::Events(..), None) => unreachable!("it is the stream above"),
        }
    }
}

impl EngineService {
    pub fn new(notebook: Notebook, elsewhere: SocketAddr) -> Self {
        Self {
            model: Mutex::default(),
            plan: Mutex::default(),
            gate: Mutex::default(),
            versions: Mutex::new(((1, 24), (1, 41))),
            notebook,
            elsewhere,
        }
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    /// Holds back good answers of this kind until the gate is open.
    pub fn hold(&self, kind: Kind) -> Gate {
        let gate = Gate::new();
        *lock(&self.gate) = Some((kind, gate.clone()));
        gate
    }

    /// Sets the oldest and the newest supported version.
    pub fn set_versions(&self, oldest: ApiVersion, newest: ApiVersion) {
        *lock(&self.versions) = (oldest, newest);
    }

    fn right(&self, method: &str, path: &str, query: &BTreeMap<String, String>) -> Right {
        let mut segments: Vec<_> = path.split('/').skip(1).collect();
        if let Some(version) = segments.first().copied().filter(|segment| is_version(segment)) {
            if let Err(refusal) = self.check_version(&version[1..]) {
                return Right::Answer(refusal);
            }
            segments.remove(0);
        }
        let is_set = |name| {
            query
                .get(name)
                .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
        };
        let is_get = method == "GET";
        match segments[..] {
            ["_ping"] if is_get || method == "HEAD" => {
                let mut pong = self.ok(Body::Text("OK".to_owned()));
                pong.headers = pong.headers.replace("application/json", "text/plain; charset=utf-8");
                pong.headers += "Cache-Control: no-cache, no-store, must-revalidate\r\nPragma: no-cache\r\n";
                Right::Answer(pong)
            }
            ["version"] if is_get => {
                let (oldest, newest) = *lock(&self.versions);
                Right::Answer(self.ok(Body::Text(format!(
                    "{{\"Version\":\"20.10.24\",\"ApiVersion\":\"{}\",\"MinAPIVersion\":\"{}\",\"Os\":\"linux\",\
                     \"Arch\":\"amd64\",\"KernelVersion\":\"6.1.0\"}}\n",
                    text_of(newest),
                    text_of(oldest)
                ))))
            }
            // An error is better than a wrong answer.
            ["containers", "json"] if is_get && query.contains_key("filters") => Right::Answer(message(
                "501 Not Implemented",
                "the double of an engine does not filter lists",
            )),
            ["containers", "json"] if is_get => Right::Answer(self.ok(Body::List(self.model().list(is_set("all"))))),
            ["containers", text, "json"] if is_get => self.inspect(&decoded(text)),
            ["events"] if is_get && query.contains_key("until") => Right::Answer(message(
                "501 Not Implemented",
                "the double of an engine does not know when to end",
            )),
            ["events"] if is_get => match Filters::parse(query.get("filters").map_or("", String::as_str)) {
                Ok(filters) => {
                    let since = query
                        .get("since")
                        .and_then(|since| since.split('.').next()?.parse().ok());
                    Right::Events(filters, since)
                }
                Err(text) => Right::Answer(message("400 Bad Request", &text)),
            },
            _ => Right::Answer(message("404 Not Found", "page not found")),
        }
    }

    fn inspect(&self, text: &str) -> Right {
        let model = self.model();
        match model.find(text) {
            Ok(id) => Right::Answer(self.ok(Body::Container(model.inspect(id)))),
            Err(NotFound::None) => Right::Answer(message("404 Not Found", &format!("No such container: {text}"))),
            Err(NotFound::Several) => Right::Answer(ambiguous(text)),
        }
    }

    fn stream(&self, filters: Filters, since: Option<u64>, misbehaviour: Option<Misbehaviour>) -> Reply {
        let head = self.ok(Body::Text(String::new())).chunked();
        // Subscribe before the head is sent: a client that has the head then misses no event.
        let items = self.model().subscribe(filters, since);
        let subscriber = self.notebook.subscriber();
        Reply::stream(move |wire| async move {
            let _subscriber = subscriber;
            if misbehaviour == Some(Misbehaviour::Late) {
                sleep(LATE).await;
            }
            EventStream::new(wire, items, misbehaviour).run(head).await;
        })
    }

    fn check_version(&self, text: &str) -> Result<(), Answer> {
        let (oldest, newest) = *lock(&self.versions);
        let said = |what: &str| Err(message("400 Bad Request", what));
        match version(text) {
            None => said(&format!("invalid version {text}")),
            Some(theirs) if theirs > newest => {
                let newest = text_of(newest);
                said(&format!(
                    "client version {text} is too new. Maximum supported API version is {newest}"
                ))
            }
            Some(theirs) if theirs < oldest => {
                let oldest = text_of(oldest);
                said(&format!(
                    "client version {text} is too old. Minimum supported API version is {oldest}, please upgrade your \
                     client to a newer version"
                ))
            }
            Some(_) => Ok(()),
        }
    }

    fn ok(&self, body: Body) -> Answer {
        let (_, newest) = *lock(&self.versions);
        Answer {
            status: "200 OK",
            headers: format!(
                "Api-Version: {}\r\nContent-Type: application/json\r\nDocker-Experimental: false\r\nOstype: linux\r\n\
                 Server: Docker/20.10.24 (linux)\r\n",
                text_of(newest)
            ),
            body,
        }
    }
}

/// Parses `1.41`. Returns `None` if the text is not a version.
pub fn version(text: &str) -> Option<ApiVersion> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn text_of((major, minor): ApiVersion) -> String {
    format!("{major}.{minor}")
}

fn query_of(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), decoded(&value.replace('+', " "))))
        .collect()
}

/// Decodes percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(encoded) => {
                bytes.push(encoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // If an assertion of the model panicked, the test has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub type Shared = Arc<EngineService>;
