//! Opens the listening sockets: one for each worker at each address. The kernel distributes connections among them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::rules::ListenPort;
use crate::sockets::enable_keepalive;

/// The maximum number of connections that wait to be accepted, for each socket. The kernel may allow fewer
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Opens `count` sockets that listen on this port.
pub fn listen_at(listen: ListenPort, count: usize) -> io::Result<Vec<Socket>> {
    let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, listen.port));
    let first = match listen.ip {
        Some(ip) => bind((ip, listen.port).into()),
        None => bind(anywhere).or_else(|error| match Errno::from_io_error(&error) {
            // A machine without IPv6.
            Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => bind((Ipv4Addr::UNSPECIFIED, listen.port).into()),
            _ => Err(error),
        }),
    }?;
    // The first socket was bound without SO_REUSEPORT, so that another process at its address is an error. The others share it.
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let address = address_of(&first)?;
    let mut all = vec![first];
    while all.len() < count {
        let socket = open(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        all.push(socket);
    }
    Ok(all)
}

/// Returns the address that a socket listens on.
pub fn address_of(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Opens a socket. Accepted connections inherit its options.
fn open(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    // Small packets must not wait.
    socket.set_tcp_nodelay(true)?;
    enable_keepalive(&socket)?;
    Ok(socket)
}
