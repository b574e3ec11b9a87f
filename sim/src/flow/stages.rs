//! The four stages of a packet's way out of a guest, as the VEE'07 paper tells them, by the names
//! that Xen 4.17 and Linux 6.1 give to their functions.

use super::{FlowQuery, Trigger};
use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// A stage of a packet's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A program writes to a socket, TCP builds a packet (Figure 7).
    SocketToTcpWrite,
    /// TCP hands the packet to the front-end driver, which grants its pages and notifies dom0
    /// through the hypervisor (Figure 8).
    TcpTransmitToEventChannel,
    /// A timer interrupt ends a vCPU's turn; the hypervisor switches to dom0, which takes an event
    /// (Figure 9).
    TimerToContextSwitch,
    /// The back-end driver maps the grant, the bridge forwards, the network driver sends, the
    /// grant is unmapped, an event goes back (Figure 10).
    Dom0ReceiveToEventBack,
}

impl Stage {
    /// All stages, in the order of the packet.
    pub const ALL: [Stage; 4] = [
        Stage::SocketToTcpWrite,
        Stage::TcpTransmitToEventChannel,
        Stage::TimerToContextSwitch,
        Stage::Dom0ReceiveToEventBack,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Stage::SocketToTcpWrite => "socket-to-tcp-write",
            Stage::TcpTransmitToEventChannel => "tcp-transmit-to-event-channel",
            Stage::TimerToContextSwitch => "timer-to-context-switch",
            Stage::Dom0ReceiveToEventBack => "dom0-receive-to-event-back",
        }
    }

    /// Its triggers, in order.
    fn triggers(self) -> &'static [&'static str] {
        match self {
            Stage::SocketToTcpWrite => &[
                "domU-kernel:sock_write_iter",
                "domU-kernel:tcp_write_xmit",
                "domU-kernel:release_sock",
            ],
            Stage::TcpTransmitToEventChannel => &[
                "domU-kernel:__tcp_transmit_skb",
                "domU-kernel:gnttab_grant_foreign_access_ref",
                "domU-kernel:notify_remote_via_irq",
                "hypervisor:evtchn_send",
                "hypervisor:evtchn_*_set_pending",
            ],
            Stage::TimerToContextSwitch => &[
                "hypervisor:apic_timer_interrupt",
                "hypervisor:context_switch",
                "dom0-kernel:xen_pv_evtchn_do_upcall",
            ],
            Stage::Dom0ReceiveToEventBack => &[
                "dom0-kernel:xen_pv_evtchn_do_upcall",
                "dom0-kernel:xenvif_tx_interrupt",
                "hypervisor:gnttab_map_grant_ref",
                "dom0-kernel:br_forward",
                "dom0-kernel:dev_hard_start_xmit",
                "hypervisor:gnttab_unmap_grant_ref",
                "hypervisor:flush_area_mask",
                "hypervisor:evtchn_send",
                "hypervisor:evtchn_*_set_pending",
            ],
        }
    }

    /// The query that finds the `nth` (1-based) of its kind, each in at most `limit` rows.
    pub fn query(self, nth: u64, limit: u64) -> FlowQuery {
        let mut triggers = self
            .triggers()
            .iter()
            .map(|text| text.parse::<Trigger>().expect("a test parses the built-in triggers"));
        let from = triggers.next().expect("a stage begins with something");
        let mut via: Vec<Trigger> = triggers.collect();
        let to = via.pop();
        FlowQuery { from, via, to, nth, latest: true, limit }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Stage::ALL.into_iter().find(|stage| stage.name() == text).ok_or_else(|| Error::Trigger {
            given: text.to_owned(),
            why: "there is no stage of this name",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_name_a_beginning_and_an_end() {
        for stage in Stage::ALL {
            assert_eq!(stage.name().parse::<Stage>().unwrap(), stage);
            assert!(stage.query(1, 100).to.is_some());
        }
    }
}
