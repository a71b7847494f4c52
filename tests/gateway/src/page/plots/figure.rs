//! What is around the lines of a plot: what it shows, in words, and the scales.

use maud::{Markup, html};

use super::span::Span;
use super::track::{Track, Value};
use super::{draw, table};
use crate::agents::register::InstanceId;
use crate::page::words;
use crate::store::history::History;

pub fn section(id: &InstanceId, span: Span, history: &History) -> Markup {
    let tracks = Track::all(history);
    let history_path = format!("/api/instances/{}/history", words::segment(id.as_str()));
    html! {
        section.history #history aria-labelledby="history-title" {
            div.head {
                h2 #history-title { "History" }
                nav.choice aria-label="Span of the history" {
                    @for other in Span::ALL {
                        a href={ "?range=" (other.name()) "#history" }
                            aria-current=[(other == span).then_some("true")] { (other.words()) }
                    }
                }
            }
            div #plots {
                div.plots data-history=(history_path) data-start=(history.start)
                    data-step=(history.step_secs) data-count=(history.count.len()) {
                    @for track in &tracks { (figure(track, span)) }
                }
            }
            p.hint {
                "The line is the mean"
                @if tracks.iter().any(|track| track.spread) {
                    ", the band around it reaches from the lowest to the highest value"
                }
                ". Where it is shaded, the gateway has no values."
            }
            (table::details(&tracks, span, history))
        }
    }
}

fn figure(track: &Track, span: Span) -> Markup {
    let caption = format!("plot-{}", track.metric);
    html! {
        figure.plot data-metric=(track.metric) data-unit=(track.unit) {
            figcaption {
                strong #(caption) { (track.name) }
                @if let Some(latest) = track.latest() { span.latest { (track.number(latest.mean)) } }
                span.whole { (whole(track, span)) }
            }
            div.scale.{ "of-" (track.metric) } aria-hidden="true" {
                span { (track.number(track.top)) } span { (track.number(track.top / 2.0)) } span { (track.number(0.0)) }
            }
            div.field.{ "in-" (span.ticks().len() - 1) } { (draw::svg(track)) }
            div.ticks aria-hidden="true" { @for tick in span.ticks() { span { (tick) } } }
        }
    }
}

fn whole(track: &Track, span: Span) -> String {
    match track.whole() {
        None => format!("no data for the last {}", span.words()),
        Some(Value { min, mean, max }) => format!(
            "lowest {}, mean {}, highest {}",
            track.number(min),
            track.number(round(mean)),
            track.number(max)
        ),
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
