//! What can go wrong, as far as a caller may want to act on it.

use std::fmt;

use hyper::StatusCode;
use serde::Deserialize;

/// The longest message that is kept of an engine's refusal, in characters.
const MAX_MESSAGE: usize = 200;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The text is no `Container@Host`. No request was sent.
    BadNodeName,
    /// The engine knows no container of exactly this name or ID.
    NoSuchContainer,
    /// The container exists, but its process does not run.
    NotRunning,
    /// The container runs, but its Erlang port is not published on the host.
    NotPublished,
    /// The Erlang port is published on loopback addresses of the host only, so no other host gets there.
    PublishedOnLoopback,
    /// The Erlang port is published, but on other addresses of the host than the one that was asked for.
    PublishedElsewhere,
    /// The engine could not be reached; the text says why, for example `connection refused`.
    Unreachable(String),
    /// The engine answered, but not with what it was asked for.
    Refused {
        /// The HTTP status of its answer.
        status: u16,
        /// What it said: at most 200 characters without control characters, otherwise as it came. It is the engine's
        /// text, or that of a proxy before it, HTML for example: show it as text.
        message: String,
    },
    /// The engine's answer was cut off or not what the Docker API describes; the text says which.
    BadResponse(String),
    /// The engine's answer has more bytes than it may, which is this number.
    TooLarge(usize),
    /// No answer within the limit.
    Timeout,
}

impl Error {
    /// The task that worked on the answer is gone without one, which only a defect of ours brings about.
    pub fn abandoned() -> Self {
        Self::Unreachable("the lookup was abandoned".to_owned())
    }

    /// What kind of error this is, as one word for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadNodeName => "bad_node_name",
            Self::NoSuchContainer => "no_such_container",
            Self::NotRunning => "not_running",
            Self::NotPublished => "not_published",
            Self::PublishedOnLoopback => "published_on_loopback",
            Self::PublishedElsewhere => "published_elsewhere",
            Self::Unreachable(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::BadResponse(_) | Self::TooLarge(_) => "bad_response",
            Self::Timeout => "timeout",
        }
    }

    /// Reads the answer of an engine that did not do what it was asked. Docker explains itself in a JSON object
    /// (`ErrorResponse` in the API's reference: `{"message": "…"}`); a proxy may send anything.
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
        Self::Refused {
            status: status.as_u16(),
            message,
        }
    }
}

/// Makes a text from outside safe to show on a terminal or in a log: white space becomes a blank, and each other control
/// character, and each character that changes the direction of writing, becomes U+FFFD.
pub fn sanitize(text: &str) -> String {
    let safe = |c: char| match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// The sanitised beginning of a text from outside.
pub(crate) fn excerpt(text: &str) -> String {
    let beginning: String = sanitize(text.trim()).chars().take(MAX_MESSAGE).collect();
    beginning.trim().to_owned()
}

impl std::error::Error for Error {}

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
            Self::Unreachable(detail) => write!(f, "the engine is unreachable: {detail}"),
            Self::Refused { status, message } => {
                write!(f, "the engine refused with status {status}: {message}")
            }
            Self::BadResponse(detail) => write!(f, "the engine's answer makes no sense: {detail}"),
            Self::TooLarge(bound) => write!(f, "the engine's answer has more than {bound} bytes"),
            Self::Timeout => f.write_str("the engine did not answer in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(status: u16, body: &[u8]) -> String {
        match Error::refused(StatusCode::from_u16(status).unwrap(), body) {
            Error::Refused { status: s, message } if s == status => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_message_of_a_refusal() {
        assert_eq!(message(500, br#"{"message":"no space left"}"#), "no space left");
        assert_eq!(message(403, b"<h1>Forbidden</h1>\r\n"), "<h1>Forbidden</h1>");
        assert_eq!(message(500, b"a\x1b[31mb\nc"), "a\u{fffd}[31mb c");
        assert_eq!(
            message(500, b"{\"message\":\"a\\u0000b\\u202ec\"}"),
            "a\u{fffd}b\u{fffd}c"
        );
        assert_eq!(message(502, b""), "Bad Gateway");
        assert_eq!(message(503, b"{\"message\":\" \\n \"}"), "Service Unavailable");
        assert_eq!(message(599, b""), "no reason given");
        assert_eq!(message(500, &[0xff, 0xfe]), "\u{fffd}\u{fffd}");
        assert_eq!(message(500, "é".repeat(5000).as_bytes()), "é".repeat(200));
    }
}
