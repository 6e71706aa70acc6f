//! Times as engines write them, and how long ago they were in the words of `docker ps`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds of Unix time of `2026-11-21T12:00:00.123456789Z`; `None` for what is no such time, or before 1970.
pub fn seconds(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let offset = offset(
        text.get(19..)?
            .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()),
    )?;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][usize::try_from(month - 1).ok()?];
    let leap_days = (1970..year).filter(|&year| is_leap(year)).count() as u64 + u64::from(month > 2 && is_leap(year));
    let days = (year - 1970) * 365 + leap_days + days_before + day - 1;
    (((days * 24 + hour) * 60 + minute) * 60 + second).checked_add_signed(-offset)
}

/// Seconds east of Greenwich.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let seconds = (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60;
    match text.as_bytes()[0] {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// How long something has been so that began then.
pub fn up_for(began: Option<u64>, now: SystemTime) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let seconds = now.saturating_sub(began.unwrap_or(now));
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
