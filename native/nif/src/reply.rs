//! Sends exactly one message for each question, whatever happens to its task.

use eid_docker::Error;
use rustler::env::SavedTerm;
use rustler::{Encoder, LocalPid, OwnedEnv, Reference};

use crate::term::{atoms, Reason};

/// Sends one message `{Ref, Outcome}`, at the latest when it is dropped.
///
/// Only the runtime's threads may use it. The VM's own threads may send only from the environment of a NIF call.
pub struct Reply {
    env: OwnedEnv,
    reference: SavedTerm,
    to: LocalPid,
    sent: bool,
}

impl Reply {
    /// A reply to the process that called the NIF with this reference.
    pub fn to_caller(reference: Reference<'_>) -> Self {
        let env = OwnedEnv::new();
        Self {
            reference: env.save(reference),
            to: reference.get_env().pid(),
            env,
            sent: false,
        }
    }

    /// Sends `{Ref, Value}` or `{Ref, {error, Reason}}`.
    pub fn send(mut self, outcome: Result<impl Encoder, Error>) {
        self.send_outcome(outcome);
    }

    fn send_outcome(&mut self, outcome: Result<impl Encoder, Error>) {
        self.env.run(|env| {
            let outcome = match outcome {
                Ok(value) => value.encode(env),
                Err(error) => (atoms::error(), Reason(error)).encode(env),
            };
            // It fails if the process has ended, which needs no handling.
            let _ = env.send(&self.to, (self.reference.load(env), outcome));
        });
        self.sent = true;
    }
}

impl Drop for Reply {
    /// The task panicked, or the runtime dropped it.
    fn drop(&mut self) {
        if !self.sent {
            self.send_outcome(Err::<(), _>(Error::abandoned()));
        }
    }
}

/// Sends `{Ref, {error, Reason}}` to the calling process from within the NIF call.
pub fn refuse(reference: Reference<'_>, error: Error) {
    let env = reference.get_env();
    // It can't fail, because the calling process is alive.
    let _ = env.send(&env.pid(), (reference, (atoms::error(), Reason(error))));
}
