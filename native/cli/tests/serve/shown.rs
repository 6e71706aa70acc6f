//! Tests of `eid serve`: what it shows of containers, and that it hides everything else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine_double::{EngineDouble, NewContainer};
use crate::serving::{eventually, next_event, Serve};
use crate::{after_the_second_list, names, paths, shop};

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
    // The server lists the distribution port as exposed even for a container that does not run.
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
    // A server with another distribution port shows other containers.
    let other = Serve::follow(engine.address(), &["--erlang-port", "80"]);
    assert_eq!(names(&other.get("/containers/json")), ["labelled", "on-host", "web"]);
}

#[test]
fn names_of_networks_are_not_told() {
    let engine = EngineDouble::start();
    engine.run(NewContainer::new("db").publish(1).network("hush-hush"));
    let serve = Serve::follow(engine.address(), &[]);
    let mut events = serve.events("");
    after_the_second_list(&engine);
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
    // Rename a container, and give its old name to another one.
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
    // Filter events by the attributes of their container.
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
