//! Why a step failed, as a person would say it.

use eid_docker::Error;

use crate::failure::Failure;

/// What is wrong, and what to do about it. Both are parts of a sentence, without a full stop.
#[derive(Clone, Debug)]
pub struct Fault {
    /// One word for programs.
    pub error: &'static str,
    pub sentence: String,
    pub advice: String,
    /// See [`STATUS`](crate::failure::STATUS).
    pub status: u8,
}

impl Fault {
    /// The host's Docker API is known and the container too, but not even a person could connect to it.
    pub fn unreached(error: &'static str, sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            error,
            sentence: sentence.into(),
            advice: advice.into(),
            status: 4,
        }
    }

    /// What eid-docker says, with what it advises.
    pub fn docker(error: &Error) -> Self {
        let failure = Failure::docker("", error.clone());
        Self {
            error: failure.name(),
            sentence: error.to_string(),
            advice: failure.advice().to_owned(),
            status: failure.status(),
        }
    }

    /// The same, in other words.
    pub fn saying(self, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { sentence, ..self }
    }

    /// The same, with other advice.
    pub fn advising(self, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        Self { advice, ..self }
    }
}
