//! What a reader must know of a report besides its numbers.

use strata_workloads::manifest::CaptureManifest;
use strata_workloads::trace::Lacks;

/// Where a stream came from and how it was read.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The capture as the user named it.
    pub source: String,
    /// Digest of the trace's contents in hexadecimal; `None` if it was not read to its end.
    pub trace_hash: Option<String>,
    /// First instruction replayed (0-based).
    pub from: u64,
    /// One past the last instruction; `None` is the end of the trace.
    pub to: Option<u64>,
    /// Instructions at the start of the range that warmed the caches and are not counted.
    pub warm_up: u64,
    /// Why the trace ends early, if it does.
    pub truncated: Option<String>,
    /// What the capture says of itself; `None` for a bare trace.
    pub manifest: Option<CaptureManifest>,
    /// Whether symbols were used.
    pub symbols: Symbols,
    /// What the trace does not know.
    pub lacks: Lacks,
}

/// What names come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Symbols {
    /// A bare trace has none.
    #[default]
    None,
    /// The user asked for none.
    Off,
    /// The result has no names.
    NotNeeded,
    /// From the capture folder, with what is wrong with them.
    Used {
        /// A sentence each.
        complaints: Vec<String>,
    },
}

impl Provenance {
    /// Scenario of the capture, or else its name.
    pub fn title(&self) -> &str {
        self.manifest.as_ref().map_or(self.source.as_str(), |manifest| manifest.scenario.as_str())
    }

    /// Changes that the recorder made to the running guest.
    pub fn patches(&self) -> &[String] {
        self.manifest.as_ref().map_or(&[], |manifest| manifest.patches.as_slice())
    }
}
