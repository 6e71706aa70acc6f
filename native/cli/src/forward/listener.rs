//! Sockets that listen: one for each thread at each place, among which the kernel deals out the connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{bind, getsockname, listen, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

use super::rule::Place;
use crate::keep_alive::keep_alive;

/// Connections that wait to be accepted, on each socket; the kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// So many sockets that listen at this place.
///
/// # Errors
///
/// Whatever the system says, for example that something else listens there.
pub fn listen_at(place: Place, count: usize) -> Result<Vec<OwnedFd>, Errno> {
    let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, place.port));
    let first = match place.ip {
        Some(ip) => bound((ip, place.port).into()),
        None => match bound(anywhere) {
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => bound((Ipv4Addr::UNSPECIFIED, place.port).into()),
            either => either,
        },
    }?;
    // It was bound as the only one at its address, so that something else there is an error. Those that share it are let in only now.
    sockopt::set_socket_reuseport(&first, true)?;
    listen(&first, BACKLOG)?;
    let address = address_of(&first)?;
    let mut all = vec![first];
    while all.len() < count {
        let socket = open(address)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        all.push(socket);
    }
    Ok(all)
}

/// Where a socket listens.
///
/// # Errors
///
/// Whatever the system says.
pub fn address_of(socket: impl AsFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(getsockname(socket)?)
}

fn bound(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(address)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// What is accepted inherits the options.
fn open(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Small packets are not held back.
    sockopt::set_tcp_nodelay(&socket, true)?;
    keep_alive(&socket)?;
    Ok(socket)
}
