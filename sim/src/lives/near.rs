//! Names like one that does not exist.

/// How alike names must be to be worth telling.
const ALIKE: f64 = 0.8;
/// Names told at most.
const TOLD: usize = 3;

/// Those of `names` most like `given`, the nearest first; `*` in `given` is not looked at.
pub(super) fn near_names<'n>(given: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let given = given.replace('*', "");
    let mut near: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(&given, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter().take(TOLD).map(|(_, name)| name.to_owned()).collect()
}

/// `; did you mean …?` to go on with after a name that does not exist, or nothing.
pub(super) fn suggestion(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => {
            let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
            format!("; did you mean {}?", quoted.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_comes_first_and_strangers_not_at_all() {
        let names = ["xenvif_poll", "xennet_poll", "do_IRQ", "xenvif_pull", "xenvif_poll"];
        let near = near_names("xenvif_pol", names.into_iter());
        assert_eq!(near[..2], ["xenvif_poll", "xenvif_pull"]);
        assert!(!near.contains(&"do_IRQ".to_owned()));
        assert_eq!(suggestion(&[]), "");
    }
}
