//! Several pictures on one sheet.

use crate::error::Error;
use std::fmt::Write as _;

/// Pictures in rows of two.
const COLUMNS: usize = 2;

/// Puts whole SVG documents beside and below each other into one.
///
/// # Errors
/// [`Error::Format`] for a document that does not tell its size in pixels.
pub(super) fn sheet(pictures: &[&str]) -> Result<String, Error> {
    let sizes = pictures.iter().map(|picture| size(picture)).collect::<Result<Vec<_>, _>>()?;
    let width = sizes.iter().map(|size| size.0).fold(0.0, f64::max);
    let (mut inside, mut y) = (String::new(), 0.0);
    for (row, of_row) in pictures.chunks(COLUMNS).zip(sizes.chunks(COLUMNS)) {
        for (column, picture) in row.iter().enumerate() {
            let x = width * column as f64;
            let placed = picture.replacen("<svg ", &format!("<svg x=\"{x}\" y=\"{y}\" "), 1);
            let body = placed.find("<svg ").map_or("", |start| &placed[start..]);
            inside.push_str(body);
            inside.push('\n');
        }
        y += of_row.iter().map(|size| size.1).fold(0.0, f64::max);
    }
    let all = width * pictures.len().min(COLUMNS) as f64;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"{y}\" \
         viewBox=\"0 0 {all} {y}\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         {inside}</svg>\n"
    );
    Ok(svg)
}

/// Width and height that a document tells in its first element.
pub(super) fn size(svg: &str) -> Result<(f64, f64), Error> {
    let number = |name: &str| {
        let head = svg.find("<svg ").map(|start| &svg[start..])?;
        let head = &head[..head.find('>')?];
        let value = head.split_once(&format!(" {name}=\""))?.1;
        value.split('"').next()?.parse::<f64>().ok()
    };
    number("width").zip(number("height")).ok_or_else(|| Error::Format {
        format: "SVG",
        message: "a picture does not tell its size".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pictures_make_two_rows_of_two() {
        let picture = |height: u32| {
            format!("<svg width=\"100\" height=\"{height}\" viewBox=\"0 0 1 1\"><g/></svg>\n")
        };
        let [low, high] = [picture(30), picture(50)];
        let sheet = sheet(&[&low, &high, &low, &low]).unwrap();
        assert_eq!(size(&sheet).unwrap(), (200.0, 80.0));
        assert!(sheet.contains("<svg x=\"100\" y=\"50\" width=\"100\" height=\"30\""), "{sheet}");
        assert!(crate::picture::png_of_svg(&sheet).unwrap().starts_with(b"\x89PNG"));
    }
}
