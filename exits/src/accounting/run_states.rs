//! How long vCPUs were in which state of the host's scheduler.

use crate::distribution::Distribution;
use crate::event::{Event, Kind, RunState};

/// Stays of one vCPU in each state, from change to change.
///
/// The stay in which the trace begins is left out, since its beginning is unknown; the one in which
/// it ends, too.
#[derive(Clone, Debug, Default)]
pub struct RunStates {
    stays: [Distribution; 4],
    current: Option<(RunState, u64)>,
    /// Changes after which the state was not the one before them.
    pub backwards: u64,
}

impl RunStates {
    fn change(&mut self, to: RunState, time: u64) {
        if let Some((from, since)) = self.current {
            if time < since {
                self.backwards += 1;
            } else if from != to {
                self.stays[from as usize].add(time - since);
            } else {
                // It goes on.
                return;
            }
        }
        self.current = Some((to, time));
    }

    /// Stays in a state.
    pub fn stays(&self, state: RunState) -> &Distribution {
        &self.stays[state as usize]
    }

    /// True if nothing is known.
    pub fn is_empty(&self) -> bool {
        self.stays.iter().all(|stays| stays.count() == 0)
    }
}

/// Run states of all vCPUs, by place.
#[derive(Clone, Debug, Default)]
pub(super) struct AllRunStates(pub(super) Vec<RunStates>);

impl AllRunStates {
    pub(super) fn event(&mut self, event: &Event) {
        match (event.kind, event.vcpu) {
            (Kind::RunState(state), Some(vcpu)) => {
                if self.0.len() <= vcpu.index() {
                    self.0.resize_with(vcpu.index() + 1, RunStates::default);
                }
                self.0[vcpu.index()].change(state, event.time);
            }
            // Changes may be among what was lost.
            (Kind::Lost { .. }, vcpu) => {
                for (number, states) in self.0.iter_mut().enumerate() {
                    let runs = states.current.is_some_and(|current| current.0 == RunState::Running);
                    if !(runs && vcpu.is_some_and(|vcpu| vcpu.index() != number)) {
                        states.current = None;
                    }
                }
            }
            _ => {}
        }
    }
}
