//! A track as SVG: a line for the mean of each run, a band from the least to the highest behind it, and a
//! shade where nothing is known. One point is one unit wide. The page stretches the picture and gives the
//! shapes their colours, by what they are: `polyline`, `polygon`, `rect`.

use maud::PreEscaped;
use plotters::prelude::{
    BLACK, ChartBuilder, Color, IntoDrawingArea, PathElement, Polygon, Rectangle, SVGBackend,
};

use super::track::{Run, Track, Value};

/// So that half a per cent is still seen.
const HEIGHT: u32 = 240;
/// What plotters begins with. The picture is an ornament of the figure, which says it all in words.
const BEGIN: &str = "<svg ";
const BEGIN_OURS: &str =
    "<svg preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\" ";

/// Nothing where plotters fails, which has only memory to fail with.
pub fn svg(track: &Track) -> PreEscaped<String> {
    let drawn = draw(track).unwrap_or_default();
    PreEscaped(match drawn.strip_prefix(BEGIN) {
        Some(rest) => format!("{BEGIN_OURS}{rest}"),
        None => String::new(),
    })
}

fn draw(track: &Track) -> Result<String, Box<dyn std::error::Error + '_>> {
    let width = u32::try_from(track.points.len().max(2))?;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, HEIGHT)).into_drawing_area();
        let (xs, ys) = (0.0..f64::from(width), 0.0..track.top);
        let mut chart = ChartBuilder::on(&area).build_cartesian_2d(xs, ys)?;
        let gaps = track.gaps();
        chart.draw_series(gaps.iter().map(|gap| {
            let corners = [(gap.start as f64, 0.0), (gap.end as f64, track.top)];
            Rectangle::new(corners, BLACK.mix(0.16).filled())
        }))?;
        let runs = track.runs();
        if track.spread {
            let band = |run: &Run| Polygon::new(band(track, run), BLACK.mix(0.2));
            chart.draw_series(runs.iter().map(band))?;
        }
        let line = |run: &Run| PathElement::new(line(track, run), BLACK.stroke_width(2));
        chart.draw_series(runs.iter().map(line))?;
        area.present()?;
    }
    Ok(text)
}

/// From edge to edge of its points, so that a single one is seen too.
fn edges(
    track: &Track,
    run: &Run,
    pick: impl Fn(&Value) -> f64,
) -> impl DoubleEndedIterator<Item = (f64, f64)> {
    let points = track.points.get(run.clone()).unwrap_or_default();
    let mut places: Vec<(f64, f64)> = (run.start..)
        .zip(points.iter().flatten())
        .map(|(place, value)| (place as f64 + 0.5, pick(value)))
        .collect();
    if let (Some(first), Some(last)) = (places.first().copied(), places.last().copied()) {
        places.insert(0, (run.start as f64, first.1));
        places.push((run.end as f64, last.1));
    }
    places.into_iter()
}

fn line(track: &Track, run: &Run) -> Vec<(f64, f64)> {
    edges(track, run, |value| value.mean).collect()
}

fn band(track: &Track, run: &Run) -> Vec<(f64, f64)> {
    let below = edges(track, run, |value| value.min).rev();
    edges(track, run, |value| value.max).chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_run_and_a_shade_for_each_gap() {
        let value = |mean| Some(Value { min: mean - 1.0, mean, max: mean + 1.0 });
        let points = vec![None, value(10.0), value(20.0), None, value(30.0)];
        let track =
            Track { name: "CPU", metric: "cpu_pct", unit: " %", top: 100.0, spread: true, points };
        let svg = svg(&track).0;
        assert_eq!(svg.matches("<polyline").count(), 2, "{svg}");
        assert_eq!(svg.matches("<polygon").count(), 2);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.starts_with(BEGIN_OURS) && !svg.contains("style="));
    }
}
