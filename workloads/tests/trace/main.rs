//! The native trace format: what is written is what is read, whatever happens to the bytes on the
//! way.

mod flat;
mod made_up;
mod naive;
mod round_trip;
