//! What all commands do alike: a runtime for what waits, and lines on standard output.

use std::fmt;
use std::future::{self, Future};
use std::io::{self, Write};

use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

use crate::failure::{Failure, UNREAD};

/// Runs what waits for something.
///
/// # Errors
///
/// [`Failure::Other`] if the system lets no runtime be made.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("nothing can be waited for here: {error}")))?;
    let output = runtime.block_on(future);
    // A DNS query that nobody waits for any more would hold up the end.
    runtime.shutdown_background();
    Ok(output)
}

/// The same for what serves many at a time.
///
/// # Errors
///
/// As for [`block_on`].
pub fn block_on_all_cores<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("nothing can be served here: {error}")))?;
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(output)
}

/// Prints one line.
///
/// # Errors
///
/// [`Failure::Other`] if nobody reads it.
pub fn print(line: &impl fmt::Display) -> Result<(), Failure> {
    write(&format_args!("{line}\n"))
}

/// Prints text that ends its lines itself.
///
/// # Errors
///
/// As for [`print()`].
pub fn write(text: &impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(unwritten)
}

/// Waits until nobody can read standard output any more; for ever where that does not show, as of a file.
pub async fn unread() {
    // A thread of its own, because a runtime takes no files. It asks for nothing, and is told of errors and ends all the same.
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

/// It can't be written to standard output. Whoever reads it may just have had enough, as `head` has.
pub fn unwritten(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Answered(UNREAD),
        _ => Failure::Other(format!("the answer can't be written to standard output: {error}")),
    }
}

/// A text from outside with nothing in it that a terminal would act on: no control characters, and none that turn the
/// direction of writing.
pub fn plain(text: &str) -> String {
    let is_seen = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_seen(c) { c } else { '\u{fffd}' }).collect()
}
