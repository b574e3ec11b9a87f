//! Where the results of each command have their rows, and what tells one row from another.

use crate::structure::Structure;

/// Rows of one kind in a command's JSON.
#[derive(Debug)]
pub(crate) struct RowsAt {
    /// What a row is.
    pub(crate) name: &'static str,
    /// Lists within lists: where each is, with dots between keys, and the keys that name its rows.
    pub(crate) lists: &'static [(&'static str, &'static [&'static str])],
    /// What becomes of rows of one name.
    pub(crate) repeats: Repeats,
}

/// What becomes of rows of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Counts are added up; what cannot be added is left out.
    Sum,
    /// The same, and how many there are is a count of this name.
    Count(&'static str),
    /// They are told apart by their number: the order is a part of the result.
    Number,
}

/// What a command's results look like.
#[derive(Debug)]
pub(crate) struct Shape {
    /// As in the key `command`.
    pub(crate) command: &'static str,
    /// Its rows; of JSON of another form, those that are there.
    pub(crate) rows: &'static [RowsAt],
    /// Columns of CSV that name a row: the first of these lists of which all are there. Where there
    /// are none, all before `instructions` do, together, as the parameters of a sweep's point.
    pub(crate) csv_names: &'static [&'static [&'static str]],
    /// Whether rows of CSV sum to the whole.
    pub(crate) csv_sums: bool,
    /// Keys at the top that say how the result came about, besides those of every command.
    pub(crate) settings: &'static [&'static str],
    /// Names, or ends of names, of numbers that are times in the result's own unit.
    pub(crate) times: &'static [&'static str],
}

const CODE: &[&str] = &["layer", "module", "function"];

/// What is known of each command. A command that is not here is compared by the lists of objects
/// at the top of its JSON, whose rows are named by what is text in them.
const SHAPES: &[Shape] = &[
    Shape {
        command: "replay",
        rows: &[RowsAt {
            name: "by",
            lists: &[("by", &["layer", "module", "function", "owner", "space", "page", "object"])],
            repeats: Repeats::Sum,
        }],
        csv_names: &[&["layer", "owner", "space", "module", "object", "address"], CODE],
        csv_sums: true,
        settings: &["grouped_by", "layers"],
        times: &[],
    },
    Shape {
        command: "annotate",
        rows: &[RowsAt {
            name: "functions",
            lists: &[("rows", CODE)],
            repeats: Repeats::Count("entries"),
        }],
        csv_names: &[CODE],
        csv_sums: true,
        settings: &["attribution", "vee07_lag", "layers"],
        times: &[],
    },
    Shape {
        command: "flow",
        rows: &[RowsAt { name: "rows", lists: &[("rows", CODE)], repeats: Repeats::Number }],
        csv_names: &[CODE],
        csv_sums: false,
        settings: &["stage", "from", "via", "to", "nth"],
        times: &[],
    },
    Shape {
        command: "callgraph",
        rows: &[
            RowsAt { name: "paths", lists: &[("paths", &["frames"])], repeats: Repeats::Sum },
            RowsAt { name: "functions", lists: &[("functions", CODE)], repeats: Repeats::Sum },
        ],
        csv_names: &[&["path"], CODE],
        csv_sums: false,
        settings: &["grouped_by", "layers", "root"],
        times: &[],
    },
    Shape {
        command: "life",
        rows: &[
            RowsAt { name: "phases", lists: &[("phases", &["name"])], repeats: Repeats::Sum },
            RowsAt {
                name: "layers of phases",
                lists: &[("phases", &["name"]), ("layers", &["layer"])],
                repeats: Repeats::Sum,
            },
            RowsAt {
                name: "outside, a life under way",
                lists: &[("outside.between", &["layer"])],
                repeats: Repeats::Sum,
            },
            RowsAt {
                name: "outside, none under way",
                lists: &[("outside.idle", &["layer"])],
                repeats: Repeats::Sum,
            },
        ],
        csv_names: &[&["phase", "layer"]],
        csv_sums: true,
        settings: &["rules"],
        times: &[],
    },
    Shape {
        command: "info",
        rows: &[
            RowsAt { name: "layers", lists: &[("layers", &["layer"])], repeats: Repeats::Sum },
            RowsAt { name: "vCPUs", lists: &[("vcpu_list", &["vcpu"])], repeats: Repeats::Sum },
        ],
        csv_names: &[&["of", "name"]],
        csv_sums: false,
        settings: &["guest_command", "deterministic", "description"],
        times: &[],
    },
    Shape {
        command: "check",
        rows: &[RowsAt { name: "broken", lists: &[("broken", &["law"])], repeats: Repeats::Sum }],
        csv_names: &[&["of", "name"]],
        csv_sums: false,
        settings: &["sound"],
        times: &[],
    },
    Shape {
        command: "sweep",
        rows: &[RowsAt {
            name: "points",
            lists: &[("points", &["set"])],
            repeats: Repeats::Number,
        }],
        csv_names: &[],
        csv_sums: false,
        settings: &[],
        times: &[],
    },
    Shape {
        command: "timeline",
        rows: &[
            RowsAt {
                name: "windows",
                lists: &[("windows", &["from", "to"])],
                repeats: Repeats::Sum,
            },
            RowsAt {
                name: "marks",
                lists: &[("marks", &["kind"])],
                repeats: Repeats::Count("marks"),
            },
            RowsAt { name: "events", lists: &[("after", &["kind"])], repeats: Repeats::Sum },
            RowsAt {
                name: "after events",
                lists: &[("after", &["kind"]), ("bins", &["from", "to"])],
                repeats: Repeats::Sum,
            },
            RowsAt {
                name: "correlation",
                lists: &[("correlation", &["kind"])],
                repeats: Repeats::Sum,
            },
        ],
        csv_names: &[
            &["kind", "from", "to", "structure"],
            &["kind", "structure"],
            &["from", "to", "layer"],
            &["from", "to"],
            &["kind"],
        ],
        csv_sums: false,
        settings: &[
            "unit",
            "begin",
            "window",
            "after_instructions",
            "bin",
            "near",
            "correlation_bin",
            "confidence",
        ],
        times: &[],
    },
    Shape {
        command: "exits",
        rows: &[
            RowsAt { name: "rows", lists: &[("rows", &["key"])], repeats: Repeats::Number },
            RowsAt {
                name: "parts",
                lists: &[("rows", &["key"]), ("parts", &["key"])],
                repeats: Repeats::Number,
            },
            RowsAt {
                name: "phases",
                lists: &[("breakdown.phases", &["phase"])],
                repeats: Repeats::Number,
            },
        ],
        csv_names: &[&["phase"], &["key"]],
        csv_sums: false,
        settings: &["unit", "by"],
        times: &["total", "mean", "median", "p95", "p99", "max", "min", "blocked", "preempted"],
    },
    Shape {
        command: "cputime",
        rows: &[
            RowsAt {
                name: "categories",
                lists: &[("categories", &["category"])],
                repeats: Repeats::Number,
            },
            RowsAt {
                name: "parts",
                lists: &[("categories", &["category"]), ("parts", &["category"])],
                repeats: Repeats::Number,
            },
        ],
        csv_names: &[&["base", "category"]],
        csv_sums: false,
        settings: &["unit", "rules", "is_estimate"],
        times: &["time", "average", "total"],
    },
];

impl Shape {
    /// Whether a number of this name is a time in the result's own unit.
    pub(crate) fn is_time(&self, metric: &str) -> bool {
        let last = metric.rsplit('_').next().unwrap_or_default();
        self.times.contains(&last)
    }

    /// The name without its unit, which CSV's columns of such times carry, and that unit.
    pub(crate) fn without_unit<'n>(&self, name: &'n str) -> Option<(&'n str, &'n str)> {
        let (bare, unit) = name.rsplit_once('_')?;
        self.times.contains(&bare).then_some((bare, unit))
    }

    /// That of a command; `None` if nothing is known of it.
    pub(crate) fn of(command: &str) -> Option<&'static Shape> {
        SHAPES.iter().find(|shape| shape.command == command)
    }
}

/// Keys that every command has and that are no results: where they come from and of what.
pub(crate) const HEAD: &[&str] = &[
    "machine",
    "machine_parameters",
    "semantics",
    "event_delivery",
    "device_dma",
    "trace_hash",
    "range",
    "first_instruction",
    "end_instruction",
    "warm_up",
    "warm_up_instructions",
    "scenario",
    "truncated",
    "trace_truncated",
    "lacks",
    "trace_lacks",
    "patches",
    "guest_patches",
];

/// Keys that are neither results nor worth a word if they differ.
pub(crate) const ASIDE: &[&str] = &[
    "schema",
    "strata",
    "command",
    "version",
    "units",
    "source",
    "symbols",
    "remarks",
    "notes",
    "named",
    "sorted_by",
    "metric",
    "shown",
    "flow",
    "identities",
    "ambiguous",
    "others",
];

/// A number's one name, whether it comes from JSON or CSV.
pub(crate) fn metric_name(path: &str) -> String {
    let name = path.to_ascii_lowercase().replace(['.', ' ', '-'], "_");
    let of_structure = |prefix: &str| {
        let structure = name.strip_prefix(prefix)?;
        Structure::ALL.into_iter().map(Structure::key).find(|key| *key == structure)
    };
    // A timeline has misses by structure, other results structures with their misses.
    if let Some(structure) = of_structure("misses_").or_else(|| of_structure("total_")) {
        return format!("{structure}_misses");
    }
    if let Some(structure) = of_structure("cumulative_") {
        return format!("{structure}_cumulative");
    }
    match name.as_str() {
        "page_walks_walks" => "page_walks".to_owned(),
        "page_walks_accesses" => "walk_accesses".to_owned(),
        "page_walks_memory_accesses" => "walk_memory_accesses".to_owned(),
        "instructions_share_percent" => "share_percent".to_owned(),
        _ => match name.strip_suffix("_misses_per_1000_instructions") {
            Some(structure) => format!("{structure}_mpki"),
            None => name,
        },
    }
}

/// Whether numbers of this name may be added up: counts may; rates, places and extremes may not.
pub(crate) fn is_additive(metric: &str) -> bool {
    let last = metric.rsplit('_').next().unwrap_or_default();
    let other = [
        "percent",
        "mpki",
        "mean",
        "median",
        "p95",
        "p99",
        "min",
        "max",
        "instruction",
        "ratio",
        "at",
        "cpu",
        "depth",
        "life",
        "cumulative",
    ];
    !other.contains(&last)
}

/// Place in the order of reports: instructions, misses of each structure, walks, cycles, the rest.
pub(crate) fn rank(metric: &str) -> usize {
    const FIRST: &[&str] = &[
        "instructions",
        "l1i_misses",
        "l1d_misses",
        "l2_misses",
        "l3_misses",
        "itlb_misses",
        "dtlb_misses",
        "stlb_misses",
        "page_walks",
        "estimated_cycles",
    ];
    let place = |name: &str| FIRST.iter().position(|first| *first == name);
    if let Some(place) = place(metric) {
        return place;
    }
    for (offset, prefix) in [(1, "inclusive_"), (2, "self_")] {
        if let Some(place) = metric.strip_prefix(prefix).and_then(place) {
            return offset * FIRST.len() + place;
        }
    }
    3 * FIRST.len()
}

/// How many places of [`rank`] are for what a report is mostly about.
pub(crate) const RANKED: usize = 30;
