//! The msgpack timestamp extension (type -1) and `datetime`.
//!
//! msgpack counts seconds (signed 64 bits) and nanoseconds since 1970-01-01T00:00:00Z; `datetime` resolves
//! microseconds in the years 1 to 9999. Nanoseconds beyond the microsecond are cut off.

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDateTime, PyDelta, PyDeltaAccess, PyTzInfo, PyTzInfoAccess},
};

/// The extension type code of timestamps.
pub(crate) const CODE: i8 = -1;

const SECONDS_A_DAY: i64 = 86_400;
const NANOSECONDS_A_SECOND: u32 = 1_000_000_000;

/// An instant as msgpack counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// Seconds since the epoch, rounded down.
    seconds: i64,
    /// 0 to 999,999,999.
    nanoseconds: u32,
}

impl Timestamp {
    /// The payload of a timestamp extension, or what is wrong with it.
    pub(crate) fn from_payload(payload: &[u8]) -> Result<Self, String> {
        let (seconds, nanoseconds) = if let Ok(seconds) = payload.try_into().map(u32::from_be_bytes) {
            (i64::from(seconds), 0)
        } else if let Ok(both) = payload.try_into().map(u64::from_be_bytes) {
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32)
        } else if let Some((nanoseconds, seconds)) = payload.split_first_chunk()
            && let Ok(seconds) = seconds.try_into().map(i64::from_be_bytes)
        {
            (seconds, u32::from_be_bytes(*nanoseconds))
        } else {
            return Err(format!("a timestamp has 4, 8 or 12 bytes, not {}", payload.len()));
        };
        if nanoseconds >= NANOSECONDS_A_SECOND {
            return Err(format!("a timestamp has {nanoseconds} nanoseconds; at most 999999999 are valid"));
        }
        Ok(Self { seconds, nanoseconds })
    }

    /// Calls `with` with the shortest payload that holds the timestamp.
    pub(crate) fn payload<T>(self, with: impl FnOnce(&[u8]) -> T) -> T {
        match u64::try_from(self.seconds) {
            Ok(seconds) if seconds >> 34 == 0 => {
                let both = u64::from(self.nanoseconds) << 34 | seconds;
                match u32::try_from(both) {
                    Ok(seconds) => with(&seconds.to_be_bytes()),
                    Err(_) => with(&both.to_be_bytes()),
                }
            }
            _ => {
                let mut payload = [0; 12];
                payload[..4].copy_from_slice(&self.nanoseconds.to_be_bytes());
                payload[4..].copy_from_slice(&self.seconds.to_be_bytes());
                with(&payload)
            }
        }
    }

    /// The instant of an aware `datetime`; `None` for a naive one.
    pub(crate) fn from_datetime(value: &Bound<'_, PyDateTime>) -> PyResult<Option<Self>> {
        static EPOCH: PyOnceLock<Py<PyDateTime>> = PyOnceLock::new();
        let py = value.py();
        // A tzinfo may answer None too, which makes the datetime naive.
        if value.get_tzinfo().is_none() || value.call_method0("utcoffset")?.is_none() {
            return Ok(None);
        }
        let epoch = EPOCH.get_or_try_init(py, || {
            PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&*PyTzInfo::utc(py)?)).map(Bound::unbind)
        })?;
        let since = value.sub(epoch)?.cast_into::<PyDelta>()?;
        Ok(Some(Self {
            seconds: i64::from(since.get_days()) * SECONDS_A_DAY + i64::from(since.get_seconds()),
            nanoseconds: since.get_microseconds() as u32 * 1_000,
        }))
    }

    /// The instant of a `msgpack.Timestamp`.
    pub(crate) fn from_msgpack(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            seconds: value.getattr("seconds")?.extract()?,
            nanoseconds: value.getattr("nanoseconds")?.extract()?,
        })
    }

    /// The aware UTC `datetime` of the instant; `None` when it is outside of the years 1 to 9999.
    pub(crate) fn to_datetime(self, py: Python<'_>) -> PyResult<Option<Bound<'_, PyDateTime>>> {
        let Some((year, month, day)) = civil_from_days(self.seconds.div_euclid(SECONDS_A_DAY)) else {
            return Ok(None);
        };
        let second = self.seconds.rem_euclid(SECONDS_A_DAY) as u32;
        let (hour, minute, second) = ((second / 3600) as u8, (second / 60 % 60) as u8, (second % 60) as u8);
        let microsecond = self.nanoseconds / 1_000;
        let utc = PyTzInfo::utc(py)?;
        PyDateTime::new(py, year, month, day, hour, minute, second, microsecond, Some(&*utc)).map(Some)
    }
}

/// The proleptic Gregorian date that is `days` after 1970-01-01, if `datetime` can hold it.
///
/// Years are counted from March, so that the leap day is the last of its year; 400 years are 146,097 days.
fn civil_from_days(days: i64) -> Option<(i32, u8, u8)> {
    const FIRST: i64 = -719_162; // 0001-01-01
    const LAST: i64 = 2_932_896; // 9999-12-31
    if !(FIRST..=LAST).contains(&days) {
        return None;
    }
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some((year as i32, month as u8, day as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_at_the_edges_of_datetime_are_exact() {
        assert_eq!(civil_from_days(0), Some((1970, 1, 1)));
        assert_eq!(civil_from_days(-719_162), Some((1, 1, 1)));
        assert_eq!(civil_from_days(2_932_896), Some((9999, 12, 31)));
        assert_eq!(civil_from_days(11_016), Some((2000, 2, 29)));
        assert_eq!(civil_from_days(-719_163), None);
        assert_eq!(civil_from_days(2_932_897), None);
    }

    #[test]
    fn every_payload_form_reads_back() {
        for (seconds, nanoseconds, length) in [
            (0, 0, 4),
            (i64::from(u32::MAX), 0, 4),
            (i64::from(u32::MAX) + 1, 0, 8),
            (1, 999_999_999, 8),
            (0x3_ffff_ffff, 999_999_999, 8),
            (0x4_0000_0000, 0, 12),
            (-1, 5, 12),
            (i64::MIN, 0, 12),
        ] {
            let timestamp = Timestamp { seconds, nanoseconds };
            timestamp.payload(|payload| {
                assert_eq!(payload.len(), length);
                assert_eq!(Timestamp::from_payload(payload), Ok(timestamp));
            });
        }
    }
}
