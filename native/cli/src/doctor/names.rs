//! What may have been meant: why a text is no node name, and which containers have a name like the one that is not there.

use eid_docker::{Container, ContainerRef};

/// So many letters may be wrong.
const TYPING_ERRORS: usize = 2;

/// So many containers are named.
const MOST: usize = 3;

/// Why [`NodeName::parse`](eid_docker::NodeName::parse) did not take this text.
pub fn why_none(text: &str) -> String {
    let Some((container, host)) = text.split_once('@') else {
        return "it has no @ with the host after it".to_owned();
    };
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if text.len() > 255 {
        "it has more than 255 characters".to_owned()
    } else if container.is_empty() {
        "nothing stands before the @".to_owned()
    } else if host.is_empty() {
        "nothing stands after the @".to_owned()
    } else if host.contains('@') {
        "it has more than one @".to_owned()
    } else if let Some(odd) = container.chars().find(odd) {
        format!("{odd:?} can't stand in its container part")
    } else if container.starts_with(['_', '-']) {
        "its container part does not begin with a letter or digit".to_owned()
    } else if host.starts_with('[') {
        "an IPv6 address stands there without brackets".to_owned()
    } else {
        format!("{host:?} is no IP address and no DNS name")
    }
}

/// The containers that may have been meant, for a person; `None` if no name is like this one.
pub fn like(asked: &ContainerRef, all: &[Container]) -> Option<String> {
    let mut alike: Vec<(usize, &Container)> = all
        .iter()
        .filter_map(|container| Some((unlikeness(asked.as_str(), container)?, container)))
        .collect();
    alike.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    let shown: Vec<String> = alike.iter().take(MOST).map(|(_, container)| title(container)).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// `db (0123456789ab, stopped)`.
pub fn title(container: &Container) -> String {
    let Container { id, name, running, .. } = container;
    let id = container.short_id().unwrap_or(id);
    let state = if *running { "" } else { ", not running" };
    match name.as_str() {
        "" => format!("{id}{state}"),
        name => format!("{name} ({id}{state})"),
    }
}

/// The smaller, the more alike; `None` for what is not.
fn unlikeness(asked: &str, container: &Container) -> Option<usize> {
    let lowercase = asked.to_lowercase();
    let name = container.name.to_lowercase();
    let distance = strsim::damerau_levenshtein(&lowercase, &name);
    let is_beginning = container.id.starts_with(&lowercase);
    let is_id = ContainerRef::from_id(&container.id).is_some() && lowercase.len() >= 12;
    let wrong_digits = || strsim::hamming(&lowercase, container.id.get(..lowercase.len())?).ok();
    if lowercase == name || is_beginning {
        Some(0)
    } else if distance <= TYPING_ERRORS && distance < name.len().min(lowercase.len()) {
        Some(distance)
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
    fn why_a_text_is_no_node_name() {
        for (text, part) in [
            ("db", "no @"),
            ("@h", "before the @"),
            ("db@", "after the @"),
            ("db@h@i", "more than one @"),
            ("d.b@h", "'.' can't stand"),
            ("d\n@h", "'\\n' can't stand"),
            ("-db@h", "letter or digit"),
            ("db@[::1]", "without brackets"),
            ("db@h:12345", "no IP address"),
            ("db@192.0.2.256", "no IP address"),
        ] {
            assert!(NodeName::parse(text).is_err(), "{text}");
            assert!(why_none(text).contains(part), "{text}: {}", why_none(text));
        }
    }

    #[test]
    fn who_may_have_been_meant() {
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
        let like = |asked: &str| {
            let name = NodeName::parse(format!("{asked}@h")).unwrap();
            super::like(name.container(), &all)
        };
        assert_eq!(
            like("Shop").unwrap(),
            "shop (0123456789ab), shop-blue (0123456789ab, not running)"
        );
        assert!(like("sohp").unwrap().starts_with("shop (") && like("mali").unwrap().starts_with("mail ("));
        assert!(like("0123").is_some() && like("0123456789ad").is_some());
        assert_eq!((like("x"), like("warehouse"), like("fedcba987654")), (None, None, None));
    }
}
