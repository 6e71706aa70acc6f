//! Which containers somebody wants to hear of.

use crate::Container;

/// A condition that a container meets or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// It has this label, with this value if one is given. Of a container with very long labels not all are kept: see
    /// [`Container::labels`].
    Label { key: String, value: Option<String> },
    /// Its name is this, where `*` stands for any text.
    Name(String),
}

impl Filter {
    /// Whether this container is meant.
    pub fn matches(&self, container: &Container) -> bool {
        match self {
            Self::Label { key, value } => {
                let found = container.labels.get(key);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Name(glob) => is_like(&container.name, glob),
        }
    }
}

/// The parts between the stars have to follow each other, each at the first place where it fits: so this takes no longer for
/// many stars.
fn is_like(text: &str, glob: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else {
        return text == glob;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = text.strip_prefix(start).and_then(|text| text.strip_suffix(end));
    let Some(mut inner) = inner else {
        return false;
    };
    for part in middle.split('*') {
        match inner.find(part) {
            Some(at) => inner = &inner[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
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
}
