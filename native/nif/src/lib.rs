//! `eid-docker` for the Erlang VM: decodes terms, then reads memory, or starts a task that sends its outcome as a message.
//!
//! These are the functions of the Erlang module `eid_nif`. None waits for a network or a file, and each takes microseconds.
//! `info` and `to_json` may take longer and run on a dirty scheduler. An argument of the wrong type raises `badarg`. Every other
//! error is a term: see `term::Reason`.

#![warn(missing_docs)]

mod json;
mod reply;
mod term;

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use eid_docker::{Bridge, Directory, Engine, Error, NameError, Naming, NodeName, Rancher, Registry, Wanted};
use once_cell::sync::OnceCell;
use rustler::{Atom, Binary, Encoder, Env, NewBinary, NifResult, Reference, Term};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::reply::Reply;
use crate::term::{
    atoms, Address, BridgeTerm, EngineTerm, ErlangPort, FilterTerm, InfoTerm, LimitsTerm, ListingTerm, NameTerm,
    Reason, RouteTerm, ServiceTerm, UrlTerm,
};

rustler::init!("eid_nif");

/// All engines that this VM asks.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::new(eid_docker::own_container));

/// `parse_node_name(Text :: binary()) -> {ok, {Container :: binary(), Host :: binary(), inet:ip_address() | none}} |
/// {error, bad_node_name}`. The third element is the address if the host is one.
#[rustler::nif]
fn parse_node_name<'a>(env: Env<'a>, text: Binary<'a>) -> Term<'a> {
    match NodeName::parse(text.as_slice()) {
        Ok(name) => {
            let ip = match name.host().parse() {
                Ok(ip) => Address(ip).encode(env),
                Err(_) => atoms::none().encode(env),
            };
            (atoms::ok(), (name.container().as_str(), name.host(), ip)).encode(env)
        }
        Err(error) => (atoms::error(), Reason(error)).encode(env),
    }
}

/// `is_engine(Template :: binary()) -> boolean()`.
#[rustler::nif]
fn is_engine(template: Binary<'_>) -> bool {
    term::is_engine(&template)
}

/// `own_container() -> {ok, Id :: binary()} | none`. The ID has 64 hexadecimal digits.
#[rustler::nif]
fn own_container(env: Env<'_>) -> Term<'_> {
    match eid_docker::own_container() {
        Some(id) => (atoms::ok(), id).encode(env),
        None => atoms::none().encode(env),
    }
}

/// `known_route(Container :: binary(), Engine, Host :: inet:ip_address(), ErlangPort :: 1..65535, Bridge) -> {ok,
/// inet:ip_address(), inet:port_number(), Kind} | unknown`. This only reads memory.
#[rustler::nif]
fn known_route<'a>(
    env: Env<'a>,
    container: Binary<'a>,
    engine: EngineTerm<'a>,
    host: Address,
    erlang_port: ErlangPort,
    bridge: BridgeTerm,
) -> Term<'a> {
    let known = || {
        let container = str::from_utf8(&container).ok()?;
        let directory = REGISTRY.existing(&engine.location(host.0).ok()?)?;
        directory.known_route(container, &wanted(&host, &erlang_port, bridge.0))
    };
    match known() {
        Some(route) => RouteTerm(route).encode(env),
        None => atoms::unknown().encode(env),
    }
}

/// `lookup(Ref :: reference(), NodeName :: binary(), Engine, Host :: inet:ip_address(), ErlangPort :: 1..65535, Bridge,
/// {ConnectMs, ResponseMs, BodyBytes}, WithinMs, Again :: boolean()) -> pending`.
///
/// If `Again` is true, memory is wrong about this node: the engine is asked, with a new request.
///
/// Within `WithinMs` milliseconds the caller gets one message: `{Ref, {ok, inet:ip_address(), inet:port_number(), Kind}}` or
/// `{Ref, {error, Reason}}`, also if `NodeName` or `Engine` is malformed.
#[rustler::nif]
#[allow(clippy::too_many_arguments)]
fn lookup<'a>(
    reference: Reference<'a>,
    node_name: Binary<'a>,
    engine: EngineTerm<'a>,
    host: Address,
    erlang_port: ErlangPort,
    bridge: BridgeTerm,
    limits: LimitsTerm,
    within_ms: u64,
    again: bool,
) -> Atom {
    let (name, directory) = (
        NodeName::parse(node_name.as_slice()),
        directory(&engine, &host, &limits),
    );
    answer(reference, within_ms, async move {
        let (name, directory) = (name?, directory?);
        if again {
            directory.doubt(name.container());
        }
        let wanted = wanted(&host, &erlang_port, bridge.0);
        directory.route(name.container(), &wanted).await.map(RouteTerm)
    })
}

/// `names(Ref :: reference(), Engine, Host :: inet:ip_address(), ErlangPort :: 1..65535, {ConnectMs, ResponseMs,
/// BodyBytes}, WithinMs) -> pending`.
///
/// Within `WithinMs` milliseconds the caller gets one message: `{Ref, {ok, [{Id :: binary(), inet:port_number()}]}}`
/// or `{Ref, {error, Reason}}`.
#[rustler::nif]
fn names<'a>(
    reference: Reference<'a>,
    engine: EngineTerm<'a>,
    host: Address,
    erlang_port: ErlangPort,
    limits: LimitsTerm,
    within_ms: u64,
) -> Atom {
    let directory = directory(&engine, &host, &limits);
    answer(reference, within_ms, async move {
        let names = directory?.names(host.0, erlang_port.0).await?;
        Ok((atoms::ok(), names))
    })
}

/// `watch(Ref :: reference(), Engine, Host :: inet:ip_address(), Filter, Known :: non_neg_integer(), {ConnectMs, ResponseMs,
/// BodyBytes}, WithinMs) -> pending`.
///
/// The caller gets one message: `{Ref, {changed, Digest, [{Id, Name, Node}]}}` or `{Ref, {failed, Digest, Reason}}` as soon as the
/// digest differs from `Known`, `{Ref, unchanged}` after `WithinMs` milliseconds, or `{Ref, {error, Reason}}` if `Engine` is
/// malformed.
#[rustler::nif]
fn watch<'a>(
    reference: Reference<'a>,
    engine: EngineTerm<'a>,
    host: Address,
    filter: FilterTerm,
    known: u64,
    limits: LimitsTerm,
    within_ms: u64,
) -> Atom {
    let directory = directory(&engine, &host, &limits);
    answer_or(reference, within_ms, Ok(ListingTerm(None)), async move {
        let listing = directory?.listing(&filter.0, known).await;
        Ok(ListingTerm(Some(listing)))
    })
}

/// `take_notice(Engine, Host :: inet:ip_address()) -> {refused, Endpoint :: binary(), Reason} | none`.
///
/// Returns a notice once for each engine that refuses its list or its events, or whose list is too large: each lookup must ask
/// that engine.
#[rustler::nif]
fn take_notice<'a>(env: Env<'a>, engine: EngineTerm<'a>, host: Address) -> Term<'a> {
    let notice = || {
        let directory = REGISTRY.existing(&engine.location(host.0).ok()?)?;
        let error = directory.take_notice()?;
        Some((atoms::refused(), directory.endpoint().to_string(), Reason(error)))
    };
    match notice() {
        Some(notice) => notice.encode(env),
        None => atoms::none().encode(env),
    }
}

/// `info() -> #{Endpoint :: binary() => map()}`: see `eid:info/0`. It counts the containers of all engines.
#[rustler::nif(schedule = "DirtyCpu")]
fn info(env: Env<'_>) -> Term<'_> {
    let info = REGISTRY.info();
    let pairs: Vec<_> = info
        .into_iter()
        .map(|info| (info.endpoint.clone(), InfoTerm(info)))
        .collect();
    term::map(env, pairs)
}

/// `is_metadata_url(Url :: binary()) -> boolean()`.
#[rustler::nif]
fn is_metadata_url(url: Binary<'_>) -> bool {
    str::from_utf8(&url).is_ok_and(Rancher::is_url)
}

/// `rancher(Ref :: reference(), BaseUrl :: binary(), {ConnectMs, ResponseMs, BodyBytes}, WithinMs) -> pending`.
///
/// Within `WithinMs` milliseconds the caller gets one message: `{Ref, {ok, {Service :: binary(), [inet:ip_address()]}}}` or
/// `{Ref, {error, Reason}}`, also if `BaseUrl` is malformed.
#[rustler::nif]
fn rancher<'a>(reference: Reference<'a>, url: Binary<'a>, limits: LimitsTerm, within_ms: u64) -> Atom {
    let rancher = Rancher::new(&String::from_utf8_lossy(&url), limits.0);
    answer(reference, within_ms, async move {
        rancher?.service().await.map(ServiceTerm)
    })
}

/// `node_name(Ref :: reference(), Rancher :: binary() | none, Engine, {ConnectMs, ResponseMs, BodyBytes}, WithinMs) -> pending`.
///
/// Within `WithinMs` milliseconds the caller gets one message: `{Ref, {ok, Name :: binary()}}` or `{Ref, {error, {no_name,
/// Sentence :: binary()}}}`. `Engine` is the location of `eid serve`; its host is ignored. This reads the environment of the
/// process, which `os:putenv/2` does not change.
#[rustler::nif]
fn node_name<'a>(
    reference: Reference<'a>,
    rancher: UrlTerm,
    engine: EngineTerm<'a>,
    limits: LimitsTerm,
    within_ms: u64,
) -> Atom {
    let naming = Naming {
        rancher: rancher.0,
        serve: Some(engine.template()),
        ..Naming::default()
    };
    let credentials = engine.credentials();
    let client = move |endpoint| Engine::with_credentials(endpoint, limits.0, credentials);
    let ask = async move { naming.find()?.ask(limits.0, client).await };
    let in_time = async move {
        let name = timeout(Duration::from_millis(within_ms), ask).await;
        Ok(NameTerm(name.unwrap_or(Err(NameError::Timeout))))
    };
    // The work has its own time limit.
    answer(reference, u64::MAX, in_time)
}

/// `to_json(term()) -> binary()`. It takes maps with atoms and binaries as keys, lists (always arrays), binaries in UTF-8,
/// integers of 64 bits, floats, `true`, `false`, `null`, and other atoms (strings). Any other term raises `badarg`.
#[rustler::nif(schedule = "DirtyCpu")]
fn to_json<'a>(env: Env<'a>, term: Term<'a>) -> NifResult<Binary<'a>> {
    let json = json::encode(term).ok_or(rustler::Error::BadArg)?;
    Ok(NewBinary::from_slice(env, &json).into())
}

fn directory(engine: &EngineTerm<'_>, host: &Address, limits: &LimitsTerm) -> Result<Directory, Error> {
    REGISTRY.get(&engine.location(host.0)?, limits.0)
}

fn wanted(host: &Address, erlang_port: &ErlangPort, bridge: Bridge) -> Wanted {
    Wanted {
        host: host.0,
        erlang_port: erlang_port.0,
        bridge,
    }
}

/// Runs the work on the runtime and sends its outcome to the calling process as `{Ref, Outcome}`, at the latest when the time
/// is over.
fn answer<T: Encoder + Send + 'static>(
    reference: Reference<'_>,
    within_ms: u64,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Atom {
    answer_or(reference, within_ms, Err(Error::Timeout), work)
}

/// Does the same, with another outcome when the time is over.
fn answer_or<T: Encoder + Send + 'static>(
    reference: Reference<'_>,
    within_ms: u64,
    late: Result<T, Error>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Atom {
    match runtime() {
        Ok(runtime) => {
            let reply = Reply::to_caller(reference);
            runtime.spawn(async move {
                let outcome = timeout(Duration::from_millis(within_ms), work).await;
                reply.send(outcome.unwrap_or(late));
            });
        }
        Err(error) => reply::refuse(reference, error),
    }
    atoms::pending()
}

/// The runtime for all work, made at the first use. It is never shut down: `halt()` may end the process under it.
fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceCell<Runtime> = OnceCell::new();
    RUNTIME
        .get_or_try_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                // For DNS lookups, certificates and tokens.
                .max_blocking_threads(4)
                .thread_name("eid")
                .enable_io()
                .enable_time()
                .build()
        })
        .map_err(|error| Error::Defect(format!("no threads for lookups: {error}")))
}
