//! Tests of `eid serve`: which events it sends to which clients, also while the engine fails.

use eid_docker::{Directory, Endpoint, Engine, Limits};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use serde_json::Value;

use crate::engine_double::{
    chunk, response, EngineDouble, Gate, HostPorts, Misbehaviour, NewContainer, Reply, ScriptedEngine, Times, Where,
};
use crate::serving::{eventually, next_event, Serve};
use crate::support::{live, until_agreed};
use crate::{actions_until, after_the_second_list, names, shop};

#[test]
fn events_and_their_order() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    let mut events = serve.events("");
    after_the_second_list(&engine);
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
    // A client that asks after an event gets the state after that event.
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

/// An engine with one container. It sends these lines as events once the gate is open.
async fn with_events(lines: &'static [&'static str], gate: Gate) -> ScriptedEngine {
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
            let gate = gate.clone();
            Reply::stream(move |mut wire| async move {
                use tokio::io::AsyncWriteExt;
                let _ = wire.write_all(head).await;
                gate.passed().await;
                let _ = wire.write_all(&body).await;
                std::future::pending().await
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
    let gate = Gate::new();
    let lines = &[
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
    ];
    let engine = with_events(lines, gate.clone()).await;
    let address = engine.address();
    tokio::task::spawn_blocking(move || {
        let serve = Serve::follow(address, &[]);
        let mut events = serve.events("");
        gate.open();
        let actions: Vec<Value> = (0..2).map(|_| next_event(&mut events).unwrap()).collect();
        let text = format!("{actions:?}");
        assert_eq!(actions[0]["Action"], "connect");
        assert_eq!(actions[1]["Action"], "kill");
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

/// An engine's error text may contain any secret, and so may the error page of a proxy in front of it.
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
    eventually("all containers are listed", || {
        names(&serve.get("/containers/json")).len() == 4
    });
}

#[test]
fn an_engine_that_does_not_answer_about_one_container() {
    let engine = shop();
    let serve = Serve::follow(engine.address(), &[]);
    engine.misbehave(Misbehaviour::InternalError, Where::Inspect, Times::Always);
    engine.restart("published");
    eventually("the answer is a 503", || {
        serve.get("/containers/published/json").status == 503
    });
    assert_eq!(serve.get("/containers/labelled/json").status, 200);
    engine.behave();
    eventually("the answer is a 200", || {
        serve.get("/containers/published/json").status == 200
    });
}

/// A directory that follows this server instead of the engine loses no container, whatever the engine does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_before_it_loses_nothing() {
    let engine = EngineDouble::start();
    let mut ids = engine.add_many(20, "c");
    let serve = Serve::follow(engine.address(), &["--rate", "0"]);
    let endpoint = Endpoint::parse(&format!("tcp://{}", serve.address)).unwrap();
    let directory = Directory::new(Engine::new(endpoint, Limits::default()), None);
    crate::support::open(&directory).await;
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
    after_the_second_list(&engine);
    engine.restart("db");
    for events in &mut all {
        assert_eq!(actions_until(events, "restart").len(), 7);
    }
    assert_eq!(engine.notes().subscribers, 1);
    // The requests are the inspects of the container and the second list.
    assert!(
        engine.notes().requests() - requests < 12,
        "{}",
        engine.notes().summary()
    );
    drop(all);
    eventually("all subscribers are gone", || {
        serve.figure("eid_serve_event_subscribers") == 0
    });
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
