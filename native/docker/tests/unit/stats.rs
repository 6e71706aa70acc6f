use super::*;

#[test]
fn outcomes_and_percentiles() {
    let lookups = Stats::new();
    assert_eq!(lookups.latency(), Latency::default());
    for micros in 1..=100 {
        lookups.count(&Ok(()), Duration::from_micros(micros));
    }
    lookups.count::<()>(&Err(Error::Timeout), Duration::from_secs(5000));
    lookups.count::<()>(&Err(Error::unreachable("x")), Duration::ZERO);
    assert_eq!(lookups.outcomes(), [("ok", 100), ("timeout", 1), ("unreachable", 1)]);
    let latency = lookups.latency();
    let about = |found: Duration, micros: f64| (found.as_secs_f64() * 1e6 / micros - 1.0).abs() < 0.02;
    assert!(
        about(latency.p50, 50.0) && about(latency.p90, 91.0) && about(latency.p99, 100.0),
        "{latency:?}"
    );
    assert_eq!(latency.max, Duration::from_secs(5000));
}

#[test]
fn buckets() {
    for nanos in (0..1000).chain((1..39).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
        let shown = middle(bucket(nanos)).as_nanos() as f64;
        assert!((shown - nanos as f64).abs() <= nanos as f64 / 50.0, "{nanos}: {shown}");
        assert!(bucket(nanos) <= bucket(nanos + 1), "{nanos}");
    }
    assert_eq!(bucket(u64::MAX), POWERS * STEPS - 1);
    let all = [
        Error::BadNodeName,
        Error::NoSuchContainer,
        Error::NotRunning,
        Error::NotPublished,
        Error::PublishedOnLoopback,
        Error::PublishedElsewhere,
        Error::unreachable("x"),
        Error::abandoned(),
        Error::BadResponse("x".to_owned()),
        Error::TooLarge(1),
        Error::Timeout,
    ];
    assert!(all.iter().all(|error| OUTCOMES.contains(&error.name())));
}
