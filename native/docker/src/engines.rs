//! The engines that are in use.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::directory::{Directory, Info};
use crate::{own_container, Endpoint, Engine, Limits};

/// Node names may name any number of hosts, so there is a bound: the engine that nobody has asked for longest goes.
const MAX_ENGINES: usize = 256;

/// One [`Directory`] for each engine, made when it is first asked for.
#[derive(Default)]
pub struct Engines {
    kept: Mutex<HashMap<Endpoint, Kept>>,
}

struct Kept {
    limits: Limits,
    directory: Directory,
}

impl Engines {
    /// The directory of the engine at this endpoint. Other limits than before make a new one.
    pub fn get(&self, endpoint: &Endpoint, limits: Limits) -> Directory {
        let mut kept = self.lock();
        if let Some(Kept { directory, .. }) = kept.get(endpoint).filter(|kept| kept.limits == limits) {
            return directory.clone();
        }
        if kept.len() >= MAX_ENGINES && !kept.contains_key(endpoint) {
            make_room(&mut kept);
        }
        let directory = Directory::new(Engine::new(endpoint.clone(), limits), own_container());
        let new = Kept {
            limits,
            directory: directory.clone(),
        };
        kept.insert(endpoint.clone(), new);
        directory
    }

    /// The directory of the engine at this endpoint if there is one; none is made.
    pub fn existing(&self, endpoint: &Endpoint) -> Option<Directory> {
        self.lock().get(endpoint).map(|kept| kept.directory.clone())
    }

    /// How each of them is doing.
    pub fn info(&self) -> Vec<Info> {
        let directories: Vec<Directory> = self.lock().values().map(|kept| kept.directory.clone()).collect();
        directories.iter().map(Directory::info).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Endpoint, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is dropped here ends by itself: requests under way have their limits, and a directory that nobody asks closes.
fn make_room(kept: &mut HashMap<Endpoint, Kept>) {
    let oldest = kept.iter().min_by_key(|(_, kept)| kept.directory.last_asked());
    if let Some(endpoint) = oldest.map(|(endpoint, _)| endpoint.clone()) {
        kept.remove(&endpoint);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn endpoint(port: usize) -> Endpoint {
        Endpoint::parse(&format!("tcp://192.0.2.1:{port}")).unwrap()
    }

    #[test]
    fn the_number_of_engines_is_bounded() {
        let engines = Engines::default();
        let limits = Limits::default();
        for port in 1..=MAX_ENGINES + 1 {
            engines.get(&endpoint(port), limits);
        }
        assert_eq!(engines.info().len(), MAX_ENGINES);
        assert!(engines.existing(&endpoint(1)).is_none());
        assert!(engines.existing(&endpoint(2)).is_some());
        assert!(engines.existing(&endpoint(MAX_ENGINES + 1)).is_some());
    }

    #[test]
    fn other_limits_make_another_directory() {
        let engines = Engines::default();
        let limits = Limits::default();
        let other = Limits {
            connect: Duration::from_millis(1),
            ..limits
        };
        let first = engines.get(&endpoint(1), limits);
        assert!(engines.get(&endpoint(1), limits).is(&first));
        assert!(!engines.get(&endpoint(1), other).is(&first));
        assert_eq!(engines.info().len(), 1);
    }
}
