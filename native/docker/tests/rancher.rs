//! Tests the client of Rancher's metadata service, also with servers that answer wrongly, late or not at all.

mod engine_double;
mod support;

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use eid_docker::{Error, Limits, NameError, Naming, Rancher, Service};
use engine_double::{response, Reply, ScriptedEngine};
use serde_json::{json, Value};
use support::closed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Limits for servers that are expected to use up the time.
const SHORT: Limits = Limits {
    connect: Duration::from_millis(300),
    response: Duration::from_millis(300),
    body: 1024,
};

/// Limits that are never reached, even on a busy machine.
const PATIENT: Limits = Limits {
    connect: Duration::from_secs(1000),
    response: Duration::from_secs(1000),
    body: 1024 * 1024,
};

/// Upper limit for every wait. A test that reaches it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(FAR_TOO_LONG, what).await.expect("it hangs")
}

/// A metadata service that answers each path with this function.
async fn metadata(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> ScriptedEngine {
    ScriptedEngine::start_with_pings(move |_, path| answer(path)).await
}

fn url(double: &ScriptedEngine) -> String {
    format!("http://{}/2015-12-19", double.address())
}

fn rancher(double: &ScriptedEngine, limits: Limits) -> Rancher {
    Rancher::new(&url(double), limits).unwrap()
}

/// The result for `self/service` if the metadata service returns this JSON.
async fn service_of(service: Value) -> Result<Service, Error> {
    let body = service.to_string();
    let double = metadata(move |path| match path {
        "/2015-12-19/self/service" => Reply::ok(&body),
        _ => not_found(),
    })
    .await;
    in_time(rancher(&double, PATIENT).service()).await
}

/// The outcomes of all three questions if every request gets this reply.
async fn outcomes(limits: Limits, reply: fn() -> Reply) -> [Error; 3] {
    let double = metadata(move |_| reply()).await;
    let rancher = rancher(&double, limits);
    let asked = async {
        [
            rancher.service().await.unwrap_err(),
            rancher.host_address().await.unwrap_err(),
            rancher.own_address().await.unwrap_err(),
        ]
    };
    in_time(asked).await
}

/// The 404 answer of Rancher's metadata service.
fn not_found() -> Reply {
    Reply::status("404 Not Found", r#"{"code":404,"message":"Not found","type":"error"}"#)
}

fn container(name: &str, ip: &str, state: &str) -> Value {
    json!({
        "name": name, "primary_ip": ip, "ips": [ip], "state": state, "service_name": "shop", "stack_name": "prod",
        "labels": {"io.rancher.stack.name": "prod"}, "create_index": 1, "health_state": null, "ports": [],
    })
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn shop(texts: &[&str]) -> Result<Service, Error> {
    Ok(Service {
        name: "shop".to_owned(),
        addresses: ips(texts),
    })
}

// Right answers

#[tokio::test]
async fn a_service_of_whole_containers() {
    let service = json!({"name": "shop", "stack_name": "prod", "scale": 2, "containers": [
        container("prod-shop-2", "10.42.0.9", "running"),
        container("prod-shop-1", "10.42.0.10", "running"),
    ]});
    assert_eq!(service_of(service).await, shop(&["10.42.0.9", "10.42.0.10"]));
}

#[tokio::test]
async fn a_service_of_names() {
    let service = json!({"name": "shop", "stack_name": "prod", "containers": ["prod-shop-1", "prod-shop-2"]});
    let elsewhere = |mut container: Value| {
        container["stack_name"] = "staging".into();
        container
    };
    let all = json!([
        container("prod-shop-1", "10.42.0.1", "running"),
        container("prod-shop-2", "10.42.0.2", "stopped"),
        container("prod-db-1", "10.42.0.3", "running"),
        elsewhere(container("prod-shop-1", "10.42.0.4", "running")),
        "a name",
    ]);
    let double = metadata(move |path| match path {
        "/2015-12-19/self/service" => Reply::ok(service.to_string()),
        "/2015-12-19/containers" => Reply::ok(all.to_string()),
        _ => not_found(),
    })
    .await;
    let found = in_time(rancher(&double, PATIENT).service()).await;
    assert_eq!(found, shop(&["10.42.0.1"]));
    assert_eq!(double.paths(), ["/2015-12-19/self/service", "/2015-12-19/containers"]);
    assert_eq!(double.connections(), 1);
}

#[tokio::test]
async fn containers_that_do_not_count() {
    let bare = |ip: Value| json!({"name": "x", "primary_ip": ip});
    let service = json!({"name": "shop", "containers": [
        container("a", "10.42.0.1", "running"),
        container("b", "10.42.0.2", "stopped"),
        container("c", "10.42.0.3", "starting"),
        container("d", "10.42.0.4", "updating-running"),
        // Older versions of Rancher report no state.
        bare("10.42.0.5".into()),
        // The same address again, and in another form.
        bare("10.42.0.5".into()),
        bare("::ffff:10.42.0.5".into()),
        bare("fd00::6".into()),
        // Containers without an address yet.
        bare(Value::Null), bare("".into()), json!({"name": "y"}), json!({}),
        json!({"primary_ip": "", "ips": ["10.42.0.7"]}),
        json!({"primary_ip": null, "ips": null}),
        json!({"ips": [null, 5, "127.0.0.1", "10.42.0.8", "10.42.0.9"]}),
        // Invalid addresses.
        bare("127.0.0.1".into()), bare("::1".into()), bare("0.0.0.0".into()), bare("::".into()),
        bare("224.0.0.1".into()), bare("255.255.255.255".into()), bare("fe80::1".into()),
        bare("10.42.0.1/16".into()), bare("localhost".into()), bare("10.1".into()), bare(7.into()),
        bare(json!(["10.42.0.11"])), bare(json!({"ip": "10.42.0.12"})),
        5, null, [], true,
    ]});
    let expected = [
        "10.42.0.1",
        "10.42.0.4",
        "10.42.0.5",
        "10.42.0.7",
        "10.42.0.8",
        "fd00::6",
    ];
    assert_eq!(service_of(service).await, shop(&expected));
}

#[tokio::test]
async fn services_without_containers() {
    for containers in [json!(null), json!([])] {
        let service = json!({"name": "shop", "containers": containers});
        assert_eq!(service_of(service).await, shop(&[]));
    }
    assert_eq!(service_of(json!({"name": "shop"})).await, shop(&[]));
}

#[tokio::test]
async fn ten_thousand_containers() {
    let address = |n: u32| IpAddr::from([10, 42, (n / 250) as u8, (n % 250 + 1) as u8]);
    let containers: Vec<_> = (0..10_000)
        .map(|n| container(&format!("prod-shop-{n}"), &address(n).to_string(), "running"))
        .collect();
    let found = service_of(json!({"name": "shop", "containers": containers}))
        .await
        .unwrap();
    let expected: Vec<_> = (0..10_000).map(address).collect();
    assert_eq!(found.addresses, expected);
}

#[tokio::test]
async fn addresses_for_the_two_kinds_of_names() {
    let double = metadata(|path| match path {
        "/2015-12-19/self/host" => Reply::ok(r#"{"agent_ip":"192.0.2.1","name":"h","hostId":"1"}"#),
        "/2015-12-19/self/container" => Reply::ok(container("a", "10.42.0.1", "starting").to_string()),
        _ => not_found(),
    })
    .await;
    let rancher = rancher(&double, PATIENT);
    assert_eq!(in_time(rancher.host_address()).await, Ok("192.0.2.1".parse().unwrap()));
    assert_eq!(in_time(rancher.own_address()).await, Ok("10.42.0.1".parse().unwrap()));
}

#[tokio::test]
async fn it_asks_for_json() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rancher = Rancher::new(&format!("http://{}/latest", listener.local_addr().unwrap()), PATIENT);
    let served = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
        let answer = response("200 OK", "", r#"{"agent_ip":"192.0.2.1"}"#);
        stream.write_all(&answer).await.unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    };
    let rancher = rancher.unwrap();
    let (head, address) = in_time(async { tokio::join!(served, rancher.host_address()) }).await;
    assert!(head.starts_with("get /latest/self/host http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
    assert!(address.is_ok());
}

// Failures

#[tokio::test]
async fn answers_that_are_no_metadata() {
    let cases: [fn() -> Reply; 8] = [
        || Reply::ok("0=a\n1=b\n"),
        || Reply::ok(""),
        || Reply::ok("<html>hello</html>"),
        || Reply::ok("{\"name\":"),
        || Reply::ok("[]"),
        || Reply::ok("5"),
        || Reply::ok("[".repeat(10_000)),
        || Reply::Close(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
    ];
    for reply in cases {
        for outcome in outcomes(PATIENT, reply).await {
            assert!(matches!(outcome, Error::BadResponse(_)), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn services_and_addresses_that_are_none() {
    for name in [
        json!(null),
        json!(""),
        json!(5),
        json!("a@b"),
        json!("a b"),
        json!("x".repeat(200)),
    ] {
        let found = service_of(json!({"name": name, "containers": []})).await;
        assert!(matches!(found, Err(Error::BadResponse(_))), "{found:?}");
    }
    for address in [
        "null",
        "\"\"",
        "5",
        "\"127.0.0.1\"",
        "\"0.0.0.0\"",
        "\"h.example\"",
        "[\"192.0.2.1\"]",
    ] {
        let body = format!(r#"{{"agent_ip":{address},"primary_ip":{address}}}"#);
        let double = metadata(move |_| Reply::ok(&body)).await;
        let rancher = rancher(&double, PATIENT);
        for outcome in [rancher.host_address().await, rancher.own_address().await] {
            assert!(matches!(outcome, Err(Error::BadResponse(_))), "{address}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn refusals() {
    let refused = |status: u16, message: &str| Error::Refused {
        status,
        message: message.to_owned(),
    };
    let html = || Reply::status("403 Forbidden", "<html>Forbidden</html>");
    for outcome in outcomes(PATIENT, html).await {
        assert_eq!(outcome, refused(403, "<html>Forbidden</html>"));
    }
    for outcome in outcomes(PATIENT, not_found).await {
        assert_eq!(outcome, refused(404, "Not found"));
    }
    // A container that was not started by Rancher.
    let null = || Reply::ok("null\n");
    let whose = ["service", "host", "container"];
    for (outcome, what) in outcomes(PATIENT, null).await.into_iter().zip(whose) {
        assert_eq!(outcome, refused(200, &format!("this container has no {what} there")));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = metadata(|_| Reply::ok(r#"{"agent_ip":"192.0.2.1"}"#)).await;
    let location = format!("Location: http://{}/\r\n", elsewhere.address());
    let double = metadata(move |_| Reply::Answer(response("302 Found", &location, ""))).await;
    let outcome = in_time(rancher(&double, PATIENT).host_address()).await;
    assert!(
        matches!(outcome, Err(Error::Refused { status: 302, .. })),
        "{outcome:?}"
    );
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn servers_that_take_their_time() {
    let cases: [fn() -> Reply; 3] = [
        || Reply::Hang,
        || Reply::stall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
        || {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n".to_vec();
            // The whole body takes longer than the limit.
            Reply::drip(head, vec![b' '; 10_000], Duration::from_millis(10))
        },
    ];
    for reply in cases {
        for outcome in outcomes(SHORT, reply).await {
            assert_eq!(outcome, Error::Timeout);
        }
    }
}

#[tokio::test]
async fn answers_without_an_end() {
    let endless = || {
        let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        Reply::endless(head, vec![b' '; 1000])
    };
    let limits = Limits { body: 1024, ..PATIENT };
    for outcome in outcomes(limits, endless).await {
        assert_eq!(outcome, Error::TooLarge(16 * 1024));
    }
}

#[tokio::test]
async fn nobody_there() {
    let (_closed, address) = closed();
    let rancher = Rancher::new(&format!("http://{address}"), PATIENT).unwrap();
    assert!(matches!(in_time(rancher.service()).await, Err(Error::Unreachable(..))));
}

// Node names

#[tokio::test]
async fn a_name_that_rancher_completes() {
    let double = metadata(|path| match path {
        "/2015-12-19/self/host" => Reply::ok(r#"{"agent_ip":"192.0.2.1"}"#),
        "/2015-12-19/self/container" => Reply::ok(r#"{"primary_ip":"10.42.0.1"}"#),
        _ => not_found(),
    })
    .await;
    let id = "4f1c0b6a9d8e".repeat(6)[..64].to_owned();
    let id_at_host = format!("{id}@192.0.2.1");
    for (base, name) in [(Some("shop"), "shop@10.42.0.1"), (None, id_at_host.as_str())] {
        let url = url(&double);
        let variable = |key: &str| match key {
            "EID_NAME" => base.map(str::to_owned),
            "EID_RANCHER" => Some(url.clone()),
            _ => None,
        };
        let decided = Naming::default().decide(variable, || Some(&id), || None).unwrap();
        let found = in_time(decided.ask(PATIENT, |_| unreachable!("Rancher is asked")))
            .await
            .unwrap();
        assert_eq!(found.to_string(), name);
    }
}

#[tokio::test]
async fn a_name_that_rancher_does_not_complete() {
    let double = metadata(|_| not_found()).await;
    let url = url(&double);
    let variable = |key: &str| (key == "EID_NAME").then(|| "shop".to_owned());
    let naming = Naming {
        rancher: Some(url.clone()),
        ..Naming::default()
    };
    let decided = naming.decide(variable, || None, || None).unwrap();
    let found = in_time(decided.ask(PATIENT, |_| unreachable!("Rancher is asked"))).await;
    let refused = Error::Refused {
        status: 404,
        message: "Not found".to_owned(),
    };
    assert_eq!(found, Err(NameError::Rancher(url, refused)));
}
