//! One metric's points over a span of time. Pure. A point without a value is a gap, and stays one.

use crate::store::history::{History, Series};

/// Points that are about now.
const RECENT: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

#[derive(Debug)]
pub struct Track {
    pub name: &'static str,
    /// Its name in the history.
    pub metric: &'static str,
    pub unit: &'static str,
    /// The upper edge of the plot; the lower one is 0.
    pub top: f64,
    /// Whether a point is more than one value.
    pub spread: bool,
    pub points: Vec<Option<Value>>,
}

/// Of the points of a run without a gap, from the first to before the last.
pub type Run = std::ops::Range<usize>;

impl Track {
    pub fn all(history: &History) -> [Track; 4] {
        let percent = |name, metric, series| Track::new(name, metric, " %", Some(100.0), series);
        [
            percent("CPU", "cpu_pct", &history.cpu_pct),
            percent("Memory", "mem_pct", &history.mem_pct),
            percent("Root disk", "disk_pct", &history.disk_pct),
            Track::new("Containers running", "container_count", "", None, &history.container_count),
        ]
    }

    fn new(
        name: &'static str,
        metric: &'static str,
        unit: &'static str,
        top: Option<f64>,
        series: &Series,
    ) -> Track {
        let points = points(series);
        let highest = points.iter().flatten().map(|value| value.max).fold(0.0, f64::max);
        let top = top.unwrap_or_else(|| nice_top(highest));
        Track { name, metric, unit, top, spread: series.min.is_some(), points }
    }

    pub fn runs(&self) -> Vec<Run> {
        runs(&self.points, |point| point.is_some())
    }

    pub fn gaps(&self) -> Vec<Run> {
        runs(&self.points, |point| point.is_none())
    }

    /// All of it as one value.
    pub fn whole(&self) -> Option<Value> {
        let values = || self.points.iter().flatten();
        let count = values().count();
        (count > 0).then(|| Value {
            min: values().map(|value| value.min).fold(f64::INFINITY, f64::min),
            mean: values().map(|value| value.mean).sum::<f64>() / count as f64,
            max: values().map(|value| value.max).fold(0.0, f64::max),
        })
    }

    /// Of now: the last point may still be without its first snapshot.
    pub fn latest(&self) -> Option<Value> {
        self.points.iter().rev().take(RECENT).flatten().next().copied()
    }

    pub fn number(&self, value: f64) -> String {
        // A mean of whole things is no whole thing.
        let digits = usize::from(value.fract() != 0.0 && (self.unit.is_empty() || value < 10.0));
        format!("{value:.digits$}{}", self.unit)
    }
}

fn points(series: &Series) -> Vec<Option<Value>> {
    let at = |values: &Option<Vec<Option<f64>>>, place: usize| {
        values.as_ref().and_then(|values| values.get(place).copied().flatten())
    };
    let point = |(place, mean): (usize, &Option<f64>)| {
        let mean = (*mean)?;
        let min = at(&series.min, place).unwrap_or(mean);
        let max = at(&series.max, place).unwrap_or(mean);
        Some(Value { min, mean, max })
    };
    series.mean.iter().enumerate().map(point).collect()
}

fn runs(points: &[Option<Value>], is: impl Fn(&Option<Value>) -> bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (place, point) in points.iter().enumerate() {
        match runs.last_mut() {
            _ if !is(point) => {}
            Some(run) if run.end == place => run.end += 1,
            _ => runs.push(place..place + 1),
        }
    }
    runs
}

/// A round number, even, so that the middle of the plot is a whole one.
fn nice_top(highest: f64) -> f64 {
    let mut top = 4.0;
    for factor in [1.5, 2.0, 5.0 / 3.0, 2.0].into_iter().cycle() {
        if top > highest {
            break;
        }
        top = (top * factor / 2.0_f64).round() * 2.0;
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(means: &[Option<f64>]) -> Track {
        let series = Series { mean: means.to_vec(), min: None, max: None };
        Track::new("n", "m", " %", Some(100.0), &series)
    }

    #[test]
    fn gaps_stay_gaps() {
        let track = track(&[None, Some(1.0), Some(2.0), None, None, Some(3.0)]);
        assert_eq!(track.runs(), [1..3, 5..6]);
        assert_eq!(track.gaps(), [0..1, 3..5]);
        assert_eq!(track.whole(), Some(Value { min: 1.0, mean: 2.0, max: 3.0 }));
        assert_eq!(track.latest().unwrap().mean, 3.0);
        let lost = self::track(&[Some(1.0), None, None, None]);
        assert_eq!(lost.latest(), None);
    }

    #[test]
    fn nothing_is_known() {
        let track = track(&[None, None]);
        assert_eq!((track.runs(), track.whole(), track.latest()), (Vec::new(), None, None));
    }

    #[test]
    fn a_coarse_point_has_its_spread() {
        let some = |value| Some(vec![Some(value), None]);
        let series = Series { mean: some(2.0).unwrap(), min: some(1.0), max: some(9.0) };
        let points = points(&series);
        assert_eq!(points, [Some(Value { min: 1.0, mean: 2.0, max: 9.0 }), None]);
    }

    #[test]
    fn the_top_is_round_and_not_far_above() {
        for highest in 0..70_000 {
            let highest = f64::from(highest);
            let top = nice_top(highest);
            assert!(top > highest && (top <= 2.0 * highest || top == 4.0), "{top} for {highest}");
            assert_eq!(top % 2.0, 0.0);
        }
    }

    #[test]
    fn numbers() {
        let track = track(&[]);
        assert_eq!(
            [0.0, 1.25, 12.25, 99.96].map(|n| track.number(n)),
            ["0 %", "1.2 %", "12 %", "100 %"]
        );
    }
}
