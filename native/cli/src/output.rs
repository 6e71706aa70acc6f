//! How a command runs and answers: the async runtime, lines on standard output, one sentence on standard error, and an exit
//! status.

use std::fmt;
use std::future::{self, Future};
use std::io::{self, Write};
use std::process::ExitCode;

use eid_docker::{sanitize, Error};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

/// The exit statuses of all subcommands, for their help.
pub const STATUS: &str = "\
Exit status:
  0  success
  1  failure; one sentence on standard error explains it
  2  wrong command line, or a wrong value in a variable that sets an option
  3  no such node: invalid name, host without an address, no answer from DNS in time,
     or no such container
  4  the node exists, but can't be reached: it does not run, its port is not published
     where it could be dialled, the dial fails, or the peer is not this node or has
     another cookie
  5  the host's Docker API can't be reached, refuses, answers nonsense, or does not
     answer in time
  141  standard output was closed early (broken pipe)";

/// Exit status after a broken pipe: 128 and the number of SIGPIPE, as a shell reports it.
pub const BROKEN_PIPE: u8 = 141;

/// Why a command did not do what it was asked: one sentence, the next step, and an exit status.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The host part of the node name has no address of this family.
    UnknownHost { host: String, family: &'static str },
    /// DNS did not answer in time.
    SlowDns { host: String },
    /// An error of eid-docker about a node name such as `db@192.0.2.1`, or about an engine's address.
    Docker { about: String, error: Error },
    /// Anything else, as a sentence.
    Other(String),
    /// The output explains the failure already; only this exit status is left.
    Reported(u8),
}

impl Failure {
    /// An error of eid-docker about this node or engine.
    pub fn docker(about: impl fmt::Display, error: Error) -> Self {
        let about = about.to_string();
        Self::Docker { about, error }
    }

    /// Returns one word for programs: [`Error::name`], or `timeout`, `unknown_host` or `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "unknown_host",
            Self::SlowDns { .. } => "timeout",
            Self::Docker { error, .. } => error.name(),
            Self::Other(_) | Self::Reported(_) => "failed",
        }
    }

    /// Prints the sentence on standard error.
    pub fn print(&self) {
        print_error(self);
    }

    /// Returns the exit status: see [`STATUS`].
    pub fn status(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::Reported(status) => *status,
            Self::UnknownHost { .. } | Self::SlowDns { .. } => 3,
            Self::Docker { error, .. } => match error {
                Error::BadNodeName | Error::NoSuchContainer => 3,
                Error::NotRunning | Error::NotPublished | Error::PublishedOnLoopback | Error::PublishedElsewhere => 4,
                _ => 5,
            },
        }
    }

    /// Returns what the user can do about it, or an empty text.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Other(_) | Self::Reported(_) => "",
            Self::UnknownHost { .. } => "check it in DNS and /etc/hosts, or use the host's IP address",
            Self::SlowDns { .. } => "check the name servers in /etc/resolv.conf, or use the host's IP address",
            Self::Docker { error, .. } => advice(error),
        }
    }
}

/// Returns what the user can do about an error of eid-docker.
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
            // The user and the engine wrote parts of this text.
            Self::Docker { about, error } => f.write_str(&sanitize(&format!("{about}: {error}")))?,
            Self::Other(sentence) => return f.write_str(sentence),
            Self::Reported(status) => return write!(f, "status {status}"),
        }
        write!(f, "; {}", self.advice())
    }
}

/// Runs a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    block_on_runtime(&mut Builder::new_current_thread(), future)
}

/// Runs a future on all cores, for a server.
pub fn block_on_all_cores<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    block_on_runtime(&mut Builder::new_multi_thread(), future)
}

fn block_on_runtime<T>(builder: &mut Builder, future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("can't start the async runtime: {error}")))?;
    let output = runtime.block_on(future);
    // An abandoned DNS query would delay the exit.
    runtime.shutdown_background();
    Ok(output)
}

/// Prints a sentence on standard error. A closed standard error is ignored: the exit status remains.
pub fn print_error(sentence: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "eid: {sentence}");
}

/// Prints one line on standard output.
/// Errors: [`Failure::Other`] if the line can't be written, [`Failure::Reported`] after a broken pipe.
pub fn print(line: &impl fmt::Display) -> Result<(), Failure> {
    write(&format_args!("{line}\n"))
}

/// Writes text to standard output, without adding a newline.
pub fn write(text: &impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(write_failure)
}

/// Turns an error of standard output into a failure. A broken pipe is normal: `head` closes its input early.
pub fn write_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Reported(BROKEN_PIPE),
        _ => Failure::Other(format!("the answer can't be written to standard output: {error}")),
    }
}

/// Waits until the reader of standard output has closed it. For a file this waits for ever.
pub async fn stdout_closed() {
    // poll(2) without any requested event still reports errors. It blocks, so it needs a thread.
    let poll = || {
        let stdout = io::stdout();
        loop {
            match poll(&mut [PollFd::new(&stdout, PollFlags::empty())], None) {
                Ok(1..) => break true,
                Ok(0) | Err(Errno::INTR) => {}
                Err(_) => break false,
            }
        }
    };
    if !spawn_blocking(poll).await.unwrap_or(false) {
        future::pending().await
    }
}

/// Parses a time as engines write it: RFC 3339. Returns `None` for anything else, and for a time before 1970, which means
/// never.
pub fn parse_time(text: &str) -> Option<OffsetDateTime> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    parsed.filter(|time| time.unix_timestamp() >= 0)
}

/// Formats an age in the words of `docker ps`: `3 minutes`, `About an hour`, `2 days`. A negative age, caused by clocks that
/// differ, counts as zero.
pub fn age_in_words(age: Duration) -> String {
    let seconds = age.whole_seconds();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_times() {
        let noon = parse_time("2026-11-21T12:00:00Z").unwrap();
        assert_eq!(parse_time("2026-11-21T14:00:00.000000000+02:00"), Some(noon));
        for text in ["", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-21 é"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn ages_in_the_words_of_docker_ps() {
        for (seconds, expected) in [
            (-5, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (180, "3 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (21 * 86_400, "3 weeks"),
            (90 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(age_in_words(Duration::seconds(seconds)), expected);
        }
    }
}
