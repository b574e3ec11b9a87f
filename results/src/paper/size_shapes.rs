//! Shapes of Figures 13 to 17: what larger caches and TLBs save.

use super::shapes::{Shape, Verdict};
use super::sweeps::{CachePoint, TlbPoint, fall, ratio, saved, size_text};
use crate::numbers::grouped;
use strata_sim::Tally;

/// Misses after a fall of less than this, in per cent, count as the same.
const FLAT: f64 = 2.0;

pub(super) fn cache(figure: &'static str, points: &[CachePoint]) -> Vec<Shape> {
    let misses =
        |mib: u64| points.iter().find(|p| p.bytes == mib << 20).map(|p| p.counters.l2().misses);
    let (Some(two), Some(four), Some(eight), Some(sixteen)) =
        (misses(2), misses(4), misses(8), misses(16))
    else {
        return Vec::new();
    };
    let (first, second, third) = (fall(two, four), fall(four, eight), fall(eight, sixteen));
    let lost = |a: u64, b: u64| a as f64 - b as f64;
    let last = points.last().map(|point| {
        format!(
            " With {} {:.0} % of the misses are left, which no size saves.",
            size_text(point.bytes),
            100.0 - fall(two, point.counters.l2().misses)
        )
    });
    vec![
        Shape {
            figure,
            what: "A larger L2 gains much up to 4 MiB and little beyond",
            published: "large from 2 to 4 MB, small after".to_owned(),
            ours: format!("−{first:.1} % to 4 MiB, −{second:.1} % to 8 MiB"),
            verdict: Verdict::of(lost(four, eight) < 0.25 * lost(two, four)),
            why: "From 4 to 8 MiB less than a quarter of the misses may go that go from 2 to 4."
                .to_owned(),
        },
        Shape {
            figure,
            what: "Beyond 8 MiB the curve is flat",
            published: "flat".to_owned(),
            ours: format!("−{third:.1} % from 8 to 16 MiB"),
            verdict: Verdict::of(lost(eight, sixteen).abs() < 0.05 * two as f64),
            why: format!(
                "From 8 to 16 MiB less than 5 % of the misses with 2 MiB may go.{}",
                last.unwrap_or_default()
            ),
        },
    ]
}

/// The point with so many entries.
pub(super) fn at(points: &[TlbPoint], entries: u64) -> Option<&TlbPoint> {
    points.iter().find(|point| point.entries == entries)
}

pub(super) fn tlbs(figure: &'static str, points: &[TlbPoint], software: &str) -> Vec<Shape> {
    let (Some(small), Some(middle), Some(next), Some(last)) =
        (at(points, 64), at(points, 128), at(points, 256), points.last())
    else {
        return Vec::new();
    };
    let falls = |side: fn(&TlbPoint) -> Tally| {
        (
            fall(side(small).misses, side(middle).misses),
            fall(side(middle).misses, side(next).misses),
            fall(side(next).misses, side(last).misses),
        )
    };
    let (data, data_next, data_last) = falls(|point| point.dtlb);
    let (code, _, _) = falls(|point| point.itlb);
    let flat = |after: f64| after.abs() < FLAT;
    let most = grouped(last.entries);
    vec![
        Shape {
            figure,
            what: "DTLB misses fall sharply from 64 to 128 entries",
            published: "a sharp decrease".to_owned(),
            ours: format!("−{data:.1} %"),
            verdict: Verdict::of(data > 10.0),
            why: "Sharp is more than 10 %.".to_owned(),
        },
        Shape {
            figure,
            what: "Beyond 128 entries DTLB misses stay nearly the same",
            published: "nearly constant".to_owned(),
            ours: format!(
                "−{data_next:.1} % to 256 entries, −{data_last:.1} % from there to {most}"
            ),
            verdict: Verdict::of(flat(data_next) && flat(data_last)),
            why: match (flat(data_next), flat(data_last)) {
                (true, true) => format!("Nearly the same is within {FLAT} %."),
                (false, true) => format!(
                    "Nearly the same is within {FLAT} %. Between two flushes more than 128 pages of \
                     data are touched, but hardly ever more than 256.{software}"
                ),
                _ => format!(
                    "Nearly the same is within {FLAT} %. Between two flushes more than 256 pages of \
                     data are touched.{software}"
                ),
            },
        },
        Shape {
            figure,
            what: "ITLB misses fall only slightly from 64 to 128 entries",
            published: "a slight decrease, less than the DTLB's".to_owned(),
            ours: format!("−{code:.1} %, DTLB −{data:.1} %"),
            verdict: Verdict::of(code > 0.0 && code < 10.0 && code < data),
            why: if code < 10.0 {
                "Slight is less than 10 %.".to_owned()
            } else {
                format!(
                    "Slight is less than 10 %. Between two flushes code of more than 64 pages runs: with \
                     64 entries {:.2} % of the fetches miss, with 128 {:.2} %.{software}",
                    ratio(small.itlb).unwrap_or(0.0),
                    ratio(middle.itlb).unwrap_or(0.0),
                )
            },
        },
    ]
}

pub(super) fn global(points: &[TlbPoint]) -> Option<Shape> {
    let (itlb, dtlb) = saved(points, 64, "global-hypervisor")?;
    Some(Shape {
        figure: "17",
        what: "Keeping the hypervisor's pages saves DTLB misses, and ITLB misses to a lesser extent",
        published: "DTLB more than ITLB, both above 0".to_owned(),
        ours: format!("DTLB −{dtlb:.1} %, ITLB −{itlb:.1} %, with 64 entries"),
        verdict: Verdict::of(dtlb > itlb && itlb > 0.0),
        why: "Compared with TLBs that every flush empties.".to_owned(),
    })
}
