//! SVG as PNG, for readers that take no SVG.

use crate::error::Error;
use epaint_default_fonts::UBUNTU_LIGHT;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use std::sync::Arc;

/// Pixels of the PNG for each of the SVG, in both directions: sharp in print.
const SCALE: f32 = 2.0;

/// Paints an SVG as PNG with twice as many pixels each way. Text is in a font of this program, not
/// of the machine that it runs on, so that the same SVG gives the same bytes everywhere.
///
/// # Errors
/// [`Error::Format`] for what is no SVG, or has no size.
pub fn png_of_svg(svg: &str) -> Result<Vec<u8>, Error> {
    let failed = |message: String| Error::Format { format: "PNG", message };
    let mut options = Options::default();
    let fonts = Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(UBUNTU_LIGHT.to_vec());
    let family = fonts.faces().next().and_then(|face| face.families.first());
    if let Some((family, _)) = family.cloned() {
        options.font_family = family.clone();
        fonts.set_sans_serif_family(family);
    }
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let [width, height] = [tree.size().width(), tree.size().height()].map(|size| size * SCALE);
    let mut pixels = Pixmap::new(width.ceil() as u32, height.ceil() as u32)
        .ok_or_else(|| failed(format!("a picture of {width} by {height} cannot be painted")))?;
    let transform = Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(inside: &str) -> Pixmap {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"60\" height=\"20\">{inside}</svg>"
        );
        Pixmap::decode_png(&png_of_svg(&svg).unwrap()).unwrap()
    }

    #[test]
    fn a_pixel_of_the_svg_is_four_of_the_png() {
        let picture = painted("<rect width=\"1\" height=\"1\" fill=\"black\"/>");
        assert_eq!((picture.width(), picture.height()), (120, 40));
        assert_eq!(picture.pixels().iter().filter(|pixel| pixel.alpha() == 255).count(), 4);
    }

    #[test]
    fn text_is_painted_without_any_font_of_the_machine() {
        let ink = |text: &str| {
            let element = format!("<text y=\"15\" font-family=\"sans-serif\">{text}</text>");
            painted(&element).pixels().iter().filter(|pixel| pixel.alpha() > 0).count()
        };
        assert!(ink("DTLB") > 50 && ink("") == 0);
    }

    #[test]
    fn what_is_no_svg_is_refused() {
        assert!(matches!(png_of_svg("<html/>"), Err(Error::Format { format: "PNG", .. })));
    }
}
