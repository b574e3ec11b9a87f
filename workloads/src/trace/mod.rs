//! The native trace format: blocks defined once, their executions with the addresses they touched,
//! page translations and control events, in order.
//!
//! `docs/trace-format.md` explains every byte.

mod batch;
mod block;
mod event;
mod page;
mod state;

pub use batch::{Batch, Definitions};
pub use block::{
    AccessKind, Base, Block, BlockId, CodeSize, Flow, MIRRORED_REGISTERS, Repeat, STACK_POINTER,
    Shape, ShapeId, Slot, StackEffect,
};
pub use event::{
    ControlRegister, DescriptorTable, Event, GapReason, GrantOperation, IDLE_DOMAIN, Interrupt,
    InterruptKind, Vcpu,
};
pub use page::{
    PageFlags, PageMap, PageSize, Space, SpaceId, Translation, TranslationId, Walk, WalkId,
};
pub use state::{CpuState, Descriptor, MachineState, NestedGuest};
