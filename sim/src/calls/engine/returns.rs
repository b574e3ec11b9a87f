//! Returns: which frame one ends, and what it is where it ends none.

use super::{Engine, Step};
use crate::calls::Arrival;
use crate::calls::ending::{Ending, Last};
use crate::calls::paths::Link;
use crate::calls::stack::{Frame, How, Resume, StackId};

/// Frames that a return may leave at once.
const SEARCHED_FRAMES: usize = 64;

impl Engine {
    /// Carries out a call or return that an interrupt or fault followed before anything else was
    /// executed: a page fault at the first byte of a function, say.
    pub(super) fn complete(&mut self, stack: StackId, last: Ending, resume: Resume) {
        let (address, stack_pointer) = (resume.address, resume.stack_pointer);
        match last.last {
            Last::Call if address != last.after => {
                self.stacks[stack].drop_dead(|frame| frame <= stack_pointer);
                let Some(path) = self.stacks[stack].top().map(|top| top.path) else { return };
                let how = How::Call { returns_to: last.after };
                self.stacks[stack].frames.push(Frame { path, stack_pointer, how, is_coming: true });
            }
            Last::Return { pops } => {
                let Some((at, left)) = self.returned_frame(stack, address, stack_pointer, pops).0
                else {
                    return;
                };
                self.stacks[stack].frames.truncate(at);
                self.count_return(left);
            }
            _ => {}
        }
    }

    /// The frame that a return to this place ends, with the number of calls above it; and the frame
    /// whose return address it takes.
    fn returned_frame(
        &self,
        stack: StackId,
        address: u64,
        stack_pointer: u64,
        pops: u64,
    ) -> (Option<(usize, usize)>, Option<usize>) {
        let (mut left, mut taken) = (0, None);
        let frames = self.stacks[stack].frames.iter().enumerate().rev();
        for (at, frame) in frames.take(SEARCHED_FRAMES) {
            match frame.how {
                How::Gate { .. } => break,
                How::Call { returns_to } => {
                    // Entry code moves the return address of the frame on top.
                    let is_left = left == 0 || frame.stack_pointer < stack_pointer;
                    if returns_to == address && is_left {
                        return (Some((at, left)), taken);
                    }
                    if frame.stack_pointer.wrapping_add(pops) == stack_pointer {
                        taken = taken.or(Some(at));
                    }
                    left += 1;
                }
                How::Found | How::Tail => {}
            }
        }
        (None, taken)
    }

    fn count_return(&mut self, left: usize) -> Arrival {
        if left == 0 {
            self.returns.matched += 1;
            Arrival::Return
        } else {
            self.returns.unwound += 1;
            Arrival::Unwound
        }
    }

    pub(super) fn ret(&mut self, stack: StackId, pops: u64, step: &Step) -> Arrival {
        match self.returned_frame(stack, step.address, step.stack_pointer, pops) {
            (Some((at, left)), _) => {
                self.stacks[stack].frames.truncate(at);
                self.arrive_on(stack, step);
                self.count_return(left)
            }
            (None, Some(at)) => self.return_as_jump(stack, at, step),
            (None, None) => self.return_into_unknown(stack, step),
        }
    }

    /// The return address of a frame was replaced, or one pushed for a jump.
    fn return_as_jump(&mut self, stack: StackId, at: usize, step: &Step) -> Arrival {
        if self.cpu.was_thunk {
            self.returns.thunks += 1;
        } else {
            self.returns.as_jumps += 1;
        }
        self.stacks[stack].frames.truncate(at);
        let is_at_entry = step.is_entry
            && self.stacks[stack].top().is_some_and(|top| top.stack_pointer == step.stack_pointer);
        if self.stacks[stack].frames.is_empty() {
            let path = self.paths.on(None, Link::Start, step.function);
            self.push(stack, path, step.stack_pointer, How::Found);
        } else if is_at_entry && !self.cpu.was_thunk {
            self.tail(stack, step);
        } else {
            self.rename_top(stack, step.function);
        }
        Arrival::ReturnAsJump
    }

    fn return_into_unknown(&mut self, stack: StackId, step: &Step) -> Arrival {
        let on = &mut self.stacks[stack];
        on.drop_dead(|frame| frame < step.stack_pointer);
        if on.has_unknown_base {
            self.returns.before_stream += 1;
        } else {
            self.returns.as_jumps += 1;
        }
        self.arrive_on(stack, step);
        Arrival::ReturnAsJump
    }
}
