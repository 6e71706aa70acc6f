//! Encodes and decodes the messages of the distribution handshake, version 6 ("Distribution Handshake" in the ERTS User's Guide).
//! This module does no I/O.

use eid_docker::sanitize;
use md5::{Digest as _, Md5};

use super::flags::Flags;

/// The maximum length of a message, in bytes. The longest has a node name of 255 characters with at most 4 bytes each. Other
/// protocols begin with text or with TLS's 0x15. Read as a length, their first two bytes are larger than this.
pub const MAX_MESSAGE: usize = 2048;

/// The proof that a side has the cookie.
pub type Digest = [u8; 16];

/// A message that the protocol does not allow here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The peer's answer to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The handshake continues.
    Ok,
    /// The peer was connecting to a node with this name, and gives that attempt up.
    OkSimultaneous,
    /// The peer is connecting to a node with this name, and continues that attempt.
    Nok,
    /// The peer's `net_kernel:allow/1` excludes this name.
    NotAllowed,
    /// The peer has a connection to a node with this name, and asks whether that connection is alive.
    Alive,
    /// The peer has chosen this name.
    Named(String),
    /// Any other text, which no OTP sends.
    Other(String),
}

/// The peer's introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The features of the peer.
    pub flags: Flags,
    /// The number that the digest must be computed from.
    pub challenge: u32,
    /// Distinguishes the peer from an earlier node with its name.
    pub creation: u32,
    /// The peer's node name.
    pub name: String,
}

/// Prefixes a message with its length in two bytes.
fn framed(message: &[u8]) -> Vec<u8> {
    debug_assert!(message.len() <= MAX_MESSAGE);
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], message].concat()
}

/// Encodes `send_name`. `name` is a node name, or with [`Flags::NAME_ME`] the host part of one; at most 255 bytes.
pub fn send_name(flags: Flags, creation: u32, name: &str) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    let head = [
        &[b'N'][..],
        &flags.0.to_be_bytes(),
        &creation.to_be_bytes(),
        &length.to_be_bytes(),
    ]
    .concat();
    framed(&[&head, name.as_bytes()].concat())
}

/// Encodes `send_status`, in reply to [`Status::Alive`]: the other connection is not alive.
pub fn send_not_alive() -> Vec<u8> {
    framed(b"sfalse")
}

/// Encodes `send_challenge_reply`.
pub fn send_challenge_reply(challenge: u32, digest: &Digest) -> Vec<u8> {
    framed(&[&[b'r'][..], &challenge.to_be_bytes(), digest].concat())
}

/// Decodes `recv_status`. Like the functions below, it takes a message without its length.
pub fn status(message: &[u8]) -> Result<Status, Malformed> {
    let text = message.strip_prefix(b"s").ok_or(Malformed)?;
    if let Some(named) = text.strip_prefix(b"named:") {
        let (length, rest) = named.split_first_chunk().ok_or(Malformed)?;
        let name = rest.get(..u16::from_be_bytes(*length).into()).ok_or(Malformed)?;
        return Ok(Status::Named(printable(name)));
    }
    Ok(match text {
        b"ok" => Status::Ok,
        b"ok_simultaneous" => Status::OkSimultaneous,
        b"nok" => Status::Nok,
        b"not_allowed" => Status::NotAllowed,
        b"alive" => Status::Alive,
        other => Status::Other(printable(other)),
    })
}

/// Decodes `recv_challenge`. It ignores trailing bytes, as OTP does.
pub fn challenge(message: &[u8]) -> Result<Challenge, Malformed> {
    let rest = message.strip_prefix(b"N").ok_or(Malformed)?;
    let (flags, rest) = rest.split_first_chunk().ok_or(Malformed)?;
    let (challenge, rest) = rest.split_first_chunk().ok_or(Malformed)?;
    let (creation, rest) = rest.split_first_chunk().ok_or(Malformed)?;
    let (length, rest) = rest.split_first_chunk().ok_or(Malformed)?;
    let name = rest.get(..u16::from_be_bytes(*length).into()).ok_or(Malformed)?;
    Ok(Challenge {
        flags: Flags(u64::from_be_bytes(*flags)),
        challenge: u32::from_be_bytes(*challenge),
        creation: u32::from_be_bytes(*creation),
        name: printable(name),
    })
}

/// Decodes `recv_challenge_ack`.
pub fn challenge_ack(message: &[u8]) -> Result<Digest, Malformed> {
    let digest = message.strip_prefix(b"a").ok_or(Malformed)?;
    digest.try_into().map_err(|_| Malformed)
}

/// Computes the digest of a challenge and a cookie: MD5 of the cookie and the challenge in decimal (`gen_digest/2` in OTP's
/// `dist_util`).
pub fn digest(cookie: &[u8], challenge: u32) -> Digest {
    let mut md5 = Md5::new();
    md5.update(cookie);
    md5.update(challenge.to_string());
    md5.finalize().into()
}

/// Makes received bytes safe for a terminal: at most 255 characters.
pub fn printable(bytes: &[u8]) -> String {
    sanitize(&String::from_utf8_lossy(bytes)).chars().take(255).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: &[u8] = b"COOKIE";

    fn without_length(frame: &[u8]) -> &[u8] {
        let (length, message) = frame.split_first_chunk().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*length)), message.len());
        message
    }

    fn a_challenge() -> Vec<u8> {
        let head = [
            &[b'N'][..],
            &0xd_07df_7fbd_u64.to_be_bytes(),
            &7_u32.to_be_bytes(),
            &9_u32.to_be_bytes(),
        ]
        .concat();
        [&head[..], &[0, 4], b"db@h"].concat()
    }

    /// The expected bytes were sent by OTP 25.
    #[test]
    fn sent_messages() {
        assert_eq!(
            send_name(Flags(0x0d_07df_7fbd), 0x65, "db@h"),
            [b"\0\x13N\0\0\0\x0d\x07\xdf\x7f\xbd\0\0\0\x65\0\x04" as &[u8], b"db@h"].concat()
        );
        assert_eq!(send_not_alive(), b"\0\x06sfalse");
        let reply = send_challenge_reply(0x0102_0304, &[0xaa; 16]);
        assert_eq!(
            without_length(&reply),
            [&b"r\x01\x02\x03\x04"[..], &[0xaa; 16]].concat()
        );
    }

    #[test]
    fn status_messages() {
        let cases: [(&[u8], Status); 7] = [
            (b"sok", Status::Ok),
            (b"sok_simultaneous", Status::OkSimultaneous),
            (b"snok", Status::Nok),
            (b"snot_allowed", Status::NotAllowed),
            (b"salive", Status::Alive),
            (b"snamed:\0\x04x1@h\0\0\0\x07", Status::Named("x1@h".to_owned())),
            (b"so\x1b[", Status::Other("o\u{fffd}[".to_owned())),
        ];
        for (message, expected) in cases {
            assert_eq!(status(message), Ok(expected));
        }
        for message in [
            &b""[..],
            b"ok",
            b"Nok",
            b"snamed:",
            b"snamed:\0",
            b"snamed:\0\x05x1@h",
            b"snamed:\xff\xffx",
        ] {
            assert_eq!(status(message), Err(Malformed), "{message:?}");
        }
    }

    #[test]
    fn challenge_messages() {
        let message = a_challenge();
        let expected = Challenge {
            flags: Flags(0xd_07df_7fbd),
            challenge: 7,
            creation: 9,
            name: "db@h".to_owned(),
        };
        assert_eq!(challenge(&message), Ok(expected.clone()));
        assert_eq!(challenge(&[&message[..], b"more"].concat()), Ok(expected));
        for short in 0..message.len() {
            assert_eq!(challenge(&message[..short]), Err(Malformed), "{short}");
        }
    }

    /// The expected digest is `erlang:md5(["COOKIE" | integer_to_list(4294967295)])`.
    #[test]
    fn digests() {
        let digest = digest(COOKIE, u32::MAX);
        let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "88c5fcced016fee71b36aae87ac1b1fe");
        assert_eq!(challenge_ack(&[&b"a"[..], &digest].concat()), Ok(digest));
        for wrong in [&b""[..], b"a", &[b'a'; 16], &[b'a'; 18], &[b'r'; 17]] {
            assert_eq!(challenge_ack(wrong), Err(Malformed));
        }
    }

    #[test]
    fn flags_by_name() {
        assert_eq!(Flags(1 | 1 << 60).names(), ["PUBLISHED", "bit 60"]);
        assert_eq!(Flags::OURS.to_string(), "those that OTP 25 demands, UNLINK_ID, V4_NC");
        assert!(!Flags::OURS
            .names()
            .iter()
            .any(|name| name == "PUBLISHED" || name.starts_with("bit")));
        assert!(Flags(1).to_string().contains("missing"));
        assert_eq!(Flags(u64::MAX).names().len(), 64);
    }

    /// Mutated, truncated and random messages. Decoding must not panic, and decoded texts must be bounded and printable.
    #[test]
    fn arbitrary_messages() {
        let check = |message: &[u8]| {
            let texts = [
                match status(message) {
                    Ok(Status::Named(text) | Status::Other(text)) => text,
                    _ => String::new(),
                },
                challenge(message).map(|challenge| challenge.name).unwrap_or_default(),
                printable(message),
            ];
            let _ = challenge_ack(message);
            for text in texts {
                assert!(
                    text.len() <= 255 * 10 && !text.contains(char::is_control),
                    "{message:?}"
                );
            }
        };
        let samples = [
            a_challenge(),
            b"sok_simultaneous".to_vec(),
            b"snamed:\0\x04x1@h\0\0\0\x07".to_vec(),
            [&b"a"[..], &[7; 16]].concat(),
        ];
        for sample in &samples {
            for place in 0..sample.len() {
                check(&sample[..place]);
                for value in [0, 1, 0x7f, 0x80, 0xff, b'\n', 0x1b] {
                    let mut mutated = sample.clone();
                    mutated[place] = value;
                    check(&mutated);
                }
            }
        }
        // Xorshift (Marsaglia) with a fixed seed makes failures reproducible.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let length = random() % 64;
            let mut message: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[3]).collect();
            if let Some(first) = message.first_mut() {
                *first = [b'N', b's', b'a', *first][(random() % 4) as usize];
            }
            check(&message);
        }
        check(&vec![b'N'; MAX_MESSAGE]);
    }
}
