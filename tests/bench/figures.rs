//! Many measured values in one: their middle and their ends. A ratio of two of them has both too.

use std::fmt;
use std::time::Duration;

pub struct Figures {
    /// At least one, in rising order.
    sorted: Vec<Duration>,
}

impl Figures {
    pub fn of(values: impl IntoIterator<Item = Duration>) -> Figures {
        let mut sorted: Vec<Duration> = values.into_iter().collect();
        assert!(!sorted.is_empty(), "nothing was measured");
        sorted.sort();
        Figures { sorted }
    }

    pub fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub fn percentile(&self, percent: usize) -> Duration {
        self.sorted[(self.sorted.len() - 1) * percent / 100]
    }

    pub fn least(&self) -> Duration {
        self.sorted[0]
    }

    pub fn most(&self) -> Duration {
        self.sorted[self.sorted.len() - 1]
    }
}

/// Median (least–most), in milliseconds.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [median, least, most] = [self.median(), self.least(), self.most()].map(milliseconds);
        write!(f, "{median} ms ({least}–{most})")
    }
}

/// How often one time goes into another, taken in pairs: each pair saw the machine in one mood.
pub struct Ratios {
    /// At least one, in rising order.
    sorted: Vec<f64>,
}

impl Ratios {
    /// Of the first of each pair to the second.
    pub fn of(pairs: impl IntoIterator<Item = (Duration, Duration)>) -> Ratios {
        let ratio = |(one, other): (Duration, Duration)| one.as_secs_f64() / other.as_secs_f64();
        let mut sorted: Vec<f64> = pairs.into_iter().map(ratio).collect();
        assert!(!sorted.is_empty(), "nothing was measured");
        sorted.sort_by(f64::total_cmp);
        Ratios { sorted }
    }

    pub fn median(&self) -> f64 {
        self.sorted[(self.sorted.len() - 1) / 2]
    }
}

/// Median (least–most) and the number of runs.
impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let runs = self.sorted.len();
        let (median, least, most) = (self.median(), self.sorted[0], self.sorted[runs - 1]);
        write!(f, "{median:.2} ({least:.2}–{most:.2}, {runs} runs)")
    }
}

/// With the three digits that are worth showing.
pub fn milliseconds(duration: Duration) -> String {
    let value = duration.as_secs_f64() * 1000.0;
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Of a thousand bytes.
pub fn kilobytes(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1000))
}

/// Of a million bytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
