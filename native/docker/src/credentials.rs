//! What says to an engine who asks.

use std::path::PathBuf;

/// Files, because what is in them is renewed under a running node: they are read again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The folder of `ca.pem`, `cert.pem` and `key.pem` that an `https` endpoint needs, as in the environment variable
    /// `DOCKER_CERT_PATH`: the server's certificate has to be from an authority in `ca.pem`, and `cert.pem` and `key.pem`,
    /// which may both be missing, say who asks. It is read for each new connection.
    pub certificates: Option<PathBuf>,
    /// The file with a [`Token`](crate::Token), which is sent with each request over `https` and to a unix socket, and never
    /// over plain TCP. It is read for each request.
    pub token_file: Option<PathBuf>,
}
