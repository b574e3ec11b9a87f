//! The README's examples print what it says they print.
//!
//! `TRYCMD=overwrite cargo test -p strata --test readme` writes the present output into it.

use std::path::Path;

#[test]
fn the_examples_of_the_readme_print_what_it_says() {
    // The examples name the sample from the top of the checkout.
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(top).expect("the checkout is there");
    trycmd::TestCases::new().case("README.md");
}
