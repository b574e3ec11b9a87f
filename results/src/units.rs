//! Units of numbers, told by the names of their columns and keys.

/// Unit of the number called `name` in CSV, JSON or Parquet; `count` where the name says of what.
///
/// Names carry their units by rule: `…_percent`, `…_ns`, `…_bytes`, `…cycles`, `…mpki` and
/// `…_per_1000_instructions`. Places in a stream are in instructions since its beginning.
pub(crate) fn unit_of(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase().replace([' ', '.', '-'], "_");
    let last = name.rsplit('_').next().unwrap_or_default();
    if last == "percent" {
        return "percent";
    }
    if last == "mpki" || name.ends_with("_per_1000_instructions") {
        return "misses per 1000 instructions";
    }
    if name == "bytes_per_instruction" {
        return "bytes per instruction";
    }
    // How many lives a summary is of.
    if name.ends_with("per_life_count") {
        return "count";
    }
    if name.contains("per_life_") {
        return "instructions";
    }
    match last {
        "cycles" => "cycles",
        "ns" | "nanoseconds" => "ns",
        "bytes" => "bytes",
        "ratio" => "ratio",
        "instructions" | "elapsed" | "at" | "begin" | "end" => "instructions",
        _ => "count",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_units() {
        for (name, unit) in [
            ("instructions", "instructions"),
            ("Instructions", "instructions"),
            ("self_estimated_cycles", "cycles"),
            ("l1i.mpki", "misses per 1000 instructions"),
            ("l1i_misses_per_1000_instructions", "misses per 1000 instructions"),
            ("instructions_share_percent", "percent"),
            ("virtual_time_ns", "ns"),
            ("copied_bytes", "bytes"),
            ("instructions_per_life_median", "instructions"),
            ("instructions_per_life_count", "count"),
            ("l2_misses", "count"),
        ] {
            assert_eq!(unit_of(name), unit, "{name}");
        }
    }
}
