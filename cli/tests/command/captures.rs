//! `capture`: names, and settings that do not fit. No machine is started.

use crate::{complaint, strata, text};

#[test]
fn an_unknown_scenario_is_refused_with_those_that_are_known() {
    let output = strata(["capture", "xen-disk", "-o", "out"]).assert().code(2).get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    for name in ["xen-disk", "xen-net-tx", "xen-net-rx", "xen-net-local", "xen-pvh-svm", "kvm-amd"]
    {
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[test]
fn the_help_names_every_scenario() {
    let output = strata(["capture", "--help"]).assert().success().get_output().clone();
    let said = String::from_utf8(output.stdout).unwrap();
    for name in ["xen-net-tx", "xen-net-rx", "xen-net-local", "xen-pvh-svm", "kvm-amd"] {
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[test]
fn settings_that_a_scenario_has_no_use_for_are_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let settings = [("--bytes", "4M"), ("--memory", "192"), ("--xen-options", "sync_console")];
    for (option, value) in settings {
        let command = strata(["capture", "kvm-amd", "-q", "-o", text(&out), option, value]);
        let said = complaint(command);
        assert!(said.contains(&format!("{option}: kvm-amd has no Xen")), "{said}");
    }
    for scenario in ["xen-pvh-svm", "xen-net-tx"] {
        let command = strata(["capture", scenario, "-q", "-o", text(&out), "--memory", "16"]);
        assert!(complaint(command).contains("96 to 2240 MiB"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
