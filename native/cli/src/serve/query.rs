//! Parses the query of a request.
//!
//! A filter by a hidden property would reveal it: a client could list the containers with a certain image. Every parameter and
//! filter that this module does not know is refused.

use eid_docker::OWN_LABELS;
use serde_json::Value;

use super::container::PublicContainer;
use super::event::PublicEvent;

/// The maximum size of a query, in bytes. eid's own queries have 60.
const MAX_SIZE: usize = 4096;

/// The query of `/containers/json`.
#[derive(Debug, Default)]
pub struct ListQuery {
    /// True if stopped containers are listed, too.
    pub all: bool,
    filters: Filters,
}

/// The query of `/events`.
#[derive(Debug, Default)]
pub struct EventsQuery {
    filters: Filters,
}

/// A container or event matches if one value of each kind matches.
#[derive(Debug, Default)]
struct Filters {
    ids: Vec<String>,
    names: Vec<NamePattern>,
    statuses: Vec<String>,
    /// All of these must match.
    labels: Vec<(String, Option<String>)>,
    types: Vec<String>,
    containers: Vec<String>,
    actions: Vec<String>,
}

/// A pattern of `docker ps --filter name=`, with `^` and `$` but no other regular expressions.
#[derive(Debug)]
struct NamePattern {
    part: String,
    at_start: bool,
    at_end: bool,
}

impl ListQuery {
    /// Parses the query.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut this = Self::default();
        for (key, value) in pairs(query)? {
            match key.as_str() {
                "all" => this.all = boolean(&value),
                "size" if !boolean(&value) => {}
                "filters" => this.filters = Filters::parse(&value, &["id", "name", "status", "label"])?,
                _ => return Err(refuse(&key)),
            }
        }
        Ok(this)
    }

    /// Returns whether the container belongs in the list.
    pub fn wants(&self, container: &PublicContainer) -> bool {
        let filters = &self.filters;
        let statuses = &filters.statuses;
        let has_state = if statuses.is_empty() {
            self.all || ["running", "paused", "restarting"].contains(&container.state.as_str())
        } else {
            statuses.contains(&container.state)
        };
        has_state
            && any(&filters.ids, |id| container.id.starts_with(id.as_str()))
            && any(&filters.names, |name| name.matches(&container.name))
            && filters.labels.iter().all(|label| has(&container.labels, label))
    }
}

impl EventsQuery {
    /// Parses the query.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut this = Self::default();
        for (key, value) in pairs(query)? {
            match key.as_str() {
                "filters" => this.filters = Filters::parse(&value, &["type", "container", "event", "label", "scope"])?,
                _ => return Err(refuse(&key)),
            }
        }
        Ok(this)
    }

    /// Returns whether the client wants the event.
    pub fn wants(&self, event: &PublicEvent) -> bool {
        let (filters, container) = (&self.filters, &event.container);
        let is_container = |text: &String| container.name == *text || container.id.starts_with(text.as_str());
        let is_action = |action: &String| event.action == *action || event.action.split(':').next() == Some(action);
        any(&filters.types, |r#type| event.r#type == r#type)
            && any(&filters.containers, is_container)
            && any(&filters.actions, is_action)
            && filters.labels.iter().all(|label| has(&container.labels, label))
    }
}

impl Filters {
    /// Parses `{"label":["eid.cluster=shop"]}`, or the form of old clients, `{"label":{"eid.cluster=shop":true}}`.
    fn parse(json: &str, known: &[&str]) -> Result<Self, String> {
        let wrong = || "the filters are no JSON object of lists".to_owned();
        let Ok(Value::Object(filters)) = serde_json::from_str(json) else {
            return Err(wrong());
        };
        let mut this = Self::default();
        for (key, values) in filters {
            if !known.contains(&key.as_str()) {
                return Err(format!("eid serve knows no filter {key:?}"));
            }
            let values: Vec<String> = match values {
                Value::Array(values) => {
                    let texts = values.into_iter().map(|value| value.as_str().map(str::to_owned));
                    texts.collect::<Option<_>>().ok_or_else(wrong)?
                }
                Value::Object(values) => values.into_iter().map(|(value, _)| value).collect(),
                _ => return Err(wrong()),
            };
            match key.as_str() {
                "id" => this.ids = values,
                "name" => {
                    this.names = values
                        .iter()
                        .map(|name| NamePattern::parse(name))
                        .collect::<Result<_, _>>()?
                }
                "status" => this.statuses = values,
                "label" => {
                    this.labels = values
                        .iter()
                        .map(|label| parse_label(label))
                        .collect::<Result<_, _>>()?
                }
                "type" => this.types = values,
                "container" => this.containers = values,
                "event" => this.actions = values,
                // `scope`: everything is local.
                _ => {}
            }
        }
        Ok(this)
    }
}

fn parse_label(text: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.starts_with(OWN_LABELS) {
        Ok((key.to_owned(), value))
    } else {
        Err("eid serve shows only labels that begin with eid.".to_owned())
    }
}

impl NamePattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (at_start, rest) = match text.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let (at_end, part) = match rest.strip_suffix('$') {
            Some(part) => (true, part),
            None => (false, rest),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !part.bytes().all(is_plain) {
            return Err("eid serve knows no patterns in names but ^ and $".to_owned());
        }
        Ok(Self {
            part: part.to_owned(),
            at_start,
            at_end,
        })
    }

    fn matches(&self, name: &str) -> bool {
        match (self.at_start, self.at_end) {
            (true, true) => name == self.part,
            (true, false) => name.starts_with(&self.part),
            (false, true) => name.ends_with(&self.part),
            (false, false) => name.contains(&self.part),
        }
    }
}

/// Returns whether a value matches, or there are no values.
fn any<T>(values: &[T], matches: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(matches)
}

fn has(labels: &std::collections::BTreeMap<String, String>, (key, value): &(String, Option<String>)) -> bool {
    let found = labels.get(key);
    found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
}

fn refuse(key: &str) -> String {
    format!("eid serve does not take the parameter {key:?}")
}

/// Parses a boolean as Docker does.
fn boolean(text: &str) -> bool {
    !["", "0", "no", "false", "none"].contains(&text.to_lowercase().as_str())
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    if query.len() > MAX_SIZE {
        return Err(format!("the query has more than {MAX_SIZE} bytes"));
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        // Programs disagree about duplicates: some read the first, others the last.
        if pairs.iter().any(|(known, _)| *known == key) {
            return Err(format!("the parameter {key:?} is given twice"));
        }
        pairs.push((key.into_owned(), value.into_owned()));
    }
    Ok(pairs)
}
