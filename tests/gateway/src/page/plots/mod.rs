//! An instance's kept history as plots and as a table: a day by the minute, a week by ten minutes, 30 days
//! by the hour. The lines are drawn here as SVG that scales with the page; what has letters is HTML around
//! it, so that it can be read on a phone and aloud. A script adds values on hover and by the arrow keys.
//!
//! - `span` how much of the past; `track` one metric's points; `draw` its SVG; `figure` what is around it;
//!   `table` the same in numbers

mod draw;
mod figure;
mod span;
mod table;
mod track;

pub use figure::section;
pub use span::Span;
