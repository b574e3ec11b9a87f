//! Long lines with no more points than a picture shows.

/// Of all points within one column of `width`, the first, the lowest, the highest and the last, in
/// their order: the line looks the same, spikes included.
pub(super) fn thinned(points: &[(f64, f64)], width: f64) -> Vec<(f64, f64)> {
    let column = |x: f64| (x / width).floor();
    let mut out = Vec::new();
    for group in points.chunk_by(|a, b| column(a.0) == column(b.0)) {
        let y = |&i: &usize| group[i].1;
        let lowest = (0..group.len()).min_by(|a, b| y(a).total_cmp(&y(b))).unwrap_or(0);
        let highest = (0..group.len()).max_by(|a, b| y(a).total_cmp(&y(b))).unwrap_or(0);
        let mut kept = [0, lowest, highest, group.len() - 1];
        kept.sort_unstable();
        for (i, &index) in kept.iter().enumerate() {
            if i == 0 || kept[i - 1] != index {
                out.push(group[index]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_stay_and_of_many_the_extremes_do() {
        let few = [(0.0, 1.0), (1.0, 5.0), (2.0, 2.0)];
        assert_eq!(thinned(&few, 1.0), few);
        let many: Vec<_> = (0..1000).map(|i| (f64::from(i) / 1000.0, f64::from(i % 7))).collect();
        let mut spiked = many.clone();
        spiked[500].1 = 99.0;
        let thin = thinned(&spiked, 1.0);
        assert!(thin.len() <= 4 && thin.contains(&(0.5, 99.0)));
        assert_eq!((thin[0], thin[thin.len() - 1]), (many[0], many[999]));
    }
}
