//! The limit of the data rate to a node: one for the whole day, or windows of the day with a limit each. Windows are read
//! by the clock on the wall at the moment of the question, so changes of the clock and summer time need no care: what is
//! skipped never comes, and what comes twice counts twice.

use std::fmt;

use chrono::{DateTime, Local, TimeZone, Timelike};

use crate::path::Shown;

const HOUR: u16 = 60;
const DAY: u16 = 24 * HOUR;

/// A limit in KiB/s; 0 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpeedLimit {
    /// The same at any time.
    Steady(u64),
    /// The limits of windows of the day; there is none outside of them.
    Daily(Vec<SpeedWindow>),
}

/// A part of each day, in minutes since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeedWindow {
    from: u16,
    /// The end, which is not in the window. It is before `from` if midnight is in the window.
    to: u16,
    limit: u64,
}

/// A text that is no window of the day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpeedWindowError {
    /// There are not two times.
    #[error("`{0}` is no window of the day")]
    Form(Shown),
    /// A time that no day has.
    #[error("`{0}` is no time of the day")]
    Time(Shown),
    /// The window ends when it begins.
    #[error("`{0}` ends when it begins")]
    Empty(Shown),
}

impl SpeedWindowError {
    /// The text to write instead.
    pub fn cure(&self) -> &'static str {
        match self {
            SpeedWindowError::Empty(_) => "write another end; the whole day is \"00:00-24:00\"",
            _ => "write two times from 00:00 to 24:00, such as \"08:00-18:00\", or \"22:00-06:00\" over midnight",
        }
    }
}

impl Default for SpeedLimit {
    fn default() -> Self {
        SpeedLimit::Steady(0)
    }
}

impl From<u64> for SpeedLimit {
    fn from(limit: u64) -> Self {
        SpeedLimit::Steady(limit)
    }
}

impl SpeedLimit {
    /// Returns the limit that is in force now, in local time.
    pub(crate) fn now(&self) -> u64 {
        match self {
            SpeedLimit::Steady(limit) => *limit,
            SpeedLimit::Daily(_) => self.at(&Local::now()),
        }
    }

    /// Returns true if the limit may change by itself.
    pub(crate) fn changes(&self) -> bool {
        matches!(self, SpeedLimit::Daily(_))
    }

    /// Returns the limit at a time.
    fn at<Tz: TimeZone>(&self, time: &DateTime<Tz>) -> u64 {
        let minute = time.hour() as u16 * HOUR + time.minute() as u16;
        match self {
            SpeedLimit::Steady(limit) => *limit,
            SpeedLimit::Daily(windows) => {
                windows.iter().find(|window| window.has(minute)).map_or(0, |window| window.limit)
            }
        }
    }
}

impl SpeedWindow {
    /// Reads a window such as `08:00-18:00`.
    ///
    /// # Errors
    /// When the text is no window.
    pub fn parse(text: &str, limit: u64) -> Result<Self, SpeedWindowError> {
        let (from, to) = text.split_once('-').ok_or_else(|| SpeedWindowError::Form(text.into()))?;
        let (from, to) = (time(from)?, time(to)?);
        if from == DAY {
            return Err(SpeedWindowError::Time("24:00".into()));
        }
        if from == to {
            return Err(SpeedWindowError::Empty(text.into()));
        }
        Ok(SpeedWindow { from, to, limit })
    }

    /// Returns true if the two windows have a minute in common.
    pub fn overlaps(&self, other: &SpeedWindow) -> bool {
        self.has(other.from) || other.has(self.from)
    }

    fn has(&self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl fmt::Display for SpeedWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [self.from, self.to].map(|minute| format!("{:02}:{:02}", minute / HOUR, minute % HOUR));
        write!(f, "{from}-{to}")
    }
}

/// Reads a time such as `08:00`, in minutes since midnight.
fn time(text: &str) -> Result<u16, SpeedWindowError> {
    let wrong = || SpeedWindowError::Time(text.trim().into());
    let (hours, minutes) = text.trim().split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| {
        let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_number).ok_or_else(wrong)
    };
    let is_whole = minutes.len() == 2;
    let minutes = number(minutes)?;
    let time = number(hours)? * HOUR + minutes;
    if is_whole && minutes < HOUR && time <= DAY { Ok(time) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn daily(windows: &[(&str, u64)]) -> SpeedLimit {
        SpeedLimit::Daily(windows.iter().map(|(text, limit)| SpeedWindow::parse(text, *limit).unwrap()).collect())
    }

    #[test]
    fn a_window_has_its_first_minute_and_not_its_end() {
        let office = daily(&[("08:00-18:00", 2000), ("22:30-6:00", 9000), ("18:00-19:00", 0)]);
        for (time, expected) in [
            ("07:59:59", 0),
            ("08:00:00", 2000),
            ("17:59:59", 2000),
            ("18:00:00", 0),
            ("22:29:59", 0),
            ("22:30:00", 9000),
            ("23:59:59", 9000),
            ("00:00:00", 9000),
            ("05:59:59", 9000),
            ("06:00:00", 0),
        ] {
            let instant = DateTime::parse_from_rfc3339(&format!("2026-01-05T{time}+05:30")).unwrap();
            assert_eq!(office.at(&instant), expected, "{time}");
        }
        let whole_day = daily(&[("00:00-24:00", 7)]);
        for time in ["00:00:00", "12:00:00", "23:59:59"] {
            let instant = DateTime::parse_from_rfc3339(&format!("2026-01-05T{time}Z")).unwrap();
            assert_eq!((whole_day.at(&instant), SpeedLimit::from(8).at(&instant)), (7, 8), "{time}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        use SpeedWindowError::{Empty, Form, Time};
        for (text, expected) in [
            ("08:00", Form("08:00".into())),
            ("", Form("".into())),
            ("08:00-", Time("".into())),
            ("8-18", Time("8".into())),
            ("08:00-25:00", Time("25:00".into())),
            ("08:60-18:00", Time("08:60".into())),
            ("08:5-18:00", Time("08:5".into())),
            ("+8:00-18:00", Time("+8:00".into())),
            ("08:00-18:00-19:00", Time("18:00-19:00".into())),
            ("24:00-06:00", Time("24:00".into())),
            ("18:00-24:01", Time("24:01".into())),
            ("08:00-08:00", Empty("08:00-08:00".into())),
        ] {
            assert_eq!(SpeedWindow::parse(text, 1), Err(expected), "{text}");
        }
        assert_eq!(SpeedWindow::parse(" 8:00 - 24:00 ", 1).unwrap().to_string(), "08:00-24:00");
    }

    #[test]
    fn windows_overlap_if_they_have_a_minute_in_common() {
        let window = |text| SpeedWindow::parse(text, 1).unwrap();
        for (one, other, expected) in [
            ("08:00-18:00", "18:00-08:00", false),
            ("08:00-18:00", "17:59-19:00", true),
            ("08:00-18:00", "09:00-10:00", true),
            ("22:00-06:00", "05:59-07:00", true),
            ("22:00-06:00", "06:00-22:00", false),
            ("22:00-06:00", "23:00-01:00", true),
            ("00:00-24:00", "23:59-24:00", true),
        ] {
            assert_eq!(window(one).overlaps(&window(other)), expected, "{one} {other}");
            assert_eq!(window(other).overlaps(&window(one)), expected, "{other} {one}");
        }
    }

    /// Whoever starts this test again in another time zone.
    const CHILD: &str = "INOSYNC_TEST_OF_LOCAL_TIME";

    #[test]
    fn summer_time_skips_an_hour_of_a_window_and_repeats_another() {
        let name = "site::speed_limit::tests::summer_time_skips_an_hour_of_a_window_and_repeats_another";
        if std::env::var_os(CHILD).is_none() {
            // The time zone of a process is that of its environment, which no test may change for the others.
            let mut again = Command::new(std::env::current_exe().unwrap());
            again.args(["--exact", name]).env(CHILD, "").env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
            let output = again.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        }
        let windows = daily(&[("02:00-03:00", 100), ("03:00-04:00", 200), ("08:00-18:00", 300)]);
        for (utc, expected) in [
            // The clock goes from 01:59:59 to 03:00.
            ("2026-03-29T00:59:59Z", 0),
            ("2026-03-29T01:00:00Z", 200),
            ("2026-03-29T01:59:59Z", 200),
            ("2026-03-29T02:00:00Z", 0),
            ("2026-03-28T07:00:00Z", 300),
            ("2026-03-29T06:00:00Z", 300),
            ("2026-03-29T16:00:00Z", 0),
            // The clock goes from 02:59:59 to 02:00.
            ("2026-10-24T23:59:59Z", 0),
            ("2026-10-25T00:00:00Z", 100),
            ("2026-10-25T00:59:59Z", 100),
            ("2026-10-25T01:00:00Z", 100),
            ("2026-10-25T01:59:59Z", 100),
            ("2026-10-25T02:00:00Z", 200),
            ("2026-10-25T06:59:59Z", 0),
            ("2026-10-25T07:00:00Z", 300),
        ] {
            let time = DateTime::parse_from_rfc3339(utc).unwrap().with_timezone(&Local);
            assert_eq!(windows.at(&time), expected, "{utc}, which is {time}");
        }
    }
}
