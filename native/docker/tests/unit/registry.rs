use std::time::Duration;

use super::*;

fn registry() -> Registry {
    Registry::new(|| None)
}

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
    let engines = registry();
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
    let engines = registry();
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
    let engines = registry();
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
    assert!(registry().get(&nowhere, Limits::default()).is_err());
}
