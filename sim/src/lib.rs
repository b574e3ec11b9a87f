//! Replay: joins stream, models and names.
