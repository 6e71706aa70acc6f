//! What is kept of a container's labels.
//!
//! They are written by whoever starts the container, so there is a bound, and what is kept within it depends on nothing but
//! the labels themselves: first those of eid's own, and then as many others as fit, the shortest first.

use std::fmt;

use serde_json::Value;

/// The bytes that are kept of one container's labels.
pub(crate) const MAX_SIZE: usize = 2048;

/// How the keys of eid's own labels begin.
pub const OWN_LABELS: &str = "eid.";

/// Labels of a container, each key once, in the order of the keys.
///
/// All of them are one text in memory: a box for each would take more than what is in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Each key and its value, one after the other.
    text: Box<str>,
    /// The lengths of them.
    lengths: Box<[(u16, u16)]>,
}

impl Labels {
    /// Those that are kept. What is no object has none, and a value that is no text is no label.
    pub(crate) fn read(labels: &Value) -> Self {
        let all = labels.as_object().into_iter().flatten();
        Self::kept(all.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))))
    }

    fn kept<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut labels: Vec<_> = labels.collect();
        labels.sort_unstable_by_key(|&(key, value)| (!key.starts_with(OWN_LABELS), key.len() + value.len(), key));
        let mut room = MAX_SIZE;
        labels.retain(|label| {
            let rest = room.checked_sub(size(label));
            room = rest.unwrap_or(room);
            rest.is_some()
        });
        labels.sort_unstable();
        Self {
            text: labels.iter().flat_map(|&(key, value)| [key, value]).collect(),
            lengths: labels.iter().filter_map(lengths).collect(),
        }
    }

    /// The value of the label that has this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.text;
        self.lengths.iter().map(move |&(key_length, value_length)| {
            let (key, after) = rest.split_at(key_length.into());
            let (value, after) = after.split_at(value_length.into());
            rest = after;
            (key, value)
        })
    }

    /// The bytes that they take in memory, at most [`MAX_SIZE`].
    pub(crate) fn size(&self) -> usize {
        self.text.len() + size_of_val(&*self.lengths)
    }
}

fn size((key, value): &(&str, &str)) -> usize {
    key.len() + value.len() + size_of::<(u16, u16)>()
}

/// `None` for what would not have been kept.
fn lengths((key, value): &(&str, &str)) -> Option<(u16, u16)> {
    Some((key.len().try_into().ok()?, value.len().try_into().ok()?))
}

#[cfg(test)]
impl FromIterator<(&'static str, &'static str)> for Labels {
    fn from_iter<T: IntoIterator<Item = (&'static str, &'static str)>>(labels: T) -> Self {
        Self::kept(labels.into_iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
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
        let long = "x".repeat(MAX_SIZE);
        let half = "x".repeat(MAX_SIZE / 2);
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
        assert!((MAX_SIZE - 9..=MAX_SIZE).contains(&labels.size()));
        assert_eq!(labels.iter().next(), Some(("k0000", "")));
        // those with nothing in them take room too
        let label = |n: usize| (["", "a", "é"][n % 3], "");
        assert!(Labels::kept((0..100_000).map(label)).size() <= MAX_SIZE);
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
}
