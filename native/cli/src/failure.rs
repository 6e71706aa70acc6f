//! Why a command did not do what it was asked: one sentence, the next step, and an exit status that tells the kinds apart.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use eid_docker::Error;

use crate::output;

/// What all subcommands' statuses mean, below their help.
pub const STATUS: &str = "\
Exit status:
  0  it worked
  1  it did not; one sentence on standard error says why
  2  the command line was wrong, or a variable that stands for an option of it
  3  there is no such node: its name is none, its host has no address, or none that DNS
     tells in time, or the host has no such container
  4  the node is there, but can't be reached: it does not run, its port is not published
     where it could be dialled, the dial fails, or what answers is not this node or has
     another cookie
  5  the host's Docker API can't be reached, refuses, makes no sense, or does not answer
     in time
  141  whoever read the answer was gone before its end";

/// What a shell says of a program that ends because nobody reads its output any more.
pub const UNREAD: u8 = 141;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The host part of the node name has no address of this family.
    UnknownHost { host: String, family: &'static str },
    /// DNS does not say in time which address it has.
    SlowDns { host: String },
    /// What eid-docker says, of what it was asked about: `db@192.0.2.1`, or an engine's address.
    Docker { about: String, error: Error },
    /// Anything else, as a sentence.
    Other(String),
    /// The answer itself, on standard output, has said what is wrong, which has this status.
    Answered(u8),
}

impl Failure {
    pub fn docker(about: impl fmt::Display, error: Error) -> Self {
        let about = about.to_string();
        Self::Docker { about, error }
    }

    /// One word for programs: eid-docker's [`Error::name`], where DNS takes too long too, `unknown_host` or `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "unknown_host",
            Self::SlowDns { .. } => "timeout",
            Self::Docker { error, .. } => error.name(),
            Self::Other(_) | Self::Answered(_) => "failed",
        }
    }

    /// Says it on standard error.
    pub fn tell(&self) {
        tell(self);
    }

    /// See [`STATUS`].
    pub fn status(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::Answered(status) => *status,
            Self::UnknownHost { .. } | Self::SlowDns { .. } => 3,
            Self::Docker { error, .. } => match error {
                Error::BadNodeName | Error::NoSuchContainer => 3,
                Error::NotRunning | Error::NotPublished | Error::PublishedOnLoopback | Error::PublishedElsewhere => 4,
                Error::Unreachable(..)
                | Error::Config(..)
                | Error::Defect(_)
                | Error::Refused { .. }
                | Error::BadResponse(_)
                | Error::TooLarge(_)
                | Error::Timeout => 5,
            },
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Other(_) | Self::Answered(_) => "",
            Self::UnknownHost { .. } => "check it in DNS and /etc/hosts, or use the host's IP address",
            Self::SlowDns { .. } => "check the name servers in /etc/resolv.conf, or use the host's IP address",
            Self::Docker { error, .. } => advice(error),
        }
    }
}

/// What to do about what eid-docker says.
pub fn advice(error: &Error) -> &'static str {
    match error {
        Error::BadNodeName => {
            "it has a container's ID or name (letters, digits, _ and -), @, and the IP address or DNS name of its Docker \
             host; docker ps shows ID and name"
        }
        Error::NoSuchContainer => "compare the name with docker ps -a on that host: it may have been replaced under a new ID",
        Error::NotRunning => "read docker logs for why it stopped, and start it with docker start",
        Error::NotPublished => {
            "start it with docker run -p HOST_IP::12345, and look with docker port which ports it has \
             (--erlang-port, if the nodes' port is another one)"
        }
        Error::PublishedOnLoopback => "no other host gets there; start it with docker run -p HOST_IP::12345",
        Error::PublishedElsewhere => {
            "compare docker port with the node name: publish on that address, or name the node after the one it is \
             published on"
        }
        Error::Unreachable(..) | Error::Config(..) | Error::Defect(_) => {
            "check that the host's Docker API listens at the address that --engine says, that no firewall is between, and \
             the files that --certs and --token-file name"
        }
        Error::Refused { status: 401, .. } => {
            "check the token in the file that --token-file names, which is sent over https and to a unix socket only"
        }

        Error::Refused { status: 300..=399, .. } => "check what listens at the address that --engine says",
        Error::Refused { status: 500.., .. } => "read the log of the Docker daemon there, or of the proxy before it",
        Error::Refused { .. } => "allow GET of /_ping, /events, /containers/json and /containers/*/json there",
        Error::BadResponse(_) | Error::TooLarge(_) => "check what listens at the address that --engine says",
        Error::Timeout => {
            "check that the host is up, that no firewall drops the packets to its Docker API, and that docker ps answers there"
        }
    }
}

/// A sentence on standard error. If nobody reads that, there is the status.
pub fn tell(sentence: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "eid: {sentence}");
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        failure.status().into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host, family } => write!(f, "the host {host} has no {family} address")?,
            Self::SlowDns { host } => write!(f, "DNS does not answer in time for {host}")?,
            // Both may hold what others have written.
            Self::Docker { about, error } => f.write_str(&output::plain(&format!("{about}: {error}")))?,
            Self::Other(sentence) => return f.write_str(sentence),
            Self::Answered(status) => return write!(f, "status {status}"),
        }
        write!(f, "; {}", self.advice())
    }
}
