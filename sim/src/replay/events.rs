//! What events of the stream do to the models and to the knowledge of who runs.

use super::Replay;
use crate::functions::Namer;
use strata_cachemodel::{ControlEvent, ControlRegisters, PhysAddr};
use strata_workloads::trace::{ControlRegister, Definitions, Event};

const PAGE_FAULT: u8 = 14;

impl<N: Namer> Replay<N> {
    pub(super) fn event(&mut self, event: &Event, tables: &Definitions) {
        let live = self.extent.range.contains(&self.position);
        if live {
            self.go_live();
        }
        if let Event::Cpu { number } = *event {
            self.last_rows.insert(self.state.cpu, self.last_row);
            self.last_row = self.last_rows.get(&number).copied().flatten();
            if let Some(sampler) = &mut self.rows.sampler {
                sampler.set_cpu(number);
            }
        }
        if let Some(timeline) = self.rows.timeline.as_mut().filter(|_| live) {
            timeline.event(self.position, event, &self.state);
        }
        self.state.apply(event);
        match *event {
            Event::Translation(id) => self.translation(id, tables),
            Event::Control { .. }
            | Event::Cpu { .. }
            | Event::VmRun { .. }
            | Event::VmExit { .. } => {
                self.addressing.follow(&self.state, tables);
                self.follow_context();
            }
            Event::Current(_) => {
                self.addressing.follow(&self.state, tables);
                self.follow_context();
            }
            Event::Gap { .. } => self.remarks.gaps += u64::from(live),
            _ => {}
        }
        if let Some(calls) = &mut self.calls {
            let counts = live && self.baseline.is_some();
            calls.event(self.position, event, counts, &self.state);
        }
        if live {
            self.model(event);
        } else if self.position < self.extent.range.start
            && matches!(
                event,
                Event::Control { .. }
                    | Event::Cpu { .. }
                    | Event::VmRun { .. }
                    | Event::VmExit { .. }
                    | Event::Current(_)
            )
        {
            // What comes behind the range leaves the machine as it is.
            self.take_over_state(tables);
        }
    }

    fn translation(&mut self, id: strata_workloads::trace::TranslationId, tables: &Definitions) {
        let owners = self.addressing.owners_changed;
        if self.addressing.tell(id, &self.state, tables) {
            let translation = &tables.translations[id.index()];
            let bytes = 1 << translation.size.shift();
            self.hierarchy.translation_changed(translation.page << 12, bytes);
        }
        if owners != self.addressing.owners_changed || self.addressing.space().is_none() {
            self.follow_context();
        }
    }

    /// An event in the range, as the models see it.
    fn model(&mut self, event: &Event) {
        let control = match *event {
            // A stream that tells no control registers keeps the model's defaults.
            Event::Control { register, value } => match register {
                ControlRegister::Cr0 => ControlEvent::WriteCr0(value),
                ControlRegister::Cr3 => ControlEvent::WriteCr3(value),
                ControlRegister::Cr4 => ControlEvent::WriteCr4(value),
                ControlRegister::Efer => return,
            },
            Event::Invlpg { address } => ControlEvent::Invlpg(address),
            Event::Invpcid { kind, pcid, address } => match kind {
                0 => ControlEvent::InvpcidAddress { va: address, pcid },
                1 => ControlEvent::InvpcidSingle { pcid },
                3 => ControlEvent::InvpcidAllButGlobal,
                _ => ControlEvent::InvpcidAll,
            },
            Event::Invlpga { address, asid } => {
                ControlEvent::Invlpga { va: address, asid: asid as u16 }
            }
            Event::Interrupt(interrupt) => {
                self.remarks.deliveries += 1;
                self.pending = self.synthesise.then_some(interrupt);
                if interrupt.vector != Some(PAGE_FAULT) {
                    return;
                }
                ControlEvent::PageFault(interrupt.fault_address)
            }
            Event::VmRun { asid, tlb_control, guest_cr3, nested_cr3, .. } => {
                self.remarks.guest_switches += 1;
                ControlEvent::GuestEntry {
                    asid: asid as u16,
                    tlb_control,
                    guest_cr3,
                    nested_root: (nested_cr3 != 0).then_some(nested_cr3),
                }
            }
            Event::VmExit { .. } => {
                self.remarks.guest_switches += 1;
                if let Some(calls) = &mut self.calls {
                    calls.counters().into_iter().for_each(|counters| counters.exits += 1);
                } else if let Some(row) = self.last_row {
                    self.rows.exit(row as usize);
                } else if let Some(stretch) = &mut self.stretch {
                    stretch.exits_before.push(self.state.cpu);
                }
                ControlEvent::GuestExit
            }
            Event::Current(vcpu) => ControlEvent::Domain(vcpu.domain),
            Event::Cpu { number } => return self.switch_cpu(number),
            Event::Dma { address, bytes, write } => {
                self.remarks.dma_transfers += 1;
                if write {
                    self.hierarchy.invalidate_physical(PhysAddr(address), u64::from(bytes));
                }
                return;
            }
            Event::CacheFlush => return self.hierarchy.flush_caches(),
            _ => return,
        };
        self.hierarchy.control(control);
    }

    /// Where a CPU of the machine stands for several of the stream, it switches between their
    /// address spaces as it would between processes: by a CR3 write.
    fn switch_cpu(&mut self, number: u16) {
        self.hierarchy.set_cpu(number);
        if self.occupy(number) == number {
            return;
        }
        let cpu = self.state.running();
        if cpu.cr0 != 0 {
            let (cr0, cr3, cr4) = (cpu.cr0, cpu.cr3, cpu.cr4);
            self.hierarchy.set_control_registers(ControlRegisters { cr0, cr3, cr4 });
            self.hierarchy.control(ControlEvent::WriteCr3(cr3));
        }
    }

    /// Notes that CPU `number` of the stream runs; says which one its CPU of the machine stood for.
    fn occupy(&mut self, number: u16) -> u16 {
        let own = number % self.hierarchy.machine().cpus();
        self.occupants.insert(own, number).unwrap_or(own)
    }

    /// Gives the model the machine's state as it is, which drops nothing.
    pub(super) fn take_over_state(&mut self, tables: &Definitions) {
        self.addressing.follow(&self.state, tables);
        // The one that runs comes last: it counts where CPUs of the model stand for several.
        let present = self.state.cpu;
        let others = (0..self.state.cpus.len() as u16).filter(|&number| number != present);
        for number in others.chain([present]) {
            self.occupy(number);
            let cpu = &self.state.cpus[usize::from(number)];
            // A stream that tells no control registers keeps the model's defaults.
            if cpu.cr0 == 0 {
                continue;
            }
            self.hierarchy.set_cpu(number);
            self.hierarchy.control(ControlEvent::Domain(cpu.current.domain));
            self.hierarchy.set_control_registers(ControlRegisters {
                cr0: cpu.cr0,
                cr3: cpu.cr3,
                cr4: cpu.cr4,
            });
            if let Some(guest) = cpu.guest {
                self.hierarchy.control(ControlEvent::GuestEntry {
                    asid: guest.asid as u16,
                    tlb_control: 0,
                    guest_cr3: guest.guest_cr3,
                    nested_root: (guest.nested_cr3 != 0).then_some(guest.nested_cr3),
                });
            }
        }
        self.hierarchy.set_cpu(self.state.cpu);
    }

    pub(super) fn follow_context(&mut self) {
        // Where calls are followed, others find who runs.
        if self.calls.is_none() {
            self.who.follow(&self.state, &self.addressing);
        }
    }
}
