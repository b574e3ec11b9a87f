//! The page and the figures of `reproduce` on the bundled captures.

use crate::synthetic::Capture;
use crate::{complaint, output, strata, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Figures of the paper, those with parts by their parts and on one sheet.
const FIGURES: [&str; 19] = [
    "3", "4", "5", "6", "7", "8", "9", "10", "11", "11a", "11b", "11c", "11d", "12", "13", "14",
    "15", "16", "17",
];

/// The folder that `reproduce` makes of the bundled captures; it is made once for all tests.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("strata-report");
        output(strata(["reproduce", "-q", "-o", text(&folder)]));
        folder
    })
}

fn page() -> String {
    fs::read_to_string(folder().join("report.html")).unwrap()
}

/// Rows of a figure's CSV by column.
fn rows(figure: &str) -> Vec<BTreeMap<String, String>> {
    let path = folder().join(format!("figures/figure-{figure}.csv"));
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("no number in {column}: {row:?}"))
}

fn row<'r>(
    rows: &'r [BTreeMap<String, String>],
    wanted: &[(&str, &str)],
) -> &'r BTreeMap<String, String> {
    let is_it = |row: &&BTreeMap<String, String>| {
        wanted.iter().all(|(column, value)| row[*column] == *value)
    };
    rows.iter().find(is_it).unwrap_or_else(|| panic!("no row with {wanted:?}"))
}

/// The sentences below a figure on the page.
fn findings(page: &str, figure: &str) -> String {
    let section = page.split_once(&format!("id=\"figure-{figure}\"")).unwrap().1;
    let section = section.split("</figcaption>").next().unwrap();
    let parts = section.split("<p class=\"finding\">").skip(1);
    let text: Vec<&str> = parts.map(|part| part.split("</p>").next().unwrap()).collect();
    assert!(!text.is_empty(), "nothing is said of figure {figure}");
    text.join(" ").replace("&#39;", "'")
}

fn says(page: &str, figure: &str, text: &str) {
    let findings = findings(page, figure);
    assert!(findings.contains(text), "figure {figure}: no `{text}` in: {findings}");
}

fn fall(before: f64, after: f64) -> String {
    format!("fall by {:.1} %", 100.0 * (before - after) / before)
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap()).collect();
    groups.join(",")
}

#[test]
fn every_figure_of_the_paper_is_drawn_with_the_csv_that_it_was_drawn_from() {
    let page = page();
    for figure in FIGURES {
        let read = |kind: &str| {
            let path = folder().join(format!("figures/figure-{figure}.{kind}"));
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let svg = String::from_utf8(read("svg")).unwrap();
        let whole = figure.trim_end_matches(char::is_alphabetic);
        assert!(svg.contains(&format!("Figure {whole}")), "figure {figure} has no title");
        assert!(read("png").starts_with(b"\x89PNG"));
        let rows = rows(figure);
        assert!(rows.len() >= 7, "figure {figure} has {} rows", rows.len());
        let hash = &rows[0]["trace_hash"];
        assert!(hash.len() == 32 && page.contains(hash.as_str()), "figure {figure}: {hash}");
        assert_eq!(rows[0]["machine"], "vee07");
        if figure != "11" {
            assert!(
                page.contains(&format!("<section class=\"figure\" id=\"figure-{figure}\">"))
                    || page.contains(&format!(
                        "<section class=\"figure broad\" id=\"figure-{figure}\">"
                    ))
            );
        }
    }
    assert!(!page.contains("Not drawn"));
    let receive = &rows("15")[0]["trace_hash"];
    assert_ne!(receive, &rows("13")[0]["trace_hash"], "figure 15 is of the capture that receives");
}

#[test]
fn sentences_on_sweeps_have_the_numbers_of_their_csv() {
    let page = page();
    for figure in ["13", "15"] {
        let rows = rows(figure);
        let misses = |size: &str| number(row(&rows, &[("l2_size", size)]), "l2_misses");
        let (two, four, eight) = (misses("2 MiB"), misses("4 MiB"), misses("8 MiB"));
        says(&page, figure, &format!("L2 misses {} from 2 to 4 MiB", fall(two, four)));
        says(&page, figure, &format!("{} more from 4 to 8 MiB", fall(four, eight)));
        says(&page, figure, &format!("of the {} misses with 2 MiB", grouped(two as u64)));
        assert_eq!(rows.len(), 7);
    }
    for figure in ["14", "16"] {
        let rows = rows(figure);
        for tlb in ["dtlb", "itlb"] {
            let of = |entries: &str| row(&rows, &[("entries", entries)]);
            let misses = |entries: &str| number(of(entries), &format!("{tlb}_misses"));
            let name = tlb.to_uppercase();
            let told = fall(misses("64"), misses("128"));
            says(&page, figure, &format!("{name} misses {told} from 64 to 128 entries"));
            let ratio = 100.0 * misses("64") / number(of("64"), &format!("{tlb}_accesses"));
            let written = number(of("64"), &format!("{tlb}_miss_percent"));
            assert!((ratio - written).abs() < 1e-9);
        }
    }
    let rows = rows("17");
    let of = |tags: &str| row(&rows, &[("entries", "64"), ("tags", tags)]);
    let saved = |tlb: &str| {
        let column = format!("{tlb}_misses");
        let (none, kept) = (number(of("none"), &column), number(of("global-hypervisor"), &column));
        format!("{:.1} %", 100.0 * (none - kept) / none)
    };
    says(&page, "17", &format!("saves {} of the DTLB's misses", saved("dtlb")));
    says(&page, "17", &format!("{} of the ITLB's", saved("itlb")));
}

#[test]
fn the_point_of_the_machine_itself_is_in_every_sweep_with_the_counts_of_its_replay() {
    let layers: serde_json::Value =
        serde_json::from_slice(&fs::read(folder().join("layers.json")).unwrap()).unwrap();
    let misses = |structure: &str| layers[structure]["misses"].as_u64().unwrap() as f64;
    assert_eq!(number(row(&rows("13"), &[("l2_size", "2 MiB")]), "l2_misses"), misses("l2"));
    let tlbs = rows("14");
    for tlb in ["itlb", "dtlb"] {
        let swept = number(row(&tlbs, &[("entries", "64")]), &format!("{tlb}_misses"));
        assert_eq!(swept, misses(tlb));
    }
    // The lines over time end where the replay does.
    let last = |figure: &str, name: &str| {
        let rows = rows(figure);
        let line = rows.iter().rfind(|row| row["series"] == name).unwrap();
        number(line, "value")
    };
    assert_eq!((last("11b", "DTLB"), last("11b", "ITLB")), (misses("dtlb"), misses("itlb")));
    assert_eq!((last("12", "L1I"), last("12", "L2")), (misses("l1i"), misses("l2")));
}

#[test]
fn sentences_on_flows_have_the_numbers_of_their_csv() {
    let page = page();
    for figure in ["7", "8", "9", "10"] {
        let rows = rows(figure);
        let played: Vec<_> = rows.iter().filter(|row| !row["function"].is_empty()).collect();
        let counts: Vec<u64> =
            played.iter().map(|row| row["instructions"].parse().unwrap()).collect();
        assert!(counts.is_sorted() && counts[0] == 0, "{counts:?}");
        let last = grouped(counts[counts.len() - 1]);
        says(&page, figure, &format!("it takes {last} instructions"));
        let published = number(played[played.len() - 1], "paper_instructions") as u64;
        says(&page, figure, &format!("in the paper {}", grouped(published)));
        let told = format!("Of its {} rows, {} have a counterpart", rows.len(), played.len());
        says(&page, figure, &told);
        // Most of the paper's functions are still there.
        assert!(
            played.len() * 2 > rows.len(),
            "figure {figure}: {} of {}",
            played.len(),
            rows.len()
        );
        let ends = [played[0], played[played.len() - 1]].map(|row| row["function"].as_str());
        says(&page, figure, &format!("From {} to {}", ends[0], ends[1]));
    }
    let flow = rows("4");
    let sum = |rows: &[BTreeMap<String, String>]| -> f64 {
        rows.iter().map(|r| number(r, "TLB64 dataMiss") + number(r, "TLB64 InstMiss")).sum()
    };
    let switch = flow.iter().position(|row| row["Function"] == "write_ptbase").unwrap();
    let told = format!("{} of the {} TLB misses", sum(&flow[switch..]), sum(&flow));
    says(&page, "4", &told);
    says(&page, "4", &format!("in each of the {} rows", flow.len()));
}

#[test]
fn sentences_on_time_have_the_numbers_of_their_csv() {
    let page = page();
    for figure in ["11c", "11d"] {
        let rows = rows(figure);
        for tlb in ["DTLB", "ITLB"] {
            let first = |series: &str| number(row(&rows, &[("series", series)]), "value");
            let (mean, anywhere) = (first(tlb), first(&format!("{tlb} anywhere")));
            says(&page, figure, &format!("{mean:.1} {tlb} misses instead of {anywhere:.1}"));
        }
    }
    let snippet = rows("11a");
    for (tlb, name) in [("DTLB", "DTLB misses"), ("ITLB", "ITLB")] {
        let line = snippet.iter().rfind(|row| row["series"] == tlb).unwrap();
        says(&page, "11a", &format!("{name} {} times", grouped(number(line, "value") as u64)));
    }
    let switches = snippet.iter().filter(|row| row["series"] == "VM switch").count();
    says(&page, "11a", &format!("{switches} VM switch"));
}

#[test]
fn each_shape_of_the_paper_is_held_against_ours_with_both_numbers() {
    let page = page();
    let shapes: Vec<BTreeMap<String, String>> = csv::Reader::from_path(folder().join("shapes.csv"))
        .unwrap()
        .deserialize()
        .map(Result::unwrap)
        .collect();
    for figure in ["3", "4", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17"] {
        assert!(shapes.iter().any(|shape| shape["figure"] == figure), "nothing of figure {figure}");
    }
    for shape in &shapes {
        assert!(!shape["published"].is_empty() && !shape["ours"].is_empty(), "{shape:?}");
        assert!(["agrees", "differs"].contains(&shape["verdict"].as_str()));
        assert!(shape["verdict"] == "agrees" || !shape["why"].is_empty(), "{shape:?}");
    }
    let agree = shapes.iter().filter(|shape| shape["verdict"] == "agrees").count();
    assert!(page.contains(&format!("{agree} of {} shapes", shapes.len())));
    // By B-3's criteria on the bundled capture.
    let verdict = |figure: &str, what: &str| {
        let is_it =
            |s: &&BTreeMap<String, String>| s["figure"] == figure && s["what"].contains(what);
        shapes.iter().find(is_it).unwrap()["verdict"].clone()
    };
    assert_eq!(verdict("13", "up to 4 MiB"), "agrees");
    assert_eq!(verdict("14", "Beyond 128"), "differs");
}

/// What `reproduce` writes of a capture, and what it says.
fn page_of(arguments: &[&str]) -> (String, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let all = ["reproduce"].into_iter().chain(arguments.iter().copied());
    let run =
        strata(all.chain(["-o", text(folder.path())])).assert().success().get_output().clone();
    let said = String::from_utf8(run.stderr).unwrap();
    (fs::read_to_string(folder.path().join("report.html")).unwrap(), said, folder)
}

#[test]
fn what_a_bare_trace_cannot_show_says_why_and_the_rest_is_drawn() {
    let capture = Capture::new();
    let (page, said, folder) = page_of(&[text(&capture.trace())]);
    assert_eq!(page.matches("a bare trace has no names").count(), 7, "3, 4, 6 to 10");
    assert!(said.contains("Figure 7 is not drawn") && said.contains("capture folder"), "{said}");
    assert!(page.contains("--receive CAPTURE"));
    for figure in ["5", "11b", "12", "13", "14", "17"] {
        assert!(folder.path().join(format!("figures/figure-{figure}.svg")).exists(), "{figure}");
    }
    assert!(!folder.path().join("figures/figure-15.svg").exists());
}

#[test]
fn what_a_capture_without_symbols_cannot_show_says_which_file_is_missing() {
    let capture = Capture::new();
    fs::remove_file(capture.file("symbols/dom1.kallsyms")).unwrap();
    let (page, _, folder) = page_of(&[text(capture.path())]);
    assert!(page.contains("Not drawn") && page.contains("dom1.kallsyms"), "{page}");
    assert!(folder.path().join("figures/figure-13.svg").exists());
    assert!(!folder.path().join("figures/figure-7.svg").exists());
}

#[test]
fn each_csv_of_a_report_is_there_as_parquet_too_where_that_is_built_in() {
    let capture = Capture::new();
    let (_, _, folder) = page_of(&[text(capture.path())]);
    for stem in ["functions", "shapes", "figures/figure-5", "figures/figure-13"] {
        assert!(folder.path().join(format!("{stem}.csv")).exists(), "{stem}");
        let parquet = folder.path().join(format!("{stem}.parquet"));
        assert_eq!(parquet.exists(), cfg!(feature = "parquet"), "{stem}");
        if parquet.exists() {
            assert!(fs::read(parquet).unwrap().starts_with(b"PAR1"));
        }
    }
}

#[test]
fn a_capture_of_something_else_shows_what_is_in_it() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/linux-calls");
    let (page, _, folder) = page_of(&[text(&sample)]);
    assert!(page.contains("sock_write_iter"), "it says which function never comes");
    for figure in ["5", "11b", "13", "14", "17"] {
        assert!(folder.path().join(format!("figures/figure-{figure}.svg")).exists(), "{figure}");
    }
}

#[test]
fn a_capture_that_receives_gives_the_figures_of_receiving_only() {
    let [sends, receives] = [Capture::new(), Capture::new()];
    let manifest = fs::read_to_string(receives.file("capture.toml")).unwrap();
    let renamed = manifest.replace("scenario = \"synthetic\"", "scenario = \"my-rx\"");
    fs::write(receives.file("capture.toml"), renamed).unwrap();
    let (page, _, folder) = page_of(&[text(receives.path())]);
    assert!(page.contains("here the guest receives"));
    let is_drawn = |folder: &tempfile::TempDir, figure: &str| {
        folder.path().join(format!("figures/figure-{figure}.svg")).exists()
    };
    assert!(is_drawn(&folder, "15") && is_drawn(&folder, "16") && !is_drawn(&folder, "13"));
    let (_, _, folder) = page_of(&[text(sends.path()), "--receive", text(receives.path())]);
    assert!(is_drawn(&folder, "13") && is_drawn(&folder, "15"));
    let (page, said, folder) = page_of(&[text(sends.path()), "--receive", text(sends.path())]);
    assert!(said.contains("not of a guest that receives"), "{said}");
    assert!(page.contains("strata capture xen-net-rx") && !is_drawn(&folder, "15"));
}

#[test]
fn names_from_a_capture_cannot_break_out_of_the_page() {
    let capture = Capture::new();
    let manifest = fs::read_to_string(capture.file("capture.toml")).unwrap();
    let evil = "guest-command = \"</style><script>alert(1)</script><img src=x onerror='a'>\"";
    fs::write(capture.file("capture.toml"), manifest.replace("guest-command = \"true\"", evil))
        .unwrap();
    let (page, _, _folder) = page_of(&[text(capture.path())]);
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"));
    assert!(page.contains("alert(1)"), "it is shown as text");
    assert_eq!(page.matches("<script>").count(), 1);
}

#[test]
fn the_page_needs_no_network_and_no_other_file_to_be_read() {
    let page = page();
    for outside in ["http://", "https://", "<link", "@import", "url(", "src=\"figures"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    let images = page.matches("<img ").count();
    assert_eq!(images, page.matches("src=\"data:image/svg+xml;base64,").count());
    assert_eq!(images, page.matches(" alt=\"").count());
    assert_eq!(images, FIGURES.len(), "each picture once, and the layers in place of the sheet");
}

#[test]
fn a_pipe_and_a_file_that_is_someone_elses_are_refused() {
    let said = complaint(strata(["reproduce", "-"]));
    assert!(said.contains("give a file"), "{said}");
    let capture = Capture::new();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("figures")).unwrap();
    fs::write(folder.path().join("figures/figure-13.svg"), "mine").unwrap();
    let run = strata(["reproduce", text(capture.path()), "-o", text(folder.path())]);
    let said = complaint(run);
    assert!(said.contains("figures/figure-13.svg") && said.contains("another folder"), "{said}");
    assert_eq!(fs::read(folder.path().join("figures/figure-13.svg")).unwrap(), b"mine");
    assert!(!folder.path().join("report.html").exists());
}
