use super::*;

#[test]
fn waits() {
    let mut backoff = Backoff::default();
    for longest in [200, 400, 800, 1600, 3000, 3000, 3000] {
        let wait = backoff.after(Duration::ZERO).as_millis();
        assert!((longest / 2..=longest).contains(&wait), "{wait} of {longest}");
    }
    assert!((100..=200).contains(&backoff.after(SUCCESS).as_millis()));
    let waits: std::collections::HashSet<Duration> = (0..20).map(|_| backoff.after(Duration::ZERO)).collect();
    assert!(waits.len() > 10);
}
