//! The machines of a sweep: values of some parameters, in every combination.

use std::str::FromStr;
use strata_cachemodel::{ByteSize, Machine, TagScheme};

/// Values of a machine's parameters, as in `l2.size=512KiB`.
pub type Setting = Vec<(String, String)>;

/// What is wrong with what is to be swept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// Not of the form that is needed.
    #[error("`{given}` is not of the form {form}")]
    Form {
        /// What was given.
        given: String,
        /// How it should look.
        form: &'static str,
    },
    /// A range with nothing in it.
    #[error("`{given}` is an empty range: {why}")]
    EmptyRange {
        /// What was given.
        given: String,
        /// Why there is nothing in it.
        why: String,
    },
    /// A value that the parameter cannot have.
    #[error("{0}")]
    Value(String),
    /// A value that comes twice.
    #[error("`{value}` is given twice in `{given}`; every value is one point")]
    Twice {
        /// The value.
        value: String,
        /// What was given.
        given: String,
    },
    /// A parameter of two axes.
    #[error("{key} is swept twice; give all of its values at once")]
    KeyTwice {
        /// The parameter.
        key: String,
    },
    /// More combinations than can be numbered.
    #[error("the combinations are more than 2^64; sweep fewer values")]
    Endless,
    /// A machine that cannot exist.
    #[error(transparent)]
    Machine(#[from] strata_cachemodel::Error),
}

/// Parameters that change together, and their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepAxis {
    keys: Vec<&'static str>,
    /// Of `--set`; has no fixed keys.
    key: Option<String>,
    values: Vec<String>,
    /// Set with every value.
    fixed: Vec<(&'static str, &'static str)>,
}

impl SweepAxis {
    /// Sizes of the L2: `512KiB..32MiB`, or a list.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn l2_sizes(text: &str) -> Result<Self, GridError> {
        let values = values(text)?;
        for value in &values {
            value.parse::<ByteSize>().map_err(GridError::Value)?;
        }
        Ok(SweepAxis { keys: vec!["l2.size"], key: None, values, fixed: Vec::new() })
    }

    /// Numbers of entries of ITLB and DTLB, both fully associative: `16..1024`, or a list.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn tlb_entries(text: &str) -> Result<Self, GridError> {
        let values = values(text)?;
        for value in &values {
            value.parse::<u64>().map_err(|_| {
                GridError::Value(format!("`{value}` is not a number of entries such as 64"))
            })?;
        }
        Ok(SweepAxis {
            keys: vec!["itlb.entries", "dtlb.entries"],
            key: None,
            values,
            fixed: vec![("itlb.ways", "full"), ("dtlb.ways", "full")],
        })
    }

    /// Tag schemes, a list.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn tags(text: &str) -> Result<Self, GridError> {
        let values = values(text)?;
        let named =
            values.iter().map(|value| TagScheme::from_str(value).map(|tags| tags.to_string()));
        let values = named.collect::<Result<Vec<_>, _>>().map_err(GridError::Value)?;
        once_each(&values, text)?;
        Ok(SweepAxis { keys: vec!["tags"], key: None, values, fixed: Vec::new() })
    }

    /// Any parameter: `KEY=VALUES`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn set(text: &str) -> Result<Self, GridError> {
        let wrong = || GridError::Form {
            given: text.to_owned(),
            form: "KEY=VALUE or KEY=VALUES, such as l1d.ways=1,2,4,8 or l2.size=1MiB..8MiB",
        };
        let (key, of_key) = text.split_once('=').ok_or_else(wrong)?;
        let key = key.trim();
        if key.is_empty() {
            return Err(wrong());
        }
        let values = values(of_key)?;
        Ok(SweepAxis { keys: Vec::new(), key: Some(key.to_owned()), values, fixed: Vec::new() })
    }

    /// The parameters that change.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().copied().chain(self.key.as_deref())
    }

    /// Their values.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }
}

/// A list, or a range, which stands for the powers of two in it.
fn values(text: &str) -> Result<Vec<String>, GridError> {
    let values = match text.split_once("..") {
        Some((from, to)) => range(text, from.trim(), to.trim())?,
        None => list(text),
    };
    if values.iter().any(String::is_empty) {
        return Err(GridError::Form {
            given: text.to_owned(),
            form: "A,B,C or A..B, where A..B stands for the powers of two from A to B",
        });
    }
    once_each(&values, text)?;
    Ok(values)
}

fn once_each(values: &[String], text: &str) -> Result<(), GridError> {
    match (1..values.len()).find(|&at| values[..at].contains(&values[at])) {
        None => Ok(()),
        Some(at) => Err(GridError::Twice { value: values[at].clone(), given: text.to_owned() }),
    }
}

/// Cut at the commas outside of brackets and quotes, which belong to a value.
fn list(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut quoted = false;
    let cut = |c: char| {
        match c {
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0 && !quoted
    };
    text.split(cut).map(|value| value.trim().to_owned()).collect()
}

fn range(text: &str, from: &str, to: &str) -> Result<Vec<String>, GridError> {
    let number = |end: &str| -> Result<u64, GridError> {
        let size: Result<ByteSize, _> = end.parse();
        size.map(|ByteSize(number)| number).map_err(|_| GridError::Form {
            given: text.to_owned(),
            form: "A..B with numbers such as 16..1024 or sizes such as 512KiB..32MiB",
        })
    };
    let (first, last) = (number(from)?, number(to)?);
    let empty = |why: String| Err(GridError::EmptyRange { given: text.to_owned(), why });
    if first > last {
        return empty(format!("it is reversed, {to}..{from} may be meant"));
    }
    let powers = (0..u64::BITS).map(|bit| 1_u64 << bit);
    let inside: Vec<u64> = powers.filter(|power| (first..=last).contains(power)).collect();
    if inside.is_empty() {
        return empty("it stands for the powers of two in it, and there are none".to_owned());
    }
    let plain = [from, to].iter().all(|end| end.parse::<u64>().is_ok());
    let written =
        |number: u64| if plain { number.to_string() } else { ByteSize(number).to_string() };
    Ok(inside.into_iter().map(written).collect())
}

/// Every combination of the values of some axes; the last axis changes fastest.
#[derive(Clone, Debug)]
pub struct SweepGrid {
    axes: Vec<SweepAxis>,
    points: u64,
}

impl SweepGrid {
    /// The grid of these axes; without any it is one point.
    ///
    /// # Errors
    /// If two axes have a parameter in common, or there are more than 2^64 points.
    pub fn new(axes: Vec<SweepAxis>) -> Result<Self, GridError> {
        let keys: Vec<&str> = axes.iter().flat_map(SweepAxis::keys).collect();
        if let Some(at) = (1..keys.len()).find(|&at| keys[..at].contains(&keys[at])) {
            return Err(GridError::KeyTwice { key: keys[at].to_owned() });
        }
        let points = axes
            .iter()
            .try_fold(1_u64, |product, axis| product.checked_mul(axis.values.len() as u64));
        Ok(SweepGrid { points: points.ok_or(GridError::Endless)?, axes })
    }

    /// Number of points.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points
    }

    /// The axes.
    #[must_use]
    pub fn axes(&self) -> &[SweepAxis] {
        &self.axes
    }

    /// The setting and the machine of every point, where all else is as in `base`.
    ///
    /// # Errors
    /// [`GridError::Machine`] for the first machine that cannot exist.
    pub fn machines(&self, base: &Machine) -> Result<Vec<(Setting, Machine)>, GridError> {
        (0..self.points).map(|point| self.machine(base, point)).collect()
    }

    fn machine(&self, base: &Machine, mut point: u64) -> Result<(Setting, Machine), GridError> {
        let mut setting = Setting::new();
        for axis in self.axes.iter().rev() {
            let count = axis.values.len() as u64;
            let value = &axis.values[(point % count) as usize];
            point /= count;
            let of_axis: Setting = axis.keys().map(|key| (key.to_owned(), value.clone())).collect();
            setting.splice(0..0, of_axis);
        }
        let fixed = self.axes.iter().flat_map(|axis| &axis.fixed);
        let changing =
            fixed.filter(|&&pair| base.with_overrides([pair]).ok().as_ref() != Some(base));
        setting.extend(changing.map(|&(key, value)| (key.to_owned(), value.to_owned())));
        let pairs = setting.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let machine = base.with_overrides(pairs)?;
        Ok((setting, machine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        values(text).unwrap()
    }

    #[test]
    fn a_range_stands_for_the_powers_of_two_in_it() {
        assert_eq!(of("16..1024"), ["16", "32", "64", "128", "256", "512", "1024"]);
        assert_eq!(of("512KiB..2MiB"), ["512KiB", "1MiB", "2MiB"]);
        assert_eq!(of("3MiB..9MiB"), ["4MiB", "8MiB"]);
        assert_eq!(of("64..64"), ["64"]);
    }

    #[test]
    fn a_list_is_cut_at_commas_outside_of_brackets() {
        assert_eq!(of("1, 2,4"), ["1", "2", "4"]);
        assert_eq!(of(r#"["4k"],["4k","2m"]"#), [r#"["4k"]"#, r#"["4k","2m"]"#]);
    }

    #[test]
    fn ranges_and_lists_without_sense_are_refused_with_the_reason() {
        let said = |text: &str| values(text).unwrap_err().to_string();
        assert!(said("32MiB..512KiB").contains("512KiB..32MiB may be meant"));
        assert!(said("33..63").contains("powers of two"));
        assert!(said("16..").contains("A..B"));
        assert!(said("a..b").contains("A..B"));
        assert!(said("1,2,1").contains("given twice"));
        assert!(said("1,,2").contains("A,B,C"));
        assert!(said("").contains("A,B,C"));
        assert!(SweepAxis::tags("vpid,asid").unwrap_err().to_string().contains("`asid`"));
        assert!(SweepAxis::tags("vpid+pcid,pcid+vpid").is_err());
        assert!(SweepAxis::set("l2.size").unwrap_err().to_string().contains("KEY=VALUE"));
        assert!(SweepAxis::l2_sizes("1,x").is_err());
        assert!(SweepAxis::tlb_entries("16KiB").is_err());
    }

    #[test]
    fn a_grid_has_every_combination_and_its_last_axis_changes_fastest() {
        let axes = vec![
            SweepAxis::l2_sizes("1MiB,2MiB").unwrap(),
            SweepAxis::tlb_entries("16..64").unwrap(),
        ];
        let grid = SweepGrid::new(axes).unwrap();
        let machines = grid.machines(&Machine::load("vee07").unwrap()).unwrap();
        assert_eq!((machines.len(), grid.points()), (6, 6));
        let (setting, machine) = &machines[4];
        let expected = [("l2.size", "2MiB"), ("itlb.entries", "32"), ("dtlb.entries", "32")];
        assert_eq!(*setting, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!((machine.itlb().entries(), machine.dtlb().entries()), (32, 32));
        assert_eq!(machine.l2().unwrap().data().size_bytes(), 2 << 20);
    }

    #[test]
    fn a_parameter_is_swept_by_one_axis_and_points_can_be_counted() {
        let twice = vec![
            SweepAxis::l2_sizes("1MiB").unwrap(),
            SweepAxis::set("l2.size=2MiB,4MiB").unwrap(),
        ];
        assert!(matches!(SweepGrid::new(twice), Err(GridError::KeyTwice { .. })));
        let many = |key: &str| {
            let values: Vec<String> = (0..1 << 13).map(|n| n.to_string()).collect();
            SweepAxis::set(&format!("{key}={}", values.join(","))).unwrap()
        };
        let endless = ["a", "b", "c", "d", "e"].map(many).to_vec();
        assert!(matches!(SweepGrid::new(endless), Err(GridError::Endless)));
    }
}
