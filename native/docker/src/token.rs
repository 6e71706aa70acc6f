//! A secret text that says who asks, as HTTP has it (RFC 6750): `Authorization: Bearer TOKEN`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use hyper::header::HeaderValue;

use crate::http::io_text;
use crate::Error;

/// In bytes; those that signed tokens have are a few hundred.
const MAX_SIZE: usize = 4096;

/// A bearer token: 1 to 4096 letters, digits and `-._~+/=`. It shows itself to nobody who prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads a file that has the token and perhaps the end of a line, and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], saying what is wrong with the file.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let unusable = |why: &str| Err(Error::Unreachable(format!("the token file {} {why}", file.display())));
        let mut text = Vec::new();
        // Opening a pipe would wait for who writes it.
        let read = fs::metadata(file).and_then(|found| match found.is_file() {
            true => File::open(file)?.take(MAX_SIZE as u64 + 3).read_to_end(&mut text),
            false => Err(io::Error::other("it is no file")),
        });
        if let Err(error) = read {
            return unusable(&format!("can't be read: {}", io_text(&error)));
        }
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match str::from_utf8(text) {
            Ok("") => unusable("is empty"),
            Ok(token) if token.len() <= MAX_SIZE && token.bytes().all(is_of_token) => Ok(Self(token.to_owned())),
            _ => unusable("has no token: 1 to 4096 letters, digits and -._~+/="),
        }
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows `Authorization:`.
    pub(crate) fn header(&self) -> HeaderValue {
        let value = format!("Bearer {}", self.0);
        let mut value = HeaderValue::try_from(value).expect("a token has no other characters");
        value.set_sensitive(true);
        value
    }
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
