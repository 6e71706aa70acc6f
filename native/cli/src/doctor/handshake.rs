//! The distribution handshake as the side that connects, over TCP; the messages are [`wire`]'s.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{timeout_at, Duration, Instant};

use super::cookie::Cookie;
use super::flags::Flags;
use super::wire::{self, Challenge, Malformed, Status, MAX_MESSAGE};

/// Who introduces itself.
#[derive(Clone, Copy, Debug)]
pub enum Own<'a> {
    /// The peer is to choose a name, with this after the `@`. It uses the same one for whoever comes next with the same host, so it
    /// makes one atom in all; and it can't be that of a node.
    Host(&'a str),
    /// This node name.
    Name(&'a str),
}

/// Why it went no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The peer has closed the connection, after so many of its messages.
    Closed(usize),
    /// It is silent, after so many of its messages.
    Silent(usize),
    /// It is there, and does not want.
    Status(Status),
    /// What came is TLS.
    Tls,
    /// What came is no handshake: the beginning, fit to be shown.
    NoErlang(String),
    /// It has another cookie.
    WrongCookie,
    /// It does not have the cookie and went on nevertheless.
    WrongAcknowledgement,
    /// The system's word for anything else.
    Broken(String),
}

/// A connection on which the handshake is under way.
pub struct Handshake {
    stream: TcpStream,
    /// Until when the peer may take.
    deadline: Instant,
    /// What has come and was not looked at.
    buffer: Vec<u8>,
    /// How many whole messages have come.
    messages: usize,
}

/// How long the rest of what is no message may take to come, which is only to be shown.
const REST: Duration = Duration::from_millis(200);

/// How much of it is shown.
const SHOWN: usize = 60;

impl Handshake {
    pub fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            deadline: Instant::now() + limit,
            buffer: vec![],
            messages: 0,
        }
    }

    /// Introduces this end as a hidden node, and lets the peer introduce itself. After that no node is connected yet.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub async fn introduce(&mut self, own: Own<'_>) -> Result<Challenge, Trouble> {
        // A name that was not given has no creation either; of those that are, 0 to 3 are of old releases.
        let name = match own {
            Own::Host(host) => wire::send_name(Flags::OURS.and(Flags::NAME_ME), 0, host),
            Own::Name(name) => wire::send_name(Flags::OURS, fastrand::u32(4..), name),
        };
        self.send(&name).await?;
        let message = self.receive().await?;
        match wire::status(&message).map_err(|Malformed| no_erlang(&message))? {
            Status::Ok | Status::OkSimultaneous | Status::Named(_) => {}
            Status::Alive => {
                // It waits for this before it gives up.
                self.send(&wire::send_not_alive()).await?;
                return Err(Trouble::Status(Status::Alive));
            }
            status => return Err(Trouble::Status(status)),
        }
        let message = self.receive().await?;
        wire::challenge(&message).map_err(|Malformed| no_erlang(&message))
    }

    /// Shows that this end has the cookie, and lets the peer show that it has. After that it has this end as a connected node,
    /// until the connection is closed.
    ///
    /// # Errors
    ///
    /// [`Trouble::WrongCookie`] above all.
    pub async fn prove(mut self, cookie: &Cookie, challenge: &Challenge) -> Result<(), Trouble> {
        let ours = fastrand::u32(..);
        let digest = wire::digest(cookie.as_bytes(), challenge.challenge);
        self.send(&wire::send_challenge_reply(ours, &digest)).await?;
        // It says nothing to a wrong one.
        let message = self.receive().await.map_err(|trouble| match trouble {
            Trouble::Closed(_) => Trouble::WrongCookie,
            trouble => trouble,
        })?;
        let theirs = wire::challenge_ack(&message).map_err(|Malformed| no_erlang(&message))?;
        if theirs == wire::digest(cookie.as_bytes(), ours) {
            Ok(())
        } else {
            Err(Trouble::WrongAcknowledgement)
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let sent = timeout_at(self.deadline, self.stream.write_all(bytes)).await;
        let sent = sent.map_err(|_| Trouble::Silent(self.messages))?;
        sent.map_err(|error| self.broken(&error))
    }

    /// A message without its length.
    async fn receive(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some((length, rest)) = self.buffer.split_first_chunk() {
                let length = usize::from(u16::from_be_bytes(*length));
                if length > MAX_MESSAGE {
                    return Err(self.foreign().await);
                }
                if let Some(message) = rest.get(..length) {
                    let message = message.to_vec();
                    self.buffer.drain(..length + 2);
                    self.messages += 1;
                    return Ok(message);
                }
            }
            let read = timeout_at(self.deadline, self.read()).await;
            match read.unwrap_or(Err(Trouble::Silent(self.messages))) {
                Ok(()) => {}
                Err(Trouble::Closed(_) | Trouble::Silent(_)) if !self.buffer.is_empty() => {
                    return Err(no_erlang(&self.buffer));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    async fn read(&mut self) -> Result<(), Trouble> {
        let mut chunk = [0; MAX_MESSAGE];
        match self.stream.read(&mut chunk).await {
            Ok(0) => Err(Trouble::Closed(self.messages)),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// What this is, whose first two bytes are no length.
    async fn foreign(&mut self) -> Trouble {
        let deadline = Instant::now() + REST;
        while self.buffer.len() < SHOWN {
            if !matches!(timeout_at(deadline, self.read()).await, Ok(Ok(()))) {
                break;
            }
        }
        // An alert, and the major version of all that there have been (RFC 8446, section 5.1).
        if self.buffer.starts_with(&[0x15, 0x03]) {
            return Trouble::Tls;
        }
        no_erlang(&self.buffer)
    }

    fn broken(&self, error: &io::Error) -> Trouble {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Trouble::Closed(self.messages),
            _ => Trouble::Broken(error.to_string()),
        }
    }
}

fn no_erlang(bytes: &[u8]) -> Trouble {
    Trouble::NoErlang(wire::shown(bytes[..bytes.len().min(SHOWN)].trim_ascii_end()))
}
