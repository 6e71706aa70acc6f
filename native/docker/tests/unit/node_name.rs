use super::*;

#[test]
fn names_that_are_node_names() {
    let id = "0123456789abcdef".repeat(4);
    let longest = "c".repeat(MAX_CONTAINER);
    let cases = [
        ("db", "192.168.4.231"),
        ("0123456789ab", "10.0.0.5"),
        (id.as_str(), "host-1.example.com"),
        ("my_app-1", "docker_host"),
        ("A", "localhost"),
        ("db", "::1"),
        ("db", "2001:db8::5"),
        ("db", "::ffff:192.0.2.1"),
        ("db", "1.2.3.x4"),
        ("db", "0xg"),
        ("db", "4.example"),
        (longest.as_str(), "h"),
    ];
    for (container, host) in cases {
        let name = NodeName::parse(format!("{container}@{host}")).unwrap();
        assert_eq!((name.container().as_str(), name.host()), (container, host));
    }
}

#[test]
fn names_that_are_not() {
    let cases = [
        "",
        "@",
        "db",
        "db@",
        "@host",
        "db@h@i",
        "db@@h",
        // the container
        "-db@h",
        "_db@h",
        ".db@h",
        "d.b@h",
        "d b@h",
        "d/b@h",
        "../db@h",
        "d%2fb@h",
        "db?x=1@h",
        "db#x@h",
        "d:b@h",
        "d\\b@h",
        "d\nb@h",
        "d\0b@h",
        "dé@h",
        "db\u{202e}@h",
        // the host
        "db@h/",
        "db@h/..",
        "db@h?",
        "db@h#",
        "db@h%2f",
        "db@h:80",
        "db@ h",
        "db@h ",
        "db@h\r\nX: y",
        "db@hé",
        "db@..",
        "db@.",
        "db@h.",
        "db@.h",
        "db@h..i",
        "db@-h",
        "db@h-",
        "db@h.-i",
        "db@[::1]",
        "db@fe80::1%eth0",
        "db@::g",
        "db@1:2",
        "db@user:pw",
        // legacy forms of IPv4 addresses
        "db@1",
        "db@10.1",
        "db@010.0.0.1",
        "db@0x7f.1",
        "db@0x7f000001",
        "db@0X7F",
        "db@1.2.3.4.5",
        "db@256.1.1.1",
        "db@1.2.3.0x4",
        "db@1.2.3.0x",
        "db@example.1",
    ];
    for text in cases {
        assert_eq!(NodeName::parse(text), Err(Error::BadNodeName), "{text:?}");
    }
    assert_eq!(NodeName::parse([b'd', b'@', 0xff]), Err(Error::BadNodeName));
}

#[test]
fn lengths() {
    let label = "l".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "l".repeat(61));
    assert!(is_host(&longest));
    assert!(!is_host(&format!("{longest}l")));
    assert!(!is_host(&"l".repeat(64)));
    assert!(!is_container(&"c".repeat(MAX_CONTAINER + 1)));
    assert!(NodeName::parse(format!("d@{longest}")).is_ok());
    assert!(NodeName::parse(format!("db@{longest}")).is_err());
    assert!(NodeName::parse("d@".to_owned() + &"h".repeat(10_240)).is_err());
    assert!(NodeName::parse("d".repeat(10_240) + "@h").is_err());
}

#[test]
fn containers_that_are_in_no_node_name() {
    let longest = "c".repeat(MAX_CONTAINER);
    for text in ["db", "shop.redis", "shop_redis.1.x-y", "a..", &"a".repeat(64), &longest] {
        assert_eq!(ContainerRef::parse(text).unwrap().as_str(), text);
    }
    for text in [
        "",
        ".",
        "..",
        ".db",
        "-db",
        "_db",
        "d/b",
        "d@b",
        "d%2fb",
        "d?b",
        "d#b",
        "d b",
        "d\0b",
        "dé",
        "d\nb",
        &(longest.clone() + "c"),
    ] {
        assert_eq!(ContainerRef::parse(text), None, "{text:?}");
    }
}

#[test]
fn ids() {
    let is_id = |text: &str| ContainerRef(text.to_owned()).is_id();
    assert!(is_id("0123456789ab"));
    assert!(is_id(&"a".repeat(64)));
    assert!(!is_id("0123456789a"));
    assert!(!is_id(&"a".repeat(65)));
    assert!(!is_id("0123456789AB"));
    assert!(!is_id("0123456789ag"));
}
