//! What a name that does not exist may have been meant for.

/// How alike names must be to be proposed: 1 less the number of letters inserted, left out, replaced
/// or swapped with their neighbour, for each letter of the longer one. Names of kernels share long
/// prefixes, so that what they begin with must not count for more.
const ALIKE: f64 = 0.6;
/// Shortest part of a name that stands for it.
const PART: usize = 3;
/// Most that are proposed.
const MOST: usize = 4;

/// Those of `names` most like `given`, the most alike first, each once. A `*` in `given`, which
/// stands for anything, is not looked at; a name that contains `given` is like it.
pub fn near_names<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let given = given.replace('*', "");
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let contains = given.len() >= PART && name.contains(&given);
            let likeness = strsim::normalized_damerau_levenshtein(&given, name);
            let likeness = if contains { likeness.max(ALIKE) } else { likeness };
            (likeness >= ALIKE).then_some((likeness, name))
        })
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.truncate(MOST);
    near.into_iter().map(|(_, name)| name).collect()
}

/// `did you mean a, b or c?`; `None` where there is nothing to propose.
pub fn did_you_mean<N: AsRef<str>>(near: &[N]) -> Option<String> {
    let (last, others) = near.split_last()?;
    let others: Vec<&str> = others.iter().map(AsRef::as_ref).collect();
    let others = if others.is_empty() { String::new() } else { others.join(", ") + " or " };
    Some(format!("did you mean {others}{}?", last.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = [
        "tcp_sendmsg",
        "tcp_sendmsg_locked",
        "ip_output",
        "do_grant_table_op",
        "tcp_ack",
        "tcp_sendmsg",
    ];

    #[test]
    fn misspelt_and_partial_names_find_theirs_once_and_nonsense_finds_none() {
        assert_eq!(near_names("tcp_sendmgs", NAMES), ["tcp_sendmsg"]);
        assert_eq!(near_names("sendmsg", NAMES), ["tcp_sendmsg", "tcp_sendmsg_locked"]);
        assert_eq!(near_names("*grant_table*", NAMES), ["do_grant_table_op"]);
        assert_eq!(near_names("zzz", NAMES), [""; 0]);
        assert_eq!(near_names("", NAMES), [""; 0]);
    }

    #[test]
    fn what_is_shared_is_no_likeness_where_the_rest_differs() {
        assert_eq!(near_names("tcp_input", NAMES), [""; 0]);
    }

    #[test]
    fn proposals_read_as_a_question() {
        assert_eq!(did_you_mean(&["a"]).unwrap(), "did you mean a?");
        assert_eq!(did_you_mean(&["a", "b", "c"]).unwrap(), "did you mean a, b or c?");
        assert_eq!(did_you_mean(&[""; 0]), None);
    }
}
