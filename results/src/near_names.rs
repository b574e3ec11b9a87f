//! What a name that does not exist may have been meant for.

/// How alike names must be to be suggested, by Jaro and Winkler: 1 is equal.
const ALIKE: f64 = 0.8;
/// Most that are suggested.
const MOST: usize = 3;

/// Names near to `given`, the nearest first.
pub(crate) fn near_names<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(f64, &str)> = names
        .map(|name| {
            let contains = !given.is_empty() && name.contains(given);
            let likeness = strsim::jaro_winkler(given, name);
            (if contains { likeness.max(ALIKE) } else { likeness }, name)
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.truncate(MOST);
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_and_partial_names_find_theirs_and_nonsense_finds_none() {
        let names = ["tcp_sendmsg", "tcp_sendmsg_locked", "ip_output", "do_grant_table_op"];
        assert_eq!(near_names("tcp_sendmesg", names.into_iter())[0], "tcp_sendmsg");
        assert_eq!(near_names("grant_table", names.into_iter()), ["do_grant_table_op"]);
        assert!(near_names("zzz", names.into_iter()).is_empty());
    }
}
