//! Tests of the unit as a whole.

mod against_naive;
mod classes;
mod laws;
mod naive_rules;
mod naive_tlb;
mod naive_walk;
mod order;
mod rules;
mod schemes;
mod sizes;
mod walks;
