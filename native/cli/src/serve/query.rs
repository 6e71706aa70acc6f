//! What may stand after the `?`.
//!
//! What is asked for that is not shown would be an oracle: a list of the containers with this label, or this image. So whatever
//! is not written here is refused.

use serde_json::Value;

use super::container::Shown;
use super::event::TellableEvent;

/// The bytes of a query; eid's own has 60.
const MAX_SIZE: usize = 4096;

/// Why a query is refused, for a person.
pub type Refusal = String;

/// Of `/containers/json`.
#[derive(Debug, Default)]
pub struct ListQuery {
    pub all: bool,
    filters: Filters,
}

/// Of `/events`.
#[derive(Debug, Default)]
pub struct EventsQuery {
    filters: Filters,
}

/// Of each kind, one has to fit.
#[derive(Debug, Default)]
struct Filters {
    ids: Vec<String>,
    names: Vec<Name>,
    statuses: Vec<String>,
    /// All have to fit.
    labels: Vec<(String, Option<String>)>,
    types: Vec<String>,
    containers: Vec<String>,
    actions: Vec<String>,
}

/// A name as `docker ps --filter name=` has it, of the regular expressions there only the two ends.
#[derive(Debug)]
struct Name {
    part: String,
    at_start: bool,
    at_end: bool,
}

impl ListQuery {
    pub fn parse(query: &str) -> Result<Self, Refusal> {
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

    pub fn wants(&self, shown: &Shown) -> bool {
        let Filters {
            ids,
            names,
            statuses,
            labels,
            ..
        } = &self.filters;
        let is_of_state = match statuses.is_empty() {
            true => self.all || ["running", "paused", "restarting"].contains(&shown.state.as_str()),
            false => statuses.contains(&shown.state),
        };
        is_of_state
            && any(ids, |id| shown.id.starts_with(id.as_str()))
            && any(names, |name| name.is_in(&shown.name))
            && labels.iter().all(|label| has(&shown.labels, label))
    }
}

impl EventsQuery {
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        let mut this = Self::default();
        for (key, value) in pairs(query)? {
            match key.as_str() {
                "filters" => this.filters = Filters::parse(&value, &["type", "container", "event", "label", "scope"])?,
                _ => return Err(refuse(&key)),
            }
        }
        Ok(this)
    }

    pub fn wants(&self, event: &TellableEvent) -> bool {
        let Filters {
            types,
            containers,
            actions,
            labels,
            ..
        } = &self.filters;
        let is_of = |container: &String| event.name == *container || event.container.starts_with(container.as_str());
        let is_action = |action: &String| event.action == *action || event.action.split(':').next() == Some(action);
        any(types, |r#type| event.r#type == r#type)
            && any(containers, is_of)
            && any(actions, is_action)
            && labels.iter().all(|label| has(&event.labels, label))
    }
}

impl Filters {
    /// `{"label":["eid.cluster=shop"]}`, or as old clients have it `{"label":{"eid.cluster=shop":true}}`.
    fn parse(json: &str, known: &[&str]) -> Result<Self, Refusal> {
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
                "name" => this.names = values.iter().map(|name| Name::parse(name)).collect::<Result<_, _>>()?,
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
                // All is local.
                _ => {}
            }
        }
        Ok(this)
    }
}

fn parse_label(text: &str) -> Result<(String, Option<String>), Refusal> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    match key.starts_with("eid.") {
        true => Ok((key.to_owned(), value)),
        false => Err("eid serve shows no labels but those that begin with eid.".to_owned()),
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, Refusal> {
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
        match part.bytes().all(is_plain) {
            true => Ok(Self {
                part: part.to_owned(),
                at_start,
                at_end,
            }),
            false => Err("eid serve knows no patterns in names but ^ and $".to_owned()),
        }
    }

    fn is_in(&self, name: &str) -> bool {
        match (self.at_start, self.at_end) {
            (true, true) => name == self.part,
            (true, false) => name.starts_with(&self.part),
            (false, true) => name.ends_with(&self.part),
            (false, false) => name.contains(&self.part),
        }
    }
}

/// Whether one fits, or there is none.
fn any<T>(values: &[T], fits: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(fits)
}

fn has(labels: &std::collections::BTreeMap<String, String>, (key, value): &(String, Option<String>)) -> bool {
    let found = labels.get(key);
    found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
}

fn refuse(key: &str) -> Refusal {
    format!("eid serve does not take the parameter {key:?}")
}

/// As Go reads what it calls a bool.
fn boolean(text: &str) -> bool {
    !["", "0", "no", "false", "none"].contains(&text.to_lowercase().as_str())
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    if query.len() > MAX_SIZE {
        return Err(format!("the query has more than {MAX_SIZE} bytes"));
    }
    let decode = |text: &str| decode(text).ok_or_else(|| "the query is not percent-encoded UTF-8".to_owned());
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key)?, decode(value)?);
        // Of two, one program reads the first and another one the last.
        if pairs.iter().any(|(known, _)| *known == key) {
            return Err(format!("the parameter {key:?} stands there twice"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// `application/x-www-form-urlencoded`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
