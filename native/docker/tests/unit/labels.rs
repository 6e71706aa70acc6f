use super::*;
use serde_json::json;

fn pairs(labels: &Labels) -> Vec<(&str, &str)> {
    labels.iter().collect()
}

#[test]
fn in_the_order_of_their_keys() {
    let labels = Labels::read(&json!({"b": "2", "eid.cluster": "shop", "a": "", "": "x", "é\n\u{0}": "\u{202e}"}));
    let expected = [
        ("", "x"),
        ("a", ""),
        ("b", "2"),
        ("eid.cluster", "shop"),
        ("é\n\u{0}", "\u{202e}"),
    ];
    assert_eq!(pairs(&labels), expected);
}

#[test]
fn what_is_no_label() {
    for none in [
        json!(null),
        json!([]),
        json!(["eid.cluster=shop"]),
        json!("eid.cluster=shop"),
        json!(7),
        json!({}),
    ] {
        assert_eq!(pairs(&Labels::read(&none)), [], "{none}");
    }
    let labels = Labels::read(&json!({"a": 1, "b": null, "c": {"d": "e"}, "f": ["g"], "h": true, "i": "text"}));
    assert_eq!(pairs(&labels), [("i", "text")]);
}

#[test]
fn the_bound_and_who_comes_first() {
    let long = "x".repeat(MAX_LABELS);
    let half = "x".repeat(MAX_LABELS / 2);
    // what does not fit is left out, and takes no room from the others
    let labels = Labels::read(&json!({"eid.long": long, "eid.node": "db@h", "a": "1", "long": long}));
    assert_eq!(pairs(&labels), [("a", "1"), ("eid.node", "db@h")]);
    // eid's own come first, however long
    let labels = Labels::read(&json!({"a": half, "eid.cluster": half, "b": "1"}));
    assert_eq!(pairs(&labels), [("b", "1"), ("eid.cluster", half.as_str())]);
    // of equal ones the first key
    let labels = Labels::read(&json!({"b": half, "a": half}));
    assert_eq!(pairs(&labels), [("a", half.as_str())]);
    // thousands of small ones
    let many: serde_json::Map<String, Value> = (0..5000).map(|n| (format!("k{n:04}"), json!(""))).collect();
    let labels = Labels::read(&Value::Object(many));
    assert!((MAX_LABELS - 9..=MAX_LABELS).contains(&labels.size()));
    assert_eq!(labels.iter().next(), Some(("k0000", "")));
    // those with nothing in them take room too
    let label = |n: usize| (["", "a", "é"][n % 3], "");
    assert!(Labels::select((0..100_000).map(label)).size() <= MAX_LABELS);
}

#[test]
fn by_key() {
    let labels: Labels = [("b", "2"), ("a", ""), ("", "0"), ("é", "ü")].into_iter().collect();
    let get = |key| labels.get(key);
    assert_eq!(
        (get("b"), get("a"), get(""), get("é")),
        (Some("2"), Some(""), Some("0"), Some("ü"))
    );
    assert_eq!((get("c"), get("ab"), Labels::default().get("")), (None, None, None));
    assert_eq!(format!("{labels:?}"), r#"{"": "0", "a": "", "b": "2", "é": "ü"}"#);
}
