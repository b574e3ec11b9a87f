//! Definitions as bytes: blocks and their code, shapes, address spaces, walks and translations.

use super::batch::Definitions;
use super::block::{
    AccessKind, Base, Block, BlockId, CodeSize, Flow, MIRRORED_REGISTERS, Repeat, Shape, Slot,
    StackEffect,
};
use super::bytes::{Bytes, put, put_signed};
use super::consistency;
use super::error::{Decoded, Malformed};
use super::page::{PageFlags, PageSize, Space, SpaceId, Translation, Walk, WalkId};

/// How many of each kind of definition there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSizes {
    /// Blocks.
    pub blocks: u32,
    /// Shapes.
    pub shapes: u32,
    /// Address spaces.
    pub spaces: u32,
    /// Page-table walks.
    pub walks: u32,
    /// Translations.
    pub translations: u32,
}

impl TableSizes {
    /// The sizes of `tables`.
    pub fn of(tables: &Definitions) -> Self {
        TableSizes {
            blocks: tables.blocks.len() as u32,
            shapes: tables.shapes.len() as u32,
            spaces: tables.spaces.len() as u32,
            walks: tables.walks.len() as u32,
            translations: tables.translations.len() as u32,
        }
    }

    pub(crate) fn add(&mut self, more: &TableSizes) {
        self.blocks += more.blocks;
        self.shapes += more.shapes;
        self.spaces += more.spaces;
        self.walks += more.walks;
        self.translations += more.translations;
    }

    /// True when every table is at most as large as that of `other`.
    pub(crate) fn is_within(&self, other: &TableSizes) -> bool {
        self.fields().iter().zip(other.fields()).all(|(&mine, theirs)| mine <= theirs)
    }

    fn fields(&self) -> [u32; 5] {
        [self.blocks, self.shapes, self.spaces, self.walks, self.translations]
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for n in self.fields() {
            put(out, u64::from(n));
        }
    }

    pub(crate) fn take(bytes: &mut Bytes<impl AsRef<[u8]>>) -> Decoded<Self> {
        let mut size = || Ok(bytes.bounded(u64::from(u32::MAX), "table size")? as u32);
        Ok(TableSizes {
            blocks: size()?,
            shapes: size()?,
            spaces: size()?,
            walks: size()?,
            translations: size()?,
        })
    }
}

/// Names of the columns of a definitions frame, in order.
pub(crate) const COLUMNS: [&str; 5] = ["blocks", "lengths", "code", "shapes", "pages"];

/// Encodes the definitions numbered from `base` on.
pub(crate) fn encode(new: &Definitions, base: &TableSizes) -> [Vec<u8>; 5] {
    let mut columns: [Vec<u8>; 5] = Default::default();
    let [blocks, lengths, code, shapes, pages] = &mut columns;
    base.put(blocks);
    put(blocks, new.blocks.len() as u64);
    let mut end = 0;
    for block in &new.blocks {
        let flags = (block.code_size.bits() / 32) as u8
            | block.privilege << 2
            | u8::from(block.space.is_some()) << 4
            | u8::from(!block.code.is_empty()) << 5;
        blocks.push(flags);
        put_signed(blocks, block.address.wrapping_sub(end) as i64);
        put(blocks, block.lengths.len() as u64);
        if let Some(space) = block.space {
            put(blocks, space);
        }
        lengths.extend_from_slice(&block.lengths);
        code.extend_from_slice(&block.code);
        end = block.end();
    }
    put(shapes, new.shapes.len() as u64);
    let mut previous = 0;
    for shape in &new.shapes {
        encode_shape(shapes, shape, previous);
        previous = shape.block.0;
    }
    encode_pages(pages, new);
    columns
}

fn encode_shape(out: &mut Vec<u8>, shape: &Shape, previous: u32) {
    let flow = match shape.flow {
        Flow::Other => 0,
        Flow::Call => 1,
        Flow::Return => 2,
    };
    let flags = flow
        | u8::from(shape.interrupted) << 2
        | u8::from(shape.repeat.is_some()) << 3
        | u8::from(shape.repeat.is_some_and(|r| r.backward)) << 4
        | u8::from(shape.stack == StackEffect::Loaded) << 5;
    out.push(flags);
    put_signed(out, i64::from(shape.block.0) - i64::from(previous));
    put(out, u64::from(shape.completed));
    if let Some(repeat) = shape.repeat {
        out.push(repeat.slots);
    }
    if let StackEffect::Moves(bytes) = shape.stack {
        put_signed(out, i64::from(bytes));
    }
    put(out, shape.slots.len() as u64);
    let mut instruction = 0;
    for slot in &shape.slots {
        put(out, u64::from(slot.instruction - instruction));
        instruction = slot.instruction;
        let base = match slot.base {
            Base::Register(register) => register,
            Base::Block => MIRRORED_REGISTERS,
            Base::Own => MIRRORED_REGISTERS + 1,
        };
        let write = u8::from(slot.kind == AccessKind::Write);
        out.push(u8::from(slot.modify) << 7 | base << 1 | write);
        put(out, u64::from(slot.bytes));
        if slot.base != Base::Own {
            put_signed(out, slot.displacement);
        }
    }
}

fn encode_pages(out: &mut Vec<u8>, new: &Definitions) {
    put(out, new.spaces.len() as u64);
    for space in &new.spaces {
        let (kind, roots): (u8, &[u64]) = match space {
            Space::Physical => (0, &[]),
            Space::Paged { root } => (1, &[*root]),
            Space::Guest { root, nested } => (2, &[*root, *nested]),
            Space::Nested { root } => (3, &[*root]),
        };
        out.push(kind);
        for &root in roots {
            put(out, root);
        }
    }
    put(out, new.walks.len() as u64);
    for walk in &new.walks {
        put(out, walk.tables.len() as u64);
        for &table in &walk.tables {
            put(out, table);
        }
    }
    put(out, new.translations.len() as u64);
    let mut last = Translation {
        space: SpaceId(0),
        page: 0,
        frame: 0,
        guest_frame: 0,
        size: PageSize::Size4K,
        flags: PageFlags::default(),
        walk: WalkId(0),
    };
    for translation in &new.translations {
        let f = translation.flags;
        let flags = u8::from(f.global)
            | u8::from(f.user) << 1
            | u8::from(f.writable) << 2
            | u8::from(f.executable) << 3
            | u8::from(f.guest_kernel) << 4
            | u8::from(f.device) << 5
            | u8::from(translation.guest_frame != translation.frame) << 6;
        out.extend([flags, translation.size as u8]);
        put_signed(out, i64::from(translation.space.0) - i64::from(last.space.0));
        put_signed(out, translation.page.wrapping_sub(last.page) as i64);
        put_signed(out, translation.frame.wrapping_sub(last.frame) as i64);
        put_signed(out, i64::from(translation.walk.0) - i64::from(last.walk.0));
        if translation.guest_frame != translation.frame {
            put(out, translation.guest_frame);
        }
        last = *translation;
    }
}

/// Decodes a definitions frame's columns and appends them to `tables`.
pub(crate) fn decode(columns: &[Vec<u8>], tables: &mut Definitions) -> Decoded<()> {
    let [blocks, lengths, code, shapes, pages] = columns else {
        return Err(Malformed::new(format!("{} columns of definitions, not 5", columns.len())));
    };
    let [mut blocks, mut lengths, mut code, mut shapes, mut pages] = [
        Bytes::new(blocks, COLUMNS[0]),
        Bytes::new(lengths, COLUMNS[1]),
        Bytes::new(code, COLUMNS[2]),
        Bytes::new(shapes, COLUMNS[3]),
        Bytes::new(pages, COLUMNS[4]),
    ];
    let base = TableSizes::take(&mut blocks)?;
    let have = TableSizes::of(tables);
    if base != have {
        return Err(Malformed::new(format!(
            "definitions continue tables of {base:?}, but those before hold {have:?}"
        )));
    }
    let count = blocks.count("number of blocks")?;
    let mut end = 0;
    for _ in 0..count {
        let block = decode_block(&mut blocks, &mut lengths, &mut code, end)?;
        end = block.end();
        tables.blocks.push(block);
    }
    let count = shapes.count("number of shapes")?;
    let mut previous = 0;
    for _ in 0..count {
        let shape = decode_shape(&mut shapes, &tables.blocks, previous)?;
        previous = i64::from(shape.block.0);
        tables.shapes.push(shape);
    }
    decode_pages(&mut pages, tables)?;
    blocks.finish()?;
    lengths.finish()?;
    code.finish()?;
    shapes.finish()?;
    pages.finish()
}

fn decode_block<D: AsRef<[u8]>>(
    blocks: &mut Bytes<D>,
    lengths: &mut Bytes<D>,
    code: &mut Bytes<D>,
    end: u64,
) -> Decoded<Block> {
    let flags = flags(blocks, 0x3f, "a block")?;
    let code_size = match flags & 3 {
        0 => CodeSize::Bits16,
        1 => CodeSize::Bits32,
        2 => CodeSize::Bits64,
        _ => return Err(Malformed::new("code size 3")),
    };
    let address = end.wrapping_add(blocks.signed()? as u64);
    let instructions = blocks.bounded(u64::from(u16::MAX), "number of instructions")? as usize;
    let space = if flags & 16 != 0 { Some(blocks.number()?) } else { None };
    let lengths: Box<[u8]> = lengths.take(instructions)?.into();
    let bytes = lengths.iter().map(|&l| usize::from(l)).sum();
    let code = if flags & 32 != 0 { code.take(bytes)?.into() } else { Box::default() };
    let block = Block { address, code_size, privilege: flags >> 2 & 3, space, lengths, code };
    consistency::block(&block)?;
    Ok(block)
}

fn decode_shape(
    bytes: &mut Bytes<impl AsRef<[u8]>>,
    blocks: &[Block],
    previous: i64,
) -> Decoded<Shape> {
    let flags = flags(bytes, 0x3f, "a shape")?;
    let flow = match flags & 3 {
        0 => Flow::Other,
        1 => Flow::Call,
        2 => Flow::Return,
        _ => return Err(Malformed::new("flow 3")),
    };
    let number = previous.wrapping_add(bytes.signed()?);
    let Some(block) = usize::try_from(number).ok().and_then(|n| blocks.get(n)) else {
        return Err(Malformed::new(format!("a shape of block {number}, which is not defined")));
    };
    let completed = bytes.bounded(u64::from(u16::MAX), "number of completed instructions")?;
    let mut repeat = None;
    if flags & 8 != 0 {
        repeat = Some(Repeat { slots: bytes.byte()?, backward: flags & 16 != 0 });
    }
    let stack = if flags & 32 != 0 {
        StackEffect::Loaded
    } else {
        let moved = bytes.signed()?;
        let Ok(moved) = i32::try_from(moved) else {
            return Err(Malformed::new(format!("the stack pointer moves by {moved}")));
        };
        StackEffect::Moves(moved)
    };
    let count = bytes.count("number of slots")?;
    let mut slots = Vec::with_capacity(count);
    let mut instruction = 0u16;
    for _ in 0..count {
        let left = u64::from(u16::MAX - instruction);
        instruction += bytes.bounded(left, "instruction of a slot")? as u16;
        let what = bytes.byte()?;
        let size = bytes.bounded(u64::from(u16::MAX), "size of an access")? as u16;
        let base = match what >> 1 & 0x3f {
            MIRRORED_REGISTERS => Base::Block,
            register if register < MIRRORED_REGISTERS => Base::Register(register),
            own if own == MIRRORED_REGISTERS + 1 => Base::Own,
            other => return Err(Malformed::new(format!("base {other} of a slot"))),
        };
        let displacement = if base == Base::Own { 0 } else { bytes.signed()? };
        let kind = if what & 1 != 0 { AccessKind::Write } else { AccessKind::Read };
        let modify = what & 0x80 != 0;
        slots.push(Slot { instruction, kind, bytes: size, modify, base, displacement });
    }
    let shape = Shape {
        block: BlockId(number as u32),
        completed: completed as u16,
        interrupted: flags & 4 != 0,
        slots: slots.into(),
        repeat,
        flow,
        stack,
    };
    consistency::shape(&shape, block.instructions())?;
    Ok(shape)
}

fn decode_pages(bytes: &mut Bytes<impl AsRef<[u8]>>, tables: &mut Definitions) -> Decoded<()> {
    for _ in 0..bytes.count("number of address spaces")? {
        tables.spaces.push(match bytes.byte()? {
            0 => Space::Physical,
            1 => Space::Paged { root: bytes.number()? },
            2 => Space::Guest { root: bytes.number()?, nested: bytes.number()? },
            3 => Space::Nested { root: bytes.number()? },
            other => return Err(Malformed::new(format!("address space kind {other}"))),
        });
    }
    for _ in 0..bytes.count("number of walks")? {
        let levels = bytes.count("levels of a walk")?;
        let walk = Walk { tables: (0..levels).map(|_| bytes.number()).collect::<Decoded<_>>()? };
        consistency::walk(&walk)?;
        tables.walks.push(walk);
    }
    let (mut space, mut page, mut frame, mut walk) = (0i64, 0u64, 0u64, 0i64);
    for _ in 0..bytes.count("number of translations")? {
        let flags = flags(bytes, 0x7f, "a translation")?;
        let Some(&size) = PageSize::ALL.get(usize::from(bytes.byte()?)) else {
            return Err(Malformed::new("an undefined page size"));
        };
        space = space.wrapping_add(bytes.signed()?);
        page = page.wrapping_add(bytes.signed()? as u64);
        frame = frame.wrapping_add(bytes.signed()? as u64);
        walk = walk.wrapping_add(bytes.signed()?);
        let guest_frame = if flags & 64 != 0 { bytes.number()? } else { frame };
        let (Ok(space_id), Ok(walk_id)) = (u32::try_from(space), u32::try_from(walk)) else {
            return Err(Malformed::new(format!("address space {space} or walk {walk}")));
        };
        let translation = Translation {
            space: SpaceId(space_id),
            page,
            frame,
            guest_frame,
            size,
            flags: PageFlags {
                global: flags & 1 != 0,
                user: flags & 2 != 0,
                writable: flags & 4 != 0,
                executable: flags & 8 != 0,
                guest_kernel: flags & 16 != 0,
                device: flags & 32 != 0,
            },
            walk: WalkId(walk_id),
        };
        let defined = |id: SpaceId| tables.spaces.get(id.index()).copied();
        consistency::translation(&translation, defined, tables.walks.len())?;
        tables.translations.push(translation);
    }
    Ok(())
}

/// A byte of flags; those that no version defines must be 0.
fn flags(bytes: &mut Bytes<impl AsRef<[u8]>>, defined: u8, of: &str) -> Decoded<u8> {
    let flags = bytes.byte()?;
    if flags & !defined != 0 {
        return Err(Malformed::new(format!("flags {flags:#x} of {of}")));
    }
    Ok(flags)
}
