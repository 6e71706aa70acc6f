//! What is kept of a container's labels.
//!
//! They are written by whoever starts the container, so there is a bound, and what is kept within it depends on nothing but
//! the labels themselves: first those of eid's own, and then as many others as fit, the shortest first.

use serde_json::Value;

/// What is kept of one container's labels takes so many bytes at most, in memory.
pub(crate) const MAX_SIZE: usize = 2048;

/// Labels that begin so are eid's own.
const OWN: &str = "eid.";

/// One label of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    pub key: Box<str>,
    pub value: Box<str>,
}

impl Label {
    /// The bytes that this takes in memory.
    pub(crate) fn size(&self) -> usize {
        size_of_texts(&self.key, &self.value)
    }
}

fn size_of_texts(key: &str, value: &str) -> usize {
    size_of::<Label>() + key.len() + value.len()
}

/// The labels that are kept, in the order of their keys. What is no object has none, and a value that is no text is no label.
pub(crate) fn kept(labels: &Value) -> Vec<Label> {
    let all = labels.as_object().into_iter().flatten();
    let mut texts: Vec<(&str, &str)> = all
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect();
    texts.sort_unstable_by_key(|&(key, value)| (!key.starts_with(OWN), key.len() + value.len(), key));
    let mut room = MAX_SIZE;
    let mut kept = Vec::new();
    for (key, value) in texts {
        if let Some(rest) = room.checked_sub(size_of_texts(key, value)) {
            room = rest;
            kept.push(Label {
                key: key.into(),
                value: value.into(),
            });
        }
    }
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pairs(labels: &[Label]) -> Vec<(&str, &str)> {
        labels.iter().map(|label| (&*label.key, &*label.value)).collect()
    }

    #[test]
    fn in_the_order_of_their_keys() {
        let labels = kept(&json!({"b": "2", "eid.cluster": "shop", "a": "", "": "x", "é\n\u{0}": "\u{202e}"}));
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
            assert_eq!(kept(&none), [], "{none}");
        }
        let labels = kept(&json!({"a": 1, "b": null, "c": {"d": "e"}, "f": ["g"], "h": true, "i": "text"}));
        assert_eq!(pairs(&labels), [("i", "text")]);
    }

    #[test]
    fn the_bound_and_who_comes_first() {
        let long = "x".repeat(MAX_SIZE);
        let half = "x".repeat(MAX_SIZE / 2);
        // what does not fit is left out, and takes no room from the others
        let labels = kept(&json!({"eid.long": long, "eid.node": "db@h", "a": "1", "long": long}));
        assert_eq!(pairs(&labels), [("a", "1"), ("eid.node", "db@h")]);
        // eid's own come first, however long
        let labels = kept(&json!({"a": half, "eid.cluster": half, "b": "1"}));
        assert_eq!(pairs(&labels), [("b", "1"), ("eid.cluster", half.as_str())]);
        // of equal ones the first key
        let labels = kept(&json!({"b": half, "a": half}));
        assert_eq!(pairs(&labels), [("a", half.as_str())]);
        // thousands of small ones
        let many: serde_json::Map<String, Value> = (0..5000).map(|n| (format!("k{n:04}"), json!(""))).collect();
        let labels = kept(&Value::Object(many));
        assert!(labels.iter().map(Label::size).sum::<usize>() <= MAX_SIZE);
        assert!(labels.len() > 40 && &*labels[0].key == "k0000" && labels.is_sorted());
    }
}
