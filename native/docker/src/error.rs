//! The errors of this crate, and how text from outside becomes part of them.

use std::error::Error as StdError;
use std::{fmt, io};

use hyper::StatusCode;
use serde::Deserialize;

/// Maximum length of a message from an engine, in characters.
const MAX_MESSAGE: usize = 200;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The text has not the form `Container@Host`. No request was sent.
    BadNodeName,
    /// The engine knows no container of exactly this name or ID.
    NoSuchContainer,
    /// The container exists, but its process does not run.
    NotRunning,
    /// The container runs, but does not publish its distribution port on the host.
    NotPublished,
    /// The container publishes its distribution port on loopback addresses of the host only, so other hosts can't reach it.
    PublishedOnLoopback,
    /// The container publishes its distribution port, but on other addresses of the host than the requested one.
    PublishedElsewhere,
    /// The engine could not be reached: which part failed, and why, for example `connection refused`.
    Unreachable(Subject, String),
    /// A setting or a file is wrong, so nothing was sent: which one, and why.
    Config(Subject, String),
    /// A defect of eid: a task ended without an answer.
    Defect(String),
    /// The engine answered, but not with what it was asked for.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The message of the engine or of a proxy before it, at most 200 characters: see [`sanitize`]. It may be HTML.
        message: String,
    },
    /// The engine's answer was cut off, or is not what the Docker API describes; the text says which.
    BadResponse(String),
    /// The engine's answer has more bytes than this limit.
    TooLarge(usize),
    /// No answer within the time limit.
    Timeout,
}

/// The part that an [`Error::Unreachable`] or an [`Error::Config`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The connection to the engine.
    Connection,
    /// The unix socket of the engine.
    Socket,
    /// The certificates of either side, or the TLS handshake.
    Certificates,
    /// The file with the token.
    TokenFile,
    /// The address of the engine or of another service.
    Address,
}

impl Error {
    /// The connection failed for this reason.
    pub fn unreachable(why: impl Into<String>) -> Self {
        Self::Unreachable(Subject::Connection, why.into())
    }

    /// The task that worked on the answer ended without one. Only a defect of eid causes this.
    pub fn abandoned() -> Self {
        Self::Defect("the lookup was abandoned".to_owned())
    }

    /// The kind of this error, as one word for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadNodeName => "bad_node_name",
            Self::NoSuchContainer => "no_such_container",
            Self::NotRunning => "not_running",
            Self::NotPublished => "not_published",
            Self::PublishedOnLoopback => "published_on_loopback",
            Self::PublishedElsewhere => "published_elsewhere",
            Self::Unreachable(..) | Self::Config(..) | Self::Defect(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::BadResponse(_) | Self::TooLarge(_) => "bad_response",
            Self::Timeout => "timeout",
        }
    }

    /// The reason, if no engine was reached: the text of [`Error::Unreachable`], [`Error::Config`] and [`Error::Defect`].
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Unreachable(_, why) | Self::Config(_, why) | Self::Defect(why) => Some(why),
            _ => None,
        }
    }

    /// Reads an answer with another status than 200. Docker explains itself in a JSON object (`ErrorResponse` in the API's
    /// reference: `{"message": "…"}`); a proxy may send anything.
    pub(crate) fn refused(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct ErrorResponse {
            message: String,
        }
        let text = match serde_json::from_slice(body) {
            Ok(ErrorResponse { message }) => message,
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        let message = match excerpt(&text) {
            nothing if nothing.is_empty() => status.canonical_reason().unwrap_or("no reason given").to_owned(),
            text => text,
        };
        let status = status.as_u16();
        Self::Refused { status, message }
    }

    /// The JSON of an answer is not what `what` describes. The text names the place only, because serde's own text may repeat
    /// what the engine sent.
    pub(crate) fn bad_json(what: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::BadResponse(format!(
            "it is not what {what} describes, at line {line} column {column}"
        ))
    }
}

/// Makes a text from outside safe to show on a terminal or in a log. White space becomes a blank. Every other control
/// character, and every character that changes the direction of writing, becomes U+FFFD.
pub fn sanitize(text: &str) -> String {
    let safe = |c: char| match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// The beginning of a text from outside, sanitised.
pub(crate) fn excerpt(text: &str) -> String {
    let beginning: String = sanitize(text.trim()).chars().take(MAX_MESSAGE).collect();
    beginning.trim().to_owned()
}

/// The innermost error of this type.
pub(crate) fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref())
        .last()
}

/// `connection refused` for the standard library's `Connection refused (os error 111)`.
pub(crate) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    first.to_lowercase() + rest
}

impl StdError for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadNodeName => f.write_str("this is not a node name of the form Container@Host"),
            Self::NoSuchContainer => f.write_str("the engine knows no such container"),
            Self::NotRunning => f.write_str("the container is not running"),
            Self::NotPublished => f.write_str("the container's Erlang port is not published"),
            Self::PublishedOnLoopback => {
                f.write_str("the container's Erlang port is published on the host's loopback address only")
            }
            Self::PublishedElsewhere => {
                f.write_str("the container's Erlang port is published on another address of the host")
            }
            Self::Unreachable(_, why) | Self::Config(_, why) | Self::Defect(why) => {
                write!(f, "the engine is unreachable: {why}")
            }
            Self::Refused { status, message } => write!(f, "the engine refused with status {status}: {message}"),
            Self::BadResponse(why) => write!(f, "the engine's answer makes no sense: {why}"),
            Self::TooLarge(limit) => write!(f, "the engine's answer has more than {limit} bytes"),
            Self::Timeout => f.write_str("the engine did not answer in time"),
        }
    }
}

#[cfg(test)]
#[path = "../tests/unit/error.rs"]
mod tests;
