//! `host`: the machine that handles the event.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _, UdpSocket};

use sdk_config::HostInterceptor;
use tracing::warn;

use super::value::FixedHeader;
use super::{Draft, Interceptor, Scratch};

/// What this machine is called. Looked up once, when a flow is built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostNames {
    /// Its full name.
    pub name: Option<String>,
    /// The address that others see.
    pub ip: Option<IpAddr>,
}

impl HostNames {
    /// Asks the machine.
    #[must_use]
    pub fn of_this_machine() -> HostNames {
        let name = kernel("hostname").map(|host| match kernel("domainname") {
            Some(domain) if !host.contains('.') => format!("{host}.{domain}"),
            _ => host,
        });
        let ip = name.as_deref().and_then(address_of).or_else(outgoing_address);
        HostNames { name, ip }
    }
}

fn kernel(what: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{what}")).ok()?;
    let text = text.trim();
    (!text.is_empty() && text != "(none)").then(|| text.to_owned())
}

fn address_of(name: &str) -> Option<IpAddr> {
    let mut addresses = (name, 0).to_socket_addrs().ok()?.map(|address| address.ip());
    addresses.find(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// The address of the interface that leads out. Connecting a datagram socket
/// sends nothing.
fn outgoing_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

pub(super) fn build(spec: &HostInterceptor, host: &HostNames) -> Box<dyn Interceptor> {
    let value = if spec.use_ip { host.ip.map(|ip| ip.to_string()) } else { host.name.clone() };
    match value {
        Some(value) => {
            Box::new(FixedHeader::new(&spec.host_header, &value, spec.preserve_existing))
        }
        None => {
            warn!(header = spec.host_header, "this machine's name is not known, no header is set");
            Box::new(Nothing)
        }
    }
}

struct Nothing;

impl Interceptor for Nothing {
    fn event<'a>(&'a self, _: &mut Draft<'a>, _: &mut Scratch) -> bool {
        true
    }
}
