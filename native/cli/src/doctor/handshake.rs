//! The distribution handshake over TCP, as the connecting side. [`wire`] encodes its messages.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{timeout_at, Duration, Instant};

use super::cookie::Cookie;
use super::flags::Flags;
use super::wire::{self, Challenge, Malformed, Status, MAX_MESSAGE};

/// How this end introduces itself.
#[derive(Clone, Copy, Debug)]
pub enum Introduction<'a> {
    /// The peer chooses a name with this host part. It chooses the same name for each connection with this host part, so it
    /// creates one atom in all. No node has such a name.
    Host(&'a str),
    /// With this node name.
    Name(&'a str),
}

/// Why the handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The peer closed the connection, after this number of messages.
    Closed(usize),
    /// The peer stopped sending, after this number of messages.
    Silent(usize),
    /// The peer refused with this status.
    Status(Status),
    /// The peer speaks TLS.
    Tls,
    /// The peer speaks another protocol. The text is what it sent first, printable.
    NotErlang(String),
    /// The peer has another cookie.
    WrongCookie,
    /// The peer accepted the cookie, but its acknowledgement shows that it does not have it.
    WrongAcknowledgement,
    /// Any other error of the connection.
    Broken(String),
}

/// A connection during the handshake.
pub struct Handshake {
    stream: TcpStream,
    /// The end of the time for the whole handshake.
    deadline: Instant,
    /// Received bytes that are not decoded yet.
    buffer: Vec<u8>,
    /// The number of complete messages received.
    messages: usize,
}

/// How long to wait for more of an unknown protocol, only to show it.
const SNIFF_TIME: Duration = Duration::from_millis(200);

/// The maximum number of bytes shown of an unknown protocol.
const SNIFF_BYTES: usize = 60;

impl Handshake {
    /// Starts a handshake that must end within `limit`.
    pub fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            deadline: Instant::now() + limit,
            buffer: vec![],
            messages: 0,
        }
    }

    /// Introduces this end as a hidden node, and returns the peer's introduction. No node is connected yet after that.
    /// Errors: Any [`HandshakeError`] except those about the cookie.
    pub async fn introduce(&mut self, introduction: Introduction<'_>) -> Result<Challenge, HandshakeError> {
        // Without a name there is no creation. Creations from 0 to 3 belong to old releases.
        let name = match introduction {
            Introduction::Host(host) => wire::send_name(Flags::OURS.and(Flags::NAME_ME), 0, host),
            Introduction::Name(name) => wire::send_name(Flags::OURS, fastrand::u32(4..), name),
        };
        self.send(&name).await?;
        let message = self.receive().await?;
        match wire::status(&message).map_err(|Malformed| not_erlang(&message))? {
            Status::Ok | Status::OkSimultaneous | Status::Named(_) => {}
            Status::Alive => {
                // The peer waits for this answer.
                self.send(&wire::send_not_alive()).await?;
                return Err(HandshakeError::Status(Status::Alive));
            }
            status => return Err(HandshakeError::Status(status)),
        }
        let message = self.receive().await?;
        wire::challenge(&message).map_err(|Malformed| not_erlang(&message))
    }

    /// Proves to the peer that this end has the cookie, and checks the peer's proof. After that the peer counts this end as a
    /// connected node until the connection is closed.
    /// Errors: [`HandshakeError::WrongCookie`] if the cookies differ.
    pub async fn prove(mut self, cookie: &Cookie, challenge: &Challenge) -> Result<(), HandshakeError> {
        let ours = fastrand::u32(..);
        let digest = wire::digest(cookie.as_bytes(), challenge.challenge);
        self.send(&wire::send_challenge_reply(ours, &digest)).await?;
        // OTP closes the connection after a wrong digest.
        let message = self.receive().await.map_err(|error| match error {
            HandshakeError::Closed(_) => HandshakeError::WrongCookie,
            error => error,
        })?;
        let theirs = wire::challenge_ack(&message).map_err(|Malformed| not_erlang(&message))?;
        if theirs == wire::digest(cookie.as_bytes(), ours) {
            Ok(())
        } else {
            Err(HandshakeError::WrongAcknowledgement)
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        let sent = timeout_at(self.deadline, self.stream.write_all(bytes)).await;
        let sent = sent.map_err(|_| HandshakeError::Silent(self.messages))?;
        sent.map_err(|error| self.broken(&error))
    }

    /// Receives a message, without its length.
    async fn receive(&mut self) -> Result<Vec<u8>, HandshakeError> {
        loop {
            if let Some((length, rest)) = self.buffer.split_first_chunk() {
                let length = usize::from(u16::from_be_bytes(*length));
                if length > MAX_MESSAGE {
                    return Err(self.sniff().await);
                }
                if let Some(message) = rest.get(..length) {
                    let message = message.to_vec();
                    self.buffer.drain(..length + 2);
                    self.messages += 1;
                    return Ok(message);
                }
            }
            let read = timeout_at(self.deadline, self.read()).await;
            match read.unwrap_or(Err(HandshakeError::Silent(self.messages))) {
                Ok(()) => {}
                Err(HandshakeError::Closed(_) | HandshakeError::Silent(_)) if !self.buffer.is_empty() => {
                    return Err(not_erlang(&self.buffer));
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn read(&mut self) -> Result<(), HandshakeError> {
        let mut chunk = [0; MAX_MESSAGE];
        match self.stream.read(&mut chunk).await {
            Ok(0) => Err(HandshakeError::Closed(self.messages)),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Recognises a protocol whose first two bytes are not a message length.
    async fn sniff(&mut self) -> HandshakeError {
        let deadline = Instant::now() + SNIFF_TIME;
        while self.buffer.len() < SNIFF_BYTES {
            if !matches!(timeout_at(deadline, self.read()).await, Ok(Ok(()))) {
                break;
            }
        }
        // A TLS alert, and the major version of all TLS versions (RFC 8446, section 5.1).
        if self.buffer.starts_with(&[0x15, 0x03]) {
            return HandshakeError::Tls;
        }
        not_erlang(&self.buffer)
    }

    fn broken(&self, error: &io::Error) -> HandshakeError {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => HandshakeError::Closed(self.messages),
            _ => HandshakeError::Broken(error.to_string()),
        }
    }
}

fn not_erlang(bytes: &[u8]) -> HandshakeError {
    HandshakeError::NotErlang(wire::printable(bytes[..bytes.len().min(SNIFF_BYTES)].trim_ascii_end()))
}
