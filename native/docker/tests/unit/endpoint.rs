use super::*;

fn is_refused(text: &str) -> bool {
    matches!(Endpoint::parse(text), Err(Error::Config(Subject::Address, _)))
}

#[test]
fn endpoints() {
    for text in [
        "tcp://192.0.2.1:4243",
        "tcp://[2001:db8::1]:4243",
        "tcp://docker-host.example:1",
        "tcp://localhost:65535",
        "https://192.0.2.1:2376",
        "https://[2001:db8::1]:2376",
        "https://docker_host.example:443",
        "unix:///var/run/docker.sock",
        "unix:///a b",
    ] {
        assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn different_texts_of_one_endpoint() {
    for (text, canonical) in [
        ("tcp://h:0080", "tcp://h:80"),
        ("tcp://Docker.Example:80", "tcp://docker.example:80"),
        ("tcp://[2001:DB8:0::1]:80", "tcp://[2001:db8::1]:80"),
        ("https://[::ffff:192.0.2.1]:80", "https://192.0.2.1:80"),
    ] {
        assert_eq!(Endpoint::parse(text), Endpoint::parse(canonical));
        assert_eq!(Endpoint::parse(text).unwrap().to_string(), canonical);
    }
}

#[test]
fn addresses_that_are_none() {
    for scheme in ["tcp", "https"] {
        for address in [
            "",
            "h",
            "h:",
            ":80",
            "h:0",
            "h:65536",
            "h:+80",
            "h:-1",
            "h: 80",
            "h:80/",
            "h:80/x",
            "h:80?x",
            "h:80#x",
            "u@h:80",
            "u:p@h:80",
            "h@i:80",
            "2001:db8::1:80",
            "[2001:db8::1]",
            "[h]:80",
            "[192.0.2.1]:80",
            "[::1:80",
            "::1]:80",
            "[fe80::1%eth0]:80",
            "h h:80",
            "h\r\nX:80",
            "h\0:80",
            "h%00:80",
            "h\\:80",
            "hé:80",
            "..:80",
            "h.:80",
            "0x7f.1:80",
            "{host}:80",
            "/var/run/docker.sock",
        ] {
            let text = format!("{scheme}://{address}");
            assert!(is_refused(&text), "{text:?}");
        }
    }
}

#[test]
fn schemes_that_are_none() {
    for text in [
        "",
        "192.0.2.1:4243",
        "h:80",
        "http://h:80",
        "HTTPS://h:80",
        " tcp://h:80",
        "tcp:h:80",
        "tcp:/h:80",
        "ssh://h:22",
        "npipe:////./pipe/docker_engine",
        "fd://",
        "/var/run/docker.sock",
    ] {
        assert!(is_refused(text), "{text:?}");
    }
}

#[test]
fn unix_paths() {
    let longest = format!("/{}", "p".repeat(MAX_UNIX_PATH - 1));
    assert!(Endpoint::parse(&format!("unix://{longest}")).is_ok());
    for path in [
        "",
        "docker.sock",
        "./docker.sock",
        "../docker.sock",
        "@abstract",
        "\0abstract",
        "/a\0b",
        "/a\nb",
        "/a\u{85}b",
        "/{host}.sock",
        "/{hots}.sock",
        &format!("{longest}p"),
        &format!("/{}", "é".repeat(54)),
    ] {
        assert!(is_refused(&format!("unix://{path}")), "{path:?}");
    }
}

fn tls(server: &str, ip: &str, port: u16) -> Endpoint {
    Endpoint(Transport::Tls {
        server: Host::parse(server),
        dial: Address {
            host: Host::parse(ip),
            port,
        },
    })
}

#[test]
fn templates() {
    let cases = [
        ("tcp://{host}:4243", "192.0.2.1", "192.0.2.1", "tcp://192.0.2.1:4243"),
        (
            "tcp://{host}:4243",
            "docker.example",
            "192.0.2.1",
            "tcp://192.0.2.1:4243",
        ),
        (
            "tcp://{host}:4243",
            "2001:db8::1",
            "2001:db8::1",
            "tcp://[2001:db8::1]:4243",
        ),
        (
            "tcp://{host}:4243",
            "::ffff:192.0.2.1",
            "::ffff:192.0.2.1",
            "tcp://192.0.2.1:4243",
        ),
        // Nothing of the host: one engine, or one proxy, for all.
        (
            "tcp://proxy.example:80",
            "192.0.2.1",
            "192.0.2.1",
            "tcp://proxy.example:80",
        ),
        (
            "https://proxy.example:80",
            "192.0.2.1",
            "192.0.2.1",
            "https://proxy.example:80",
        ),
        (
            "unix:///run/docker.sock",
            "192.0.2.1",
            "192.0.2.1",
            "unix:///run/docker.sock",
        ),
        // Another name, which is looked up when it is contacted.
        (
            "tcp://api-{host}:80",
            "h.example",
            "192.0.2.1",
            "tcp://api-h.example:80",
        ),
        ("https://{host}.example:80", "h", "192.0.2.1", "https://h.example:80"),
        ("https://{host}.{host}:80", "h", "192.0.2.1", "https://h.h:80"),
        (
            "unix:///run/{host}.sock",
            "h.example",
            "192.0.2.1",
            "unix:///run/h.example.sock",
        ),
        ("unix:///run/{host}/{host}", "::1", "::1", "unix:///run/::1/::1"),
    ];
    for (template, host, ip, text) in cases {
        let endpoint = Endpoint::for_host(template, host, ip.parse().unwrap());
        assert_eq!(endpoint, Endpoint::parse(text), "{template} {host}");
        assert_eq!(endpoint.unwrap().to_string(), text);
    }
}

#[test]
fn a_certificate_is_for_the_host_and_the_connection_goes_to_its_address() {
    let cases = [
        ("docker.example", "192.0.2.1", "https://docker.example:2376"),
        ("192.0.2.1", "192.0.2.1", "https://192.0.2.1:2376"),
        ("2001:db8::1", "2001:db8::1", "https://[2001:db8::1]:2376"),
        ("docker.example", "::ffff:192.0.2.1", "https://docker.example:2376"),
    ];
    for (host, ip, text) in cases {
        let endpoint = Endpoint::for_host("https://{host}:2376", host, ip.parse().unwrap()).unwrap();
        assert_eq!(endpoint, tls(host, ip, 2376));
        assert_eq!(endpoint.to_string(), text);
    }
}

#[test]
fn templates_that_are_none() {
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    for template in [
        "",
        "{host}",
        "{host}:80",
        "tcp://{host}",
        "tcp://{host}:",
        "tcp://{host}:0",
        "tcp://{host}:{port}",
        "tcp://{host}:80/",
        "tcp://u@{host}:80",
        "tcp://{HOST}:80",
        "tcp://{ip}:80",
        "tcp://{{host}}:80",
        "http://{host}:80",
        "x://{host}:80",
        "unix://{host}",
        "unix:///run/{ip}.sock",
    ] {
        let endpoint = Endpoint::for_host(template, "h", ip);
        assert!(
            matches!(endpoint, Err(Error::Config(Subject::Address, _))),
            "{template}"
        );
    }
    // Brackets are ours to add.
    assert!(Endpoint::for_host("tcp://api-{host}:80", "::1", ip).is_err());
}

#[test]
fn hosts_that_are_none() {
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    for host in [
        "", "..", "../x", "a/b", "a@b", "a b", "[::1]", "h:80", "h\0", "{host}", "127.1",
    ] {
        for template in [
            "tcp://{host}:80",
            "https://x-{host}:80",
            "unix:///run/{host}",
            "tcp://h:80",
        ] {
            assert_eq!(
                Endpoint::for_host(template, host, ip),
                Err(Error::BadNodeName),
                "{host:?}"
            );
        }
    }
}

#[test]
fn uris() {
    for (endpoint, uri) in [
        ("tcp://[::1]:4243", "http://[::1]:4243/v1.41/_ping"),
        ("https://docker.example:2376", "https://docker.example:2376/v1.41/_ping"),
        ("unix:///var/run/docker.sock", "http://localhost/v1.41/_ping"),
    ] {
        assert_eq!(Endpoint::parse(endpoint).unwrap().uri("/v1.41/_ping"), uri);
    }
    let dialled = tls("docker.example", "2001:db8::1", 2376);
    assert_eq!(dialled.uri("/_ping"), "https://docker.example:2376/_ping");
}
