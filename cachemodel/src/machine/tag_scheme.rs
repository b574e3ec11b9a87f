//! What TLB entries are tagged with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a TLB entry is tagged with, and so what a switch of address space drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TagScheme {
    /// No tags and no global bit: every CR3 write drops everything. The baseline of the VEE'07
    /// paper (section 5.3).
    None,
    /// The rules of the processor manual to the letter: global bit, PCID, VPID or ASID.
    #[default]
    Architectural,
    /// What hardware could do: entries that outlive a switch. Explicit flushes still drop.
    WhatIf(WhatIf),
}

/// A hypothetical tag; the parts combine. At least one is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WhatIf {
    /// Exactly the hypervisor's pages are global (VEE'07 paper, figure 17).
    pub global_hypervisor: bool,
    /// Entries are tagged with the domain; a change of CR3 within a domain drops what it would drop
    /// without the tag, of that domain's entries.
    pub vpid: bool,
    /// Entries are tagged with the address space.
    pub pcid: bool,
}

impl WhatIf {
    const PARTS: [&'static str; 3] = ["global-hypervisor", "vpid", "pcid"];

    fn part(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "global-hypervisor" => Some(&mut self.global_hypervisor),
            "vpid" => Some(&mut self.vpid),
            "pcid" => Some(&mut self.pcid),
            _ => None,
        }
    }
}

impl FromStr for TagScheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::None),
            "architectural" => return Ok(Self::Architectural),
            _ => {}
        }
        let mut what_if = WhatIf::default();
        for name in text.split('+') {
            let part = what_if.part(name.trim()).ok_or_else(|| {
                format!(
                    "`{text}` is not none, architectural, or any of {} joined by +",
                    WhatIf::PARTS.join(", ")
                )
            })?;
            *part = true;
        }
        Ok(Self::WhatIf(what_if))
    }
}

impl fmt::Display for TagScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Architectural => f.write_str("architectural"),
            Self::WhatIf(what_if) => {
                let set = [what_if.global_hypervisor, what_if.vpid, what_if.pcid];
                let names: Vec<_> = WhatIf::PARTS
                    .iter()
                    .zip(set)
                    .filter_map(|(name, set)| set.then_some(*name))
                    .collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}

impl Serialize for TagScheme {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TagScheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whose manual [`TagScheme::Architectural`] follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    /// Intel SDM volume 3, 4.10.4 and 28.3.
    #[default]
    Intel,
    /// The same, for the P6 family, Pentium 4 and Xeons of their time, which drop all entries at
    /// more changes of CR0 and CR4 (SDM volume 2, MOV to control registers).
    IntelP6,
    /// AMD APM volume 2, 5.5 and 15.16.
    Amd,
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intel => "intel",
            Self::IntelP6 => "intel-p6",
            Self::Amd => "amd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_read_back_as_they_are_written() {
        for text in ["none", "architectural", "vpid", "pcid", "global-hypervisor+vpid"] {
            assert_eq!(text.parse::<TagScheme>().unwrap().to_string(), text);
        }
        let either_order: TagScheme = "vpid+global-hypervisor".parse().unwrap();
        assert_eq!(either_order.to_string(), "global-hypervisor+vpid");
    }

    #[test]
    fn what_is_no_scheme_is_refused_with_those_there_are() {
        for text in ["", "asid", "none+vpid", "vpid+"] {
            let message = text.parse::<TagScheme>().unwrap_err();
            assert!(message.contains("global-hypervisor, vpid, pcid"), "{message}");
        }
    }
}
