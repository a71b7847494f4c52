//! A plot's values as a table, some points to a line.

use maud::{Markup, html};

use super::span::Span;
use super::track::{Track, Value};
use crate::clock::Moment;
use crate::page::words;
use crate::store::history::History;

pub fn details(tracks: &[Track], span: Span, history: &History) -> Markup {
    let points = usize::try_from(span.table_secs() / history.step_secs).unwrap_or(1).max(1);
    let lines = history.count.len().div_ceil(points);
    html! {
        details.numbers {
            summary { "The same as a table" }
            div.wide #numbers tabindex="0" role="region" aria-label="History as a table" {
                table {
                    caption.unseen { "History of the last " (span.words()) ", the newest first" }
                    thead { tr {
                        th scope="col" { "From (UTC)" }
                        @for track in tracks { th.num scope="col" { (track.name) } }
                        th.num scope="col" { "Known" }
                    } }
                    tbody {
                        @for line in (0..lines).rev() {
                            (row(tracks, history, line * points..((line + 1) * points).min(history.count.len())))
                        }
                    }
                }
            }
        }
    }
}

fn row(tracks: &[Track], history: &History, points: std::ops::Range<usize>) -> Markup {
    let counts = history.count.get(points.clone()).unwrap_or_default();
    let known = counts.iter().filter(|count| **count > 0).count();
    let secs = history.start.secs() + history.step_secs * i64::try_from(points.start).unwrap_or(0);
    html! {
        tr {
            th scope="row" { (words::minute(Moment::from_secs(secs)).trim_end_matches(" UTC")) }
            @for track in tracks {
                td.num { @match fold(track.points.get(points.clone()).unwrap_or_default(), counts) {
                    Some(value) => (cell(track, value)),
                    None => "–",
                } }
            }
            td.num { (known * 100 / points.len().max(1)) " %" }
        }
    }
}

fn cell(track: &Track, value: Value) -> Markup {
    let mean = (value.mean * 10.0).round() / 10.0;
    let (min, max) = (track.number(value.min), track.number(value.max));
    html! {
        (track.number(mean))
        @if min != max {
            span.least { " (" (min.trim_end_matches(track.unit)) "–" (max) ")" }
        }
    }
}

/// Each point counts as often as it stands for snapshots.
fn fold(points: &[Option<Value>], counts: &[u8]) -> Option<Value> {
    let known = || points.iter().zip(counts).filter_map(|(point, count)| Some(((*point)?, *count)));
    let weight: f64 = known().map(|(_, count)| f64::from(count.max(1))).sum();
    (weight > 0.0).then(|| Value {
        min: known().map(|(value, _)| value.min).fold(f64::INFINITY, f64::min),
        mean: known().map(|(value, count)| value.mean * f64::from(count.max(1))).sum::<f64>()
            / weight,
        max: known().map(|(value, _)| value.max).fold(0.0, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_weigh_what_they_stand_for() {
        let value = |min, mean, max| Some(Value { min, mean, max });
        let points = [value(0.0, 10.0, 20.0), None, value(5.0, 20.0, 90.0)];
        assert_eq!(fold(&points, &[9, 0, 1]), value(0.0, 11.0, 90.0));
        assert_eq!(fold(&[None, None], &[0, 0]), None);
        assert_eq!(fold(&[value(1.0, 1.0, 1.0)], &[0]), value(1.0, 1.0, 1.0));
    }
}
