//! Drawing in pixels with fractions, over a library that knows whole ones only.

use crate::error::Error;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Units of the library in a pixel.
const UNITS: f64 = 8.0;

/// Plotters' fonts are larger than the size that it writes, by this factor.
const FONT: f64 = 1.24;

/// Width of an average character, in font sizes.
const CHARACTER: f64 = 0.56;

/// Where text stands to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// Begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// Ends there.
    End,
    /// Its middle is there, and it runs upwards.
    Upwards,
}

/// A white picture.
pub(crate) struct Canvas<'s> {
    area: DrawingArea<SVGBackend<'s>, Shift>,
}

pub(crate) type Drawn = Result<(), Error>;

fn failed(error: impl std::error::Error) -> Error {
    Error::Format { format: "SVG", message: error.to_string() }
}

fn units((x, y): (f64, f64)) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

fn stroke(colour: RGBColor, width: f64) -> ShapeStyle {
    colour.stroke_width((width * UNITS).round() as u32)
}

/// How wide text is, about, in pixels.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * CHARACTER
}

/// A picture of `width` by `height` pixels, drawn by `draw`.
pub(crate) fn picture(
    width: f64,
    height: f64,
    draw: impl FnOnce(&Canvas<'_>) -> Drawn,
) -> Result<String, Error> {
    let mut svg = String::new();
    let (w, h) = units((width, height));
    {
        let area = SVGBackend::with_string(&mut svg, (w as u32, h as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let canvas = Canvas { area };
        draw(&canvas)?;
        canvas.area.present().map_err(failed)?;
    }
    // The view box keeps the library's units.
    let size = format!("width=\"{w}\" height=\"{h}\" viewBox");
    Ok(svg.replacen(&size, &format!("width=\"{width}\" height=\"{height}\" viewBox"), 1))
}

impl Canvas<'_> {
    pub(crate) fn line(&self, points: &[(f64, f64)], colour: RGBColor, width: f64) -> Drawn {
        let points: Vec<_> = points.iter().copied().map(units).collect();
        self.area.draw(&PathElement::new(points, stroke(colour, width))).map_err(failed)
    }

    pub(crate) fn dashed(
        &self,
        points: &[(f64, f64)],
        colour: RGBColor,
        width: f64,
        (dash, gap): (f64, f64),
    ) -> Drawn {
        let [dash, gap] = [dash, gap].map(|length| (length * UNITS).round() as i32);
        let points: Vec<_> = points.iter().copied().map(units).collect();
        let path = DashedPathElement::new(points, dash, gap, stroke(colour, width));
        self.area.draw(&path).map_err(failed)
    }

    /// Filled with `opacity` from 0 to 1.
    pub(crate) fn polygon(&self, points: &[(f64, f64)], colour: RGBColor, opacity: f64) -> Drawn {
        let points: Vec<_> = points.iter().copied().map(units).collect();
        self.area.draw(&Polygon::new(points, colour.mix(opacity).filled())).map_err(failed)
    }

    pub(crate) fn circle(&self, middle: (f64, f64), radius: f64, colour: RGBColor) -> Drawn {
        let radius = (radius * UNITS).round() as i32;
        self.area.draw(&Circle::new(units(middle), radius, colour.filled())).map_err(failed)
    }

    /// Text whose middle line is at `at`.
    pub(crate) fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: RGBColor,
        anchor: Anchor,
    ) -> Drawn {
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle | Anchor::Upwards => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let mut font = ("sans-serif", size * UNITS * FONT).into_font();
        if anchor == Anchor::Upwards {
            font = font.transform(FontTransform::Rotate270);
        }
        let style = font.color(&colour).pos(Pos::new(horizontal, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), units(at), style)).map_err(failed)
    }
}
