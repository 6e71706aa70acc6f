//! Socket options, the limit of open files and the addresses of this machine.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use socket2::{SockRef, TcpKeepalive};

/// A peer that vanished is noticed after 30 s + 3 × 10 s without traffic.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Enables TCP keepalive, so that a connection ends if its peer has vanished.
pub fn enable_keepalive(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE)
}

/// Raises the limit of open files to the hard limit, and returns the limit that applies then.
pub fn raise_open_file_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    allowed.map_or(usize::MAX, |number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Returns each address of this machine with the name of its interface, or nothing if the system refuses to list them.
pub fn local_addresses() -> impl Iterator<Item = (String, IpAddr)> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.into_iter().map(|interface| {
        let ip = interface.ip();
        (interface.name, ip)
    })
}
