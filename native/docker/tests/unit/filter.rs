use super::*;

#[test]
fn names() {
    for (glob, text) in [
        ("db", "db"),
        ("*", ""),
        ("*", "db"),
        ("**", "db"),
        ("db*", "db"),
        ("db*", "db-1"),
        ("*db", "my-db"),
        ("*-db-*", "my-db-1"),
        ("a*b*c", "abbc"),
        ("a*b*c", "a--b--b--c"),
        ("*é*", "café au lait"),
        ("a*ab*b", "aabb"),
    ] {
        assert!(is_like(text, glob), "{glob} {text}");
    }
    for (glob, text) in [
        ("", "db"),
        ("db", "db1"),
        ("db", "DB"),
        ("d?", "db"),
        ("db*", "mydb"),
        ("*db", "db1"),
        ("aba*aba", "aba"),
        ("a*b*c", "acb"),
        ("a*bb*c", "abc"),
        ("a*a*a", "aa"),
        ("*x*", "db"),
    ] {
        assert!(!is_like(text, glob), "{glob} {text}");
    }
    let stars = "*a".repeat(1000) + "*";
    assert!(is_like(&"a".repeat(1000), &stars) && !is_like(&"a".repeat(999), &stars));
}

#[test]
fn labels() {
    let container = Container {
        labels: [("eid.cluster", "shop"), ("eid.node", "")].into_iter().collect(),
        ..Container::default()
    };
    let matches = |key: &str, value: Option<&str>| {
        let filter = Filter::Label {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        filter.matches(&container)
    };
    assert!(matches("eid.cluster", Some("shop")) && matches("eid.cluster", None));
    assert!(matches("eid.node", None) && matches("eid.node", Some("")));
    assert!(!matches("eid.cluster", Some("shop*")) && !matches("eid.cluster", Some("")));
    assert!(!matches("eid", None) && !matches("eid.clusters", None) && !matches("", None));
}
