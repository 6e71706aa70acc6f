//! The ways to misbehave, and when it is time to.

use std::collections::VecDeque;

use super::notes::Kind;

/// Makes the enum, its list and its names of one table.
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

/// Which answers a misbehaviour can spoil.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Area {
    /// The whole engine.
    Engine,
    /// The answer to any request. Where that is a request for events, its body is the events of the past, and so it ends.
    Answers,
    /// Those with JSON in them: all but that to a ping.
    Json,
    /// Those that describe containers.
    Containers,
    List,
    Inspect,
    /// Those with names in them: containers and event streams.
    Names,
    /// Event streams, once they have begun well.
    Streams,
}

misbehaviours! {
    /// The port is closed, and all connections are cut.
    Refuse = "refuse" in Engine,
    /// The connection is broken with a RST: as soon as it is accepted when this is for any endpoint, else at the request.
    Reset = "reset" in Answers,
    /// The connection is closed in the same places, without an answer.
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
    /// 301 to another port, which is `EngineDouble::redirects_followed` if anybody goes there.
    Redirect = "redirect" in Answers,
    /// 401 with JSON.
    Unauthorized = "unauthorized" in Answers,
    /// 403 with HTML, as a socket proxy answers.
    Forbidden = "forbidden" in Answers,
    /// 404 with JSON about a container.
    NotFound = "not-found" in Answers,
    /// 404 with JSON about the page: an engine that does not know the path.
    PageNotFound = "page-not-found" in Answers,
    /// 404 with HTML: no engine at all.
    WebServer = "web-server" in Answers,
    /// 409 with JSON.
    Conflict = "conflict" in Answers,
    /// 429 with HTML and `Retry-After`.
    TooManyRequests = "too-many-requests" in Answers,
    /// 500 with JSON.
    InternalError = "internal-error" in Answers,
    /// 503 without a body.
    Unavailable = "unavailable" in Answers,
    /// 400 with what engine 29 says to a client that is too old for it.
    VersionTooOld = "version-too-old" in Answers,
    /// 204.
    NoContent = "no-content" in Answers,
    /// 200 without a body.
    EmptyBody = "empty-body" in Answers,
    /// The connection is closed in the middle of a chunk.
    CutChunk = "cut-chunk" in Answers,
    /// The connection is closed between two chunks, without the last one.
    NoLastChunk = "no-last-chunk" in Answers,
    /// A chunk's size is no number.
    BadChunkSize = "bad-chunk-size" in Answers,
    /// A chunk's size is larger than 64 bits.
    HugeChunkSize = "huge-chunk-size" in Answers,
    /// `Content-Length` is larger than the body, after which the connection is closed.
    LengthTooLong = "length-too-long" in Answers,
    /// `Content-Length` is smaller than the body, the rest of which pollutes the connection.
    LengthTooShort = "length-too-short" in Answers,
    /// `Content-Length` is negative.
    LengthNegative = "length-negative" in Answers,
    /// Both `Content-Length`, a wrong one, and `Transfer-Encoding: chunked`, which is the truth.
    LengthAndChunked = "length-and-chunked" in Answers,
    /// A body that never ends, in chunks.
    EndlessBody = "endless-body" in Answers,
    /// A body that is announced to have 1 TiB, and comes.
    HugeLength = "huge-length" in Answers,
    /// Headers that never end.
    EndlessHeaders = "endless-headers" in Answers,
    /// A header that never ends.
    EndlessHeader = "endless-header" in Answers,
    /// A header of 1 MB before the right body.
    HugeHeader = "huge-header" in Answers,
    /// Another protocol's greeting, and the end.
    NotHttp = "not-http" in Answers,
    /// Random bytes, and the end.
    Noise = "noise" in Answers,
    /// The right answer, as HTTP/1.0 has it: its end is the end of the connection.
    Http10 = "http-1.0" in Answers,
    /// The right answer, compressed says its header, which nobody asked for and which is not so.
    FalselyGzipped = "falsely-gzipped" in Answers,
    /// The right answer after `100 Continue`, which nobody asked for.
    Continue = "continue" in Answers,
    /// The right answer, and at once a second one that nobody asked for.
    AnswerTwice = "answer-twice" in Answers,
    /// The engine restarts instead of answering, and all containers that run have other host ports then.
    Restart = "restart" in Answers,
    /// A body that is no JSON.
    BadJson = "bad-json" in Json,
    /// JSON that ends in the middle, with a length that fits.
    HalfJson = "half-json" in Json,
    /// 100,000 arrays in each other.
    DeepJson = "deep-json" in Json,
    /// An object where an array should be, and an array where an object should be.
    WrongType = "wrong-type" in Json,
    /// `null`.
    NullJson = "null-json" in Json,
    /// The right answer with 100,000 arrays in each other in a field that nobody needs.
    DeepField = "deep-field" in Containers,
    /// The ports are `null`.
    NullPorts = "null-ports" in Containers,
    /// Ports that are none (`"0"`, 65536, `"abc"`, -1, 1.5, `""`, `null`, …) before the right ones.
    OddPorts = "odd-ports" in Containers,
    /// Nothing but IDs.
    MissingFields = "missing-fields" in Containers,
    /// Everything but IDs.
    MissingId = "missing-id" in Containers,
    /// IDs that are too short, too long, uppercase, a path, a number; an inspected container's is too short.
    InvalidId = "invalid-id" in Containers,
    /// In a list, one more container for each, on another port, whose ID begins with the same 12 digits; an inspect of a
    /// prefix gets a 400 that says so, and one of a full ID or a name is answered.
    AmbiguousPrefix = "ambiguous-prefix" in Containers,
    /// Each container twice, the second time with other ports.
    DuplicateIds = "duplicate-ids" in List,
    /// Each container has the name of the first.
    SameName = "same-name" in List,
    /// An empty list, as if nothing ran.
    EmptyList = "empty-list" in List,
    /// The answer is about another container.
    OtherContainer = "other-container" in Inspect,
    /// Names that are not UTF-8.
    InvalidUtf8 = "invalid-utf8" in Names,
    /// The stream ends properly when it has begun.
    EndsAtOnce = "ends-at-once" in Streams,
    /// It ends properly after three events.
    EndsAfterEvents = "ends-after-events" in Streams,
    /// It is cut in the middle of the next event.
    CutInLine = "cut-in-line" in Streams,
    /// Nine of ten events are missing, as for a slow subscriber.
    Lags = "lags" in Streams,
    /// Each event comes three times.
    Repeats = "repeats" in Streams,
    /// Events that come at the same time come in reverse.
    OutOfOrder = "out-of-order" in Streams,
    /// Lines that are no JSON, or JSON of another kind, come before each event.
    GarbageLines = "garbage-lines" in Streams,
    /// Blank lines come before and after each event.
    BlankLines = "blank-lines" in Streams,
    /// The next event has 10 MB, which is one line.
    HugeLine = "huge-line" in Streams,
    /// A line that never ends.
    EndlessLine = "endless-line" in Streams,
    /// The stream stays open, and nothing comes any more.
    Silent = "silent" in Streams,
    /// The fields of events are `null`, in turn.
    NullFields = "null-fields" in Streams,
    /// The fields of events are of other types, in turn.
    OddFields = "odd-fields" in Streams,
    /// Events have no `Actor`; containers' have the fields of before API 1.22.
    WithoutActor = "without-actor" in Streams,
    /// 10,000 events, which die and start in turn, of the next event's container instead of that event.
    Burst = "burst" in Streams,
    /// One byte a chunk, each in a packet of its own.
    ByteByByte = "byte-by-byte" in Streams,
    /// Events that come at the same time come on one line.
    OneLine = "one-line" in Streams,
    /// Lines end in CRLF.
    Crlf = "crlf" in Streams,
    /// Events have characters of several bytes, and the chunks end within them.
    SplitCharacters = "split-characters" in Streams,
    /// Events of kinds and actions that are not known yet come before each event.
    UnknownEvents = "unknown-events" in Streams,
}

impl Misbehaviour {
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|misbehaviour| misbehaviour.name() == name)
    }

    /// Whether it can be told to do so there.
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

    /// Whether it takes an event stream that has begun.
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

/// Where to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// At every endpoint that the misbehaviour is made for.
    Any,
    Ping,
    List,
    Inspect,
    /// In answers to requests for events that are still to come.
    Events,
    /// In the event streams that are open at this moment.
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

/// How often to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// At the next so many requests (connections, where it happens before a request).
    Next(usize),
    /// Until told to behave.
    Always,
}

/// What is still to be done wrong. Of several that fit a request, the one that was told first is done.
#[derive(Default)]
pub struct Plan(VecDeque<(Misbehaviour, Where, Times)>);

impl Plan {
    pub fn add(&mut self, misbehaviour: Misbehaviour, place: Where, times: Times) {
        self.0.push_back((misbehaviour, place, times));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What to do to a connection that nothing was read from.
    pub fn at_connection(&mut self) -> Option<Misbehaviour> {
        self.take(|misbehaviour, place| {
            place == Where::Any && matches!(misbehaviour, Misbehaviour::Reset | Misbehaviour::Close)
        })
    }

    /// What to do about a request.
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
