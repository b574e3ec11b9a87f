//! What a boot needs from this machine: a file for the guests' RAM and the other end of the
//! measured connection.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::CaptureError;
use super::emulator::ending_with_us;
use super::error::FileContext;

/// The file that holds the guest's RAM, in memory where there is room, so that the recorder can
/// read page tables.
///
/// # Errors
///
/// If it cannot be made.
pub(super) fn ram_file(mib: u32, folder: &Path) -> Result<tempfile::NamedTempFile, CaptureError> {
    let shared = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(shared).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    let place = if free > (u64::from(mib) + 64) << 20 { shared } else { folder };
    tempfile::Builder::new()
        .prefix("strata-")
        .suffix(".ram")
        .tempfile_in(place)
        .on("create the guest's RAM in", place)
}

/// iperf3's other end on the host's loopback.
pub(super) struct HostServer {
    child: Child,
    /// Where it listens.
    pub(super) port: u16,
}

impl HostServer {
    /// Starts it; its log goes into `logs` below the folder.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) fn start(folder: &Path) -> Result<HostServer, CaptureError> {
        let local = Path::new("127.0.0.1");
        // A port that was free a moment ago; iperf3 has no way to choose one and tell.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .on("find a free port on", local)?
            .port();
        let log = folder.join("logs/iperf3-server.log");
        let mut server = Command::new("iperf3");
        server.args(["-s", "-B", "127.0.0.1", "-p", &port.to_string(), "--forceflush"]);
        let child = ending_with_us(&server)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).on("create", &log)?)
            .stderr(Stdio::null())
            .spawn()
            .on("start", Path::new("iperf3"))?;
        Ok(HostServer { child, port })
    }
}

impl Drop for HostServer {
    fn drop(&mut self) {
        // It serves for ever; there is nothing to lose in it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
