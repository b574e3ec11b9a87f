//! Tests of the unit as a whole.

mod against_naive;
mod naive_rules;
mod naive_tlb;
mod naive_walk;
mod rules;
