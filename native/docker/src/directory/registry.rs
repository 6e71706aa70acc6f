//! All engines in use: one [`Directory`] for each.

use std::collections::hash_map::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Directory, Info};
use crate::api::credentials::Credentials;
use crate::api::endpoint::Endpoint;
use crate::api::http::Limits;
use crate::api::Engine;
use crate::error::Error;

/// Maximum number of engines, because node names may contain any number of hosts. The engine with the oldest question leaves.
const MAX_ENGINES: usize = 256;

/// Maximum number of locations whose directory is found without parsing them.
const MAX_LOCATIONS: usize = 1024;

/// The location of a host's engine, in the user's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location<'a> {
    /// See [`Endpoint::for_host`].
    pub template: &'a str,
    /// The host part of a node name.
    pub host: &'a str,
    /// The host's address.
    pub ip: IpAddr,
    /// See [`Credentials::certificates`].
    pub certificates: Option<&'a str>,
    /// See [`Credentials::token_file`].
    pub token_file: Option<&'a str>,
}

/// One [`Directory`] for each engine, made at the first question.
pub struct Registry {
    own_container: fn() -> Option<&'static str>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    directories: HashMap<(Endpoint, Credentials), (Limits, Directory)>,
    /// The same directories by the hashes of their locations, so that a lookup does not have to parse an endpoint.
    located: HashMap<u64, (OwnedLocation, Directory)>,
    hasher: RandomState,
}

impl Registry {
    /// An empty registry. `own_container` returns the full ID of the container that this process runs in, if any.
    pub fn new(own_container: fn() -> Option<&'static str>) -> Self {
        let entries = Mutex::default();
        Self { own_container, entries }
    }

    /// The directory of the engine at this location. Other limits than before make a new one.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::for_host`].
    pub fn get(&self, location: &Location<'_>, limits: Limits) -> Result<Directory, Error> {
        let endpoint = Endpoint::for_host(location.template, location.host, location.ip)?;
        let credentials = Credentials {
            certificates: location.certificates.map(Into::into),
            token_file: location.token_file.map(Into::into),
        };
        let key = (endpoint, credentials);
        let mut entries = self.lock();
        let known = entries.directories.get(&key).filter(|(known, _)| *known == limits);
        let directory = match known {
            Some((_, directory)) => directory.clone(),
            None => entries.add(key, limits, (self.own_container)()),
        };
        if entries.located.len() >= MAX_LOCATIONS {
            entries.located.clear();
        }
        let hash = entries.hasher.hash_one(location);
        entries.located.insert(hash, (location.into(), directory.clone()));
        Ok(directory)
    }

    /// The directory of the engine at this location, if there is one.
    pub fn existing(&self, location: &Location<'_>) -> Option<Directory> {
        let entries = self.lock();
        let (known, directory) = entries.located.get(&entries.hasher.hash_one(location))?;
        known.is(location).then(|| directory.clone())
    }

    /// The figures of each directory, the directory with the oldest question first. Two may have the same endpoint, with
    /// different credentials or two addresses of one name.
    pub fn info(&self) -> Vec<Info> {
        let mut directories: Vec<Directory> = self.lock().directories.values().map(|(_, d)| d.clone()).collect();
        directories.sort_by_key(Directory::last_asked);
        directories.iter().map(Directory::info).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn add(&mut self, key: (Endpoint, Credentials), limits: Limits, own: Option<&str>) -> Directory {
        if self.directories.len() >= MAX_ENGINES && !self.directories.contains_key(&key) {
            // Its requests have their limits, and the directory closes when no caller asks it.
            let oldest = self
                .directories
                .iter()
                .min_by_key(|(_, (_, directory))| directory.last_asked());
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.directories.remove(&key);
            }
        }
        let (endpoint, credentials) = key.clone();
        let directory = Directory::new(Engine::with_credentials(endpoint, limits, credentials), own);
        self.directories.insert(key, (limits, directory.clone()));
        self.located.clear();
        directory
    }
}

/// A [`Location`] that owns its texts.
struct OwnedLocation(IpAddr, [Option<String>; 4]);

impl OwnedLocation {
    fn is(&self, location: &Location<'_>) -> bool {
        let texts = self.1.iter().map(Option::as_deref);
        self.0 == location.ip && texts.eq(location.texts())
    }
}

impl From<&Location<'_>> for OwnedLocation {
    fn from(location: &Location<'_>) -> Self {
        Self(location.ip, location.texts().map(|text| text.map(str::to_owned)))
    }
}

impl<'a> Location<'a> {
    fn texts(&self) -> [Option<&'a str>; 4] {
        [Some(self.template), Some(self.host), self.certificates, self.token_file]
    }
}

#[cfg(test)]
#[path = "../../tests/unit/registry.rs"]
mod tests;
