//! Times as engines write them, and how long ago they were in the words of `docker ps`.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// Of `2026-11-21T12:00:00.123456789Z`, RFC 3339; `None` for what is no such time, or before 1970, which means never.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    parsed.filter(|time| time.unix_timestamp() >= 0)
}

/// `3 minutes`, `About an hour`, `2 days`. What is negative, because clocks differ, is none at all.
pub fn words(age: Duration) -> String {
    let seconds = age.whole_seconds();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let noon = parse("2026-11-21T12:00:00Z").unwrap();
        assert_eq!(parse("2026-11-21T14:00:00.000000000+02:00"), Some(noon));
        for none in ["", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-21 é"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn in_words() {
        for (seconds, expected) in [
            (-5, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (180, "3 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (21 * 86_400, "3 weeks"),
            (90 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(words(Duration::seconds(seconds)), expected);
        }
    }
}
