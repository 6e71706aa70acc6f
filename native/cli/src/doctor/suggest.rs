//! Suggestions after a typing error: why a text is not a node name, and which containers have a similar name.

use eid_docker::{Container, ContainerRef};

/// The number of wrong letters in a name that still counts as similar.
const TYPING_ERRORS: usize = 2;

/// The number of suggested containers.
const MAX_SUGGESTIONS: usize = 3;

/// Explains why [`NodeName::parse`](eid_docker::NodeName::parse) refused this text.
pub fn explain_bad_name(text: &str) -> String {
    let Some((container, host)) = text.split_once('@') else {
        return "it has no @ with the host after it".to_owned();
    };
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if text.len() > 255 {
        "it has more than 255 characters".to_owned()
    } else if container.is_empty() {
        "there is nothing before the @".to_owned()
    } else if host.is_empty() {
        "there is nothing after the @".to_owned()
    } else if host.contains('@') {
        "it has more than one @".to_owned()
    } else if let Some(odd) = container.chars().find(odd) {
        format!("{odd:?} is not allowed in its container part")
    } else if container.starts_with(['_', '-']) {
        "its container part does not begin with a letter or digit".to_owned()
    } else if host.starts_with('[') {
        "an IPv6 address in a node name has no brackets".to_owned()
    } else {
        format!("{host:?} is no IP address and no DNS name")
    }
}

/// Lists the containers with a similar name or ID, for a person. Returns `None` if there are none.
pub fn similar(asked: &ContainerRef, all: &[Container]) -> Option<String> {
    let mut similar_ones: Vec<(usize, &Container)> = all
        .iter()
        .filter_map(|container| Some((distance(asked.as_str(), container)?, container)))
        .collect();
    similar_ones.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    let shown: Vec<String> = similar_ones
        .iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, container)| title(container))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Formats a container as `db (0123456789ab, not running)`.
pub fn title(container: &Container) -> String {
    let Container { id, name, running, .. } = container;
    let id = container.short_id().unwrap_or(id);
    let state = if *running { "" } else { ", not running" };
    match name.as_str() {
        "" => format!("{id}{state}"),
        name => format!("{name} ({id}{state})"),
    }
}

/// Returns the distance between a text and a container's name or ID. `None` means that they are not similar.
fn distance(asked: &str, container: &Container) -> Option<usize> {
    let lowercase = asked.to_lowercase();
    let name = container.name.to_lowercase();
    let wrong_letters = strsim::damerau_levenshtein(&lowercase, &name);
    let is_beginning = container.id.starts_with(&lowercase);
    let is_id = ContainerRef::from_id(&container.id).is_some() && lowercase.len() >= 12;
    let wrong_digits = || strsim::hamming(&lowercase, container.id.get(..lowercase.len())?).ok();
    if lowercase == name || is_beginning {
        Some(0)
    } else if wrong_letters <= TYPING_ERRORS && wrong_letters < name.len().min(lowercase.len()) {
        Some(wrong_letters)
    } else if is_id && wrong_digits().is_some_and(|wrong| wrong <= TYPING_ERRORS) {
        Some(TYPING_ERRORS)
    } else if lowercase.len() >= 3 && name.len() >= 3 && (name.contains(&lowercase) || lowercase.contains(&name)) {
        Some(TYPING_ERRORS + 1)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eid_docker::NodeName;

    #[test]
    fn bad_names_are_explained() {
        for (text, part) in [
            ("db", "no @"),
            ("@h", "before the @"),
            ("db@", "after the @"),
            ("db@h@i", "more than one @"),
            ("d.b@h", "'.' is not allowed"),
            ("d\n@h", "'\\n' is not allowed"),
            ("-db@h", "letter or digit"),
            ("db@[::1]", "no brackets"),
            ("db@h:12345", "no IP address"),
            ("db@192.0.2.256", "no IP address"),
        ] {
            assert!(NodeName::parse(text).is_err(), "{text}");
            assert!(
                explain_bad_name(text).contains(part),
                "{text}: {}",
                explain_bad_name(text)
            );
        }
    }

    #[test]
    fn similar_containers_are_suggested() {
        let id = "0123456789abcdef".repeat(4);
        let container = |name: &str, running| Container {
            id: id.clone(),
            name: name.to_owned(),
            running,
            ..Container::default()
        };
        let all = [
            container("shop", true),
            container("shop-blue", false),
            container("mail", true),
        ];
        let similar = |asked: &str| {
            let name = NodeName::parse(format!("{asked}@h")).unwrap();
            super::similar(name.container(), &all)
        };
        assert_eq!(
            similar("Shop").unwrap(),
            "shop (0123456789ab), shop-blue (0123456789ab, not running)"
        );
        assert!(similar("sohp").unwrap().starts_with("shop (") && similar("mali").unwrap().starts_with("mail ("));
        assert!(similar("0123").is_some() && similar("0123456789ad").is_some());
        assert_eq!(
            (similar("x"), similar("warehouse"), similar("fedcba987654")),
            (None, None, None)
        );
    }
}
