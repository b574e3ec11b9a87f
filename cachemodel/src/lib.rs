//! Caches and TLBs: what the hardware does with an address.
