//! ISO 8601, as pydantic writes it in JSON and reads it: `2026-01-02T03:04:05.000006Z`.

use std::fmt::Write as _;

use pyo3::{
    intern,
    prelude::*,
    types::{
        PyDate, PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyTime, PyTimeAccess, PyTzInfo,
        PyTzInfoAccess,
    },
};

const MINUTE_SECONDS: i32 = 60;
const HOUR_SECONDS: i32 = 3600;
const DAY_SECONDS: i64 = 86_400;

pub(super) fn datetime(value: &Bound<'_, PyDateTime>) -> PyResult<String> {
    let offset = offset(value.as_any(), value.get_tzinfo())?;
    if let Some(Offset::Odd) = offset {
        // Offsets have whole minutes there: the same instant in UTC.
        let utc = value.call_method1(intern!(value.py(), "astimezone"), (&*PyTzInfo::utc(value.py())?,))?;
        return datetime(utc.cast::<PyDateTime>()?);
    }
    let mut text = date_text(value);
    text.push('T');
    push_time(&mut text, value);
    push_offset(&mut text, offset);
    Ok(text)
}

pub(super) fn date(value: &Bound<'_, PyDate>) -> String {
    date_text(value)
}

pub(super) fn time(value: &Bound<'_, PyTime>) -> PyResult<String> {
    let mut text = String::with_capacity(21);
    push_time(&mut text, value);
    push_offset(&mut text, offset(value.as_any(), value.get_tzinfo())?);
    Ok(text)
}

/// A duration, whose years have 365 days.
pub(super) fn duration(value: &Bound<'_, PyDelta>) -> String {
    let (mut days, mut seconds) = (i64::from(value.get_days()), i64::from(value.get_seconds()));
    let mut micros = i64::from(value.get_microseconds());
    let mut text = String::new();
    if days < 0 {
        // `timedelta` keeps days below zero and the rest above.
        text.push('-');
        let (mut below, mut fraction) = (-(days * DAY_SECONDS + seconds), -micros);
        if fraction < 0 {
            (below, fraction) = (below - 1, fraction + 1_000_000);
        }
        (days, seconds, micros) = (below / DAY_SECONDS, below % DAY_SECONDS, fraction);
    }
    text.push('P');
    let mut push = |number: i64, unit: char| {
        if number != 0 {
            let _ = write!(text, "{number}{unit}");
        }
    };
    push(days / 365, 'Y');
    push(days % 365, 'D');
    if days == 0 || seconds != 0 || micros != 0 {
        text.push('T');
        let mut push = |number: i64, unit: char| {
            if number != 0 {
                let _ = write!(text, "{number}{unit}");
            }
        };
        push(seconds / 3600, 'H');
        push(seconds / 60 % 60, 'M');
        if micros != 0 {
            let fraction = format!("{micros:06}");
            let _ = write!(text, "{}.{}S", seconds % 60, fraction.trim_end_matches('0'));
        } else if seconds % 60 != 0 || seconds == 0 {
            let _ = write!(text, "{}S", seconds % 60);
        }
    }
    text
}

fn date_text(value: &impl PyDateAccess) -> String {
    let mut text = String::with_capacity(32);
    let _ = write!(text, "{:04}-{:02}-{:02}", value.get_year(), value.get_month(), value.get_day());
    text
}

fn push_time(text: &mut String, value: &impl PyTimeAccess) {
    let _ = write!(text, "{:02}:{:02}:{:02}", value.get_hour(), value.get_minute(), value.get_second());
    match value.get_microsecond() {
        0 => {}
        micros => {
            let _ = write!(text, ".{micros:06}");
        }
    }
}

/// The offset of a time from UTC.
#[derive(Clone, Copy)]
enum Offset {
    /// It is UTC.
    None,
    /// So many minutes.
    Minutes(i32),
    /// No whole number of minutes.
    Odd,
}

fn push_offset(text: &mut String, offset: Option<Offset>) {
    match offset {
        None => {}
        Some(Offset::None) => text.push('Z'),
        Some(Offset::Minutes(minutes)) => {
            let sign = if minutes < 0 { '-' } else { '+' };
            let _ = write!(text, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
        }
        // A time of day has no date to move to.
        Some(Offset::Odd) => text.push_str("+00:00"),
    }
}

/// The offset of an aware value.
fn offset(value: &Bound<'_, PyAny>, zone: Option<Bound<'_, PyTzInfo>>) -> PyResult<Option<Offset>> {
    let py = value.py();
    let Some(zone) = zone else { return Ok(None) };
    if zone.is(&*PyTzInfo::utc(py)?) {
        return Ok(Some(Offset::None));
    }
    let offset = value.call_method0(intern!(py, "utcoffset"))?;
    // A tzinfo may answer None too, which makes the value naive.
    if offset.is_none() {
        return Ok(None);
    }
    let offset = offset.cast_into::<PyDelta>()?;
    let seconds = offset.get_days() * 24 * HOUR_SECONDS + offset.get_seconds();
    Ok(Some(if offset.get_microseconds() != 0 || seconds % MINUTE_SECONDS != 0 {
        Offset::Odd
    } else if seconds == 0 {
        Offset::None
    } else {
        Offset::Minutes(seconds / MINUTE_SECONDS)
    }))
}
