use super::*;
use crate::api::wire::Inspected;
use serde_json::json;

fn described(inspect: &Value) -> Description {
    let inspected: Inspected = serde_json::from_value(inspect.clone()).unwrap();
    Description::read(inspected.into(), inspect)
}

#[test]
fn what_an_inspect_says() {
    let found = described(
        &json!({"Id": "a", "Name": "/db", "Image": "sha256:7", "Config": {"Image": "shop:1",
        "ExposedPorts": {"12345/tcp": {}, "53/udp": {}}}, "HostConfig": {"PortBindings": {"80/tcp": [], "x": null}},
        "NetworkSettings": {"Ports": {"12345/tcp": null, "7": null}},
        "State": {"Status": "paused", "Running": true, "StartedAt": "2024-02-29T12:00:00.5Z"}}),
    );
    assert_eq!(found.container.name, "db");
    assert_eq!(
        (found.state.as_str(), found.image.as_deref()),
        ("paused", Some("shop:1"))
    );
    assert_eq!(found.started.as_deref(), Some("2024-02-29T12:00:00.5Z"));
    assert_eq!(found.ports, [7, 80, 12345]);
}

#[test]
fn why_a_container_does_not_run() {
    let found = described(
        &json!({"Id": "a", "Config": {"Env": ["COOKIE=secret"]}, "State": {"Status": "exited", "OOMKilled": true,
        "Error": "no\nspace", "ExitCode": 137, "FinishedAt": "2026-01-02T03:04:05.6Z"}}),
    );
    let expected = Description {
        container: found.container.clone(),
        state: "exited".to_owned(),
        finished: Some("2026-01-02T03:04:05.6Z".to_owned()),
        exit_code: Some(137),
        error: Some("no space".to_owned()),
        out_of_memory: true,
        ..Description::default()
    };
    assert_eq!(found, expected);
    let running = json!({"Id": "a", "State": {"Status": "running", "ExitCode": 0, "FinishedAt": "0001-01-01T00:00:00Z", "Error": ""}});
    let running = described(&running);
    assert_eq!(
        (running.exit_code, running.finished, running.error),
        (Some(0), None, None)
    );
}

#[test]
fn what_may_be_left_out_or_odd() {
    for inspect in [
        json!({"Id": "a"}),
        json!({"Id": "a", "Config": null, "HostConfig": null, "State": {"StartedAt": "0001-01-01T00:00:00Z", "Status": null}}),
        json!({"Id": "a", "Config": {"Image": "", "ExposedPorts": []}, "HostConfig": {"PortBindings": 7}}),
    ] {
        let found = described(&inspect);
        assert_eq!(
            (found.state.as_str(), &found.image, &found.started),
            ("", &None, &None),
            "{inspect}"
        );
        assert!(found.ports.is_empty() && !found.is_node(12345), "{inspect}");
    }
}

#[test]
fn who_may_be_a_node() {
    let is_node = |inspect: Value| described(&inspect).is_node(12345);
    // exposed by the image, or published and stopped, or running
    assert!(is_node(
        json!({"Id": "a", "Config": {"ExposedPorts": {"12345/tcp": {}}}})
    ));
    assert!(is_node(
        json!({"Id": "a", "HostConfig": {"PortBindings": {"12345/tcp": []}}})
    ));
    assert!(is_node(
        json!({"Id": "a", "NetworkSettings": {"Ports": {"12345/tcp": null}}})
    ));
    assert!(is_node(json!({"Id": "a", "HostConfig": {"NetworkMode": "host"}})));
    assert!(is_node(json!({"Id": "a", "Config": {"Labels": {"eid.cluster": ""}}})));
    assert!(!is_node(
        json!({"Id": "a", "Config": {"Labels": {"eidolon": "1", "my.eid.x": "1"}}})
    ));
    assert!(!is_node(
        json!({"Id": "a", "Config": {"ExposedPorts": {"12345/udp": {}, "1234/tcp": {}}}})
    ));
}
