//! Tests the engine client with engines that answer correctly, wrongly, late or not at all.

mod engine_double;
mod support;

use std::net::IpAddr;
use std::time::Duration;

use eid_docker::{route, Bridge, Directory, Endpoint, Engine, Error, Limits, NodeName, ServerInfo, Subject};
use engine_double::{engine_at, response, Gate, Reply, ScriptedEngine};
use support::closed;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const ERLANG_PORT: u16 = 12345;

/// Limits for engines that are expected to use up the time.
const SHORT: Limits = Limits {
    connect: Duration::from_millis(300),
    response: Duration::from_millis(300),
    body: 1024,
};

/// Limits that are never reached, even on a busy machine.
const PATIENT: Limits = Limits {
    connect: Duration::from_secs(1000),
    response: Duration::from_secs(1000),
    body: 1024,
};

/// Upper limit for every wait. A test that reaches it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

fn host() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

/// Parses the container's name as all callers must, inspects the container and returns its published port.
async fn ask(engine: &Engine, container: &str) -> Result<u16, Error> {
    let name = NodeName::parse(format!("{container}@192.0.2.1"))?;
    let container = timeout(FAR_TOO_LONG, engine.inspect(name.container())).await.unwrap()?;
    route(&container, None, ERLANG_PORT, host(), Bridge::Preferred).map(|route| route.to.port())
}

fn full_id() -> String {
    "0123456789abcdef".repeat(4)
}

/// The answer to an inspect of a container with this name, published on this port.
fn inspected(name: &str, host_port: u16) -> String {
    format!(
        r#"{{"Id":"{}","Name":"/{name}","State":{{"Running":true}},"NetworkSettings":{{"Ports":{{
            "12345/tcp":[{{"HostIp":"0.0.0.0","HostPort":"{host_port}"}}]}}}}}}"#,
        full_id()
    )
}

/// The container's name in `/v1.41/containers/NAME/json`.
fn name_in(path: &str) -> &str {
    path.rsplit('/').nth(1).unwrap()
}

/// Answers every inspect with the requested container, published on port 4711.
fn any_container(path: &str) -> Reply {
    Reply::ok(inspected(name_in(path), 4711))
}

/// The same, once the gate is open.
fn held(gate: &Gate) -> impl Fn(usize, &str) -> Reply + Send + Sync + 'static {
    let gate = gate.clone();
    move |_, path| {
        let body = inspected(name_in(path), 4711);
        Reply::Held(gate.clone(), response("200 OK", "", body))
    }
}

/// The outcome of one lookup of `db` if every inspect gets this answer.
async fn outcome_of(limits: Limits, reply: fn() -> Reply) -> Result<u16, Error> {
    let double = ScriptedEngine::start(move |_, _| reply()).await;
    ask(&double.engine(limits), "db").await
}

fn is_bad_response(outcome: &Result<u16, Error>) -> bool {
    matches!(outcome, Err(Error::BadResponse(_)))
}

fn is_unreachable(outcome: &Result<u16, Error>) -> bool {
    matches!(outcome, Err(Error::Unreachable(..)))
}

fn refused(status: u16, message: &str) -> Result<u16, Error> {
    let message = message.to_owned();
    Err(Error::Refused { status, message })
}

// Right answers

#[tokio::test]
async fn lookups_one_after_the_other_use_one_connection() {
    let double = ScriptedEngine::start(|_, path| any_container(path)).await;
    let engine = double.engine(PATIENT);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(ask(&engine, name).await, Ok(4711));
    }
    assert_eq!(double.connections(), 1);
    assert_eq!(double.paths()[..2], ["/_ping", "/v1.41/containers/a/json"]);
    assert_eq!(double.paths().len(), 6);
}

#[tokio::test]
async fn a_name_and_an_id_mean_the_same_container() {
    let double = ScriptedEngine::start(|_, _| Reply::ok(inspected("db", 4711))).await;
    let engine = double.engine(PATIENT);
    for text in ["db", &full_id(), &full_id()[..12], &full_id()[..13]] {
        assert_eq!(ask(&engine, text).await, Ok(4711), "{text}");
    }
}

#[tokio::test]
async fn another_container_whose_id_begins_so_is_not_meant() {
    let double = ScriptedEngine::start(|_, _| Reply::ok(inspected("db", 4711))).await;
    let engine = double.engine(PATIENT);
    for text in ["0", "01", "0123456789a", "d", "dbx"] {
        assert_eq!(ask(&engine, text).await, Err(Error::NoSuchContainer), "{text}");
    }
}

#[tokio::test]
async fn a_container_that_is_not_running() {
    let stopped = |_: usize, _: &str| Reply::ok(inspected("db", 4711).replace("true", "false"));
    let double = ScriptedEngine::start(stopped).await;
    assert_eq!(ask(&double.engine(PATIENT), "db").await, Err(Error::NotRunning));
}

#[tokio::test]
async fn the_names_that_an_engine_publishes() {
    let (here, loopback, other) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
    let list = format!(
        r#"[{{"Id":"{here}","Names":["/db"],"Ports":[{{"IP":"0.0.0.0","PrivatePort":12345,"PublicPort":5,"Type":"tcp"}}]}},
            {{"Id":"{loopback}","Ports":[{{"IP":"127.0.0.1","PrivatePort":12345,"PublicPort":6,"Type":"tcp"}}]}},
            {{"Id":"{other}","Ports":[{{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":7,"Type":"tcp"}}]}},
            {{"Id":"no ID","Ports":[{{"IP":"0.0.0.0","PrivatePort":12345,"PublicPort":8,"Type":"tcp"}}]}}]"#
    );
    let double = ScriptedEngine::start(move |_, path| match path.ends_with("/containers/json") {
        true => Reply::ok(&list),
        false => Reply::status("403 Forbidden", "no events"),
    })
    .await;
    let directory = Directory::new(double.engine(PATIENT), None);
    let names = directory.names(host(), ERLANG_PORT).await;
    assert_eq!(names, Ok(vec![("a".repeat(64), 5)]));
    assert!(double.paths().iter().any(|path| path == "/v1.41/containers/json"));
}

#[tokio::test]
async fn what_a_person_wants_to_know_of_a_container() {
    let state = r#""State":{"Status":"exited","Running":false,"ExitCode":137}"#;
    let answer = inspected("db", 4711).replace(r#""State":{"Running":true}"#, state);
    let double = ScriptedEngine::start(move |_, _| Reply::ok(&answer)).await;
    let engine = double.engine(PATIENT);
    let reference = |text: &str| NodeName::parse(format!("{text}@h")).unwrap().container().clone();
    let details = engine.describe(&reference("db")).await.unwrap();
    assert_eq!((details.state.as_str(), details.exit_code), ("exited", Some(137)));
    assert_eq!(details.container, engine.inspect(&reference("db")).await.unwrap());
    assert_eq!(engine.describe(&reference("0123")).await, Err(Error::NoSuchContainer));
}

#[tokio::test]
async fn stopped_containers_are_listed_too() {
    let list = format!(r#"[{{"Id":"{}","Names":["/db"],"State":"exited"}}]"#, full_id());
    let double = ScriptedEngine::start(move |_, _| Reply::ok(&list)).await;
    let all = double.engine(PATIENT).list_all().await.unwrap();
    assert_eq!((all.len(), all[0].name.as_str(), all[0].running), (1, "db", false));
    assert_eq!(double.paths()[1], "/v1.41/containers/json?all=1");
}

#[tokio::test]
async fn greetings() {
    let greeted = |limits: Limits, reply: fn() -> Reply| async move {
        let double = ScriptedEngine::start_with_pings(move |_, _| reply()).await;
        double.engine(limits).ping().await
    };
    let greeting = |server: Option<&str>, version: Option<&str>| {
        Ok(ServerInfo {
            server: server.map(str::to_owned),
            version: version.map(str::to_owned),
        })
    };
    assert_eq!(
        greeted(PATIENT, || Reply::Answer(response(
            "200 OK",
            "Api-Version: 1.41\r\nServer: Docker/20.10 (linux)\r\n",
            "OK"
        )))
        .await,
        greeting(Some("Docker/20.10 (linux)"), Some("1.41"))
    );
    assert_eq!(greeted(PATIENT, || Reply::ok("OK")).await, greeting(None, None));
    assert_eq!(
        greeted(PATIENT, || Reply::status("403 Forbidden", "no")).await,
        Err(Error::Refused {
            status: 403,
            message: "no".to_owned()
        })
    );
    // A web server that is not an engine.
    assert!(matches!(
        greeted(PATIENT, || Reply::ok("<html>")).await,
        Err(Error::BadResponse(_))
    ));
    assert_eq!(greeted(SHORT, || Reply::Hang).await, Err(Error::Timeout));
}

#[tokio::test]
async fn why_there_is_no_connection() {
    let double = ScriptedEngine::start(|_, _| Reply::Hang).await;
    assert_eq!(double.engine(PATIENT).connect().await, Ok(()));
    assert_eq!(double.paths().len(), 0);
    let (_closed, address) = closed();
    let refused = engine_at(address, PATIENT).connect().await.unwrap_err();
    assert_eq!(refused.kind, std::io::ErrorKind::ConnectionRefused);
    assert_eq!(refused.error, Error::unreachable("connection refused"));
    let nowhere = Endpoint::parse("unix:///nonexistent/docker.sock").unwrap();
    let nowhere = Engine::new(nowhere, PATIENT).connect().await.unwrap_err();
    assert_eq!(
        nowhere.error,
        Error::Unreachable(Subject::Socket, "there is no /nonexistent/docker.sock".to_owned())
    );
}

#[tokio::test]
async fn a_list_that_is_refused_or_garbage() {
    let double = ScriptedEngine::start(|number, _| match number {
        0 => Reply::status("404 Not Found", r#"{"message":"page not found"}"#),
        _ => Reply::ok("{}"),
    })
    .await;
    let engine = double.engine(PATIENT);
    let refused = Error::Refused {
        status: 404,
        message: "page not found".to_owned(),
    };
    assert_eq!(engine.list().await, Err(refused));
    assert!(matches!(engine.list().await, Err(Error::BadResponse(_))));
}

// Shared requests and limits

#[tokio::test]
async fn equal_lookups_share_one_request() {
    let gate = Gate::new();
    let double = ScriptedEngine::start(held(&gate)).await;
    let engine = double.engine(PATIENT);
    let ask_too = |name| {
        let engine = engine.clone();
        tokio::spawn(async move { ask(&engine, name).await })
    };
    let asked: Vec<_> = (0..100).map(|i| ask_too(["db", "web"][i % 2])).collect();
    double.until(|notes| notes.held == 2).await;
    gate.open();
    for outcome in asked {
        assert_eq!(outcome.await.unwrap(), Ok(4711));
    }
    let mut paths = double.paths();
    paths.sort();
    assert_eq!(
        paths,
        ["/_ping", "/v1.41/containers/db/json", "/v1.41/containers/web/json"]
    );
}

#[tokio::test]
async fn who_has_a_deadline_keeps_it_and_the_others_get_the_answer() {
    let gate = Gate::new();
    let double = ScriptedEngine::start(held(&gate)).await;
    let engine = double.engine(PATIENT);
    let patient = {
        let engine = engine.clone();
        tokio::spawn(async move { ask(&engine, "db").await })
    };
    let impatient = timeout(Duration::from_millis(50), ask(&engine, "db")).await;
    assert!(impatient.is_err());
    gate.open();
    assert_eq!(patient.await.unwrap(), Ok(4711));
    assert_eq!(double.paths().len(), 2);
}

#[tokio::test]
async fn after_a_forget_the_engine_is_asked_again() {
    let gate = Gate::new();
    let first = gate.clone();
    let double = ScriptedEngine::start(move |number, path| match number {
        0 => Reply::Held(first.clone(), response("200 OK", "", inspected(name_in(path), 1))),
        _ => Reply::ok(inspected(name_in(path), 2)),
    })
    .await;
    let engine = double.engine(PATIENT);
    let before = {
        let engine = engine.clone();
        tokio::spawn(async move { ask(&engine, "db").await })
    };
    double.until(|notes| notes.held == 1).await;
    engine.forget();
    assert_eq!(ask(&engine, "db").await, Ok(2));
    gate.open();
    assert_eq!(before.await.unwrap(), Ok(1));
}

#[tokio::test]
async fn at_most_32_requests_are_in_flight() {
    let gate = Gate::new();
    let double = ScriptedEngine::start(held(&gate)).await;
    let engine = double.engine(PATIENT);
    let asked: Vec<_> = (0..150)
        .map(|i| {
            let engine = engine.clone();
            tokio::spawn(async move { ask(&engine, &format!("c{i}")).await })
        })
        .collect();
    // 32 requests are at the engine, and the others wait for their turn.
    double.until(|notes| notes.held == 32).await;
    assert_eq!(engine.requests(), 1 + 32);
    gate.open();
    for outcome in asked {
        assert_eq!(outcome.await.unwrap(), Ok(4711));
    }
    assert_eq!(double.most_in_flight(), 32);
}

#[tokio::test]
async fn hostile_node_names_send_no_request() {
    let double = ScriptedEngine::start(|_, path| any_container(path)).await;
    let engine = double.engine(PATIENT);
    let long = "a".repeat(10_240);
    for text in [
        "", "../info", "a/b", "a?b", "a%2fb", "a b", "a\r\nb", "a\0", "ä", "a@b", "a.b", &long,
    ] {
        assert_eq!(ask(&engine, text).await, Err(Error::BadNodeName), "{text:?}");
    }
    assert_eq!(double.connections(), 0);
}

// API versions

/// The paths of two consecutive lookups with an engine that answers `/_ping` with this.
async fn paths_after_ping(ping: Vec<u8>) -> Vec<String> {
    let double = ScriptedEngine::start_with_pings(move |_, path| match path {
        "/_ping" => Reply::Answer(ping.clone()),
        _ => any_container(path),
    })
    .await;
    let engine = double.engine(PATIENT);
    assert_eq!(ask(&engine, "a").await, Ok(4711));
    assert_eq!(ask(&engine, "b").await, Ok(4711));
    double.paths()
}

#[tokio::test]
async fn the_older_of_both_versions_is_used() {
    for (theirs, used) in [("1.41", "/v1.41"), ("1.52", "/v1.52"), ("1.99", "/v1.52")] {
        let paths = paths_after_ping(response("200 OK", &format!("Api-Version: {theirs}\r\n"), "OK")).await;
        let expected = [
            "/_ping",
            &format!("{used}/containers/a/json"),
            &format!("{used}/containers/b/json"),
        ];
        assert_eq!(paths, expected);
    }
}

#[tokio::test]
async fn without_a_version_the_path_has_none() {
    for ping in [
        response("200 OK", "", "OK"),
        response("200 OK", "Api-Version: ../../x\r\n", "OK"),
        response("200 OK", "Api-Version: \r\n", "OK"),
        response("403 Forbidden", "Api-Version: 1.41\r\n", "<html>Forbidden</html>"),
        response("404 Not Found", "", ""),
        response("500 Internal Server Error", "", ""),
    ] {
        let expected = ["/_ping", "/containers/a/json", "/containers/b/json"];
        assert_eq!(paths_after_ping(ping).await, expected);
    }
}

/// An engine that is replaced by a newer one after its first answer.
fn replaced(number: usize, path: &str) -> Reply {
    let too_old = r#"{"message":"client version 1.41 is too old. Minimum supported API version is 1.44"}"#;
    match (path, number) {
        ("/_ping", 0) => Reply::Answer(response("200 OK", "Api-Version: 1.41\r\n", "OK")),
        ("/_ping", _) => Reply::Answer(response("200 OK", "Api-Version: 1.50\r\n", "OK")),
        (path, 2..) if path.starts_with("/v1.41/") => Reply::status("400 Bad Request", too_old),
        _ => any_container(path),
    }
}

#[tokio::test]
async fn a_refused_version_is_negotiated_again() {
    let double = ScriptedEngine::start_with_pings(replaced).await;
    let engine = double.engine(PATIENT);
    for name in ["a", "b", "c"] {
        assert_eq!(ask(&engine, name).await, Ok(4711));
    }
    let expected = [
        "/_ping",
        "/v1.41/containers/a/json",
        "/v1.41/containers/b/json",
        "/_ping",
        "/v1.50/containers/b/json",
        "/v1.50/containers/c/json",
    ];
    assert_eq!(double.paths(), expected);
}

#[tokio::test]
async fn a_version_that_is_refused_for_ever_is_an_error() {
    let double = ScriptedEngine::start(|_, _| Reply::status("400 Bad Request", "client version 1.41 is too new")).await;
    let outcome = ask(&double.engine(PATIENT), "db").await;
    assert_eq!(outcome, refused(400, "client version 1.41 is too new"));
    assert_eq!(double.paths().len(), 4);
}

// Broken connections

#[tokio::test]
async fn a_kept_alive_connection_that_the_engine_closes_is_replaced() {
    let double = ScriptedEngine::start(|number, path| match number {
        1 => Reply::Close(vec![]),
        _ => any_container(path),
    })
    .await;
    let engine = double.engine(PATIENT);
    assert_eq!(ask(&engine, "a").await, Ok(4711));
    assert_eq!(ask(&engine, "b").await, Ok(4711));
    assert_eq!(double.connections(), 2);
}

#[tokio::test]
async fn an_engine_that_always_closes_is_asked_twice() {
    let double = ScriptedEngine::start(|_, _| Reply::Close(vec![])).await;
    let outcome = ask(&double.engine(PATIENT), "db").await;
    assert!(is_unreachable(&outcome), "{outcome:?}");
    assert_eq!(double.paths().len(), 3);
}

#[tokio::test]
async fn an_engine_that_is_not_there() {
    let (_closed, address) = closed();
    let outcome = ask(&engine_at(address, PATIENT), "db").await;
    assert_eq!(outcome, Err(Error::unreachable("connection refused")));
}

#[tokio::test]
async fn an_engine_that_closes_after_each_answer_without_saying_so() {
    let double = ScriptedEngine::start(|_, path| {
        let body = inspected(name_in(path), 4711);
        Reply::Close(response("200 OK", "", body))
    })
    .await;
    let engine = double.engine(PATIENT);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(ask(&engine, name).await, Ok(4711));
    }
}

// Engines that hang

#[tokio::test]
async fn an_engine_that_never_answers() {
    for hangs_at_once in [true, false] {
        let double = ScriptedEngine::start_with_pings(move |number, _| match number {
            0 if !hangs_at_once => Reply::ok("OK"),
            _ => Reply::Hang,
        })
        .await;
        let engine = double.engine(SHORT);
        assert_eq!(ask(&engine, "db").await, Err(Error::Timeout));
    }
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle() {
    let half = || Reply::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec());
    assert_eq!(outcome_of(SHORT, half).await, Err(Error::Timeout));
    let headers = || Reply::Answer(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec());
    assert_eq!(outcome_of(SHORT, headers).await, Err(Error::Timeout));
}

#[tokio::test]
async fn an_engine_that_does_not_accept() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // Fill the queue of connections that the server has not accepted. The first connection that hangs shows that it is
    // full.
    let mut queued = vec![];
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    assert_eq!(ask(&engine_at(address, SHORT), "db").await, Err(Error::Timeout));
}

#[tokio::test]
async fn lookups_that_nobody_waits_for_leave_the_queue() {
    let double = ScriptedEngine::start(|_, path| match name_in(path) {
        "answers" => any_container(path),
        _ => Reply::Hang,
    })
    .await;
    let engine = double.engine(PATIENT);
    let asked: Vec<_> = (0..200)
        .map(|i| {
            let engine = engine.clone();
            tokio::spawn(async move { timeout(Duration::from_millis(200), ask(&engine, &format!("c{i}"))).await })
        })
        .collect();
    for outcome in asked {
        assert!(outcome.await.unwrap().is_err());
    }
    assert_eq!(ask(&engine, "answers").await, Ok(4711));
    assert!(double.most_in_flight() <= 32);
}

// Other answers

#[tokio::test]
async fn no_such_container() {
    let not_found = || Reply::status("404 Not Found", r#"{"message":"No such container: db"}"#);
    assert_eq!(outcome_of(PATIENT, not_found).await, Err(Error::NoSuchContainer));
    // The name matches no container, but several IDs begin with it.
    let ambiguous = || {
        Reply::status(
            "500 Internal Server Error",
            r#"{"message":"Multiple IDs found with provided prefix: db"}"#,
        )
    };
    assert_eq!(outcome_of(PATIENT, ambiguous).await, Err(Error::NoSuchContainer));
}

#[tokio::test]
async fn refusals() {
    let proxy = || Reply::status("403 Forbidden", "<html><h1>Forbidden</h1></html>");
    assert_eq!(
        outcome_of(PATIENT, proxy).await,
        refused(403, "<html><h1>Forbidden</h1></html>")
    );
    let no_engine = || Reply::status("404 Not Found", "<html><h1>Not Found</h1></html>");
    assert_eq!(
        outcome_of(PATIENT, no_engine).await,
        refused(404, "<html><h1>Not Found</h1></html>")
    );
    let broken = || Reply::status("500 Internal Server Error", r#"{"message":"no space\nleft"}"#);
    assert_eq!(outcome_of(PATIENT, broken).await, refused(500, "no space left"));
    let redirect = || Reply::Answer(response("301 Moved Permanently", "Location: /_ping\r\n", ""));
    assert_eq!(outcome_of(PATIENT, redirect).await, refused(301, "Moved Permanently"));
    let silent = || Reply::status("503 x", "");
    assert_eq!(outcome_of(PATIENT, silent).await, refused(503, "Service Unavailable"));
}

/// An inspect answer of exactly this number of bytes.
fn padded(bytes: usize) -> String {
    format!("{:bytes$}", inspected("db", 4711))
}

#[tokio::test]
async fn a_body_may_have_as_many_bytes_as_the_bound() {
    assert_eq!(outcome_of(PATIENT, || Reply::ok(padded(PATIENT.body))).await, Ok(4711));
}

#[tokio::test]
async fn bodies_over_the_bound() {
    let announced = || Reply::ok(padded(PATIENT.body + 1));
    let chunked = || {
        let body = padded(PATIENT.body + 1);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        Reply::Answer(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes())
    };
    for reply in [announced, chunked] {
        let outcome = outcome_of(PATIENT, reply).await;
        assert!(matches!(outcome, Err(Error::TooLarge(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn headers_over_the_bound() {
    let header = || {
        let header = format!("X: {}\r\n", "x".repeat(300_000));
        Reply::Answer(response("200 OK", &header, inspected("db", 4711)))
    };
    let outcome = outcome_of(PATIENT, header).await;
    assert!(is_bad_response(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn answers_that_make_no_sense() {
    let replies: [fn() -> Reply; 8] = [
        || Reply::ok(""),
        || Reply::ok("{"),
        || Reply::ok("null"),
        || Reply::ok("[]"),
        || Reply::ok("[".repeat(1000)),
        || Reply::ok(r#"{"Name":"/db"}"#),
        || Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":".to_vec()),
        || Reply::Close(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let outcome = outcome_of(PATIENT, reply).await;
        assert!(is_bad_response(&outcome), "{number}: {outcome:?}");
    }
}
