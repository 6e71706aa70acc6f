//! How many files and sockets this process may have open.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Allows as many as the system lets this user have, and says how many that are.
pub fn raise_limit() -> usize {
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
