//! Reads the cookie from a file such as `~/.erlang.cookie`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::output::Failure;

/// The maximum length, in bytes: a cookie is an atom.
const MAX_COOKIE: usize = 255;

/// A cookie. It is secret, so this type has neither [`Debug`] nor [`Display`](std::fmt::Display).
pub struct Cookie(Vec<u8>);

impl Cookie {
    /// Reads a file as OTP does (`auth:read_cookie/1`): printable ASCII, then blanks and newlines. Only the owner may have
    /// access to the file.
    /// Errors: [`Failure::Other`] explains the problem, without any of the content.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::Other(format!("the cookie file {}: {why}", path.display()));
        let cant = |error: std::io::Error| wrong(format!("it can't be read: {error}"));
        let file = File::open(path).map_err(cant)?;
        let metadata = file.metadata().map_err(cant)?;
        if !metadata.is_file() {
            return Err(wrong("it is no file".to_owned()));
        }
        if is_open_to_others(&metadata) {
            return Err(wrong(
                "others than its owner may read it; chmod 400, which Erlang demands too".to_owned(),
            ));
        }
        let mut text = vec![];
        let most = MAX_COOKIE + 16;
        file.take(most as u64).read_to_end(&mut text).map_err(cant)?;
        let end = text
            .iter()
            .position(|byte| !(b' '..=b'~').contains(byte))
            .unwrap_or(text.len());
        if text[end..].iter().any(|byte| !b" \r\n".contains(byte)) {
            return Err(wrong("a cookie is one line of printable ASCII characters".to_owned()));
        }
        match end {
            0 => Err(wrong("there is no cookie in it".to_owned())),
            1..=MAX_COOKIE => {
                text.truncate(end);
                Ok(Self(text))
            }
            _ => Err(wrong(format!("a cookie has at most {MAX_COOKIE} characters"))),
        }
    }

    /// Returns the cookie itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}
