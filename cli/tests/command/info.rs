//! `strata info`: keys and counts.

use crate::synthetic::{Capture, INSTRUCTIONS, REP_ITERATIONS};
use crate::{output, strata, text};
use serde_json::Value;
use std::fs;

#[test]
fn json_has_every_promised_key_with_its_count() {
    let capture = Capture::new();
    let run = strata(["info", text(capture.path()), "--format", "json"]);
    let info: Value = serde_json::from_str(&output(run)).unwrap();
    assert_eq!(info["schema"], 1);
    assert_eq!(info["instructions"], INSTRUCTIONS);
    assert_eq!(info["rep_iterations"], REP_ITERATIONS);
    assert_eq!(info["blocks"], 4);
    assert_eq!(info["block_executions"], 400 * 8);
    assert_eq!(info["data_accesses"], 400 * (1 + 2 * 3 + 1 + 2 + 1) + 2 * REP_ITERATIONS);
    assert_eq!(info["pages"], 99);
    assert_eq!(info["vcpus"], 3);
    assert_eq!(info["bytes"], fs::metadata(capture.trace()).unwrap().len());
    let events = &info["events"];
    assert_eq!(
        (&events["interrupt"], &events["dma"], &events["vmrun"]),
        (&400.into(), &400.into(), &0.into())
    );
    assert_eq!(info["virtual_time_ns"], 399_000);
}

#[test]
fn a_bare_trace_and_a_pipe_tell_the_same_as_the_folder() {
    let capture = Capture::new();
    let json = |source: &str, stdin: Option<Vec<u8>>| {
        let mut run = strata(["info", source, "--format", "json"]);
        if let Some(bytes) = stdin {
            run.write_stdin(bytes);
        }
        let info: Value = serde_json::from_str(&output(run)).unwrap();
        ["instructions", "bytes", "pages", "layers", "trace_hash", "events"]
            .map(|key| info[key].clone())
    };
    let folder = json(text(capture.path()), None);
    assert_eq!(json(text(&capture.trace()), None), folder);
    assert_eq!(json("-", Some(fs::read(capture.trace()).unwrap())), folder);
}

#[test]
fn text_names_layers_vcpus_and_patches() {
    let capture = Capture::new();
    let text = output(strata(["info", text(capture.path())]));
    for expected in ["dom1-kernel", "dom1 vcpu0", "idle vcpu0", "cr3 write", "CR0-read intercept"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}
