//! What must hold of definitions and events wherever they come from: readers refuse what a damaged
//! file says, writers what could not be read again.

use super::block::{AccessKind, Base, Block, MIRRORED_REGISTERS, Shape};
use super::error::{Decoded, Malformed};
use super::event::Event;
use super::page::{PageSize, Space, SpaceId, Translation, Walk};

/// More CPUs than any machine the recorder can emulate; a larger number is damage.
pub(crate) const MAX_CPUS: u64 = 1024;
/// Longest instruction of the ISA in bytes (Intel SDM volume 2, 2.3.11). Where the code is unknown a
/// producer may have taken several for one.
const MAX_LENGTH: u8 = 15;
/// Most data accesses of one shape.
const MAX_SLOTS: usize = u16::MAX as usize;
/// Levels of the deepest page walk.
const MAX_LEVELS: usize = 5;
/// Page and frame numbers have 52 bits, as addresses have 64.
const PAGE_BITS: u32 = 52;

macro_rules! require {
    ($holds:expr, $($otherwise:tt)*) => {
        if !$holds {
            return Err(Malformed::new(format!($($otherwise)*)));
        }
    };
}

pub(crate) fn block(block: &Block) -> Decoded<()> {
    let address = block.address;
    let instructions = block.lengths.len();
    require!(
        (1..=usize::from(u16::MAX)).contains(&instructions),
        "the block at {address:#x} has {instructions} instructions, not 1 to 65535"
    );
    let longest = if block.code.is_empty() { u8::MAX } else { MAX_LENGTH };
    let worst = block.lengths.iter().find(|&&length| !(1..=longest).contains(&length));
    require!(
        worst.is_none(),
        "an instruction of {} bytes in the block at {address:#x}",
        worst.copied().unwrap_or_default()
    );
    require!(
        block.code.is_empty() || block.code.len() as u64 == block.bytes(),
        "the block at {address:#x} has {} bytes of code for instructions of {} bytes",
        block.code.len(),
        block.bytes()
    );
    require!(block.privilege <= 3, "privilege {} of the block at {address:#x}", block.privilege);
    Ok(())
}

/// `instructions` are those of the shape's block.
pub(crate) fn shape(shape: &Shape, instructions: usize) -> Decoded<()> {
    let id = shape.block;
    let begun = usize::from(shape.completed) + usize::from(shape.interrupted);
    require!(
        begun <= instructions,
        "a shape of {begun} instructions runs past the {instructions} of block {id}"
    );
    require!(
        shape.slots.len() <= MAX_SLOTS,
        "a shape of block {id} has {} slots, more than {MAX_SLOTS}",
        shape.slots.len()
    );
    if let Some(repeat) = shape.repeat {
        require!(begun > 0, "a shape of block {id} repeats an instruction that was not begun");
        require!(
            usize::from(repeat.slots) <= shape.slots.len(),
            "a shape of block {id} repeats {} of its {} slots",
            repeat.slots,
            shape.slots.len()
        );
    }
    let mut last = 0;
    for slot in &shape.slots {
        let instruction = slot.instruction;
        require!(
            instruction >= last && usize::from(instruction) < begun,
            "a slot of instruction {instruction} after {last} in a shape of block {id} that began {begun}"
        );
        last = instruction;
        require!(
            !slot.modify || slot.kind == AccessKind::Write,
            "a read marked as the write of a modify in a shape of block {id}"
        );
        match slot.base {
            Base::Register(register) => require!(
                register < MIRRORED_REGISTERS,
                "register {register} as a base in a shape of block {id}"
            ),
            Base::Own => require!(
                slot.displacement == 0,
                "a displacement without a base in a shape of block {id}"
            ),
            Base::Block => {}
        }
    }
    Ok(())
}

pub(crate) fn walk(walk: &Walk) -> Decoded<()> {
    let levels = walk.tables.len();
    require!(levels <= MAX_LEVELS, "a page walk of {levels} levels, more than {MAX_LEVELS}");
    Ok(())
}

/// `space` is the translation's, `walks` the number of walks defined.
pub(crate) fn translation(
    translation: &Translation,
    space: impl Fn(SpaceId) -> Option<Space>,
    walks: usize,
) -> Decoded<()> {
    let &Translation { page, frame, guest_frame, size, .. } = translation;
    let Some(space) = space(translation.space) else {
        return Err(Malformed::new(format!("address space {} is not defined", translation.space)));
    };
    require!(
        translation.walk.index() < walks,
        "page-table walk {} is not defined",
        translation.walk
    );
    require!(
        (page | frame | guest_frame) >> PAGE_BITS == 0,
        "page {page:#x} or frame {frame:#x} has more than {PAGE_BITS} bits"
    );
    require!(
        (page | frame | guest_frame) & (size.frames() - 1) == 0,
        "page {page:#x} or frame {frame:#x} is not aligned to its size, {} KiB",
        PageSize::frames(size) * 4
    );
    require!(
        frame == guest_frame || matches!(space, Space::Guest { .. } | Space::Nested { .. }),
        "guest frame {guest_frame:#x} beside frame {frame:#x} without nested paging"
    );
    Ok(())
}

/// Only for what the coding of an event cannot hold.
pub(crate) fn event(event: &Event) -> Decoded<()> {
    match *event {
        Event::Cpu { number } => {
            require!(
                u64::from(number) < MAX_CPUS,
                "CPU {number}, more than {MAX_CPUS} are not supported"
            );
        }
        Event::Port { bytes, .. } => {
            require!(bytes < 128, "a port access of {bytes} bytes");
        }
        _ => {}
    }
    Ok(())
}
