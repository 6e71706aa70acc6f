//! The engines that are in use.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::{Equivalent, HashMap};

use crate::directory::{Directory, Info};
use crate::{own_container, Endpoint, Engine, Error, Limits};

/// Node names may name any number of hosts, so there is a bound: the engine that nobody has asked for longest goes.
const MAX_ENGINES: usize = 256;

/// Where the engine of a host is, as the user says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location<'a> {
    /// See [`Endpoint::for_host`].
    pub template: &'a str,
    /// The host as it stands in a node name.
    pub host: &'a str,
    /// The host's address.
    pub ip: IpAddr,
    /// The folder with the certificates for `https`; may be empty.
    pub certificates: &'a str,
}

/// One [`Directory`] for each engine, made when it is first asked for.
#[derive(Default)]
pub struct Engines {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    directories: HashMap<(Endpoint, Option<PathBuf>), (Limits, Directory)>,
    /// The same by location, which spares making an endpoint for each lookup.
    located: HashMap<OwnedLocation, Directory>,
}

impl Engines {
    /// The directory of the engine at this location. Other limits than before make a new one.
    ///
    /// # Errors
    ///
    /// Those of [`Endpoint::for_host`].
    pub fn get(&self, location: &Location<'_>, limits: Limits) -> Result<Directory, Error> {
        let endpoint = Endpoint::for_host(location.template, location.host, location.ip)?;
        let folder = Some(location.certificates).filter(|folder| !folder.is_empty());
        let key = (endpoint, folder.map(PathBuf::from));
        let mut kept = self.lock();
        let known = kept.directories.get(&key).filter(|(known, _)| *known == limits);
        let directory = match known {
            Some((_, directory)) => directory.clone(),
            None => kept.make(key, limits),
        };
        if !kept.located.contains_key(location) {
            if kept.located.len() >= MAX_ENGINES {
                kept.located.clear();
            }
            kept.located.insert(location.into(), directory.clone());
        }
        Ok(directory)
    }

    /// The directory of the engine at this location if there is one; none is made.
    pub fn existing(&self, location: &Location<'_>) -> Option<Directory> {
        self.lock().located.get(location).cloned()
    }

    /// How each of them is doing.
    pub fn info(&self) -> Vec<Info> {
        let directories: Vec<Directory> = self.lock().directories.values().map(|(_, d)| d.clone()).collect();
        directories.iter().map(Directory::info).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn make(&mut self, key: (Endpoint, Option<PathBuf>), limits: Limits) -> Directory {
        if self.directories.len() >= MAX_ENGINES && !self.directories.contains_key(&key) {
            self.drop_oldest();
        }
        let (endpoint, certificates) = key.clone();
        let engine = Engine::with_certificates(endpoint, limits, certificates);
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

/// A key that is found by a [`Location`].
struct OwnedLocation {
    template: String,
    host: String,
    ip: IpAddr,
    certificates: String,
}

impl OwnedLocation {
    fn as_location(&self) -> Location<'_> {
        Location {
            template: &self.template,
            host: &self.host,
            ip: self.ip,
            certificates: &self.certificates,
        }
    }
}

impl From<&Location<'_>> for OwnedLocation {
    fn from(location: &Location<'_>) -> Self {
        Self {
            template: location.template.to_owned(),
            host: location.host.to_owned(),
            ip: location.ip,
            certificates: location.certificates.to_owned(),
        }
    }
}

impl Hash for OwnedLocation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_location().hash(state);
    }
}

impl PartialEq for OwnedLocation {
    fn eq(&self, other: &Self) -> bool {
        self.as_location() == other.as_location()
    }
}

impl Eq for OwnedLocation {}

impl Equivalent<OwnedLocation> for Location<'_> {
    fn equivalent(&self, key: &OwnedLocation) -> bool {
        *self == key.as_location()
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
            certificates: "",
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
