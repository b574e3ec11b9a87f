//! What tells one execution from another: its *key*. Equal keys are equal shapes.
//!
//! A key is the address of the execution in two words, one for its context, and one for each of its
//! references; a fetch whose code is known has one more, the number of its bytes.

use crate::trace::{AccessKind, Base, CodeSize, Slot};

/// Words of a key before those of its references: address in two halves, context.
pub(super) const HEAD: usize = 3;

/// A word of a key: a data reference.
pub(super) const DATA: u32 = 1 << 31;
/// A data reference: a write.
pub(super) const WRITE: u32 = 1 << 30;
/// A data reference: the write of a modify.
pub(super) const MODIFY: u32 = 1 << 29;
/// A fetch: a word with the number of its code follows.
pub(super) const CODE: u32 = 1 << 30;

/// A context: privilege and width of the code.
const CONTEXT: u32 = 0xff;
/// A context: nothing was fetched.
pub(super) const WITHOUT_FETCH: u32 = 1 << 8;
/// A context: how the execution ends.
pub(super) const FLOW_SHIFT: u32 = 9;

/// Privilege level and width of code that is being executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) privilege: u8,
    pub(super) code_size: CodeSize,
}

impl Default for Context {
    fn default() -> Self {
        Context { privilege: 3, code_size: CodeSize::Bits64 }
    }
}

impl Context {
    pub(super) fn word(self) -> u32 {
        u32::from(self.privilege) | (self.code_size.bits() / 32) << 2
    }

    fn from_word(word: u32) -> Self {
        let code_size = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64];
        Context {
            privilege: (word & 3) as u8,
            code_size: code_size.get((word >> 2 & 3) as usize).copied().unwrap_or(CodeSize::Bits64),
        }
    }
}

/// A key taken apart.
pub(super) struct Parts {
    /// The key of the block alone.
    pub(super) block_key: Vec<u32>,
    pub(super) lengths: Vec<u8>,
    /// The bytes of all instructions; empty if those of one are unknown.
    pub(super) code: Vec<u8>,
    pub(super) slots: Vec<Slot>,
    /// The instructions were fetched, and not only begun.
    pub(super) fetched: bool,
    pub(super) context: Context,
}

/// Takes a key apart; `codes` are the bytes of instructions by their numbers.
pub(super) fn parts(key: &[u32], codes: &[Box<[u8]>]) -> Parts {
    let context = key[HEAD - 1] & CONTEXT;
    let mut parts = Parts {
        block_key: vec![key[0], key[1], context],
        lengths: Vec::new(),
        code: Vec::new(),
        slots: Vec::new(),
        fetched: key[HEAD - 1] & WITHOUT_FETCH == 0,
        context: Context::from_word(context),
    };
    let mut code_known = true;
    let mut words = key[HEAD..].iter();
    while let Some(&word) = words.next() {
        if word & DATA != 0 {
            parts.slots.push(Slot {
                instruction: (parts.lengths.len() - 1) as u16,
                kind: if word & WRITE != 0 { AccessKind::Write } else { AccessKind::Read },
                bytes: word as u16,
                modify: word & MODIFY != 0,
                base: Base::Own,
                displacement: 0,
            });
            continue;
        }
        parts.block_key.push(word);
        parts.lengths.push(word as u8);
        match words.as_slice().first().filter(|_| word & CODE != 0) {
            Some(&id) => {
                parts.block_key.push(id);
                words.next();
                parts.code.extend_from_slice(&codes[id as usize]);
            }
            None => code_known = false,
        }
    }
    if !code_known {
        parts.code.clear();
    }
    parts
}

/// The address in a key.
pub(super) fn address(key: &[u32]) -> u64 {
    u64::from(key[0]) | u64::from(key[1]) << 32
}
