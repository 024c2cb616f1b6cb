//! Moments as people write them: seconds since 1970 to the Gregorian calendar, in UTC.

#![forbid(unsafe_code)]

/// One second of the calendar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DateTime {
    /// With all its digits.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59; leap seconds do not count.
    pub second: u64,
}

impl DateTime {
    /// So many seconds after 1970-01-01.
    pub fn of(unix_s: u64) -> DateTime {
        // Years are counted from March, so that the leap day is the last of its year and the
        // months before it repeat a pattern of 153 days in five; an era is the 400 years, 146,097
        // days, after which the calendar repeats.
        const DAYS_TO_1970: u64 = 719_468; // from 0000-03-01
        let days = unix_s / 86_400 + DAYS_TO_1970;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let second = unix_s % 86_400;
        DateTime {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_that_calendars_show() {
        let table = [
            (0, (1970, 1, 1, 0, 0, 0)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (951_868_799, (2000, 2, 29, 23, 59, 59)),
            (951_868_800, (2000, 3, 1, 0, 0, 0)),
            (1_795_536_944, (2026, 11, 24, 16, 15, 44)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
            (253_402_300_799, (9999, 12, 31, 23, 59, 59)),
        ];
        for (unix_s, (year, month, day, hour, minute, second)) in table {
            let expected = DateTime { year, month, day, hour, minute, second };
            assert_eq!(DateTime::of(unix_s), expected);
        }
    }
}
