//! The layers of a virtualized machine, by the names that every report uses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Xen's number of a domain: 0 is the control domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DomainId(pub u16);

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dom{}", self.0)
    }
}

impl From<u16> for DomainId {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

/// Whose instruction it is.
///
/// Written and read as `hypervisor`, `dom0-kernel`, `dom1-user`, `idle`, `unknown`, also in serde
/// formats. Ordered as reports list them: the hypervisor, then each domain's kernel and user,
/// then idle, then unknown.
///
/// ```
/// use strata_symbols::{DomainId, Layer};
/// let layer: Layer = "dom1-kernel".parse()?;
/// assert_eq!(layer, Layer::Kernel(DomainId(1)));
/// assert_eq!(layer.to_string(), "dom1-kernel");
/// assert!(Layer::Hypervisor < layer && layer < Layer::User(DomainId(1)));
/// # Ok::<(), strata_symbols::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Layer {
    /// Xen itself, working for some domain.
    Hypervisor,
    /// The kernel of a domain.
    Kernel(DomainId),
    /// The programs of a domain.
    User(DomainId),
    /// Xen's idle vCPU.
    Idle,
    /// What could not be told.
    Unknown,
}

impl Layer {
    /// The domain that the layer belongs to; none for the hypervisor, idle and unknown.
    pub fn domain(self) -> Option<DomainId> {
        match self {
            Self::Kernel(domain) | Self::User(domain) => Some(domain),
            Self::Hypervisor | Self::Idle | Self::Unknown => None,
        }
    }

    /// Position in reports: group, domain, kernel before user.
    fn rank(self) -> (u8, u16, u8) {
        match self {
            Self::Hypervisor => (0, 0, 0),
            Self::Kernel(domain) => (1, domain.0, 0),
            Self::User(domain) => (1, domain.0, 1),
            Self::Idle => (2, 0, 0),
            Self::Unknown => (3, 0, 0),
        }
    }
}

impl Ord for Layer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Layer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hypervisor => f.pad("hypervisor"),
            Self::Idle => f.pad("idle"),
            Self::Unknown => f.pad("unknown"),
            Self::Kernel(domain) => f.pad(&format!("{domain}-kernel")),
            Self::User(domain) => f.pad(&format!("{domain}-user")),
        }
    }
}

impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "hypervisor" => return Ok(Self::Hypervisor),
            "idle" => return Ok(Self::Idle),
            "unknown" => return Ok(Self::Unknown),
            _ => {}
        }
        let domain_layer = text.strip_prefix("dom").and_then(|rest| {
            let (number, role) = rest.split_once('-')?;
            let domain = DomainId(number.parse().ok()?);
            // One spelling only: `dom01` and `dom+1` parse as numbers but are not written so.
            if domain.0.to_string() != number {
                return None;
            }
            match role {
                "kernel" => Some(Self::Kernel(domain)),
                "user" => Some(Self::User(domain)),
                _ => None,
            }
        });
        domain_layer.ok_or_else(|| Error::UnknownLayer(text.to_owned()))
    }
}

impl TryFrom<String> for Layer {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Layer> for String {
    fn from(layer: Layer) -> Self {
        layer.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Layer; 7] = [
        Layer::Hypervisor,
        Layer::Kernel(DomainId(0)),
        Layer::User(DomainId(0)),
        Layer::Kernel(DomainId(1)),
        Layer::User(DomainId(65535)),
        Layer::Idle,
        Layer::Unknown,
    ];

    #[test]
    fn every_layer_reads_back_as_it_is_written() {
        let written: Vec<String> = ALL.iter().map(Layer::to_string).collect();
        assert_eq!(
            written,
            [
                "hypervisor",
                "dom0-kernel",
                "dom0-user",
                "dom1-kernel",
                "dom65535-user",
                "idle",
                "unknown"
            ]
        );
        for (layer, text) in ALL.iter().zip(&written) {
            assert_eq!(text.parse::<Layer>().unwrap(), *layer);
            let json = serde_json::to_string(layer).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Layer>(&json).unwrap(), *layer);
        }
    }

    #[test]
    fn layers_sort_as_reports_list_them() {
        let mut sorted = ALL;
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted, ALL);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in
            ["", "Hypervisor", "dom-kernel", "dom01-user", "dom+1-user", "dom65536-user", "dom1"]
        {
            let error = text.parse::<Layer>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
