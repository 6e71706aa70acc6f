//! Terms as JSON.
//!
//! The `json` module of OTP came with 27. Here a list is always an array, since nothing tells a text of code points from
//! a list of numbers, and a binary is always a text.

use rustler::{Binary, ListIterator, MapIterator, Term, TermType};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

/// How deep maps and lists may be in each other: recursion has the small stack of a scheduler.
const MAX_DEPTH: usize = 64;

/// The text of an atom in the external term format, of up to 255 and of more bytes ("External Term Format" in ERTS' User's
/// Guide).
const SMALL_ATOM_UTF8: u8 = 119;
const ATOM_UTF8: u8 = 118;

/// The term as JSON; `None` if it is, or has in it, what has no such form.
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
                // An improper list has no length.
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

/// An atom's text. The function for it knows Latin-1 alone before NIF version 2.17.
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
