//! The answers of a good engine, and how each misbehaviour changes them.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{json, Value};

use super::misbehaviour::Misbehaviour;
use super::reply::{chunk, response, Reply, LAST_CHUNK};

/// Pause between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(50);

/// Delay of a late answer.
pub const LATE: Duration = Duration::from_millis(100);

/// Depth of nested arrays. It is far above serde_json's limit, and would overflow the stack of a parser without a
/// limit.
const DEPTH: usize = 100_000;

/// The right answer to a request, with any status.
pub struct Answer {
    pub status: &'static str,
    /// Each header ends in `\r\n`.
    pub headers: String,
    pub body: Body,
}

pub enum Body {
    Text(String),
    Container(Value),
    List(Value),
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            // An engine ends its JSON with a newline.
            Self::Container(value) | Self::List(value) => format!("{value}\n").into_bytes(),
        }
    }
}

impl Answer {
    /// The answer exactly as an engine sends it.
    pub fn reply(&self) -> Reply {
        Reply::Answer(self.with_body(&self.body.bytes()))
    }

    /// An engine, written in Go, announces the length of bodies up to 2 KiB and sends longer ones in chunks.
    fn with_body(&self, body: &[u8]) -> Vec<u8> {
        if body.len() <= 2048 {
            response(self.status, &self.headers, body)
        } else {
            [&self.chunked(), &chunk(body), LAST_CHUNK].concat()
        }
    }

    /// The head of an answer whose body comes in chunks.
    pub fn chunked(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 {}\r\n{}Transfer-Encoding: chunked\r\n\r\n",
            self.status, self.headers
        )
        .into_bytes()
    }

    fn head(&self, length: impl std::fmt::Display) -> Vec<u8> {
        format!(
            "HTTP/1.1 {}\r\n{}Content-Length: {length}\r\n\r\n",
            self.status, self.headers
        )
        .into_bytes()
    }

    /// The answer of an engine with this misbehaviour. `asked` is the container that the client wants to inspect.
    pub fn spoilt(&self, misbehaviour: Misbehaviour, asked: &str, elsewhere: SocketAddr) -> Reply {
        let body = self.body.bytes();
        self.spoilt_reply(misbehaviour, &body, elsewhere)
            .or_else(|| Some(Reply::Answer(self.with_body(&self.spoilt_body(misbehaviour)?))))
            .unwrap_or_else(|| match (misbehaviour, &self.body) {
                (Misbehaviour::AmbiguousPrefix, Body::Container(container)) if is_a_prefix(asked, container) => {
                    ambiguous(asked).reply()
                }
                _ => self.reply(),
            })
    }

    /// The answer for misbehaviours that work for any kind of body.
    fn spoilt_reply(&self, misbehaviour: Misbehaviour, body: &[u8], elsewhere: SocketAddr) -> Option<Reply> {
        use Misbehaviour as M;
        let right = || self.with_body(body);
        let chunked = |parts: &[&[u8]]| [self.chunked(), parts.concat()].concat();
        let half = &body[..body.len() / 2];
        Some(match misbehaviour {
            M::Reset => Reply::Reset,
            M::Close => Reply::Close(vec![]),
            M::Late => Reply::Late(LATE, right()),
            M::HangBeforeHeaders => Reply::Hang,
            M::HangInHeaders => Reply::stall(format!("HTTP/1.1 {}\r\nContent-Le", self.status).into_bytes()),
            M::HangAfterHeaders => Reply::stall(self.head(body.len().max(1))),
            M::HangInBody => Reply::stall([&self.head(body.len().max(1)), half].concat()),
            M::Drip => Reply::drip(self.head(body.len()), body.to_owned(), DRIP),
            M::DripHeaders => Reply::drip(vec![], right(), DRIP),
            M::Redirect => {
                let location = format!("Location: http://{elsewhere}/\r\n");
                Reply::Answer(response("301 Moved Permanently", &location, ""))
            }
            M::Unauthorized => message("401 Unauthorized", "authorization denied by plugin").reply(),
            M::Forbidden => page("403 Forbidden", "Request forbidden by administrative rules.", ""),
            M::NotFound => message("404 Not Found", "No such container: it is the double that says so").reply(),
            M::PageNotFound => message("404 Not Found", "page not found").reply(),
            M::WebServer => page("404 Not Found", "The requested URL was not found on this server.", ""),
            M::Conflict => message("409 Conflict", "the container is being removed").reply(),
            M::TooManyRequests => page("429 Too Many Requests", "Slow down.", "Retry-After: 1\r\n"),
            M::InternalError => message("500 Internal Server Error", "no space left on device").reply(),
            M::Unavailable => Reply::status("503 Service Unavailable", ""),
            M::VersionTooOld => {
                let text =
                    "client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your \
                            client to a newer version";
                message("400 Bad Request", text).reply()
            }
            M::NoContent => Reply::Answer(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
            M::EmptyBody => Reply::Answer(self.with_body(b"")),
            M::CutChunk => {
                let size = format!("{:x}\r\n", body.len() + 1);
                Reply::Close(chunked(&[size.as_bytes(), half]))
            }
            M::NoLastChunk => Reply::Close(chunked(&[&chunk(body)])),
            M::BadChunkSize => Reply::Close(chunked(&[b"zz\r\n", body, b"\r\n", LAST_CHUNK])),
            M::HugeChunkSize => Reply::Close(chunked(&[b"1ffffffffffffffff\r\n", body])),
            M::LengthTooLong => Reply::Close([&self.head(body.len() + 100), body].concat()),
            M::LengthTooShort => Reply::Answer([&self.head(half.len()), body].concat()),
            M::LengthNegative => Reply::Close([&self.head("-1"), body].concat()),
            M::LengthAndChunked => {
                let headers = format!("{}Content-Length: {}\r\n", self.headers, half.len());
                let head = Self {
                    status: self.status,
                    headers,
                    body: Body::Text(String::new()),
                };
                Reply::Answer([&head.chunked(), &chunk(body), LAST_CHUNK].concat())
            }
            M::EndlessBody => Reply::endless(self.chunked(), chunk(&[b' '; 64 * 1024])),
            M::HugeLength => Reply::endless(self.head(1_u64 << 40), vec![b' '; 64 * 1024]),
            M::EndlessHeaders => {
                let head = format!("HTTP/1.1 {}\r\n", self.status).into_bytes();
                Reply::endless(head, b"X-More: and more\r\n".repeat(1000))
            }
            M::EndlessHeader => {
                let head = format!("HTTP/1.1 {}\r\nX-More: ", self.status).into_bytes();
                Reply::endless(head, vec![b'x'; 16 * 1024])
            }
            M::HugeHeader => {
                let headers = format!("{}X-More: {}\r\n", self.headers, "x".repeat(1_000_000));
                Reply::Answer(response(self.status, &headers, body))
            }
            M::NotHttp => Reply::Close(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()),
            M::Noise => Reply::Close(
                (0..4096_u32)
                    .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                    .collect(),
            ),
            M::Http10 => {
                let head = format!("HTTP/1.0 {}\r\n{}\r\n", self.status, self.headers);
                Reply::Close([head.as_bytes(), body].concat())
            }
            M::FalselyGzipped => {
                let headers = format!("{}Content-Encoding: gzip\r\n", self.headers);
                Reply::Answer(response(self.status, &headers, body))
            }
            M::Continue => Reply::Answer([b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), right()].concat()),
            M::AnswerTwice => Reply::Answer([right(), right()].concat()),
            M::Restart => Reply::Restart,
            M::BadJson => Reply::Answer(self.with_body(b"{'Id': \"0123456789ab\", Name: undefined}\n")),
            M::HalfJson => Reply::Answer(self.with_body(half)),
            M::DeepJson => Reply::Answer(self.with_body(nested().as_bytes())),
            M::NullJson => Reply::Answer(self.with_body(b"null\n")),
            M::WrongType => {
                let is_list = matches!(self.body, Body::List(_));
                Reply::Answer(self.with_body(if is_list { b"{}\n" } else { b"[]\n" }))
            }
            _ => return None,
        })
    }

    /// The body for misbehaviours that change containers. `None` if the answer contains no container.
    fn spoilt_body(&self, misbehaviour: Misbehaviour) -> Option<Vec<u8>> {
        use Misbehaviour as M;
        let mut value = match &self.body {
            Body::Text(_) => return None,
            Body::Container(value) | Body::List(value) => value.clone(),
        };
        let mut each = |spoil: fn(usize, &mut Value)| match &mut value {
            Value::Array(list) => list
                .iter_mut()
                .enumerate()
                .for_each(|(n, container)| spoil(n, container)),
            container => spoil(0, container),
        };
        match misbehaviour {
            M::DeepField => {
                each(|n, container| {
                    // One deep field, in the first container, is enough.
                    if n == 0 {
                        container["Mounts"] = json!("deep-field");
                    }
                });
                let text = value.to_string().replace("\"deep-field\"", &nested());
                return Some(text.into_bytes());
            }
            M::InvalidUtf8 => {
                each(|_, container| match container.get_mut("Names") {
                    Some(names) => *names = json!(["/invalid-utf8"]),
                    None => container["Name"] = json!("/invalid-utf8"),
                });
                return Some(invalid_utf8(&value));
            }
            M::NullPorts => each(|_, container| match container.get_mut("Ports") {
                Some(ports) => *ports = Value::Null,
                None => container["NetworkSettings"]["Ports"] = Value::Null,
            }),
            M::OddPorts => each(|_, container| odd_ports(container)),
            M::MissingFields => each(|_, container| *container = json!({"Id": container["Id"]})),
            M::MissingId => each(|_, container| drop(container.as_object_mut().and_then(|fields| fields.remove("Id")))),
            M::InvalidId => each(|n, container| {
                let id = container["Id"].as_str().unwrap_or_default();
                container["Id"] = match n % 7 {
                    0 => id[..11].into(),
                    1 => id.to_uppercase().into(),
                    2 => format!("{id}0").into(),
                    3 => format!("{}é", &id[..11]).into(),
                    4 => "../../info".into(),
                    5 => id.replace(|c: char| c.is_ascii_digit(), "g").into(),
                    _ => 7.into(),
                }
            }),
            M::AmbiguousPrefix | M::DuplicateIds => {
                let list = value.as_array_mut()?;
                let mut others = list.clone();
                for other in &mut others {
                    other_ports(other);
                    if misbehaviour == M::AmbiguousPrefix {
                        let id = other["Id"].as_str().unwrap_or_default();
                        let name = other["Names"][0].as_str().unwrap_or_default();
                        (other["Id"], other["Names"]) = (sibling(id).into(), json!([format!("{name}-sibling")]));
                    }
                }
                list.append(&mut others);
            }
            M::SameName => {
                let names = value[0]["Names"].clone();
                value
                    .as_array_mut()?
                    .iter_mut()
                    .for_each(|container| container["Names"] = names.clone());
            }
            M::EmptyList => value = json!([]),
            M::OtherContainer => {
                value["Id"] = "0123456789abcdef".repeat(4).into();
                value["Name"] = "/another".into();
            }
            _ => return None,
        }
        Some(format!("{value}\n").into_bytes())
    }
}

/// A `{"message":…}` answer with this status.
pub fn message(status: &'static str, text: &str) -> Answer {
    Answer {
        status,
        headers: "Content-Type: application/json\r\n".to_owned(),
        body: Body::Text(format!("{}\n", json!({"message": text}))),
    }
}

/// An answer of a proxy or a web server.
fn page(status: &str, text: &str, headers: &str) -> Reply {
    let headers = format!("Content-Type: text/html\r\nCache-Control: no-cache\r\n{headers}");
    let body = format!("<html><body><h1>{status}</h1>\n{text}\n</body></html>\n");
    Reply::Answer(response(status, &headers, body))
}

pub fn ambiguous(prefix: &str) -> Answer {
    message(
        "400 Bad Request",
        &format!("multiple IDs found with provided prefix: {prefix}"),
    )
}

/// Replaces the marker `invalid-utf8` in the JSON by bytes that are not valid UTF-8.
pub fn invalid_utf8(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut bytes = vec![];
    for (n, part) in text.split("invalid-utf8").enumerate() {
        if n > 0 {
            bytes.extend(b"\xff\xfe\xc3\x28");
        }
        bytes.extend(part.as_bytes());
    }
    bytes
}

fn nested() -> String {
    "[".repeat(DEPTH) + &"]".repeat(DEPTH)
}

fn is_a_prefix(asked: &str, container: &Value) -> bool {
    container["Id"] != asked && container["Name"] != format!("/{asked}")
}

/// Another ID with the same first 12 digits.
fn sibling(id: &str) -> String {
    let digit = |c: char| if c == '0' { '1' } else { '0' };
    id[..12].chars().chain(id[12..].chars().map(digit)).collect()
}

fn odd_ports(container: &mut Value) {
    if let Some(Value::Array(ports)) = container.get_mut("Ports") {
        for odd in [
            json!(0),
            json!(65536),
            json!("abc"),
            json!(-1),
            json!(1.5),
            json!(""),
            Value::Null,
        ] {
            ports.insert(
                0,
                json!({"IP": "0.0.0.0", "PrivatePort": 12345, "PublicPort": odd, "Type": "tcp"}),
            );
            ports.insert(
                0,
                json!({"IP": "0.0.0.0", "PrivatePort": odd, "PublicPort": 1, "Type": "tcp"}),
            );
            ports.insert(
                0,
                json!({"IP": odd, "PrivatePort": 12345, "PublicPort": 1, "Type": odd}),
            );
        }
    } else if let Some(Value::Object(ports)) = container.pointer_mut("/NetworkSettings/Ports") {
        for bindings in ports.values_mut().filter_map(Value::as_array_mut) {
            for odd in [
                json!("0"),
                json!("65536"),
                json!("abc"),
                json!("-1"),
                json!("1.5"),
                json!(""),
                json!(7),
            ] {
                bindings.insert(0, json!({"HostIp": "0.0.0.0", "HostPort": odd}));
            }
            bindings.insert(0, json!({"HostIp": "0.0.0.0", "HostPort": null}));
            bindings.insert(0, json!({"HostIp": "nowhere", "HostPort": "1"}));
        }
        for odd in ["0/tcp", "65536/tcp", "-1/tcp", "abc/tcp", "/", "", "12345/", "1.5/tcp"] {
            ports.insert(odd.to_owned(), json!([{"HostIp": "0.0.0.0", "HostPort": "1"}]));
        }
    }
}

/// Changes the host ports of a listed container.
fn other_ports(container: &mut Value) {
    for port in container["Ports"].as_array_mut().into_iter().flatten() {
        if let Some(public) = port["PublicPort"].as_u64() {
            port["PublicPort"] = (public ^ 1).into();
        }
    }
}
