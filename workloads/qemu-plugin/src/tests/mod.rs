//! The recorder's behaviour, with a machine that does what the test says.

mod cpus;
mod events;
mod flow;
mod machine;
mod oracle;
mod pages;
mod repeats;
mod verification;
mod writing;
