//! Shadow stacks: what is known of the frames on each stack of the machine.

use super::paths::PathId;
use rustc_hash::FxHashMap;
use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::SpaceId;

/// Whose stacks these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Context {
    /// The hypervisor's, which has one for each CPU.
    Hypervisor(u16),
    Kernel(DomainId),
    User(DomainId, Option<SpaceId>),
    Unknown,
}

impl Context {
    pub(super) fn of(layer: Layer, cpu: u16, space: Option<SpaceId>) -> Self {
        match layer {
            Layer::Hypervisor | Layer::Idle => Self::Hypervisor(cpu),
            Layer::Kernel(domain) => Self::Kernel(domain),
            Layer::User(domain) => Self::User(domain, space),
            Layer::Unknown => Self::Unknown,
        }
    }

    pub(super) fn domain(self) -> Option<DomainId> {
        match self {
            Self::Kernel(domain) | Self::User(domain, _) => Some(domain),
            Self::Hypervisor(_) | Self::Unknown => None,
        }
    }

    pub(super) fn is_hypervisor(self) -> bool {
        matches!(self, Self::Hypervisor(_))
    }

    /// Whether two stack pointers are on one stack. Kernel stacks are blocks of 16 KiB, aligned
    /// (Linux, arch/x86/include/asm/page_64_types.h, THREAD_SIZE); those of programs lie apart; the
    /// hypervisor begins its entries on the guest's.
    fn is_one_stack(self, a: u64, b: u64) -> bool {
        const KERNEL_STACK_SHIFT: u32 = 14;
        const USER_STACK_REACH: u64 = 512 << 10;
        match self {
            Self::Hypervisor(_) | Self::Unknown => true,
            Self::Kernel(_) => a >> KERNEL_STACK_SHIFT == b >> KERNEL_STACK_SHIFT,
            Self::User(..) => a.abs_diff(b) <= USER_STACK_REACH,
        }
    }
}

/// A place in code with its stack pointer, where control is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resume {
    pub(super) address: u64,
    pub(super) stack_pointer: u64,
}

impl Resume {
    /// Whether control that comes to `address` comes back here: where it left, or behind the
    /// instruction there, which was carried out for it.
    pub(super) fn is_met_by(self, address: u64, stack_pointer: u64) -> bool {
        const LONGEST_INSTRUCTION: u64 = 15;
        self.stack_pointer == stack_pointer
            && address.wrapping_sub(self.address) <= LONGEST_INSTRUCTION
    }
}

/// How a frame came about, and so how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It was there when its stack was first seen.
    Found,
    /// By a CALL, which pushed this address.
    Call { returns_to: u64 },
    /// By a jump in the place of a call: it ends with the frame below.
    Tail,
    /// From another context, or in the middle of this one; ends by a return to `resume`.
    Gate { resume: Resume, from: Option<StackId> },
}

/// A function's frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) path: PathId,
    /// Stack pointer at its first instruction; after a CALL the return address is there.
    pub(super) stack_pointer: u64,
    pub(super) how: How,
    /// Nothing of its function was executed yet; its path is that of the frame below.
    pub(super) is_coming: bool,
}

impl Frame {
    pub(super) fn is_gate(&self) -> bool {
        matches!(self.how, How::Gate { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StackId(u32);

#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) context: Context,
    /// The last one first.
    pub(super) frames: Vec<Frame>,
    /// Where control left it.
    pub(super) left: Option<Resume>,
    /// Some stack pointer on it.
    pub(super) at: u64,
    /// Nothing can be below its frames but what was there before the stream began, or a gap.
    pub(super) has_unknown_base: bool,
}

impl Stack {
    pub(super) fn top(&self) -> Option<&Frame> {
        self.frames.last()
    }

    /// Drops frames that the stack pointer has left, down to the next gate.
    pub(super) fn drop_dead(&mut self, is_dead: impl Fn(u64) -> bool) {
        while self.frames.last().is_some_and(|top| !top.is_gate() && is_dead(top.stack_pointer)) {
            self.frames.pop();
        }
    }

    /// The gate nearest to the top that a return to this place ends.
    pub(super) fn gate_to(&self, address: u64, stack_pointer: u64) -> Option<usize> {
        self.frames.iter().rposition(|frame| {
            matches!(frame.how, How::Gate { resume, .. } if resume.is_met_by(address, stack_pointer))
        })
    }
}

/// Stacks of a context that are kept. More than a guest has threads that come and go within a
/// capture: where there are more, a stack pointer wanders, and would take memory and time without end.
const MOST_STACKS: usize = 4096;

/// The stacks seen.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    stacks: Vec<Stack>,
    /// The one found last first.
    by_context: FxHashMap<Context, Vec<StackId>>,
}

impl Stacks {
    /// The stack that `stack_pointer` is on, made if there is none. Of more than [`MOST_STACKS`] the
    /// one that was not found for longest is forgotten.
    pub(super) fn find(&mut self, context: Context, stack_pointer: u64) -> StackId {
        let known = self.by_context.entry(context).or_default();
        let stacks = &self.stacks;
        let found = known.iter().position(|&StackId(number)| {
            context.is_one_stack(stacks[number as usize].at, stack_pointer)
        });
        if let Some(found) = found {
            // Those in use are found soon.
            known[..=found].rotate_right(1);
            return known[0];
        }
        let unknown = Stack {
            context,
            frames: Vec::new(),
            left: None,
            at: stack_pointer,
            has_unknown_base: true,
        };
        let id = if known.len() < MOST_STACKS {
            let id = StackId(self.stacks.len() as u32);
            self.stacks.push(unknown);
            known.push(id);
            id
        } else {
            let id = known[MOST_STACKS - 1];
            self.stacks[id.0 as usize] = unknown;
            id
        };
        known.rotate_right(1);
        id
    }

    /// Whether `stack_pointer` is on this stack.
    pub(super) fn is_on(&self, id: StackId, context: Context, stack_pointer: u64) -> bool {
        let stack = &self[id];
        stack.context == context && context.is_one_stack(stack.at, stack_pointer)
    }

    /// The stacks of a context.
    pub(super) fn of(&self, context: Context) -> impl Iterator<Item = StackId> + '_ {
        self.by_context.get(&context).into_iter().flatten().copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = StackId> + use<> {
        (0..self.stacks.len() as u32).map(StackId)
    }
}

impl std::ops::Index<StackId> for Stacks {
    type Output = Stack;

    fn index(&self, StackId(number): StackId) -> &Stack {
        &self.stacks[number as usize]
    }
}

impl std::ops::IndexMut<StackId> for Stacks {
    fn index_mut(&mut self, StackId(number): StackId) -> &mut Stack {
        &mut self.stacks[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Context = Context::Kernel(DomainId(1));

    #[test]
    fn a_stack_pointer_that_wanders_makes_no_stacks_without_end() {
        let mut stacks = Stacks::default();
        let mine = stacks.find(KERNEL, 0x4000);
        stacks[mine].has_unknown_base = false;
        for block in 2..5 * MOST_STACKS as u64 {
            stacks.find(KERNEL, block << 14);
            if block % 1000 == 0 {
                assert_eq!(stacks.find(KERNEL, 0x4008), mine, "one in use stays");
            }
        }
        assert_eq!(stacks.ids().count(), MOST_STACKS);
        assert!(!stacks[mine].has_unknown_base);
        let latest = 5 * MOST_STACKS as u64 - 1;
        assert_eq!(stacks[stacks.of(KERNEL).next().unwrap()].at, latest << 14);
    }
}
