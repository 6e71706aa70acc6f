//! The engines that are in use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::directory::{Directory, Info};
use crate::{own_container, Credentials, Endpoint, Engine, Error, Limits};

/// Node names may name any number of hosts, so there is a bound: the engine that nobody has asked for longest goes.
const MAX_ENGINES: usize = 256;

/// Under so many names, or with so many settings, the engine of one address is found at once.
const MAX_NAMES: usize = 8;

/// Where the engine of a host is, as the user says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// See [`Endpoint::for_host`].
    pub template: &'a str,
    /// The host as it stands in a node name.
    pub host: &'a str,
    /// The host's address.
    pub ip: IpAddr,
    /// See [`Credentials::certificates`].
    pub certificates: Option<&'a str>,
    /// See [`Credentials::token_file`].
    pub token_file: Option<&'a str>,
}

/// One [`Directory`] for each engine, made when it is first asked for.
#[derive(Default)]
pub struct Engines {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    directories: HashMap<(Endpoint, Credentials), (Limits, Directory)>,
    /// The same by the host's address and the rest of the location, which spares making an endpoint for each lookup.
    located: HashMap<IpAddr, Vec<(OwnedLocation, Directory)>>,
}

impl Engines {
    /// The directory of the engine at this location. Other limits than before make a new one.
    ///
    /// # Errors
    ///
    /// Those of [`Endpoint::for_host`].
    pub fn get(&self, location: &Location<'_>, limits: Limits) -> Result<Directory, Error> {
        let endpoint = Endpoint::for_host(location.template, location.host, location.ip)?;
        let credentials = Credentials {
            certificates: location.certificates.map(Into::into),
            token_file: location.token_file.map(Into::into),
        };
        let key = (endpoint, credentials);
        let mut kept = self.lock();
        let known = kept.directories.get(&key).filter(|(known, _)| *known == limits);
        let directory = match known {
            Some((_, directory)) => directory.clone(),
            None => kept.make(key, limits),
        };
        if kept.at(location).is_none() {
            if kept.located.len() >= MAX_ENGINES {
                kept.located.clear();
            }
            let here = kept.located.entry(location.ip).or_default();
            // A host has one name or two.
            here.truncate(MAX_NAMES - 1);
            here.insert(0, (location.into(), directory.clone()));
        }
        Ok(directory)
    }

    /// The directory of the engine at this location if there is one; none is made.
    pub fn existing(&self, location: &Location<'_>) -> Option<Directory> {
        self.lock().at(location).cloned()
    }

    /// How each of them is doing, those first that have not been asked for longest. Two may have the same text, with
    /// different credentials or two addresses of one name.
    pub fn info(&self) -> Vec<Info> {
        let mut directories: Vec<Directory> = self.lock().directories.values().map(|(_, d)| d.clone()).collect();
        directories.sort_by_key(Directory::last_asked);
        directories.iter().map(Directory::info).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn at(&self, location: &Location<'_>) -> Option<&Directory> {
        let here = self.located.get(&location.ip)?;
        let (_, directory) = here.iter().find(|(known, _)| known.is(location))?;
        Some(directory)
    }

    fn make(&mut self, key: (Endpoint, Credentials), limits: Limits) -> Directory {
        if self.directories.len() >= MAX_ENGINES && !self.directories.contains_key(&key) {
            self.drop_oldest();
        }
        let (endpoint, credentials) = key.clone();
        let engine = Engine::with_credentials(endpoint, limits, credentials);
        let directory = Directory::new(engine, own_container());
        self.directories.insert(key, (limits, directory.clone()));
        self.located.clear();
        directory
    }

    /// What is dropped here ends by itself: requests under way have their limits, and a directory that nobody asks
    /// closes.
    fn drop_oldest(&mut self) {
        let oldest = self
            .directories
            .iter()
            .min_by_key(|(_, (_, directory))| directory.last_asked());
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.directories.remove(&key);
        }
    }
}

/// A [`Location`] without the address.
struct OwnedLocation {
    template: String,
    host: String,
    certificates: Option<String>,
    token_file: Option<String>,
}

impl OwnedLocation {
    fn is(&self, location: &Location<'_>) -> bool {
        self.template == location.template
            && self.host == location.host
            && self.certificates.as_deref() == location.certificates
            && self.token_file.as_deref() == location.token_file
    }
}

impl From<&Location<'_>> for OwnedLocation {
    fn from(location: &Location<'_>) -> Self {
        Self {
            template: location.template.to_owned(),
            host: location.host.to_owned(),
            certificates: location.certificates.map(str::to_owned),
            token_file: location.token_file.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn location(ip: IpAddr) -> Location<'static> {
        Location {
            template: "tcp://{host}:4243",
            host: "h",
            ip,
            certificates: None,
            token_file: None,
        }
    }

    fn numbered(number: usize) -> Location<'static> {
        location(IpAddr::from([192, 0, 2 + (number / 256) as u8, (number % 256) as u8]))
    }

    #[test]
    fn the_number_of_engines_is_bounded() {
        let engines = Engines::default();
        for number in 0..=MAX_ENGINES {
            engines.get(&numbered(number), Limits::default()).unwrap();
        }
        assert_eq!(engines.info().len(), MAX_ENGINES);
        assert!(engines.existing(&numbered(0)).is_none());
        assert!(engines.existing(&numbered(MAX_ENGINES)).is_some());
        assert!(engines.lock().located.len() <= MAX_ENGINES);
    }

    #[test]
    fn one_directory_for_all_locations_of_an_engine() {
        let engines = Engines::default();
        let limits = Limits::default();
        let first = engines.get(&numbered(1), limits).unwrap();
        let same = Location {
            template: "tcp://192.0.2.1:4243",
            ..numbered(7)
        };
        assert!(engines.get(&same, limits).unwrap().is(&first));
        assert!(engines.existing(&numbered(1)).unwrap().is(&first));
        assert!(engines.existing(&same).unwrap().is(&first));
        assert!(!engines.get(&numbered(2), limits).unwrap().is(&first));
        assert_eq!(engines.info().len(), 2);
    }

    #[test]
    fn other_limits_make_another_directory() {
        let engines = Engines::default();
        let limits = Limits::default();
        let other = Limits {
            connect: Duration::from_millis(1),
            ..limits
        };
        let first = engines.get(&numbered(1), limits).unwrap();
        let second = engines.get(&numbered(1), other).unwrap();
        assert!(!second.is(&first) && engines.existing(&numbered(1)).unwrap().is(&second));
        assert_eq!(engines.info().len(), 1);
    }

    #[test]
    fn a_location_that_is_none() {
        let nowhere = Location {
            template: "ftp://{host}",
            ..numbered(1)
        };
        assert!(Engines::default().get(&nowhere, Limits::default()).is_err());
    }
}
