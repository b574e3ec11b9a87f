//! The page of `reproduce` in headless Chromium, where there is one.

use crate::report;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Names that Chromium goes by.
const BROWSERS: [&str; 5] =
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"];

/// Chromium's name; `None` if it is not installed, which fails the tests only where
/// `STRATA_NEEDS_BROWSER` is set.
fn browser() -> Option<&'static str> {
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found = BROWSERS.into_iter().find(runs);
    if found.is_none() {
        assert!(
            std::env::var_os("STRATA_NEEDS_BROWSER").is_none(),
            "none of {} is installed",
            BROWSERS.join(", ")
        );
        eprintln!("not tested in a browser: none of {} is installed", BROWSERS.join(", "));
    }
    found
}

fn open(browser: &str, page: &Path, more: &[&str]) -> Output {
    let profile = tempfile::tempdir().unwrap();
    Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=10000", "--disable-extensions"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap()
}

/// What the page tells of itself: it is asked by a script that a copy of it has at its end.
fn probed(browser: &str, width: u32, more: &[&str]) -> (Value, String) {
    let early = "<script>window.faults = [];\
        addEventListener('error', (e) => faults.push(String(e.message || e.target)), true);\
        addEventListener('securitypolicyviolation', (e) => faults.push(e.violatedDirective));\
        </script></head>";
    let late = r#"<script>addEventListener("load", () => {
        const box = (e) => { const r = e.getBoundingClientRect(); return [r.width, r.height]; };
        const images = [...document.images].map((image) => ({
            alt: image.alt, natural: image.naturalWidth, box: box(image) }));
        const table = document.querySelector("table.shapes");
        const first = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim());
        const before = first();
        const heading = table.tHead.rows[0].cells[0];
        heading.querySelector("button").click(); heading.querySelector("button").click();
        const told = { images, before, after: first(), sort: heading.getAttribute("aria-sort"), faults,
            overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
            headings: document.querySelectorAll("h2").length,
            sections: [...document.querySelectorAll("section.figure")].map((s) => [s.id, ...box(s)]) };
        document.body.textContent = "PROBE" + JSON.stringify(told) + "ENDPROBE";
    });</script></body>"#;
    let page = fs::read_to_string(report::folder().join("report.html")).unwrap();
    let page = page.replacen("</head>", early, 1).replacen("</body>", late, 1);
    let copy = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    fs::write(copy.path(), page).unwrap();
    let size = format!("--window-size={width},1000");
    let arguments: Vec<&str> =
        ["--dump-dom", &size].into_iter().chain(more.iter().copied()).collect();
    let run = open(browser, copy.path(), &arguments);
    let dom = String::from_utf8_lossy(&run.stdout).into_owned();
    let told = dom.split_once("PROBE").and_then(|(_, rest)| rest.split_once("ENDPROBE"));
    let (told, _) = told.unwrap_or_else(|| panic!("{dom:.2000}"));
    let told = told.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    (serde_json::from_str(&told).unwrap(), String::from_utf8_lossy(&run.stderr).into_owned())
}

#[test]
fn the_page_loads_without_errors_and_every_figure_is_visible_on_wide_and_narrow_screens() {
    let Some(browser) = browser() else { return };
    for (width, more) in [(1280, &[][..]), (390, &[]), (1280, &["--force-dark-mode"])] {
        let (told, console) = probed(browser, width, more);
        assert_eq!(told["faults"], Value::Array(Vec::new()), "{width}");
        let complaints: Vec<&str> =
            console.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        let images = told["images"].as_array().unwrap();
        assert_eq!(images.len(), 19);
        for image in images {
            let size = |value: &Value| value.as_f64().unwrap();
            assert!(size(&image["natural"]) > 300.0, "{image}");
            assert!(size(&image["box"][0]) > 200.0 && size(&image["box"][1]) > 80.0, "{image}");
            assert!(image["alt"].as_str().unwrap().len() > 20, "{image}");
        }
        let sections = told["sections"].as_array().unwrap();
        assert_eq!(sections.len(), 18);
        assert!(sections.iter().all(|section| section[2].as_f64().unwrap() > 150.0));
        assert!(told["overflow"].as_f64().unwrap() <= 0.0, "the page is wider than the screen");
    }
}

#[test]
fn tables_are_sorted_by_a_click_on_a_heading() {
    let Some(browser) = browser() else { return };
    let (told, _) = probed(browser, 1280, &[]);
    assert_eq!(told["sort"], "descending");
    let numbers = |key: &str| -> Vec<u32> {
        let cells = told[key].as_array().unwrap().iter();
        cells.map(|cell| cell.as_str().unwrap().parse().unwrap()).collect()
    };
    let (before, after) = (numbers("before"), numbers("after"));
    assert!(before.is_sorted(), "as written: {before:?}");
    assert!(after.iter().rev().is_sorted() && after[0] == 17, "{after:?}");
}

#[test]
fn the_page_prints_with_a_sheet_for_each_figure() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.pdf");
    let print = format!("--print-to-pdf={}", file.display());
    open(browser, &report::folder().join("report.html"), &[&print, "--no-pdf-header-footer"]);
    let pdf = fs::read(&file).unwrap();
    assert!(pdf.starts_with(b"%PDF"));
    let pages = String::from_utf8_lossy(&pdf).matches("/Type /Page\n").count();
    assert!((20..40).contains(&pages), "{pages} sheets");
}
