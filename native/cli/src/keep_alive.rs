//! Finding out that the other end of a connection is gone without a word.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

/// Found out after 30 s + 3 x 10 s of silence.
const IDLE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Has the other end asked whether it is still there when nothing has come for a while.
///
/// # Errors
///
/// Whatever the system says.
pub fn keep_alive(socket: impl AsFd) -> Result<(), Errno> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, PROBES)
}
