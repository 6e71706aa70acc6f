use super::*;

const ID: &str = "4f1c0b6a9d8e7f6054433221100ffeeddccbbaa99887766554433221100abcde";
const SHORT: &str = "4f1c0b6a9d8e";
const URL: &str = "http://rancher-metadata/latest";

fn gateway() -> Option<IpAddr> {
    Some(IpAddr::from([172, 17, 0, 1]))
}

/// What is decided in this environment and container.
fn decided(naming: &Naming, environment: &[(&str, &str)], own: Option<&str>) -> Result<OwnName, NameError> {
    let variable = |key: &str| {
        let found = environment.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| (*value).to_owned())
    };
    naming.decide(variable, || own, gateway)
}

/// The name, or for the one who is asked: the name so far, whether it is a base, and the URL.
fn text(decided: Result<OwnName, NameError>) -> Result<String, NameError> {
    decided.map(|own_name| match own_name {
        OwnName::Known(name) => name.to_string(),
        OwnName::AtRancher(question) => {
            let whose = if question.is_base { "own" } else { "host" };
            format!("{}@{whose} address by {}", question.name, question.url)
        }
        OwnName::AtServe(Advertised { name, endpoint }) => format!("{name}@host by {endpoint}"),
    })
}

fn bad_host(source: &'static str, host: &str) -> Result<String, NameError> {
    Err(NameError::BadHost(source, host.to_owned()))
}

#[test]
fn names_by_the_environment() {
    const SERVED: &str = "host by tcp://172.17.0.1:4243";
    let id_at = |host: &str| Ok(format!("{ID}@{host}"));
    let base_at = |host: &str| Ok(format!("shop@{host}"));
    let (in_container, outside) = (Some(ID), None);
    let table = [
        // after the container
        (vec![("EID_HOST", "192.0.2.1")], in_container, id_at("192.0.2.1")),
        (vec![("EID_HOST", "2001:db8::1")], in_container, id_at("2001:db8::1")),
        (
            vec![("EID_HOST", "host-1.example")],
            in_container,
            id_at("host-1.example"),
        ),
        (vec![("MY_POD_IP", "10.1.2.3")], in_container, id_at("10.1.2.3")),
        (
            vec![
                ("EID_HOST", "192.0.2.1"),
                ("MY_POD_IP", "10.1.2.3"),
                ("EID_RANCHER", URL),
            ],
            in_container,
            id_at("192.0.2.1"),
        ),
        (
            vec![("EID_RANCHER", URL), ("MY_POD_IP", "10.1.2.3")],
            in_container,
            id_at("10.1.2.3"),
        ),
        (
            vec![("EID_RANCHER", URL)],
            in_container,
            id_at(&format!("host address by {URL}")),
        ),
        // `docker run --hostname` and what a shell sets mean nothing
        (
            vec![("HOSTNAME", "web"), ("HOST", "h"), ("EID_HOST", "192.0.2.1")],
            in_container,
            id_at("192.0.2.1"),
        ),
        // with a base name
        (
            vec![("EID_NAME", "shop"), ("MY_POD_IP", "10.1.2.3")],
            outside,
            base_at("10.1.2.3"),
        ),
        (
            vec![("EID_NAME", "shop"), ("MY_POD_IP", "fd00::3")],
            outside,
            base_at("fd00::3"),
        ),
        (
            vec![("EID_NAME", "shop"), ("EID_HOST", "192.0.2.1")],
            in_container,
            base_at("192.0.2.1"),
        ),
        (
            vec![("EID_NAME", "shop"), ("EID_RANCHER", URL)],
            in_container,
            base_at(&format!("own address by {URL}")),
        ),
        // empty variables are unset
        (
            vec![
                ("EID_NAME", ""),
                ("EID_HOST", ""),
                ("MY_POD_IP", ""),
                ("EID_RANCHER", URL),
            ],
            in_container,
            id_at(&format!("host address by {URL}")),
        ),
        (
            vec![("EID_NAME", ""), ("EID_HOST", "h")],
            outside,
            Err(NameError::NoContainer),
        ),
        (
            vec![("EID_HOST", ""), ("MY_POD_IP", ""), ("EID_RANCHER", "")],
            in_container,
            id_at(SERVED),
        ),
        // nothing there
        (vec![], in_container, id_at(SERVED)),
        (vec![], outside, Err(NameError::NoContainer)),
        (vec![("EID_NAME", "shop")], outside, base_at(SERVED)),
        (vec![("HOSTNAME", SHORT)], outside, Err(NameError::NoContainer)),
    ];
    for (environment, own, name) in table {
        let found = text(decided(&Naming::default(), &environment, own));
        assert_eq!(found, name, "{environment:?} {own:?}");
    }
}

#[test]
fn what_is_given_comes_first() {
    let environment = [("EID_HOST", "192.0.2.1"), ("EID_RANCHER", URL)];
    let naming = |host: &str, rancher: &str, short| Naming {
        host: Some(host.to_owned()),
        rancher: Some(rancher.to_owned()),
        serve: Some("unix:///eid.sock".to_owned()),
        short,
    };
    for (naming, environment, name) in [
        (naming("h", "", false), &environment[..], format!("{ID}@h")),
        (naming("h", "", true), &environment[..], format!("{SHORT}@h")),
        (naming("", "", true), &environment[..], format!("{SHORT}@192.0.2.1")),
        (
            naming("", "http://m/2", true),
            &environment[1..],
            format!("{SHORT}@host address by http://m/2"),
        ),
        (
            naming("", "", false),
            &environment[1..],
            format!("{ID}@host address by {URL}"),
        ),
    ] {
        assert_eq!(text(decided(&naming, environment, Some(ID))), Ok(name), "{naming:?}");
    }
    // A base name is not cut.
    let base = [("EID_NAME", "a-very-long-base-name"), ("EID_HOST", "h")];
    let found = text(decided(&naming("", "", true), &base, Some(ID)));
    assert_eq!(found, Ok("a-very-long-base-name@h".to_owned()));
}

#[test]
fn where_eid_serve_is_asked() {
    let asked = |template: &str, gateway: Option<[u8; 4]>| {
        let serve = Some(template.to_owned());
        let naming = Naming {
            serve,
            ..Naming::default()
        };
        text(naming.decide(|_| None, || Some(ID), || gateway.map(IpAddr::from)))
    };
    let at = |endpoint: &str| Ok(format!("{ID}@host by {endpoint}"));
    let gateway = Some([172, 18, 0, 1]);
    assert_eq!(asked("", gateway), at("tcp://172.18.0.1:4243"));
    assert_eq!(asked("https://{host}:4244", gateway), at("https://172.18.0.1:4244"));
    assert_eq!(asked("tcp://{host}:4243", None), Err(NameError::NoHost));
    // Who needs no gateway is not asked for one.
    for fixed in ["tcp://192.0.2.1:4243", "unix:///run/eid.sock"] {
        let serve = Some(fixed.to_owned());
        let naming = Naming {
            serve,
            ..Naming::default()
        };
        assert_eq!(
            text(naming.decide(|_| None, || Some(ID), || panic!("it is"))),
            at(fixed)
        );
    }
    assert!(matches!(asked("{host}", gateway), Err(NameError::Serve(url, _)) if url == "{host}"));
    // And nobody is looked for where something else says it.
    for variable in ["EID_HOST", "MY_POD_IP"] {
        let environment = |key: &str| (key == variable).then(|| "h".to_owned());
        let found = Naming::default().decide(environment, || Some(ID), || panic!("it is"));
        assert_eq!(text(found), Ok(format!("{ID}@h")));
    }
}

#[test]
fn values_that_no_name_can_have() {
    for base in [
        "shop@h",
        "shop.one",
        "-shop",
        "shop one",
        "shop\n",
        "shöp",
        "\u{fffd}",
        "$(id)",
        &"s".repeat(129),
    ] {
        let environment = [("EID_NAME", base), ("EID_HOST", "h")];
        let found = text(decided(&Naming::default(), &environment, Some(ID)));
        assert_eq!(found, Err(NameError::BadBase(base.to_owned())));
    }
    for host in [
        "[::1]",
        "h:80",
        "10.1",
        "h h",
        "h\n",
        "h@i",
        "http://h",
        "fe80::1%eth0",
        "\u{fffd}",
    ] {
        for source in ["EID_HOST", "MY_POD_IP"] {
            let found = text(decided(&Naming::default(), &[(source, host)], Some(ID)));
            assert_eq!(found, bad_host(source, host));
        }
        let naming = Naming {
            host: Some(host.to_owned()),
            ..Naming::default()
        };
        // Nothing else is taken in its place.
        let found = text(decided(&naming, &[("EID_HOST", "h")], Some(ID)));
        assert_eq!(found, bad_host("--host", host));
    }
    for url in ["rancher-metadata", "https://h", "http://h/\n"] {
        let found = text(decided(&Naming::default(), &[("EID_RANCHER", url)], Some(ID)));
        assert_eq!(found, Err(NameError::BadUrl(url.to_owned())));
    }
    let label = "l".repeat(63);
    let host = format!("{label}.{label}.{label}");
    let found = text(decided(&Naming::default(), &[("EID_HOST", &host)], Some(ID)));
    assert_eq!(found, Err(NameError::TooLong));
}

#[test]
fn sentences() {
    let rancher = |error| NameError::Rancher(URL.to_owned(), error);
    let refused = Error::Refused {
        status: 404,
        message: "Not found".to_owned(),
    };
    let serve = |error| NameError::Serve("tcp://172.17.0.1:4243".to_owned(), error);
    let errors = [
        NameError::NoContainer,
        NameError::BadBase("a\x1b[31m\n".to_owned()),
        NameError::NoHost,
        NameError::BadHost("EID_HOST", "x".repeat(10_000)),
        NameError::BadUrl("\r\n".to_owned()),
        rancher(Error::unreachable("connection refused")),
        rancher(refused.clone()),
        serve(refused),
        serve(Error::unreachable("connection refused")),
        serve(Error::Timeout),
        rancher(Error::BadResponse("no".to_owned())),
        rancher(Error::TooLarge(5)),
        rancher(Error::Timeout),
        NameError::TooLong,
        NameError::Timeout,
    ];
    for error in errors {
        let sentence = error.to_string();
        assert!((40..400).contains(&sentence.len()), "{sentence}");
        assert!(!sentence.contains(char::is_control), "{sentence:?}");
        let says_what_to_do = ["set ", "correct it", "give it", "take "];
        assert!(
            says_what_to_do.iter().any(|advice| sentence.contains(advice)),
            "{sentence}"
        );
    }
}
