//! Interrupt gates and the frames that delivery leaves on the stack (Intel SDM volume 3, 6.10 to
//! 6.14). The emulator shows neither: a delivery is known by control arriving at a gate's target.

use crate::memory::Memory;
use crate::pages::read_u64;
use crate::walk::Paging;
use rustc_hash::FxHashMap;
use strata_workloads::trace::Descriptor;

/// What the interrupt descriptor table says of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The vector, or `None` when several share the handler.
    pub vector: Option<u8>,
    /// Code segment selector.
    pub segment: u16,
    /// IST number.
    pub stack: u8,
}

/// An interrupt descriptor table, by handler address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    by_address: FxHashMap<u64, Gate>,
}

const PRESENT: u64 = 1 << 47;
const EFER_LMA: u64 = 1 << 10;

/// Vectors whose delivery pushes an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #VC, #SX.
const WITH_ERROR_CODE: [u8; 10] = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30];
/// Vector of a page fault.
pub const PAGE_FAULT: u8 = 14;
const NMI: u8 = 2;
/// First vector that is not the processor's own.
const FIRST_EXTERNAL: u8 = 32;

/// True for vectors that instructions raise.
pub fn is_exception(vector: u8) -> bool {
    vector < FIRST_EXTERNAL && vector != NMI
}

impl Gates {
    /// Reads the table at `idt`. Entries that are absent or cannot be read are left out.
    pub fn read(memory: &Memory, paging: &Paging, idt: Descriptor) -> Self {
        if paging.is_real_mode() {
            return Gates::read_real(memory, idt);
        }
        let long = paging.efer & EFER_LMA != 0;
        let entry_bytes = if long { 16 } else { 8 };
        let entries = (u64::from(idt.limit) + 1) / entry_bytes;
        let mut by_address: FxHashMap<u64, Gate> = FxHashMap::default();
        for vector in 0..entries.min(256) {
            let at = idt.base.wrapping_add(vector * entry_bytes);
            let Some(low) = read_u64(memory, paging, at) else { continue };
            if low & PRESENT == 0 {
                continue;
            }
            let mut address = (low & 0xffff) | (low >> 48) << 16;
            if long {
                let Some(high) = read_u64(memory, paging, at.wrapping_add(8)) else { continue };
                address |= high << 32;
            }
            let segment = (low >> 16) as u16;
            let stack = if long { (low >> 32) as u8 & 7 } else { 0 };
            enter(&mut by_address, address, Gate { vector: Some(vector as u8), segment, stack });
        }
        Gates { by_address }
    }

    /// The interrupt vector table of real mode: a far pointer for each vector.
    fn read_real(memory: &Memory, idt: Descriptor) -> Self {
        let mut by_address = FxHashMap::default();
        for vector in 0..((u64::from(idt.limit) + 1) / 4).min(256) {
            let Some(pointer) = memory.u32(idt.base.wrapping_add(vector * 4)) else { continue };
            let segment = (pointer >> 16) as u16;
            let address = (u64::from(segment) << 4) + u64::from(pointer & 0xffff);
            enter(&mut by_address, address, Gate { vector: Some(vector as u8), segment, stack: 0 });
        }
        Gates { by_address }
    }

    /// The gate that leads to `address`.
    pub fn at(&self, address: u64) -> Option<Gate> {
        self.by_address.get(&address).copied()
    }

    /// All handlers.
    pub fn addresses(&self) -> impl Iterator<Item = u64> {
        self.by_address.keys().copied()
    }
}

fn enter(by_address: &mut FxHashMap<u64, Gate>, address: u64, gate: Gate) {
    by_address.entry(address).and_modify(|known| known.vector = None).or_insert(gate);
}

/// What delivery pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Instruction pointer to resume at.
    pub resume: u64,
    /// Code segment selector.
    pub code_segment: u16,
    /// Stack pointer before delivery.
    pub stack_before: u64,
    /// Error code.
    pub error_code: Option<u32>,
    /// Bytes pushed.
    pub bytes: u64,
}

/// Reads the frame at the top of a real-mode stack: IP, CS and FLAGS of two bytes each. The address
/// to resume at is linear, like those of blocks.
pub fn real_frame(memory: &Memory, segment: u64, stack: u64) -> Option<Frame> {
    let word = |index: u64| memory.u16((segment << 4) + ((stack + 2 * index) & 0xffff));
    let (offset, code_segment) = (word(0)?, word(1)?);
    if word(2)? & 2 == 0 {
        return None;
    }
    Some(Frame {
        resume: (u64::from(code_segment) << 4) + u64::from(offset),
        code_segment,
        stack_before: stack + 6,
        error_code: None,
        bytes: 6,
    })
}

/// Reads the frame at the top of the stack; `None` when memory there cannot be read or holds no
/// frame. `privilege` is the handler's.
pub fn frame(
    memory: &Memory,
    paging: &Paging,
    stack: u64,
    vector: Option<u8>,
    privilege: u8,
) -> Option<Frame> {
    let has_error = vector.is_some_and(|vector| WITH_ERROR_CODE.contains(&vector));
    let long = paging.efer & EFER_LMA != 0;
    let word = |index: u64| -> Option<u64> {
        if long {
            read_u64(memory, paging, stack.wrapping_add(index * 8))
        } else {
            let at = stack.wrapping_add(index * 4);
            Some(read_u64(memory, paging, at & !7)? >> ((at & 4) * 8) & 0xffff_ffff)
        }
    };
    let first = u64::from(has_error);
    let error_code = if has_error { Some(word(0)? as u32) } else { None };
    let resume = word(first)?;
    let code_segment =
        u16::try_from(word(first + 1)? & if long { u64::MAX } else { 0xffff }).ok()?;
    // Bit 1 of the flags is always set: this tells a frame from other words on a stack.
    if word(first + 2)? & 2 == 0 {
        return None;
    }
    let outer = long || code_segment as u8 & 3 > privilege;
    let words = first + if outer { 5 } else { 3 };
    let bytes = words * if long { 8 } else { 4 };
    let stack_before = if outer { word(first + 3)? } else { stack.wrapping_add(bytes) };
    Some(Frame { resume, code_segment, stack_before, error_code, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_without_paging() -> Paging {
        Paging { cr0: 1, efer: EFER_LMA, ..Paging::default() }
    }

    fn entry(address: u64, segment: u64, stack: u64) -> (u64, u64) {
        let low = address & 0xffff | segment << 16 | stack << 32 | 0x8e << 40;
        (low | (address >> 16 & 0xffff) << 48, address >> 32)
    }

    #[test]
    fn gates_are_found_by_their_target() {
        let memory = Memory::zeroed(8192);
        let handler = 0xffff_82d0_4020_1230;
        for (vector, address, stack) in
            [(14, handler, 0), (2, handler + 64, 3), (33, handler + 96, 0), (34, handler + 96, 0)]
        {
            let (low, high) = entry(address, 0xe008, stack);
            memory.store(0x1000 + vector * 16, low);
            memory.store(0x1008 + vector * 16, high);
        }
        let idt = Descriptor { base: 0x1000, limit: 4095, selector: 0 };
        let gates = Gates::read(&memory, &long_without_paging(), idt);
        assert_eq!(gates.at(handler), Some(Gate { vector: Some(14), segment: 0xe008, stack: 0 }));
        assert_eq!(gates.at(handler + 64).unwrap().stack, 3);
        assert_eq!(gates.at(handler + 96).unwrap().vector, None, "two vectors share it");
        assert_eq!(gates.at(handler + 1), None);
    }

    #[test]
    fn a_frame_has_an_error_code_where_its_vector_pushes_one() {
        let memory = Memory::zeroed(8192);
        for (i, word) in [6, 0x40_1000, 0xe033, 0x202, 0x7fff_0000, 0xe02b].into_iter().enumerate()
        {
            memory.store(0x800 + 8 * i as u64, word);
        }
        let at = |stack, vector| frame(&memory, &long_without_paging(), stack, Some(vector), 0);
        let fault = at(0x800, PAGE_FAULT).unwrap();
        assert_eq!((fault.error_code, fault.resume, fault.bytes), (Some(6), 0x40_1000, 48));
        let external = at(0x808, 0x30).unwrap();
        assert_eq!((external.error_code, external.code_segment), (None, 0xe033));
        assert_eq!(external.stack_before, 0x7fff_0000);
        assert_eq!(at(0x810, 0x30), None, "no frame there");
    }

    #[test]
    fn real_mode_has_far_pointers_and_short_frames() {
        let memory = Memory::zeroed(1 << 17);
        memory.store(0x40, 0xf000_e987);
        let real = Paging::default();
        let gates = Gates::read(&memory, &real, Descriptor { base: 0, limit: 0x3ff, selector: 0 });
        assert_eq!(gates.at(0xf_e987).unwrap().vector, Some(0x10));
        memory.store(0x9000 + 0x6d3e, 0x0202_c000_1234);
        let frame = real_frame(&memory, 0x900, 0x6d3e).unwrap();
        assert_eq!((frame.resume, frame.stack_before), (0xc_1234, 0x6d44));
    }

    #[test]
    fn a_legacy_frame_holds_a_stack_pointer_only_from_an_outer_ring() {
        let memory = Memory::zeroed(8192);
        memory.store(0x800, 0x1000 | 0x08 << 32);
        memory.store(0x808, 0x202 | 0x9999 << 32);
        let protected = Paging { cr0: 1, ..Paging::default() };
        let inner = frame(&memory, &protected, 0x800, Some(32), 0).unwrap();
        assert_eq!((inner.bytes, inner.stack_before), (12, 0x80c));
        memory.store(0x800, 0x1000 | 0x1b << 32);
        let outer = frame(&memory, &protected, 0x800, Some(32), 0).unwrap();
        assert_eq!((outer.bytes, outer.stack_before), (20, 0x9999));
    }
}
