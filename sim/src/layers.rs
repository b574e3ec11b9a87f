//! Which layer code belongs to, from what the processor and Xen say, never from its address.
//!
//! Xen runs in ring 0. A 64-bit paravirtualized kernel and its programs both run in ring 3; Xen
//! marks the kernel's pages in their table entries (`_PAGE_GUEST_KERNEL`, bit 52), which the
//! translation of the code page carries. Which domain it is, Xen's `current` says.

use strata_symbols::{DomainId, Layer};
use strata_workloads::trace::{Block, IDLE_DOMAIN, MachineState};

/// The layer of `block` when it runs in `state`, its code page being a guest kernel's or not.
pub fn layer_of(block: &Block, state: &MachineState, guest_kernel: bool) -> Layer {
    let cpu = state.running();
    let domain = DomainId(cpu.current.domain);
    if cpu.guest.is_some() {
        // The guests of an ordinary system, which says nothing of them, are domain 1.
        let domain = if cpu.current.pointer == 0 { DomainId(1) } else { domain };
        return match block.privilege {
            3 => Layer::User(domain),
            _ => Layer::Kernel(domain),
        };
    }
    if cpu.current.pointer == 0 {
        // No hypervisor underneath: an ordinary system is its own domain 0.
        return if block.privilege == 3 { Layer::User(domain) } else { Layer::Kernel(domain) };
    }
    match block.privilege {
        0 if cpu.current.domain == IDLE_DOMAIN => Layer::Idle,
        0 => Layer::Hypervisor,
        _ if cpu.current.domain == IDLE_DOMAIN => Layer::Unknown,
        // Kernels of 32-bit guests run in ring 1.
        1 | 2 => Layer::Kernel(domain),
        _ if guest_kernel => Layer::Kernel(domain),
        _ => Layer::User(domain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::{CodeSize, NestedGuest, Vcpu};

    fn block(privilege: u8) -> Block {
        Block {
            address: 0xffff_ffff_8100_0000,
            code_size: CodeSize::Bits64,
            privilege,
            space: None,
            lengths: [1].into(),
            code: [0x90].into(),
        }
    }

    fn running(domain: u16) -> MachineState {
        let mut state = MachineState::default();
        state.running_mut().current = Vcpu { pointer: 0xffff_8300_0000_1000, domain, number: 0 };
        state
    }

    #[test]
    fn the_same_ring_3_address_is_kernel_or_program_by_the_page_and_of_the_domain_that_runs() {
        for domain in [0, 1, 7] {
            let state = running(domain);
            assert_eq!(layer_of(&block(3), &state, true), Layer::Kernel(DomainId(domain)));
            assert_eq!(layer_of(&block(3), &state, false), Layer::User(DomainId(domain)));
            assert_eq!(layer_of(&block(0), &state, false), Layer::Hypervisor);
        }
    }

    #[test]
    fn the_hypervisor_on_the_idle_vcpu_is_idle() {
        assert_eq!(layer_of(&block(0), &running(IDLE_DOMAIN), false), Layer::Idle);
    }

    #[test]
    fn without_a_hypervisor_ring_0_is_the_kernel() {
        let state = MachineState::default();
        assert_eq!(layer_of(&block(0), &state, false), Layer::Kernel(DomainId(0)));
        assert_eq!(layer_of(&block(3), &state, false), Layer::User(DomainId(0)));
    }

    #[test]
    fn a_guest_of_an_ordinary_system_is_not_that_system() {
        let mut state = MachineState::default();
        state.running_mut().guest = Some(NestedGuest::default());
        assert_eq!(layer_of(&block(0), &state, false), Layer::Kernel(DomainId(1)));
        assert_eq!(layer_of(&block(3), &state, false), Layer::User(DomainId(1)));
    }

    #[test]
    fn a_nested_guest_in_ring_0_is_its_domains_kernel() {
        let mut state = running(1);
        state.running_mut().guest = Some(NestedGuest::default());
        assert_eq!(layer_of(&block(0), &state, false), Layer::Kernel(DomainId(1)));
    }
}
