//! Erlang terms as JSON, because OTP has a `json` module only since 27.
//!
//! A list is always an array, since a text of code points looks like a list of numbers. A binary is always a text.

use rustler::{Binary, ListIterator, MapIterator, Term, TermType};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

/// Maximum depth of nested maps and lists: the stack of a scheduler is small.
const MAX_DEPTH: usize = 64;

/// The tags of an atom's text in the external term format, for up to 255 bytes and for more ("External Term Format" in ERTS'
/// User's Guide).
const SMALL_ATOM_UTF8: u8 = 119;
const ATOM_UTF8: u8 = 118;

/// The term as JSON. `None` if the term, or a part of it, has no form in JSON.
pub fn encode(term: Term<'_>) -> Option<Vec<u8>> {
    serde_json::to_vec(&Json { term, depth: 0 }).ok()
}

#[derive(Clone, Copy)]
struct Json<'a> {
    term: Term<'a>,
    depth: usize,
}

impl<'a> Json<'a> {
    fn inner(&self, term: Term<'a>) -> Self {
        let depth = self.depth + 1;
        Self { term, depth }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let term = self.term;
        if self.depth > MAX_DEPTH {
            return Err(S::Error::custom("too deep"));
        }
        match term.get_type() {
            TermType::Atom => match atom(term).ok_or_else(no_json)?.as_str() {
                "true" => to.serialize_bool(true),
                "false" => to.serialize_bool(false),
                "null" => to.serialize_unit(),
                text => to.serialize_str(text),
            },
            TermType::Binary => to.serialize_str(text(term).ok_or_else(no_json)?),
            TermType::Integer => match (term.decode::<i64>(), term.decode::<u64>()) {
                (Ok(number), _) => to.serialize_i64(number),
                (_, Ok(number)) => to.serialize_u64(number),
                _ => Err(no_json()),
            },
            TermType::Float => to.serialize_f64(term.decode().map_err(|_| no_json())?),
            TermType::List => {
                // This fails for an improper list.
                let length = term.list_length().map_err(|_| no_json())?;
                let items: ListIterator<'_> = term.decode().map_err(|_| no_json())?;
                let mut array = to.serialize_seq(Some(length))?;
                for item in items {
                    array.serialize_element(&self.inner(item))?;
                }
                array.end()
            }
            TermType::Map => {
                let pairs = MapIterator::new(term).ok_or_else(no_json)?;
                let mut object = to.serialize_map(term.map_size().ok())?;
                for (key, value) in pairs {
                    let atom = atom(key);
                    let key = atom.as_deref().or_else(|| text(key)).ok_or_else(no_json)?;
                    object.serialize_entry(key, &self.inner(value))?;
                }
                object.end()
            }
            _ => Err(no_json()),
        }
    }
}

fn no_json<E: Error>() -> E {
    E::custom("it has no form in JSON")
}

/// A binary's text, if it is UTF-8.
fn text(term: Term<'_>) -> Option<&str> {
    let binary: Binary<'_> = term.decode().ok()?;
    str::from_utf8(binary.as_slice()).ok()
}

/// An atom's text. Before NIF version 2.17 the VM's function for it knows only Latin-1.
fn atom(term: Term<'_>) -> Option<String> {
    if !term.is_atom() {
        return None;
    }
    term.atom_to_string()
        .ok()
        .or_else(|| match term.to_binary().as_slice() {
            [_, SMALL_ATOM_UTF8, _, text @ ..] | [_, ATOM_UTF8, _, _, text @ ..] => {
                String::from_utf8(text.to_vec()).ok()
            }
            _ => None,
        })
}
