//! The native trace format: blocks defined once, their executions with the addresses they touched,
//! page translations and control events, in order.
//!
//! `docs/trace-format.md` explains every byte.

mod batch;
mod block;
mod bytes;
mod check;
mod chunk;
mod chunk_decoder;
mod chunk_encoder;
mod consistency;
mod container;
mod definitions_codec;
mod error;
mod event;
mod event_codec;
mod index;
mod indexed;
mod page;
mod predict;
mod reader;
mod salvage;
mod sizes;
mod state;
mod state_codec;
mod tables;
mod writer;

pub use batch::{Batch, Definitions};
pub use block::{
    AccessKind, Base, Block, BlockId, CodeSize, Flow, MIRRORED_REGISTERS, Repeat, STACK_POINTER,
    Shape, ShapeId, Slot, StackEffect,
};
pub use check::{CheckReport, Finding, Law, check};
pub use chunk::{ChunkHead, Totals};
pub use chunk_decoder::BATCH_EXECUTIONS;
pub use container::{FrameKind, MAGIC, VERSION};
pub use definitions_codec::TableSizes;
pub use error::TraceError;
pub use event::{
    ControlRegister, DescriptorTable, Event, GapReason, GrantOperation, IDLE_DOMAIN, Interrupt,
    InterruptKind, Vcpu,
};
pub use index::{Ending, IndexEntry};
pub use indexed::{IndexedChunk, IndexedTrace};
pub use page::{
    PageFlags, PageMap, PageSize, Space, SpaceId, Translation, TranslationId, Walk, WalkId,
};
pub use reader::TraceReader;
pub use salvage::{SalvageReport, salvage};
pub use sizes::{ColumnSize, StoredSizes};
pub use state::{CpuState, Descriptor, MachineState, NestedGuest};
pub use writer::{TraceWriter, WriterOptions};
