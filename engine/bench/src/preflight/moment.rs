//! A moment in words. The core has no clock and no calendar of its own, and this is all that sentences need of one.

/// Unix seconds as `2026-01-31 23:59:59 UTC` (proleptic Gregorian calendar).
///
/// ```
/// use tbi_bench::preflight::utc;
/// assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
/// assert_eq!(utc(1_772_323_199), "2026-02-28 23:59:59 UTC");
/// assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
/// assert_eq!(utc(-1), "1969-12-31 23:59:59 UTC");
/// assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 UTC");
/// ```
#[must_use]
pub fn utc(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years are counted from 1 March 0000, so that a leap day is the last day of its year; 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 153 days in every five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}
