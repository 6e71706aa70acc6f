//! The ways in which an engine double misbehaves, and the plan for when it does.

use std::collections::VecDeque;

use super::notes::Kind;

/// Makes the enum, the list of its variants and their names from one table.
macro_rules! misbehaviours {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal in $area:ident,)+) => {
        /// A way to misbehave.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Misbehaviour {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Misbehaviour {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, in kebab-case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn area(self) -> Area {
                match self { $(Self::$variant => Area::$area),+ }
            }
        }
    };
}

/// The answers that a misbehaviour can spoil.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Area {
    /// The whole engine.
    Engine,
    /// The answer to any request. For `/events`, the spoilt answer contains only past events, and then ends.
    Answers,
    /// Answers with JSON in them: all except the answer to a ping.
    Json,
    /// Answers that describe containers.
    Containers,
    List,
    Inspect,
    /// Answers with names in them: descriptions of containers, and event streams.
    Names,
    /// Event streams, after a good start.
    Streams,
}

misbehaviours! {
    /// The port is closed, and all connections are cut.
    Refuse = "refuse" in Engine,
    /// The connection is broken with a RST: as soon as it is accepted when this is for any endpoint, else at the
    /// request.
    Reset = "reset" in Answers,
    /// The connection is closed at the same moments, without an answer.
    Close = "close" in Answers,
    /// The right answer comes 100 ms late.
    Late = "late" in Answers,
    /// No byte of an answer comes.
    HangBeforeHeaders = "hang-before-headers" in Answers,
    /// The answer ends in the middle of a header, and the connection stays open.
    HangInHeaders = "hang-in-headers" in Answers,
    /// The answer ends after its headers, and the connection stays open.
    HangAfterHeaders = "hang-after-headers" in Answers,
    /// The answer ends in the middle of its body, and the connection stays open.
    HangInBody = "hang-in-body" in Answers,
    /// The body comes byte by byte, 50 ms apart.
    Drip = "drip" in Answers,
    /// The answer comes byte by byte from its status line on, 50 ms apart.
    DripHeaders = "drip-headers" in Answers,
    /// 301 to another port. `EngineDouble::redirects_followed` counts the connections to that port.
    Redirect = "redirect" in Answers,
    /// 401 with JSON.
    Unauthorized = "unauthorized" in Answers,
    /// 403 with HTML, as a socket proxy answers.
    Forbidden = "forbidden" in Answers,
    /// 404 with JSON about a container.
    NotFound = "not-found" in Answers,
    /// 404 with JSON about the page: an engine that does not know the path.
    PageNotFound = "page-not-found" in Answers,
    /// 404 with HTML, from a web server that is not an engine.
    WebServer = "web-server" in Answers,
    /// 409 with JSON.
    Conflict = "conflict" in Answers,
    /// 429 with HTML and `Retry-After`.
    TooManyRequests = "too-many-requests" in Answers,
    /// 500 with JSON.
    InternalError = "internal-error" in Answers,
    /// 503 without a body.
    Unavailable = "unavailable" in Answers,
    /// 400 with the message of engine 29 to a client that is too old for it.
    VersionTooOld = "version-too-old" in Answers,
    /// 204.
    NoContent = "no-content" in Answers,
    /// 200 without a body.
    EmptyBody = "empty-body" in Answers,
    /// The connection is closed in the middle of a chunk.
    CutChunk = "cut-chunk" in Answers,
    /// The connection is closed between two chunks, without the last one.
    NoLastChunk = "no-last-chunk" in Answers,
    /// A chunk's size is not a number.
    BadChunkSize = "bad-chunk-size" in Answers,
    /// A chunk's size is larger than 64 bits.
    HugeChunkSize = "huge-chunk-size" in Answers,
    /// `Content-Length` is larger than the body, and the connection is closed after the body.
    LengthTooLong = "length-too-long" in Answers,
    /// `Content-Length` is smaller than the body. The surplus bytes pollute the connection.
    LengthTooShort = "length-too-short" in Answers,
    /// `Content-Length` is negative.
    LengthNegative = "length-negative" in Answers,
    /// A wrong `Content-Length` together with `Transfer-Encoding: chunked`, which is right.
    LengthAndChunked = "length-and-chunked" in Answers,
    /// A body that never ends, in chunks.
    EndlessBody = "endless-body" in Answers,
    /// A body with an announced length of 1 TiB, which the engine really sends.
    HugeLength = "huge-length" in Answers,
    /// Headers that never end.
    EndlessHeaders = "endless-headers" in Answers,
    /// A header that never ends.
    EndlessHeader = "endless-header" in Answers,
    /// A header of 1 MB before the right body.
    HugeHeader = "huge-header" in Answers,
    /// The greeting of another protocol. Then the connection is closed.
    NotHttp = "not-http" in Answers,
    /// Random bytes. Then the connection is closed.
    Noise = "noise" in Answers,
    /// The right answer in HTTP/1.0, where the body ends with the connection.
    Http10 = "http-1.0" in Answers,
    /// The right answer with a header that wrongly announces gzip, although the client did not ask for compression.
    FalselyGzipped = "falsely-gzipped" in Answers,
    /// The right answer after an unrequested `100 Continue`.
    Continue = "continue" in Answers,
    /// The right answer twice, although the client sent one request.
    AnswerTwice = "answer-twice" in Answers,
    /// The engine restarts instead of answering. Afterwards all running containers have other host ports.
    Restart = "restart" in Answers,
    /// The body is not JSON.
    BadJson = "bad-json" in Json,
    /// JSON that ends in the middle, with a matching `Content-Length`.
    HalfJson = "half-json" in Json,
    /// 100,000 nested arrays.
    DeepJson = "deep-json" in Json,
    /// An object where an array should be, and an array where an object should be.
    WrongType = "wrong-type" in Json,
    /// `null`.
    NullJson = "null-json" in Json,
    /// The right answer with 100,000 nested arrays in a field that eid does not need.
    DeepField = "deep-field" in Containers,
    /// The ports are `null`.
    NullPorts = "null-ports" in Containers,
    /// Invalid ports (`"0"`, 65536, `"abc"`, -1, 1.5, `""`, `null`, …) before the right ones.
    OddPorts = "odd-ports" in Containers,
    /// Containers have no fields except their IDs.
    MissingFields = "missing-fields" in Containers,
    /// Containers have all fields except their IDs.
    MissingId = "missing-id" in Containers,
    /// IDs in a list are too short, too long, uppercase, a path or a number. The ID in an inspect is too short.
    InvalidId = "invalid-id" in Containers,
    /// A list has a second container for each one, on another port, with the same first 12 digits in its ID. An inspect
    /// by a prefix gets a 400 with this reason. An inspect by a full ID or a name is answered.
    AmbiguousPrefix = "ambiguous-prefix" in Containers,
    /// Each container appears twice, the second time with other ports.
    DuplicateIds = "duplicate-ids" in List,
    /// Each container has the name of the first.
    SameName = "same-name" in List,
    /// The list is empty, although containers run.
    EmptyList = "empty-list" in List,
    /// The answer is about another container.
    OtherContainer = "other-container" in Inspect,
    /// Names that are not UTF-8.
    InvalidUtf8 = "invalid-utf8" in Names,
    /// The stream begins and ends properly at once.
    EndsAtOnce = "ends-at-once" in Streams,
    /// The stream ends properly after three events.
    EndsAfterEvents = "ends-after-events" in Streams,
    /// The connection is cut in the middle of the next event.
    CutInLine = "cut-in-line" in Streams,
    /// Nine of ten events are missing, as for a slow subscriber.
    Lags = "lags" in Streams,
    /// Each event comes three times.
    Repeats = "repeats" in Streams,
    /// Events of the same moment arrive in reverse order.
    OutOfOrder = "out-of-order" in Streams,
    /// Before each event come lines that are not JSON, or JSON of another kind.
    GarbageLines = "garbage-lines" in Streams,
    /// Blank lines come before and after each event.
    BlankLines = "blank-lines" in Streams,
    /// The next event is one line of 10 MB.
    HugeLine = "huge-line" in Streams,
    /// A line that never ends.
    EndlessLine = "endless-line" in Streams,
    /// The stream stays open, but sends nothing more.
    Silent = "silent" in Streams,
    /// Fields of events are `null`, in turn.
    NullFields = "null-fields" in Streams,
    /// Fields of events have wrong types, in turn.
    OddFields = "odd-fields" in Streams,
    /// Events have no `Actor`. Containers' events have the fields from before API 1.22.
    WithoutActor = "without-actor" in Streams,
    /// Instead of the next event come 10,000 events for the same container, alternately die and start.
    Burst = "burst" in Streams,
    /// Each chunk has one byte and is sent in a separate packet.
    ByteByByte = "byte-by-byte" in Streams,
    /// Events of the same moment arrive on one line.
    OneLine = "one-line" in Streams,
    /// Lines end in CRLF.
    Crlf = "crlf" in Streams,
    /// Events have multi-byte characters, and chunks end within characters.
    SplitCharacters = "split-characters" in Streams,
    /// Before each event come events of unknown kinds and actions.
    UnknownEvents = "unknown-events" in Streams,
}

impl Misbehaviour {
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|misbehaviour| misbehaviour.name() == name)
    }

    /// Returns true if this misbehaviour is possible at this place.
    pub fn suits(self, place: Where) -> bool {
        match place {
            Where::Any => true,
            Where::Ping => self.spoils(Kind::Ping),
            Where::List => self.spoils(Kind::List),
            Where::Inspect => self.spoils(Kind::Inspect),
            Where::Events => self.spoils(Kind::Events),
            Where::OpenStreams => self.is_of_streams() || matches!(self, Self::Reset | Self::Close),
        }
    }

    /// Returns true if this misbehaviour needs an event stream that has begun well.
    pub fn is_of_streams(self) -> bool {
        matches!(self.area(), Area::Streams | Area::Names)
    }

    fn spoils(self, kind: Kind) -> bool {
        match self.area() {
            Area::Engine => false,
            Area::Answers => kind != Kind::Other,
            Area::Json => matches!(kind, Kind::List | Kind::Inspect | Kind::Events),
            Area::Containers => matches!(kind, Kind::List | Kind::Inspect),
            Area::List => kind == Kind::List,
            Area::Inspect => kind == Kind::Inspect,
            Area::Names => matches!(kind, Kind::List | Kind::Inspect | Kind::Events),
            Area::Streams => kind == Kind::Events,
        }
    }
}

/// The requests or streams that an engine double spoils.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Every endpoint that the misbehaviour can spoil.
    Any,
    Ping,
    List,
    Inspect,
    /// Future requests for events.
    Events,
    /// Event streams that are open at this moment.
    OpenStreams,
}

impl Where {
    pub const ALL: &[Self] = &[
        Self::Any,
        Self::Ping,
        Self::List,
        Self::Inspect,
        Self::Events,
        Self::OpenStreams,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Ping => "ping",
            Self::List => "list",
            Self::Inspect => "inspect",
            Self::Events => "events",
            Self::OpenStreams => "open-streams",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|place| place.name() == name)
    }

    fn covers(self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Ping => kind == Kind::Ping,
            Self::List => kind == Kind::List,
            Self::Inspect => kind == Kind::Inspect,
            Self::Events => kind == Kind::Events,
            Self::OpenStreams => false,
        }
    }
}

/// The number of times to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// For the next requests, or for the next connections if the misbehaviour comes before a request.
    Next(usize),
    /// Until the test calls `behave`.
    Always,
}

/// The planned misbehaviours. If several fit a request, the one planned first is used.
#[derive(Default)]
pub struct Plan(VecDeque<(Misbehaviour, Where, Times)>);

impl Plan {
    pub fn add(&mut self, misbehaviour: Misbehaviour, place: Where, times: Times) {
        self.0.push_back((misbehaviour, place, times));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the misbehaviour for a new connection, before a request is read.
    pub fn at_connection(&mut self) -> Option<Misbehaviour> {
        self.take(|misbehaviour, place| {
            place == Where::Any && matches!(misbehaviour, Misbehaviour::Reset | Misbehaviour::Close)
        })
    }

    /// Takes the misbehaviour for a request.
    pub fn at_request(&mut self, kind: Kind) -> Option<Misbehaviour> {
        self.take(|misbehaviour, place| place.covers(kind) && misbehaviour.spoils(kind))
    }

    fn take(&mut self, fits: impl Fn(Misbehaviour, Where) -> bool) -> Option<Misbehaviour> {
        self.0.retain(|(_, _, times)| *times != Times::Next(0));
        let (misbehaviour, _, times) = self.0.iter_mut().find(|(what, place, _)| fits(*what, *place))?;
        if let Times::Next(left) = times {
            *left -= 1;
        }
        Some(*misbehaviour)
    }
}
