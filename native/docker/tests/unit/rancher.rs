use super::*;

#[test]
fn urls() {
    for (url, endpoint, path) in [
        ("http://rancher-metadata/latest", "tcp://rancher-metadata:80", "/latest"),
        (
            "http://rancher-metadata/2015-12-19/",
            "tcp://rancher-metadata:80",
            "/2015-12-19",
        ),
        ("http://rancher-metadata", "tcp://rancher-metadata:80", "/latest"),
        ("http://rancher-metadata/", "tcp://rancher-metadata:80", "/latest"),
        ("http://169.254.169.250:8080/a/b", "tcp://169.254.169.250:8080", "/a/b"),
        ("http://[2001:db8::1]/latest", "tcp://[2001:db8::1]:80", "/latest"),
        ("http://[2001:db8::1]:81", "tcp://[2001:db8::1]:81", "/latest"),
    ] {
        let base = Base::parse(url).unwrap();
        assert_eq!(
            (base.endpoint.to_string().as_str(), base.path.as_str()),
            (endpoint, path)
        );
    }
}

#[test]
fn urls_that_are_none() {
    for url in [
        "",
        "rancher-metadata",
        "https://h/latest",
        "tcp://h:80",
        "HTTP://h/latest",
        " http://h/latest",
        "http://",
        "http:///latest",
        "http://u:p@h/latest",
        "http://h:0/latest",
        "http://h:x/latest",
        "http://::1/latest",
        "http://h h/latest",
        "http://h/latest?x",
        "http://h/latest#x",
        "http://h/../x",
        "http://h/a//b",
        "http://h/a%2fb",
        "http://h/a b",
        "http://h/a\r\nX: y",
        "http://h/é",
    ] {
        assert!(
            matches!(Base::parse(url), Err(Error::Config(Subject::Address, _))),
            "{url:?}"
        );
    }
}

#[test]
fn addresses() {
    for text in ["10.42.1.2", "2001:db8::1", "fd00::1", "169.254.1.1"] {
        assert_eq!(usable(text), Some(text.parse().unwrap()));
    }
    assert_eq!(usable("::ffff:10.42.1.2"), Some("10.42.1.2".parse().unwrap()));
    for text in [
        "",
        "x",
        "10.42.1",
        "10.42.1.2/16",
        " 10.42.1.2",
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "fe80::1",
        "fe80::1%eth0",
    ] {
        assert_eq!(usable(text), None, "{text}");
    }
}
