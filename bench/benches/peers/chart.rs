//! Draws the charts.

use std::collections::BTreeSet;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::report::{Time, thousands};
use crate::speed::Bar;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: i32 = 920;
/// The left and right edges of the charts. Names are to the left of them, names and figures to the right.
const LEFT: i32 = 140;
const RIGHT: i32 = 620;
/// The height of a bar, including the gap to the next one.
const BAR: i32 = 30;
/// The height of the line chart, and of a name beside it.
const LINES: i32 = 240;
const NAME: i32 = 20;

const INK: RGBColor = RGBColor(31, 35, 40);
const FAINT: RGBColor = RGBColor(216, 222, 228);
const OURS: RGBColor = RGBColor(9, 105, 218);
const THEIRS: RGBColor = RGBColor(110, 119, 129);

/// A line of a chart: its points by a number, such as that of live pieces of code.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(usize, f64)>,
}

/// A line chart, and how to write the figures of its axes.
struct Lines<'a> {
    title: &'a str,
    data: &'a [Line],
    across: fn(usize) -> String,
    up: fn(f64) -> String,
}

/// Draws a bar for the time of each library, and lines for the times by the number of live pieces of code.
pub(crate) fn draw(file: &Path, bars: &[Bar], lines: &[Line]) -> Result<()> {
    let bars_end = 60 + BAR * i32::try_from(bars.len())?;
    let height = bars_end + 100 + LINES + 50;
    let area = SVGBackend::new(file, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE)?;
    draw_bars(&area, 60, bars)?;
    let title = "Free one of many pieces of code and publish another (lower is better)";
    let chart = Lines { title, data: lines, across: |live| format!("{} live", thousands(live)), up: tick };
    chart.draw(&area, bars_end + 100)?;
    area.present()?;
    Ok(())
}

/// Draws a chart for each task, with lines for the pieces of code per second by the number of threads.
pub(crate) fn draw_threads(file: &Path, tasks: &[(String, Vec<Line>)]) -> Result<()> {
    let height = (60 + LINES + 80) * i32::try_from(tasks.len())?;
    let area = SVGBackend::new(file, (WIDTH.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE)?;
    let across = |threads| if threads == 1 { "1 thread".to_string() } else { format!("{threads} threads") };
    let up =
        |pieces: f64| if pieces < 1e6 { format!("{} k", pieces / 1e3) } else { format!("{} M", pieces / 1e6) };
    for ((task, lines), top) in tasks.iter().zip((60..).step_by((60 + LINES + 80) as usize)) {
        let title = format!("{task}: pieces per second by all threads (higher is better)");
        Lines { title: &title, data: lines, across, up }.draw(&area, top)?;
    }
    area.present()?;
    Ok(())
}

fn draw_bars(area: &Area<'_>, top: i32, bars: &[Bar]) -> Result<()> {
    title(area, top, "Publish and release a function of 10 bytes (shorter is better)")?;
    let bottom = top + BAR * i32::try_from(bars.len())?;
    let (low, high) = range(bars.iter().map(|&(_, time)| time));
    let axis = Axis { low: 10_f64.powf(low.log10().floor()), high, from: LEFT, to: RIGHT };
    for time in axis.ticks(&[1.0]) {
        let x = axis.place(time);
        area.draw(&PathElement::new([(x, top), (x, bottom)], FAINT))?;
        text(area, (x, bottom + 8), HPos::Center, VPos::Top, INK, &tick(time))?;
    }
    scale(area, bottom, "logarithmic scale")?;
    for (&(library, time), y) in bars.iter().zip((top..).step_by(BAR as usize)) {
        let (end, middle) = (axis.place(time), y + BAR / 2);
        area.draw(&Rectangle::new([(LEFT, y + 5), (end, y + BAR - 5)], color(library).filled()))?;
        text(area, (LEFT - 10, middle), HPos::Right, VPos::Center, INK, library)?;
        text(area, (end + 8, middle), HPos::Left, VPos::Center, INK, &Time(time).to_string())?;
    }
    Ok(())
}

impl Lines<'_> {
    fn draw(&self, area: &Area<'_>, top: i32) -> Result<()> {
        title(area, top, self.title)?;
        let bottom = top + LINES;
        let points = || self.data.iter().flat_map(|line| &line.points);
        let (low, high) = range(points().map(|&(live, _)| live as f64));
        let across = Axis { low, high, from: LEFT, to: RIGHT };
        let (low, high) = range(points().map(|&(_, time)| time));
        let up = Axis { low: low / 1.2, high: high * 1.2, from: bottom, to: top };
        for time in up.ticks(&[1.0, 2.0, 5.0]) {
            let y = up.place(time);
            area.draw(&PathElement::new([(LEFT, y), (RIGHT, y)], FAINT))?;
            text(area, (LEFT - 10, y), HPos::Right, VPos::Center, INK, &(self.up)(time))?;
        }
        let counts: BTreeSet<usize> = points().map(|&(live, _)| live).collect();
        for live in counts {
            let x = across.place(live as f64);
            text(area, (x, bottom + 8), HPos::Center, VPos::Top, INK, &(self.across)(live))?;
        }
        scale(area, bottom, "both scales are logarithmic")?;
        let mut names = Vec::new();
        for Line { name, points } in self.data {
            let place = |&(live, time): &(usize, f64)| (across.place(live as f64), up.place(time));
            area.draw(&PathElement::new(
                points.iter().map(place).collect::<Vec<_>>(),
                color(name).stroke_width(2),
            ))?;
            for point in points {
                area.draw(&Circle::new(place(point), 4, color(name).filled()))?;
            }
            names.extend(points.last().map(|point| (place(point).1, name)));
        }
        // Each name is beside the end of its line, moved down if it would overlap another name.
        names.sort_unstable();
        let mut free = top;
        for (y, name) in names {
            let y = y.max(free);
            text(area, (RIGHT + 12, y), HPos::Left, VPos::Center, color(name), name)?;
            free = y + NAME;
        }
        Ok(())
    }
}

/// Draws the title above a chart.
fn title(area: &Area<'_>, top: i32, title: &str) -> Result<()> {
    let style = ("sans-serif", 20).into_font().style(FontStyle::Bold).color(&INK);
    area.draw(&Text::new(title, (20, top - 40), style))?;
    Ok(())
}

/// Draws a remark about the scale, below its figures.
fn scale(area: &Area<'_>, bottom: i32, remark: &str) -> Result<()> {
    text(area, (i32::midpoint(LEFT, RIGHT), bottom + 28), HPos::Center, VPos::Top, INK, remark)
}

/// Draws other text.
fn text(area: &Area<'_>, place: (i32, i32), h: HPos, v: VPos, color: RGBColor, text: &str) -> Result<()> {
    let style = ("sans-serif", 16).into_font().color(&color).pos(Pos::new(h, v));
    area.draw(&Text::new(text, place, style))?;
    Ok(())
}

/// Formats a round time.
fn tick(time: f64) -> String {
    Time(time).to_string().replace(".00", "").replace(".0", "")
}

/// Returns the color of a library. Those of execbuf are highlighted.
fn color(library: &str) -> RGBColor {
    if library.starts_with("Exec") { OURS } else { THEIRS }
}

/// Returns the smallest and the largest value.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (value.min(low), value.max(high)))
}

/// A logarithmic scale from values to pixels.
struct Axis {
    low: f64,
    high: f64,
    from: i32,
    to: i32,
}

impl Axis {
    /// Returns the pixel of a value.
    #[expect(clippy::cast_possible_truncation, reason = "the picture is small")]
    fn place(&self, value: f64) -> i32 {
        let fraction = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + (fraction * f64::from(self.to - self.from)).round() as i32
    }

    /// Returns the products of a power of ten and a step that are on the scale.
    fn ticks(&self, steps: &[f64]) -> Vec<f64> {
        let powers = (0..12).map(|power| 10_f64.powi(power));
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * power));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}
