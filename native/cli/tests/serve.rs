//! `eid serve`, as clients and hostile ones meet it, before engines that do what real ones can't be made to do.

#[path = "../../docker/tests/engine_double/mod.rs"]
mod engine_double;
mod serving;
#[path = "../../docker/tests/support/mod.rs"]
mod support;
#[path = "../../docker/tests/tls_double/mod.rs"]
mod tls_double;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use eid_docker::{Credentials, Directory, Endpoint, Engine, Error, Limits};
use engine_double::{
    chunk, response, EngineDouble, HostPorts, Misbehaviour, NewContainer, Reply, ScriptedEngine, Times, Where,
};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use serde_json::Value;
use serving::{command, eventually, next_event, own_address, Answer, Serve};
use support::{live, until, until_agreed, FAR_TOO_LONG};
use tls_double::{Authority, Folder, Identity};

/// `action` or `network action`, up to an action.
fn actions_until(events: &mut impl BufRead, last: &str) -> Vec<String> {
    let mut actions = Vec::new();
    while actions.last().is_none_or(|action| action != last) {
        let event = next_event(events).expect("the events end");
        let action = event["Action"].as_str().unwrap();
        actions.push(match event["Type"].as_str().unwrap() {
            "container" => action.to_owned(),
            other => format!("{other} {action}"),
        });
    }
    actions
}

/// The places in JSON at which there is anything, `*` standing for keys that are data.
fn paths(value: &Value) -> BTreeSet<String> {
    fn collect(value: &Value, at: &str, paths: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                let is_data = ["Labels", "Networks", "Ports", "Attributes"]
                    .iter()
                    .any(|name| at.ends_with(name));
                let key = if is_data { "*" } else { key };
                collect(value, &format!("{at}.{key}"), paths);
            }),
            Value::Array(items) => items.iter().for_each(|item| collect(item, &format!("{at}[]"), paths)),
            _ => drop(paths.insert(at.to_owned())),
        }
    }
    let mut paths = BTreeSet::new();
    collect(value, "", &mut paths);
    paths
}

fn names(list: &Answer) -> Vec<String> {
    let list = list.json();
    let name = |it: &Value| it["Names"][0].as_str().unwrap()[1..].to_owned();
    let mut names: Vec<_> = list.as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

/// One container for each reason to be shown, and some that have none.
fn shop() -> EngineDouble {
    let engine = EngineDouble::start();
    engine.add("published", 49_153);
    engine.run(NewContainer::new("exposed").expose(12345, "tcp"));
    engine.run(NewContainer::new("on-host").host_network());
    engine.run(
        NewContainer::new("labelled")
            .label("eid.cluster", "shop")
            .label("secret", "s3cret"),
    );
    engine.create(NewContainer::new("stopped").publish(49_154));
    engine.run(NewContainer::new("bare"));
    engine.run(NewContainer::new("web").port(80, "tcp", "0.0.0.0", 8080));
    engine.run(NewContainer::new("udp").expose(12345, "udp"));
    engine.run(NewContainer::new("alien").label("eidolon", "x").label("x.eid.y", "z"));
    engine
}

#[test]
fn what_is_shown() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    assert_eq!(
        names(&serve.get("/containers/json")),
        ["exposed", "labelled", "on-host", "published"]
    );
    let all = ["exposed", "labelled", "on-host", "published", "stopped"];
    assert_eq!(names(&serve.get("/v1.41/containers/json?all=1")), all);
    let listed = serve.get("/containers/json?all=1");
    let told = [
        "[].HostConfig.NetworkMode",
        "[].Id",
        "[].Labels.*",
        "[].Names[]",
        "[].NetworkSettings.Networks.*.GlobalIPv6Address",
        "[].NetworkSettings.Networks.*.IPAddress",
        "[].NetworkSettings.Networks.*.NetworkID",
        "[].Ports[].IP",
        "[].Ports[].PrivatePort",
        "[].Ports[].PublicPort",
        "[].Ports[].Type",
        "[].State",
        "[].Status",
    ];
    assert_eq!(paths(&listed.json()), told.map(str::to_owned).into());
    let of_one = [
        ".Config.Labels.*",
        ".HostConfig.NetworkMode",
        ".Id",
        ".Name",
        ".NetworkSettings.Networks.*.GlobalIPv6Address",
        ".NetworkSettings.Networks.*.IPAddress",
        ".NetworkSettings.Networks.*.NetworkID",
        ".NetworkSettings.Ports.*",
        ".NetworkSettings.Ports.*[].HostIp",
        ".NetworkSettings.Ports.*[].HostPort",
        ".State.Dead",
        ".State.Paused",
        ".State.Restarting",
        ".State.Running",
        ".State.StartedAt",
        ".State.Status",
    ];
    let inspected: Vec<Value> = all
        .iter()
        .map(|name| serve.get(&format!("/containers/{name}/json")).json())
        .collect();
    let found: BTreeSet<String> = inspected.iter().flat_map(paths).collect();
    assert_eq!(found, of_one.map(str::to_owned).into());
    for inspected in &inspected {
        let name = &inspected["Name"].as_str().unwrap()[1..];
        let truth = engine.inspected(name);
        for field in [
            "/Id",
            "/Name",
            "/State/Status",
            "/State/Running",
            "/State/StartedAt",
            "/HostConfig/NetworkMode",
            "/NetworkSettings/Ports",
            "/NetworkSettings/Networks/bridge/IPAddress",
        ] {
            assert_eq!(inspected.pointer(field), truth.pointer(field), "{name} {field}");
        }
    }
    assert!(!listed.body.contains("s3cret") && !format!("{inspected:?}").contains("s3cret"));
    assert!(!listed.body.contains("erlang:25"));
    // Also of what does not run it is told that its erlang port is one.
    for name in ["exposed", "published", "stopped"] {
        let config = &serve.get(&format!("/containers/{name}/json")).json()["Config"];
        assert_eq!(config["ExposedPorts"], serde_json::json!({"12345/tcp": {}}), "{name}");
    }
    let config = &serve.get("/containers/labelled/json").json()["Config"];
    assert!(config.get("ExposedPorts").is_none(), "{config}");
    let with_image = Serve::follow(engine.address(), &["--show-image"]);
    assert_eq!(with_image.get("/containers/json").json()[0]["Image"], "erlang:25");
    assert_eq!(
        with_image.get("/containers/labelled/json").json()["Config"]["Image"],
        "erlang:25"
    );
    // Another erlang port.
    let other = Serve::follow(engine.address(), &["--erlang-port", "80"]);
    assert_eq!(names(&other.get("/containers/json")), ["labelled", "on-host", "web"]);
}

#[test]
fn names_of_networks_are_not_told() {
    let engine = EngineDouble::start();
    engine.run(NewContainer::new("db").publish(1).network("hush-hush"));
    let serve = Serve::follow(engine.address(), &[]);
    let mut events = serve.events("");
    engine.connect("db", "hush-two");
    let event = next_event(&mut events).unwrap();
    let inspected = serve.get("/containers/db/json");
    let network = engine.inspected("db")["NetworkSettings"]["Networks"]["hush-hush"]["NetworkID"].clone();
    assert_eq!(inspected.json()["HostConfig"]["NetworkMode"], network);
    assert_eq!(
        inspected.json()["NetworkSettings"]["Networks"][network.as_str().unwrap()]["NetworkID"],
        network
    );
    assert_eq!(event["Actor"]["Attributes"].as_object().unwrap().len(), 2, "{event}");
    for text in [event.to_string(), inspected.body, serve.get("/containers/json").body] {
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn what_is_hidden_is_not_there() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    let nobody = "f".repeat(64);
    let answer = |text: &str| {
        let answer = serve.get(&format!("/containers/{text}/json"));
        let date = answer
            .head
            .lines()
            .filter(|line| !line.starts_with("date:") && !line.starts_with("content-length:"));
        (date.collect::<String>(), answer.body.replace(text, "X"))
    };
    let truth = answer(&nobody);
    assert!(truth.1.contains("No such container: X"), "{}", truth.1);
    for name in ["bare", "web", "udp", "alien"] {
        let id = engine.find(name).unwrap();
        for text in [name, &id, &id[..12], &id[..3]] {
            assert_eq!(answer(text), truth, "{text}");
        }
    }
    let mut events = serve.events("");
    for name in ["bare", "web"] {
        engine.restart(name);
        engine.connect(name, "other");
        engine.rename(name, &format!("{name}-2"));
        engine.signal(&format!("{name}-2"));
    }
    engine.signal("published");
    assert_eq!(
        next_event(&mut events).unwrap()["Actor"]["Attributes"]["name"],
        "published"
    );
}

#[test]
fn by_id_by_name_and_by_prefix() {
    let engine = EngineDouble::start();
    let ids: Vec<String> = (0..40).map(|n| engine.add(&format!("c{n}"), 40_000 + n)).collect();
    let named = engine.add(&ids[0][..12], 50_000);
    let serve = Serve::follow(engine.address(), &[]);
    let find = |text: &str| serve.get(&format!("/containers/{text}/json"));
    assert_eq!(find(&ids[0]).json()["Id"], *ids[0]);
    assert_eq!(find("c7").json()["Id"], *ids[7]);
    assert_eq!(find(&ids[1][..12]).json()["Id"], *ids[1]);
    assert_eq!(find(&ids[0][..12]).json()["Id"], *named, "a name comes before a prefix");
    let mut all = (0..16).map(|digit| format!("{digit:x}"));
    let ambiguous = all
        .find(|digit| ids.iter().filter(|id| id.starts_with(digit)).count() > 1)
        .unwrap();
    let answer = find(&ambiguous);
    assert_eq!((answer.status, answer.message().contains("multiple IDs")), (400, true));
    // It gets another name, and its name another container.
    engine.rename("c7", "c99");
    engine.rename("c8", "c7");
    eventually("the names have changed", || {
        find("c7").json()["Id"] == *ids[8] && find("c8").status == 404
    });
    assert_eq!(find("c99").json()["Id"], *ids[7]);
    engine.remove("c99");
    eventually("it is gone", || {
        find("c99").status == 404 && find(&ids[7]).status == 404
    });
}

#[test]
fn nothing_else_is_answered() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    let before = engine.notes().requests();
    for path in [
        "/",
        "/info",
        "/images/json",
        "/volumes",
        "/networks",
        "/system/df",
        "/containers/published",
        "/containers/published/logs",
        "/containers/published/top",
        "/containers/published/export",
        "/containers/published/archive?path=/",
        "/containers/published/json/",
        "/containers//json",
        "/containers/../json",
        "/containers/a%2f..%2fb/json",
        "/containers/a/b/json",
        "/v1.41",
        "/v1/containers/json",
        "/v1.41/metrics",
        "/v1.41/eid/host",
        "/v1.41/v1.41/containers/json",
        "//containers/json",
        "/exec/x/json",
        "http://169.254.169.254/containers/published/logs",
        &format!("/containers/{}/json", "x".repeat(257)),
    ] {
        let answer = serve.get(path);
        assert_eq!(
            (answer.status, answer.message()),
            (404, "page not found".to_owned()),
            "{path}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "FOO"] {
        let answer = serve.send(method, "/containers/json", "");
        assert!([400, 404, 405].contains(&answer.status), "{method} {}", answer.head);
    }
    assert_eq!(serve.send("POST", "/containers/published/stop", "").status, 404);
    let allowed = serve.send("DELETE", "/containers/published/json", "");
    assert_eq!((allowed.status, allowed.head.contains("allow: get, head")), (405, true));
    assert_eq!(engine.notes().requests(), before, "nothing was passed on");
    for (version, status) in [("1.24", 200), ("1.41", 200), ("1.42", 400), ("1.23", 400), ("2.0", 400)] {
        assert_eq!(serve.get(&format!("/v{version}/_ping")).status, status, "{version}");
    }
    let head = serve.send("HEAD", "/containers/published/json", "");
    let body = serve.get("/containers/published/json").body;
    assert!(
        head.body.is_empty() && head.head.contains(&format!("content-length: {}", body.len())),
        "{}",
        head.head
    );
    assert!(serve.send("HEAD", "/events", "").body.is_empty());
}

#[test]
fn queries() {
    let engine = shop();
    engine.run(NewContainer::new("other").label("eid.cluster", "b"));
    let serve = Serve::follow(engine.address(), &[]);
    let list = |query: &str| serve.get(&format!("/containers/json?{query}"));
    let filters = |json: &str| {
        let encoded: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("filters={encoded}")
    };
    for query in [
        "size=1",
        "size=true",
        "limit=1",
        "since=x",
        "before=x",
        "foo=bar",
        "filters=%zz",
        "filters=[]",
        "filters=",
        "all=0&all=1",
        "filters=%7B%7D&filters=%7B%7D",
    ] {
        assert_eq!(list(query).status, 400, "{query}");
    }
    for json in [
        r#"{"label":["secret"]}"#,
        r#"{"label":["secret=s3cret"]}"#,
        r#"{"ancestor":["erlang:25"]}"#,
        r#"{"volume":["/x"]}"#,
        r#"{"network":["hush"]}"#,
        r#"{"health":["healthy"]}"#,
        r#"{"exited":["0"]}"#,
        r#"{"name":["(a+)+$"]}"#,
        r#"{"label":"eid.cluster"}"#,
        r#"{"label":[7]}"#,
    ] {
        assert_eq!(list(&filters(json)).status, 400, "{json}");
    }
    let found = |json: &str| names(&list(&filters(json)));
    assert_eq!(found(r#"{"label":["eid.cluster=shop"]}"#), ["labelled"]);
    assert_eq!(found(r#"{"label":{"eid.cluster":true}}"#), ["labelled", "other"]);
    assert_eq!(
        found(r#"{"label":["eid.cluster=shop","eid.cluster=b"]}"#),
        Vec::<String>::new()
    );
    assert_eq!(found(r#"{"name":["^/pub","lab"]}"#), ["labelled", "published"]);
    assert_eq!(found(r#"{"status":["created","exited"]}"#), ["stopped"]);
    assert_eq!(
        found(&format!(r#"{{"id":["{}"]}}"#, &engine.find("other").unwrap()[..12])),
        ["other"]
    );
    assert_eq!(serve.get("/containers/published/json?size=1").status, 400);
    assert_eq!(serve.get("/containers/published/json?size=0").status, 200);
    for query in [
        "since=1",
        "until=1",
        "foo",
        &filters(r#"{"image":["x"]}"#),
        &filters(r#"{"label":["secret"]}"#),
    ] {
        assert_eq!(serve.get(&format!("/events?{query}")).status, 400, "{query}");
    }
    // Events by what they are about.
    let mut of_other = serve.events(&format!(
        "?{}",
        filters(r#"{"label":["eid.cluster=b"],"event":["kill"],"type":["container"]}"#)
    ));
    engine.restart("published");
    engine.restart("other");
    engine.signal("other");
    for _ in 0..2 {
        let event = next_event(&mut of_other).unwrap();
        assert_eq!(
            (&event["Action"], &event["Actor"]["Attributes"]["name"]),
            (&"kill".into(), &"other".into())
        );
    }
}

#[test]
fn events_and_their_order() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    let mut events = serve.events("");
    engine.restart("published");
    let restart = [
        "kill",
        "die",
        "network disconnect",
        "stop",
        "network connect",
        "start",
        "restart",
    ];
    assert_eq!(actions_until(&mut events, "restart"), restart);
    // Who has heard of it and asks, gets what is true then.
    for port in 50_001..50_050 {
        engine.restart_at("published", port);
        actions_until(&mut events, "start");
        let inspected = serve.get("/containers/published/json").json();
        assert_eq!(
            inspected["NetworkSettings"]["Ports"]["12345/tcp"][0]["HostPort"],
            port.to_string()
        );
        actions_until(&mut events, "restart");
    }
    let id = engine.add("new", 50_100);
    assert_eq!(
        actions_until(&mut events, "start"),
        ["create", "network connect", "start"]
    );
    assert_eq!(serve.get("/containers/new/json").json()["Id"], *id);
    engine.remove("new");
    let gone = ["kill", "die", "network disconnect", "destroy"];
    assert_eq!(actions_until(&mut events, "destroy"), gone);
    assert_eq!(serve.get("/containers/new/json").status, 404);
}

/// An engine of one container, whose events are these lines after the first.
async fn with_events(lines: &'static [&'static str]) -> ScriptedEngine {
    let id = "a".repeat(64);
    ScriptedEngine::start(move |_, path| {
        let inspected = format!(
            r#"{{"Id":"{id}","Name":"/db","Args":["S3CRET"],"State":{{"Status":"running","Running":true,"Health":{{"Log":[{{"Output":"S3CRET"}}]}}}},
               "Config":{{"Env":["X=S3CRET"],"Labels":{{"eid.a":"1","S3CRET":"S3CRET"}},"Image":"S3CRET","ExposedPorts":{{"S3CRET":{{}}}}}},
               "HostConfig":{{"NetworkMode":"S3CRET"}},"Mounts":[{{"Source":"/S3CRET"}}],"NetworkSettings":{{"Ports":{{"S3CRET/tcp":null,
               "1/tcp":[{{"HostIp":"S3CRET","HostPort":"1"}}],"2/tcp":[{{"HostIp":"::","HostPort":"S3CRET"}}]}},"Networks":{{
               "S3CRET":{{"NetworkID":"S3CRET","IPAddress":"S3CRET","Aliases":["S3CRET"],"DNSNames":["S3CRET"]}}}}}}}}"#
        );
        if path.contains("/events") {
            let body: Vec<u8> = lines.iter().flat_map(|line| chunk(format!("{}\n", line.replace("CONTAINER", &id)).as_bytes())).collect();
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            // Once there is somebody to hear it.
            let late = tokio::time::Duration::from_millis(1500);
            Reply::stream(move |mut wire| async move {
                use tokio::io::AsyncWriteExt;
                let _ = wire.write_all(head).await;
                tokio::time::sleep(late).await;
                let _ = wire.write_all(&body).await;
                tokio::time::sleep(FAR_TOO_LONG).await;
            })
        } else if path.contains("all=1") {
            Reply::ok(format!(r#"[{{"Id":"{id}","Names":["/db"],"Command":"S3CRET","State":"running"}}]"#))
        } else {
            Reply::Answer(response("200 OK", "X-Secret: S3CRET\r\n", inspected))
        }
    })
    .await
}

#[tokio::test]
async fn nothing_of_an_exec() {
    let engine = with_events(&[
        r#"{"Type":"container","Action":"exec_create: sh -c S3CRET","Actor":{"ID":"CONTAINER","Attributes":{"execID":"S3CRET","name":"db"}},"time":1}"#,
        r#"{"Type":"container","Action":"exec_start: sh -c S3CRET","Actor":{"ID":"CONTAINER","Attributes":{"image":"S3CRET"}},"time":1}"#,
        r#"{"Type":"container","Action":"exec_die","Actor":{"ID":"CONTAINER"},"time":1}"#,
        r#"{"Type":"container","Action":"health_status: S3CRET","Actor":{"ID":"CONTAINER"},"time":1}"#,
        r#"{"Type":"container","Action":"S3CRET","Actor":{"ID":"CONTAINER"},"time":1}"#,
        r#"{"Type":"S3CRET","Action":"start","Actor":{"ID":"CONTAINER"},"time":1}"#,
        r#"{"Type":"network","Action":"create","Actor":{"ID":"CONTAINER","Attributes":{"name":"S3CRET"}},"time":1}"#,
        r#"{"Type":"image","Action":"pull","Actor":{"ID":"S3CRET"},"time":1}"#,
        r#"{"Type":"network","Action":"connect","Actor":{"ID":"S3CRET","Attributes":{"name":"S3CRET","type":"S3CRET","container":"CONTAINER"}},"time":1}"#,
        r#"{"Type":"container","Action":"health_status: healthy","Actor":{"ID":"CONTAINER","Attributes":{"S3CRET":"S3CRET"}},"time":1}"#,
        r#"{"status":"S3CRET","from":"S3CRET","Type":"container","Action":"kill","Actor":{"ID":"CONTAINER","Attributes":{"signal":"S3CRET","name":"S3CRET"}},"time":1}"#,
    ])
    .await;
    let address = engine.address();
    tokio::task::spawn_blocking(move || {
        let serve = Serve::follow(address, &[]);
        let mut events = serve.events("");
        let actions: Vec<Value> = (0..3).map(|_| next_event(&mut events).unwrap()).collect();
        let text = format!("{actions:?}");
        assert_eq!(actions[0]["Action"], "connect");
        assert_eq!(actions[1]["Action"], "health_status: healthy");
        assert_eq!(actions[2]["Action"], "kill");
        let answers = [
            "/containers/json",
            "/containers/db/json",
            "/containers/aaaa/json",
            "/version",
            "/_ping",
            "/metrics",
        ];
        let answers: String = answers
            .map(|path| serve.get(path))
            .iter()
            .map(|it| it.head.clone() + &it.body)
            .collect();
        assert!(
            !text.contains("S3CRET") && !answers.to_uppercase().contains("S3CRET"),
            "{text}\n{answers}"
        );
    })
    .await
    .unwrap();
}

#[test]
fn an_engine_that_is_lost_and_comes_back() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    let mut events = serve.events("");
    engine.stop_engine();
    assert_eq!(next_event(&mut events), None);
    for path in [
        "/_ping",
        "/version",
        "/containers/json",
        "/containers/published/json",
        "/events",
    ] {
        let answer = serve.get(path);
        assert_eq!(answer.status, 503, "{path}");
        assert!(
            answer.message().starts_with("eid serve can't ask its engine: "),
            "{}",
            answer.body
        );
    }
    assert_eq!(serve.get("/metrics").status, 200);
    engine.restart_engine(HostPorts::New);
    serve.until_live();
    let truth = engine.inspected("published")["NetworkSettings"]["Ports"].clone();
    assert_eq!(
        serve.get("/containers/published/json").json()["NetworkSettings"]["Ports"],
        truth
    );
    assert!(serve.figure("eid_serve_upstream_requests_total") > 0);
}

/// What it writes then may name anything, and so may a proxy before it.
#[tokio::test]
async fn nothing_of_an_engines_excuses() {
    for body in [r#"{"message":"no S3CRET here"}"#, "S3CRET"] {
        let engine = ScriptedEngine::start(move |_, _| {
            Reply::Answer(response("500 Internal Server Error", "X-Secret: S3CRET\r\n", body))
        })
        .await;
        let address = engine.address();
        tokio::task::spawn_blocking(move || {
            let serve = Serve::start(address, &[]);
            eventually("the engine has been asked", || {
                serve.get("/_ping").message().ends_with("it refuses to answer")
            });
            for path in [
                "/_ping",
                "/version",
                "/containers/json",
                "/containers/db/json",
                "/events",
                "/metrics",
            ] {
                let answer = serve.get(path);
                assert!(
                    !(answer.head + &answer.body).to_uppercase().contains("S3CRET"),
                    "{path} {}",
                    answer.body
                );
            }
        })
        .await
        .unwrap();
    }
}

#[test]
fn an_engine_that_never_answers_about_one_container_does_not_fill_the_log() {
    let engine = shop();
    engine.misbehave(Misbehaviour::InternalError, Where::Inspect, Times::Always);
    let serve = Serve::follow(engine.address(), &[]);
    let asked = engine.notes().requests();
    eventually("it asks again and again", || engine.notes().requests() > asked + 5 * 9);
    let log = serve.log();
    assert_eq!(log.matches("the container ").count(), 1, "{log}");
    engine.behave();
    eventually("they are there", || names(&serve.get("/containers/json")).len() == 4);
}

#[test]
fn an_engine_that_does_not_answer_about_one_container() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    engine.misbehave(Misbehaviour::InternalError, Where::Inspect, Times::Always);
    engine.restart("published");
    eventually("it is unclear", || {
        serve.get("/containers/published/json").status == 503
    });
    assert_eq!(serve.get("/containers/labelled/json").status, 200);
    engine.behave();
    eventually("it is clear", || serve.get("/containers/published/json").status == 200);
}

/// Whatever happens on the way: no container is lost for a directory that follows this server in the engine's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_before_it_loses_nothing() {
    let engine = EngineDouble::start();
    let mut ids = engine.add_many(20, "c");
    let serve = Serve::follow(engine.address(), &["--rate", "0"]);
    let endpoint = Endpoint::parse(&format!("tcp://{}", serve.address)).unwrap();
    let directory = Directory::new(Engine::new(endpoint, Limits::default()), None);
    support::open(&directory).await;
    for round in 0..200 {
        match round % 10 {
            0 => engine.remove(&ids.swap_remove(round % ids.len())),
            1 => ids.push(engine.add(&format!("n{round}"), engine.free_host_port())),
            2 => engine.rename(&ids[round % ids.len()], &format!("r{round}")),
            3 if round % 40 == 3 => engine.cut_streams(),
            5 if round % 100 == 5 => engine.restart_engine(HostPorts::New),
            _ => engine.restart_at(&ids[round % ids.len()], engine.free_host_port()),
        }
        if round % 20 == 19 {
            until_agreed(&directory, &engine).await;
        }
    }
    until_agreed(&directory, &engine).await;
    drop(live(&engine).await);
}

#[test]
fn a_thousand_subscribers_for_one_subscription() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(4096, |most| most.min(4096)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let engine = EngineDouble::start();
    engine.add("db", 49_153);
    let serve = Serve::follow(engine.address(), &["--rate", "0"]);
    let requests = engine.notes().requests();
    let mut all: Vec<_> = (0..1000).map(|_| serve.events("")).collect();
    assert_eq!(serve.figure("eid_serve_event_subscribers"), 1000);
    engine.restart("db");
    for events in &mut all {
        assert_eq!(actions_until(events, "restart").len(), 7);
    }
    assert_eq!(engine.notes().subscribers, 1);
    // The container was asked about, and there was the second list.
    assert!(
        engine.notes().requests() - requests < 12,
        "{}",
        engine.notes().summary()
    );
    drop(all);
    eventually("they are gone", || serve.figure("eid_serve_event_subscribers") == 0);
}

#[test]
fn a_slow_subscriber_is_cut_off_and_nobody_else() {
    let engine = EngineDouble::start();
    engine.run(
        NewContainer::new("db")
            .publish(49_153)
            .label("eid.long", &"x".repeat(1500)),
    );
    let serve = Serve::follow(engine.address(), &[]);
    let slow = serve.events("");
    let mut quick = serve.events("");
    let mut sent = 0;
    while serve.figure("eid_serve_cut_off_total") == 0 {
        (0..200).for_each(|_| engine.signal("db"));
        (0..200).for_each(|_| assert_eq!(next_event(&mut quick).unwrap()["Action"], "kill"));
        sent += 200;
        assert!(sent < 100_000);
    }
    assert_eq!(serve.figure("eid_serve_cut_off_total"), 1);
    drop(slow);
}

// Who may ask

fn with_token(serve: &Serve, token: &str) -> u16 {
    serve
        .send("GET", "/containers/json", &format!("Authorization: {token}\r\n"))
        .status
}

#[test]
fn a_token() {
    let engine = shop();
    let folder = Folder::new(&[("token", "correct-horse\n")]);
    let file = folder.path().join("token");
    let serve = Serve::start(engine.address(), &["--token-file", file.to_str().unwrap()]);
    eventually("it is live", || with_token(&serve, "Bearer correct-horse") == 200);
    for wrong in [
        "",
        "Bearer ",
        "Bearer correct-hors",
        "Bearer correct-horsee",
        "Basic correct-horse",
        "correct-horse",
    ] {
        assert_eq!(with_token(&serve, wrong), 401, "{wrong}");
    }
    for path in ["/_ping", "/metrics", "/eid/host", "/nonsense", "/events"] {
        let answer = serve.get(path);
        assert_eq!(
            (answer.status, answer.head.contains("www-authenticate: bearer")),
            (401, true),
            "{path}"
        );
    }
    // Renewed, and then damaged.
    fs::write(&file, "battery-staple").unwrap();
    eventually("it is renewed", || with_token(&serve, "Bearer battery-staple") == 200);
    assert_eq!(with_token(&serve, "Bearer correct-horse"), 401);
    // By one of the same size and time, as rsync --times and restored backups have them.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let new = folder.path().join("new");
    fs::write(&new, "battery-saucer").unwrap();
    fs::File::options()
        .write(true)
        .open(&new)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    fs::rename(&new, &file).unwrap();
    eventually("it is renewed again", || {
        with_token(&serve, "Bearer battery-saucer") == 200
    });
    fs::write(&file, "battery-staple").unwrap();
    eventually("it is as before", || with_token(&serve, "Bearer battery-staple") == 200);
    fs::write(&file, "").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        (
            with_token(&serve, "Bearer battery-staple"),
            with_token(&serve, "Bearer ")
        ),
        (200, 401)
    );
}

/// A folder for the server.
fn certificates(server: &Identity, clients: Option<&Authority>) -> Folder {
    let clients = clients.map(Authority::pem);
    let mut files = vec![
        ("cert.pem", server.certificate.as_str()),
        ("key.pem", server.key.as_str()),
    ];
    files.extend(clients.as_ref().map(|pem| ("ca.pem", pem.as_str())));
    Folder::new(&files)
}

async fn ask(address: SocketAddr, client: &Folder, token: Option<&Folder>) -> Result<usize, Error> {
    let endpoint = Endpoint::for_host(
        &format!("https://{{host}}:{}", address.port()),
        "serve.example",
        address.ip(),
    )
    .unwrap();
    let credentials = Credentials {
        certificates: Some(client.path().to_owned()),
        token_file: token.map(|folder| folder.path().join("token")),
    };
    let engine = Engine::with_credentials(endpoint, Limits::default(), credentials);
    engine.list().await.map(|list| list.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_and_a_token() {
    let engine = shop();
    let authority = Authority::new();
    let server = authority.server("serve.example");
    let folder = certificates(&server, Some(&authority));
    let token = Folder::new(&[("token", "correct-horse")]);
    let wrong_token = Folder::new(&[("token", "wrong")]);
    let client = Folder::of_client(&authority, Some(&authority.client()));
    let nobody = Folder::of_client(&authority, None);
    let stranger = Folder::of_client(&authority, Some(&Authority::new().client()));
    let path = folder.path().to_str().unwrap();
    let serve = Serve::start(engine.address(), &["--certs", path]);
    until("it is live", || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(ask(serve.address, &client, None)) == Ok(4)
        })
    })
    .await;
    let posing = Folder::of_client(&authority, Some(&server));
    for refused in [&nobody, &stranger, &posing] {
        let asked = ask(serve.address, refused, None).await;
        assert!(
            matches!(&asked, Err(Error::Unreachable(why)) if why.contains("certificate")),
            "{asked:?}"
        );
    }
    // Without TLS there is nothing.
    assert_eq!(serve.get("/containers/json").status, 0);
    // Both are needed where both are set.
    let file = token.path().join("token");
    let both = Serve::start(
        engine.address(),
        &["--certs", path, "--token-file", file.to_str().unwrap()],
    );
    until("it is live", || {
        let asked = ask(both.address, &client, Some(&token));
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked) == Ok(4))
    })
    .await;
    for (client, token) in [(&client, None), (&client, Some(&wrong_token))] {
        let asked = ask(both.address, client, token).await;
        assert!(matches!(asked, Err(Error::Refused { status: 401, .. })), "{asked:?}");
    }
    assert!(ask(both.address, &nobody, Some(&token)).await.is_err());
    // A certificate that is renewed by another authority.
    let other = Authority::new();
    let renewed = other.server("serve.example");
    let newcomer = Folder::of_client(&other, Some(&other.client()));
    for (name, text) in [
        ("ca.pem", &other.pem()),
        ("cert.pem", &renewed.certificate),
        ("key.pem", &renewed.key),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    until("it is renewed", || {
        let asked = ask(serve.address, &newcomer, None);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked) == Ok(4))
    })
    .await;
    assert!(ask(serve.address, &client, None).await.is_err());
}

#[test]
fn where_it_does_not_listen() {
    let authority = Authority::new();
    let server = authority.server("serve.example");
    let (mutual, one_sided) = (certificates(&server, Some(&authority)), certificates(&server, None));
    let token = Folder::new(&[("token", "correct-horse"), ("empty", "")]);
    let text = |folder: &Folder| folder.path().to_str().unwrap().to_owned();
    let (mutual, one_sided) = (text(&mutual), text(&one_sided));
    let (file, empty) = (text(&token) + "/token", text(&token) + "/empty");
    let run = |arguments: &[&str]| -> Output { command("unix:///nowhere", arguments).output().unwrap() };
    let refused: [(&[&str], &str); 11] = [
        (&["--listen", "0.0.0.0:4243"], "nobody would know who they are"),
        (&["--listen", "[::]:4243"], "nobody would know who they are"),
        (&["--listen", "192.0.2.1:4243"], "nobody would know who they are"),
        (
            &["--listen", "127.0.0.1:4243", "--listen", "0.0.0.0:4243"],
            "nobody would know",
        ),
        (
            &["--listen", "192.0.2.1:4243", "--certs", &one_sided],
            "nobody would know who they are",
        ),
        (
            &["--listen", "tcp://192.0.2.1:4243", "--certs", &mutual],
            "nobody would know who they are",
        ),
        (
            &["--listen", "192.0.2.1:4243", "--token-file", &file],
            "the token could be read",
        ),
        (
            &[
                "--listen",
                "tcp://192.0.2.1:4243",
                "--certs",
                &mutual,
                "--token-file",
                &file,
            ],
            "the token could be read",
        ),
        (&["--listen", "https://127.0.0.1:4243"], "needs certificates"),
        (&["--listen", "127.0.0.1:4243", "--token-file", &empty], "is empty"),
        (
            &["--listen", "127.0.0.1:4243", "--certs", "/nowhere"],
            "there is no folder",
        ),
    ];
    for (arguments, why) in refused {
        let output = run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.starts_with("eid: ") && error.contains(why),
            "{arguments:?} {error}"
        );
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    }
    for arguments in [
        &["--listen", "4243"][..],
        &["--listen", "127.0.0.1"],
        &["--listen", "127.0.0.1:0"],
        &["--listen", "host:4243"],
        &["--listen", "unix://a"],
        &["--listen", "127.0.0.1:4243", "--advertise", "0.0.0.0"],
        &["--listen", "127.0.0.1:4243", "--advertise", "a b"],
        &[],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    // These get as far as having no such address.
    for arguments in [
        &["--listen", "192.0.2.1:4243", "--certs", &mutual][..],
        &[
            "--listen",
            "192.0.2.1:4243",
            "--certs",
            &one_sided,
            "--token-file",
            &file,
        ],
        &["--listen", "192.0.2.1:4243", "--insecure"],
    ] {
        let error = String::from_utf8(run(arguments).stderr).unwrap();
        assert!(error.contains("it can't listen on"), "{arguments:?} {error}");
    }
}

// Limits

#[test]
fn too_many_requests() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &["--rate", "20"]);
    let answers: Vec<Answer> = (0..200).map(|_| serve.get("/_ping")).collect();
    let late = answers
        .iter()
        .find(|answer| answer.status == 429)
        .expect("no end of requests");
    assert!(
        late.head.contains("retry-after: 1") && !late.message().is_empty(),
        "{}",
        late.head
    );
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 20);
    eventually("it goes on", || {
        std::thread::sleep(Duration::from_millis(200));
        serve.get("/_ping").status == 200
    });
}

#[test]
fn too_many_connections() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &["--max-connections", "3"]);
    let mut held = Vec::new();
    eventually("all places are taken", || {
        held.push(serve.connect());
        serve.get("/_ping").status == 0
    });
    assert!(held.len() >= 3);
    drop(held);
    eventually("there are places", || serve.get("/_ping").status == 200);
    assert!(serve.figure("eid_serve_turned_away_total") > 0);
}

/// Connections do not take the descriptors that the engine is asked with.
#[test]
fn few_descriptors() {
    let engine = shop();
    let address = own_address();
    let docker = format!("tcp://{}", engine.address());
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 128 && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_eid"),
            "serve",
        ])
        .args(["--docker", &docker, "--listen", &address.to_string()])
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    let serve = Serve::run(&mut command, address);
    serve.until_live();
    let mut events = serve.events("");
    let held: Vec<TcpStream> = (0..300).map(|_| serve.connect()).collect();
    eventually("those beyond are closed", || serve.get("/_ping").status == 0);
    // Also when it has to connect anew.
    engine.cut_streams();
    assert_eq!(next_event(&mut events), None);
    drop(held);
    serve.until_live();
    assert!(serve.figure("eid_serve_turned_away_total") > 200);
}

#[test]
fn requests_that_are_none() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    let long = "x".repeat(100_000);
    for (sent, statuses) in [
        (
            format!("GET /_ping HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"),
            &[431, 400, 0][..],
        ),
        (format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), &[414, 431, 400, 0]),
        (
            format!("GET /_ping HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: x\r\n".repeat(100)),
            &[431, 400],
        ),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), &[400, 0]),
        ("GET /_ping HTTP/9.9\r\n\r\n".to_owned(), &[400, 505, 0]),
        (
            format!(
                "GET /containers/json?filters={} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                "x".repeat(5000)
            ),
            &[400],
        ),
    ] {
        let mut stream = serve.connect();
        let _ = stream.write_all(sent.as_bytes());
        let answer = Answer::read(stream);
        assert!(statuses.contains(&answer.status), "{} {}", &sent[..20], answer.head);
    }
    // A head that does not end does no harm to others.
    let mut slow: Vec<TcpStream> = (0..50).map(|_| serve.connect()).collect();
    slow.iter_mut()
        .for_each(|stream| stream.write_all(b"GET /_ping HTTP/1.1\r\nHo").unwrap());
    assert_eq!(serve.get("/_ping").status, 200);
}

// The end

#[test]
fn sigterm() {
    let engine = shop();
    let folder = Folder::new(&[]);
    let socket = folder.path().join("eid.sock");
    let listen = format!("unix://{}", socket.display());
    let mut serve = Serve::follow(engine.address(), &["--listen", &listen, "--drain", "5"]);
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut unix = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    write!(
        unix,
        "GET /containers/json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    assert_eq!(names(&Answer::read(unix)).len(), 4);
    let mut events = serve.events("");
    let idle = serve.connect();
    let mut slow = serve.connect();
    slow.write_all(b"GET /_pi").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    assert_eq!(serve.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // The end of a chunked body, and not only that of the connection.
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\r\n\r\n");
    assert!(TcpStream::connect(serve.address).is_err() && !socket.exists());
    drop((idle, slow));
    // What is left of another one is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let again = Serve::follow(engine.address(), &["--listen", &listen]);
    let taken = command("unix:///nowhere", &["--listen", &listen]).output().unwrap();
    assert!(String::from_utf8(taken.stderr).unwrap().contains("can't listen"));
    drop(again);
}
