//! The native trace format: blocks defined once, their executions with the addresses they touched,
//! page translations and control events, in order.
//!
//! `docs/trace-format.md` explains every byte.
//!
//! ```
//! use strata_workloads::trace::{
//!     Batch, Block, BlockId, CodeSize, Flow, Shape, ShapeId, StackEffect, TraceReader, TraceWriter,
//!     WriterOptions,
//! };
//!
//! let mut batch = Batch::default();
//! batch.new.blocks.push(Block {
//!     address: 0x1000,
//!     code_size: CodeSize::Bits64,
//!     privilege: 3,
//!     space: None,
//!     lengths: Box::new([1, 2]),
//!     code: Box::new([0x90, 0xeb, 0xfd]), // nop; jmp to it
//! });
//! batch.new.shapes.push(Shape {
//!     block: BlockId(0),
//!     completed: 2,
//!     interrupted: false,
//!     slots: Box::default(),
//!     repeat: None,
//!     flow: Flow::Other,
//!     stack: StackEffect::Moves(0),
//! });
//! batch.shapes = vec![ShapeId(0); 1000];
//! let mut writer = TraceWriter::create(Vec::new(), WriterOptions::default())?;
//! writer.write(&mut batch)?;
//! let (trace, ending) = writer.finish()?;
//! assert_eq!(ending.totals.instructions, 2000);
//!
//! let mut reader = TraceReader::new(&trace[..])?;
//! while reader.read(&mut batch)? {
//!     assert_eq!(batch.shapes.len(), 1000);
//! }
//! # Ok::<(), strata_workloads::trace::TraceError>(())
//! ```

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
mod lacks;
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
pub use indexed::{IndexedChunk, IndexedTrace, Outline};
pub use lacks::Lacks;
pub use page::{
    PageFlags, PageMap, PageSize, Space, SpaceId, Translation, TranslationId, Walk, WalkId,
};
pub use reader::TraceReader;
pub use salvage::{SalvageReport, salvage};
pub use sizes::{ColumnSize, StoredSizes};
pub use state::{CpuState, Descriptor, MachineState, NestedGuest};
pub use writer::{TraceWriter, WriterOptions};
