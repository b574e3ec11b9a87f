//! What the paper's figures show, held against what these do.
//!
//! Each shape has a criterion of its own, told beside it; what differs is said with both numbers, and
//! with no reason that the data do not tell.

use super::flows::PaperFlow;
use super::over_time::{after, first_bin, quiet};
use super::size_shapes::{at, cache, global, tlbs};
use super::sweeps::{CachePoint, TlbPoint, fall};
use super::tables::{around_switch, lengths};
use crate::numbers::grouped;
use crate::profile_report::ProfileReport;
use crate::structure::Structure;
use strata_sim::{LifeReport, MarkKind, Stage, Timeline};

/// How a shape of the paper comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By the criterion it is the same.
    Agrees,
    /// By the criterion it is not.
    Differs,
}

impl Verdict {
    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Agrees => "agrees",
            Verdict::Differs => "differs",
        }
    }

    pub(super) fn of(holds: bool) -> Self {
        if holds { Verdict::Agrees } else { Verdict::Differs }
    }
}

/// A shape of the paper and what it is here.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Number of the figure.
    pub figure: &'static str,
    /// What is claimed.
    pub what: &'static str,
    /// What the paper has.
    pub published: String,
    /// What came out here.
    pub ours: String,
    /// Whether that is the same.
    pub verdict: Verdict,
    /// By what criterion, and what the data say of a difference.
    pub why: String,
}

/// What shapes are told from; what there is none of gives none.
#[derive(Default)]
pub(super) struct Evidence<'e> {
    pub(super) annotated: Option<&'e PaperFlow>,
    /// Rows of Figure 4 in which the identities hold, if they are laws.
    pub(super) identities: Option<u64>,
    pub(super) stages: Vec<(Stage, &'e PaperFlow)>,
    pub(super) lives: Option<&'e LifeReport>,
    pub(super) timeline: Option<&'e Timeline>,
    pub(super) cache: Vec<CachePoint>,
    /// With the machine's own tags.
    pub(super) tlbs: Vec<TlbPoint>,
    pub(super) all_tlbs: Vec<TlbPoint>,
    pub(super) receive_cache: Vec<CachePoint>,
    pub(super) receive_tlbs: Vec<TlbPoint>,
}

/// Flows are as long within this factor.
const FACTOR: f64 = 1.5;
/// A rate below this part of another is negligible.
const NEGLIGIBLE: f64 = 0.1;

/// All shapes that can be told, by figure.
pub(super) fn shapes(report: &ProfileReport, evidence: &Evidence<'_>) -> Vec<Shape> {
    let mut shapes = Vec::new();
    shapes.extend(annotated(evidence));
    shapes.extend(flows(evidence));
    shapes.extend(zero_copy(evidence));
    if let Some(timeline) = evidence.timeline {
        shapes.extend(over_time(report, timeline, evidence));
    }
    shapes.extend(cache("13", &evidence.cache));
    let software = software(report);
    shapes.extend(tlbs("14", &evidence.tlbs, &software));
    shapes.extend(cache("15", &evidence.receive_cache));
    shapes.extend(tlbs("16", &evidence.receive_tlbs, &software));
    shapes.extend(global(&evidence.all_tlbs));
    shapes
}

/// A version without what a distribution adds to it.
pub(super) fn short_version(version: &str) -> &str {
    version.split(['-', '+']).next().unwrap_or(version)
}

/// A sentence on what ran here and what in the paper; empty if the capture does not tell.
fn software(report: &ProfileReport) -> String {
    let Some(manifest) = &report.provenance.manifest else { return String::new() };
    let hypervisor = manifest.hypervisor.iter();
    let hypervisor = hypervisor.map(|h| format!("{} {}", h.name, short_version(&h.version)));
    let mut kernels: Vec<String> =
        manifest.domains.iter().map(|domain| format!("Linux {}", domain.kernel)).collect();
    kernels.dedup();
    let here: Vec<String> = hypervisor.chain(kernels).collect();
    match here.is_empty() {
        true => String::new(),
        false => format!(
            " What runs is {}, in the paper Xen 3.0.2 and Linux 2.6.13 of 32 bits.",
            here.join(" and ")
        ),
    }
}

fn annotated(evidence: &Evidence<'_>) -> Vec<Shape> {
    let Some(flow) = evidence.annotated else { return Vec::new() };
    let mut shapes = vec![Shape {
        figure: "3",
        what: "The functions of a timer interrupt that switches to dom0, in order",
        published: format!("{} functions", flow.rows.len()),
        ours: format!(
            "{} of them in the same order, {} out of it",
            flow.played(),
            flow.elsewhere()
        ),
        verdict: Verdict::of(flow.played() == flow.rows.len()),
        why: missing(flow),
    }];
    if let Some(rows) = evidence.identities {
        shapes.push(Shape {
            figure: "4",
            what: "Hits, misses and references of a row fit together (17 identities)",
            published: "in all 19 rows".to_owned(),
            ours: format!("in all {rows} rows"),
            verdict: Verdict::Agrees,
            why: "A row that breaks one ends the run with an error.".to_owned(),
        });
    }
    if let Some(around) = around_switch(flow) {
        let all = around.before + around.after;
        let share = 100.0 * around.after as f64 / all.max(1) as f64;
        shapes.push(Shape {
            figure: "4",
            what: "TLB misses begin where the new address space is loaded (write_ptbase)",
            published: "18 of 18 after it".to_owned(),
            ours: format!("{} of {} after it ({share:.0} %)", around.after, all),
            verdict: Verdict::of(around.before == 0),
            why: if around.before == 0 {
                String::new()
            } else {
                format!(
                    "{} misses come before: pages of the hypervisor that the TLBs did not hold when \
                     the interrupt came.",
                    around.before
                )
            },
        });
    }
    shapes
}

/// How many published functions nothing plays the part of.
fn missing(flow: &PaperFlow) -> String {
    match flow.rows.len() - flow.played() {
        0 => String::new(),
        some => format!(
            "Of the paper's {} functions {some} have no counterpart here in the same order; the \
             figure says which.",
            flow.rows.len()
        ),
    }
}

fn flows(evidence: &Evidence<'_>) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (stage, flow) in &evidence.stages {
        let (figure, what) = match stage {
            Stage::SocketToTcpWrite => ("7", "Socket write up to the release of the socket"),
            Stage::TcpTransmitToEventChannel => ("8", "TCP transmit up to the event channel"),
            Stage::TimerToContextSwitch => ("9", "Timer interrupt up to the event in dom0"),
            Stage::Dom0ReceiveToEventBack => ("10", "A packet in dom0, from event to event"),
        };
        let (own, published) = lengths(flow);
        let ratio = own as f64 / published.max(1) as f64;
        let mut why = format!("The same is within a factor of {FACTOR}.");
        if flow.packets > 1 {
            why.push_str(&format!(
                " The flow hands on {} packets, where the paper follows one: {} instructions for \
                 each.",
                flow.packets,
                grouped(own / flow.packets)
            ));
        }
        let missing = missing(flow);
        if !missing.is_empty() {
            why.push(' ');
            why.push_str(&missing);
        }
        shapes.push(Shape {
            figure,
            what,
            published: format!("{} instructions", grouped(published)),
            ours: format!("{} instructions ({ratio:.2} times)", grouped(own)),
            verdict: Verdict::of((1.0 / FACTOR..=FACTOR).contains(&ratio)),
            why,
        });
        if *stage == Stage::Dom0ReceiveToEventBack
            && let (Some(unmap), Some(flush)) =
                (flow.own("destroy_grant_host_mapping"), flow.own("write_cr3"))
        {
            shapes.push(Shape {
                figure,
                what: "Taking a grant back ends in a flush of the TLB",
                published: "245 instructions later".to_owned(),
                ours: format!(
                    "{} instructions later, in {}",
                    grouped(flush.instructions - unmap.instructions),
                    flush.function
                ),
                verdict: Verdict::Agrees,
                why: "The order counts.".to_owned(),
            });
        }
    }
    shapes
}

fn zero_copy(evidence: &Evidence<'_>) -> Option<Shape> {
    let lives = evidence.lives?;
    let sum = |of: fn(&strata_sim::Life) -> u64| lives.lives.iter().map(of).sum::<u64>();
    let (mapped, copied) = (sum(|life| life.mapped), sum(|life| life.copied));
    let bytes = sum(|life| life.copied_bytes);
    Some(Shape {
        figure: "10",
        what: "dom0 maps the guest's pages and copies nothing",
        published: "every packet by mapping".to_owned(),
        ours: format!(
            "{} grants mapped, {} copied from ({} bytes each on average)",
            grouped(mapped),
            grouped(copied),
            bytes / copied.max(1)
        ),
        verdict: Verdict::of(copied == 0),
        why:
            "GNTTABOP_copy and GNTTABOP_map_grant_ref in the lives of Figure 6: the beginning of a \
              packet is copied, what is left is mapped."
                .to_owned(),
    })
}

fn over_time(report: &ProfileReport, timeline: &Timeline, evidence: &Evidence<'_>) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let tlbs = [Structure::Dtlb, Structure::Itlb];
    let bin = grouped(timeline.options.bin);
    for (figure, kind, event, what) in [
        ("11", MarkKind::VmSwitch, "a VM switch", "A burst of TLB misses follows a VM switch"),
        (
            "11",
            MarkKind::GrantUnmap,
            "a grant unmap",
            "A burst of TLB misses follows a grant destroy",
        ),
    ] {
        let Some(after) = after(timeline, kind) else { continue };
        let [dtlb, itlb] = tlbs.map(|structure| {
            let (first, anywhere) = first_bin(after, structure);
            first / anywhere
        });
        shapes.push(Shape {
            figure,
            what,
            published: "a surge".to_owned(),
            ours: format!(
                "DTLB {dtlb:.1} and ITLB {itlb:.1} times the mean, in {bin} instructions after \
                 {event}"
            ),
            verdict: Verdict::of(dtlb > 2.0 && itlb > 2.0),
            why: "A surge is more than twice the mean.".to_owned(),
        });
    }
    if let Some(rates) = quiet(timeline, &tlbs) {
        let share = rates.without / rates.with;
        let mut why = format!(
            "By windows of {} instructions; negligible is less than a tenth.",
            grouped(timeline.options.window)
        );
        if share >= NEGLIGIBLE
            && let (Some(small), Some(large)) = (at(&evidence.tlbs, 64), evidence.tlbs.last())
        {
            why.push_str(&format!(
                " With {} entries instead of 64, {:.0} % of the DTLB's and {:.0} % of the ITLB's \
                 misses go: they are for want of room, and come without any switch.",
                grouped(large.entries),
                fall(small.dtlb.misses, large.dtlb.misses),
                fall(small.itlb.misses, large.itlb.misses),
            ));
        }
        shapes.push(Shape {
            figure: "11",
            what: "Without switches and flushes TLB misses are negligible",
            published: "flat".to_owned(),
            ours: format!(
                "{:.1} misses per 1,000 instructions without, {:.1} with",
                rates.without, rates.with
            ),
            verdict: Verdict::of(share < NEGLIGIBLE),
            why,
        });
    }
    if let Some(after) = after(timeline, MarkKind::VmSwitch) {
        let [l1i, l1d, l2] = [Structure::L1i, Structure::L1d, Structure::L2].map(|structure| {
            let (first, anywhere) = first_bin(after, structure);
            first / anywhere
        });
        let mut why = "A step is more than 1.5 times the mean, in both levels.".to_owned();
        if l2 <= 1.5 {
            why.push_str(" The L2 does not step");
            if let Some((function, share)) = most_missed(report) {
                why.push_str(&format!(
                    ": what all VMs run on at a switch stays in it, and its misses come from data \
                     ({function} alone has {share:.0} % of them)"
                ));
            }
            why.push('.');
        }
        shapes.push(Shape {
            figure: "12",
            what: "Cache misses step at VM switches",
            published: "steps".to_owned(),
            ours: format!("L1I {l1i:.1}, L1D {l1d:.1}, L2 {l2:.1} times the mean after a switch"),
            verdict: Verdict::of(l1i.max(l1d) > 1.5 && l2 > 1.5),
            why,
        });
    }
    shapes
}

/// The function with the most L2 misses, and its share of them in per cent.
fn most_missed(report: &ProfileReport) -> Option<(String, f64)> {
    let misses = |row: &&strata_sim::Row| row.counters.l2().misses;
    let row = report.profile.rows.iter().max_by_key(misses)?;
    let name = &row.function.name.as_ref()?.function;
    let share = 100.0 * misses(&row) as f64 / report.profile.total.l2().misses.max(1) as f64;
    Some((name.clone(), share))
}
