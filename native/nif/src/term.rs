//! The Erlang terms of this crate's arguments and results.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use eid_docker::{
    Bridge, Container, Credentials, Endpoint, Error, Filter, Info, Limits, Listing, Location, NameError, NodeName,
    Route, RouteKind, Service, State, Subject,
};
use rustler::types::tuple::{get_tuple, make_tuple};
use rustler::{Atom, Binary, Decoder, Encoder, Env, NifResult, Term};

pub mod atoms {
    rustler::atoms! {
        ok,
        error,
        none,
        pending,
        unknown,
        loopback,
        host,
        bridge,
        published,
        preferred,
        never,
        last_resort,
        connecting,
        live,
        inspecting,
        closed,
        label,
        name,
        any,
        changed,
        unchanged,
        failed,
        state,
        containers,
        events,
        resyncs,
        requests,
        lookups,
        latency,
        p50,
        p90,
        p99,
        max,
        bad_node_name,
        no_such_container,
        not_running,
        not_published,
        published_on_loopback,
        published_elsewhere,
        unreachable,
        connection,
        socket,
        certificates,
        token_file,
        address,
        defect,
        refused,
        bad_response,
        timeout,
        no_name,
    }
}

/// Why there is no answer: an atom, `{unreachable, {Subject, Detail :: binary()}}` or `{refused, Status :: 100..999, Message ::
/// binary()}`. `Subject` is `connection`, `socket`, `certificates`, `token_file`, `address` or `defect`. Texts are in UTF-8. The
/// details of a bad response are not part of the term.
pub struct Reason(pub Error);

impl Encoder for Reason {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match &self.0 {
            Error::BadNodeName => atoms::bad_node_name().encode(env),
            Error::NoSuchContainer => atoms::no_such_container().encode(env),
            Error::NotRunning => atoms::not_running().encode(env),
            Error::NotPublished => atoms::not_published().encode(env),
            Error::PublishedOnLoopback => atoms::published_on_loopback().encode(env),
            Error::PublishedElsewhere => atoms::published_elsewhere().encode(env),
            Error::Unreachable(subject, detail) | Error::Config(subject, detail) => {
                let subject = match subject {
                    Subject::Connection => atoms::connection(),
                    Subject::Socket => atoms::socket(),
                    Subject::Certificates => atoms::certificates(),
                    Subject::TokenFile => atoms::token_file(),
                    Subject::Address => atoms::address(),
                };
                (atoms::unreachable(), (subject, detail)).encode(env)
            }
            Error::Defect(detail) => (atoms::unreachable(), (atoms::defect(), detail)).encode(env),
            Error::Refused { status, message } => (atoms::refused(), status, message).encode(env),
            Error::BadResponse(_) | Error::TooLarge(_) => atoms::bad_response().encode(env),
            Error::Timeout => atoms::timeout().encode(env),
        }
    }
}

/// `inet:ip_address()`: a tuple of four bytes or of eight 16-bit numbers.
pub struct Address(pub IpAddr);

impl<'a> Decoder<'a> for Address {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let parts = get_tuple(term)?;
        match parts.len() {
            4 => numbers::<u8, 4>(&parts).map(|bytes| Self(bytes.into())),
            _ => numbers::<u16, 8>(&parts).map(|words| Self(words.into())),
        }
    }
}

fn numbers<'a, T: Decoder<'a> + Copy + Default, const N: usize>(parts: &[Term<'a>]) -> NifResult<[T; N]> {
    let parts: &[Term<'a>; N] = parts.try_into().map_err(|_| rustler::Error::BadArg)?;
    let mut numbers = [T::default(); N];
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = part.decode()?;
    }
    Ok(numbers)
}

impl Encoder for Address {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self.0 {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                (a, b, c, d).encode(env)
            }
            IpAddr::V6(ip) => make_tuple(env, &ip.segments().map(|word| word.encode(env))),
        }
    }
}

/// `1..65535`.
pub struct ErlangPort(pub u16);

impl<'a> Decoder<'a> for ErlangPort {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        match term.decode()? {
            0 => Err(rustler::Error::BadArg),
            port => Ok(Self(port)),
        }
    }
}

/// `{ConnectMs, ResponseMs, BodyBytes}`, each `non_neg_integer()`.
pub struct LimitsTerm(pub Limits);

impl<'a> Decoder<'a> for LimitsTerm {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let (connect_ms, response_ms, body) = term.decode()?;
        Ok(Self(Limits {
            connect: Duration::from_millis(connect_ms),
            response: Duration::from_millis(response_ms),
            body,
        }))
    }
}

/// The location of an engine: `{Template :: binary(), Host :: binary(), Certs :: binary(), TokenFile :: binary()}`, for example
/// `{<<"https://{host}:2376">>, <<"docker.example">>, <<"/certs">>, <<>>}`. `Host` is the host part of a node name. `Certs` is the
/// directory of certificates and `TokenFile` the file with a token; both may be empty.
pub struct EngineTerm<'a> {
    template: Binary<'a>,
    host: Binary<'a>,
    certs: Binary<'a>,
    token_file: Binary<'a>,
}

impl<'a> Decoder<'a> for EngineTerm<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let (template, host, certs, token_file) = term.decode()?;
        Ok(Self {
            template,
            host,
            certs,
            token_file,
        })
    }
}

impl EngineTerm<'_> {
    /// The template of its address. A binary that is not UTF-8 becomes a text that is not an address.
    pub fn template(&self) -> String {
        String::from_utf8_lossy(&self.template).into_owned()
    }

    /// The files with its credentials.
    pub fn credentials(&self) -> Credentials {
        let path =
            |binary: &[u8]| Some(String::from_utf8_lossy(binary).into_owned().into()).filter(|_| !binary.is_empty());
        Credentials {
            certificates: path(&self.certs),
            token_file: path(&self.token_file),
        }
    }

    /// Its location, for a host with this address.
    pub fn location(&self, ip: IpAddr) -> Result<Location<'_>, Error> {
        let no_text = |_| Error::Config(Subject::Address, "the engine's address is not in UTF-8".to_owned());
        let text = |binary| str::from_utf8(binary).map_err(no_text);
        Ok(Location {
            template: text(&self.template)?,
            host: text(&self.host)?,
            ip,
            certificates: Some(text(&self.certs)?).filter(|folder| !folder.is_empty()),
            token_file: Some(text(&self.token_file)?).filter(|file| !file.is_empty()),
        })
    }
}

/// Returns `true` for the template of an engine's address.
pub fn is_engine(template: &Binary<'_>) -> bool {
    let template = std::str::from_utf8(template).unwrap_or_default();
    Endpoint::for_host(template, "192.0.2.1", Ipv4Addr::new(192, 0, 2, 1).into()).is_ok()
}

/// When to take a bridge: `preferred | never | {last_resort, Failed :: inet:ip_address()}`.
pub struct BridgeTerm(pub Bridge);

impl<'a> Decoder<'a> for BridgeTerm {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        if term.is_atom() {
            return match term.decode::<Atom>()? {
                tag if tag == atoms::preferred() => Ok(Self(Bridge::Preferred)),
                tag if tag == atoms::never() => Ok(Self(Bridge::Never)),
                _ => Err(rustler::Error::BadArg),
            };
        }
        match term.decode::<(Atom, Address)>()? {
            (tag, Address(failed)) if tag == atoms::last_resort() => Ok(Self(Bridge::LastResort(failed))),
            _ => Err(rustler::Error::BadArg),
        }
    }
}

/// `{ok, inet:ip_address(), inet:port_number(), loopback | host | bridge | published}`.
pub struct RouteTerm(pub Route);

impl Encoder for RouteTerm {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self(Route { kind, to }) = self;
        let kind = match kind {
            RouteKind::Loopback => atoms::loopback(),
            RouteKind::Host => atoms::host(),
            RouteKind::Bridge => atoms::bridge(),
            RouteKind::Published => atoms::published(),
        };
        (atoms::ok(), Address(to.ip()), to.port(), kind).encode(env)
    }
}

/// `{label, Key :: binary(), Value :: binary() | any} | {name, Glob :: binary()}`, in UTF-8.
pub struct FilterTerm(pub Filter);

impl<'a> Decoder<'a> for FilterTerm {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        if let Ok((tag, glob)) = term.decode::<(Atom, String)>() {
            return match tag == atoms::name() {
                true => Ok(Self(Filter::Name(glob))),
                false => Err(rustler::Error::BadArg),
            };
        }
        let (tag, key, value): (Atom, String, Term<'a>) = term.decode()?;
        let value = match value.decode::<Atom>() {
            Ok(any) if any == atoms::any() => None,
            _ => Some(value.decode()?),
        };
        match tag == atoms::label() {
            true => Ok(Self(Filter::Label { key, value })),
            false => Err(rustler::Error::BadArg),
        }
    }
}

/// `{changed, Digest :: non_neg_integer(), [{Id :: binary(), Name :: binary(), Node :: binary()}]}`, where `Node` is the label
/// `eid.node` or `<<>>`; `{failed, Digest, Reason}`; or `unchanged`.
pub struct ListingTerm(pub Option<Listing>);

impl Encoder for ListingTerm {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match &self.0 {
            Some(Listing::Changed { digest, containers }) => {
                let one = |it: &Arc<Container>| (&*it.id, &*it.name, it.node().unwrap_or_default()).encode(env);
                let containers: Vec<Term<'a>> = containers.iter().map(one).collect();
                (atoms::changed(), digest, containers).encode(env)
            }
            Some(Listing::Failed { digest, error }) => (atoms::failed(), digest, Reason(error.clone())).encode(env),
            None => atoms::unchanged().encode(env),
        }
    }
}

/// A map with the fields of `Info` except for the endpoint; times are floats, in microseconds.
pub struct InfoTerm(pub Info);

impl Encoder for InfoTerm {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self(info) = self;
        let state = match info.state {
            State::Connecting => atoms::connecting(),
            State::Live => atoms::live(),
            State::Inspecting => atoms::inspecting(),
            State::Closed => atoms::closed(),
        };
        let micros = |time: Duration| (time.as_secs_f64() * 1e6).encode(env);
        let latency = [
            (atoms::p50(), micros(info.latency.p50)),
            (atoms::p90(), micros(info.latency.p90)),
            (atoms::p99(), micros(info.latency.p99)),
            (atoms::max(), micros(info.latency.max)),
        ];
        let name = |name| Atom::from_str(env, name).unwrap_or(atoms::unknown());
        let lookups: Vec<_> = info.lookups.iter().map(|&(outcome, n)| (name(outcome), n)).collect();
        let error = match &info.error {
            Some(error) => Reason(error.clone()).encode(env),
            None => atoms::none().encode(env),
        };
        let fields = [
            (atoms::state(), state.encode(env)),
            (atoms::containers(), info.containers.encode(env)),
            (atoms::events(), info.events.encode(env)),
            (atoms::resyncs(), info.resyncs.encode(env)),
            (atoms::requests(), info.requests.encode(env)),
            (atoms::lookups(), map(env, lookups)),
            (atoms::latency(), map(env, latency)),
            (atoms::error(), error),
        ];
        map(env, fields)
    }
}

/// A map of these keys and values. If keys are equal, the last one counts.
pub fn map<'a>(env: Env<'a>, pairs: impl IntoIterator<Item = (impl Encoder, impl Encoder)>) -> Term<'a> {
    let empty = Term::map_new(env);
    let put = |map: Term<'a>, (key, value)| map.map_put(key, value).unwrap_or(map);
    pairs.into_iter().fold(empty, put)
}

/// The URL of Rancher's metadata service: `binary() | none`. A binary that is not UTF-8 becomes a text that is not a URL.
pub struct UrlTerm(pub Option<String>);

impl<'a> Decoder<'a> for UrlTerm {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        if term.is_atom() {
            return match term.decode::<Atom>()? {
                tag if tag == atoms::none() => Ok(Self(None)),
                _ => Err(rustler::Error::BadArg),
            };
        }
        let url: Binary<'a> = term.decode()?;
        Ok(Self(Some(String::from_utf8_lossy(&url).into_owned())))
    }
}

/// `{ok, {Name :: binary(), [inet:ip_address()]}}`.
pub struct ServiceTerm(pub Service);

impl Encoder for ServiceTerm {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self(service) = self;
        let addresses: Vec<_> = service.addresses.iter().copied().map(Address).collect();
        (atoms::ok(), (&service.name, addresses)).encode(env)
    }
}

/// `{ok, Name :: binary()} | {error, {no_name, Sentence :: binary()}}`.
pub struct NameTerm(pub Result<NodeName, NameError>);

impl Encoder for NameTerm {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match &self.0 {
            Ok(name) => (atoms::ok(), name.to_string()).encode(env),
            Err(error) => (atoms::error(), (atoms::no_name(), error.to_string())).encode(env),
        }
    }
}
