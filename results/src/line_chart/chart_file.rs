//! A chart in a file of the user's choice, with the CSV of what it shows beside it.

use super::LineChart;
use crate::error::Error;
use crate::output::{check_writable, write_file};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A picture's file, and the CSV of the same name beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartFile {
    picture: PathBuf,
    csv: PathBuf,
    is_png: bool,
}

impl FromStr for ChartFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let picture = PathBuf::from(text);
        let ending = picture.extension().and_then(|ending| ending.to_str());
        let is_png = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("png") => true,
            Some("svg") => false,
            _ => return Err("a figure is drawn as .svg or .png; name such a file".to_owned()),
        };
        Ok(ChartFile { csv: picture.with_extension("csv"), picture, is_png })
    }
}

impl ChartFile {
    /// The picture and its CSV.
    pub fn paths(&self) -> [&Path; 2] {
        [&self.picture, &self.csv]
    }

    /// Says early that one of the two may not be written.
    ///
    /// # Errors
    /// As [`check_writable`].
    pub fn check(&self, replace: bool) -> Result<(), Error> {
        self.paths().into_iter().try_for_each(|path| check_writable(path, replace))
    }

    /// Draws a chart into it.
    ///
    /// # Errors
    /// As [`LineChart::to_svg`] and [`write_file`].
    pub fn write(&self, chart: &LineChart, replace: bool) -> Result<(), Error> {
        let picture = if self.is_png { chart.to_png()? } else { chart.to_svg()?.into_bytes() };
        write_file(&self.csv, chart.to_csv()?.as_bytes(), replace)?;
        write_file(&self.picture, &picture, replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_what_is_drawn_and_the_csv_lies_beside_it() {
        let file: ChartFile = "a/misses.PNG".parse().unwrap();
        assert_eq!(file.paths(), [Path::new("a/misses.PNG"), Path::new("a/misses.csv")]);
        for wrong in ["misses", "misses.pdf", "misses.csv", ".svg", ""] {
            assert!(wrong.parse::<ChartFile>().unwrap_err().contains(".svg or .png"), "{wrong}");
        }
    }
}
