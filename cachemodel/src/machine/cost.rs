//! What events cost in cycles: an additive estimate, not a timing model.

use serde::{Deserialize, Serialize};

/// Cycles added for each event. A sum of these over-estimates what an out-of-order processor hides
/// and knows nothing of queues; it serves to rank code by time, and reports call it an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CostModel {
    /// Cycles for each instruction when everything hits in level 1.
    pub base_cpi: f64,
    /// Cycles for an access that level 2 answers.
    #[serde(default)]
    pub l2: f64,
    /// Cycles for an access that level 3 answers.
    #[serde(default)]
    pub l3: f64,
    /// Cycles for an access that memory answers.
    pub memory: f64,
    /// Cycles for a first-level TLB miss that the second-level TLB answers.
    #[serde(default)]
    pub stlb: f64,
    /// Cycles for a page walk; where walks make references of their own, without those.
    #[serde(default)]
    pub walk: f64,
    /// Cycles for a VM exit and the entry after it.
    #[serde(default)]
    pub exit: f64,
}

impl Eq for CostModel {}

impl CostModel {
    pub(crate) fn values(&self) -> [(&'static str, f64); 7] {
        [
            ("base-cpi", self.base_cpi),
            ("l2", self.l2),
            ("l3", self.l3),
            ("memory", self.memory),
            ("stlb", self.stlb),
            ("walk", self.walk),
            ("exit", self.exit),
        ]
    }
}
