//! What tells lines apart: colour, dashes, shape of the points.

use plotters::style::RGBColor;

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineStyle {
    pub(super) colour: RGBColor,
    /// Lengths of dashes and of gaps between them, in pixels; `None` is solid.
    pub(super) dashes: Option<(f64, f64)>,
    pub(super) shape: Shape,
}

/// Points of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// How many lines can be told apart.
pub(super) const LOOKS: usize = 8;

/// Colours of Okabe and Ito, which people with any colour vision tell apart, without yellow, which
/// is too light for a line on white. Neighbours differ in grey, and in dashes where it wears off.
const STYLES: [LineStyle; LOOKS] = [
    style(RGBColor(0, 114, 178), None, Shape::Circle),
    style(RGBColor(230, 159, 0), Some((9.0, 3.0)), Shape::Square),
    style(RGBColor(0, 0, 0), Some((2.5, 2.5)), Shape::Triangle),
    style(RGBColor(86, 180, 233), Some((16.0, 4.0)), Shape::Diamond),
    style(RGBColor(213, 94, 0), Some((5.0, 5.0)), Shape::Circle),
    style(RGBColor(204, 121, 167), None, Shape::Triangle),
    style(RGBColor(0, 158, 115), Some((12.0, 6.0)), Shape::Square),
    style(RGBColor(120, 120, 120), Some((6.0, 2.0)), Shape::Diamond),
];

const fn style(colour: RGBColor, dashes: Option<(f64, f64)>, shape: Shape) -> LineStyle {
    LineStyle { colour, dashes, shape }
}

/// Dashes of what lines are compared with.
pub(super) const REFERENCE: (f64, f64) = (1.0, 3.0);

/// How the `number`th line of a chart looks. After [`LOOKS`] they come again.
pub(super) fn line_style(number: usize) -> LineStyle {
    STYLES[number % STYLES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Luma of Rec. 601, from 0 to 255.
    fn grey(RGBColor(r, g, b): RGBColor) -> f64 {
        0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
    }

    #[test]
    fn neighbours_differ_in_grey_or_dashes_and_every_line_shows_on_white() {
        for pair in STYLES.windows(2) {
            let apart = (grey(pair[0].colour) - grey(pair[1].colour)).abs();
            assert!(apart > 30.0 || pair[0].dashes != pair[1].dashes, "{pair:?}");
        }
        assert!(STYLES.iter().all(|style| grey(style.colour) < 185.0));
    }

    #[test]
    fn no_two_of_the_first_eight_have_the_same_dashes_and_points() {
        for (i, one) in STYLES.iter().enumerate() {
            let alike = |other: &&LineStyle| other.dashes == one.dashes && other.shape == one.shape;
            assert_eq!(STYLES[..i].iter().find(alike).map(|style| style.colour), None);
        }
    }
}
