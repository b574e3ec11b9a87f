//! QEMU plugin that records every instruction of a machine as a native trace.
