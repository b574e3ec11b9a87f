//! What an address is called, and in which layer.
