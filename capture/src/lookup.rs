//! Numbers for the names in expressions, asked for once, before a capture starts: hosts from the system's resolver, and
//! therefore from name servers; all others from files. Where the system would ask other services for those (nsswitch.conf),
//! capture does not.

use std::{collections::HashMap, io, net::IpAddr};

use capture_filter::names::{Names, Service};

use crate::etc::{self, ETHERS, NETWORKS, PROTOCOLS, SERVICES};

/// Names as this system knows them. A file is read when the first name is looked up in it.
#[derive(Debug, Default)]
pub struct SystemNames {
    services: Option<Table<Service>>,
    protocols: Option<Table<u32>>,
    networks: Option<Table<u32>>,
    ethers: Option<Table<[u8; 6]>>,
}

impl Names for SystemNames {
    fn host(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        let addresses = dns_lookup::lookup_host(name).map_err(|error| why(&io::Error::from(error)))?;
        Ok(addresses.collect())
    }

    fn service(&mut self, name: &str) -> Result<Service, String> {
        let table = self.services.get_or_insert_with(|| Table::read(SERVICES, add_service));
        table.get(name)
    }

    fn protocol(&mut self, name: &str) -> Result<u32, String> {
        let table =
            self.protocols.get_or_insert_with(|| Table::read(PROTOCOLS, add_number(|n| n.parse().ok())));
        table.get(name)
    }

    fn network(&mut self, name: &str) -> Result<u32, String> {
        let table = self.networks.get_or_insert_with(|| Table::read(NETWORKS, add_number(network)));
        table.get(name)
    }

    fn ether(&mut self, name: &str) -> Result<[u8; 6], String> {
        let table = self.ethers.get_or_insert_with(|| {
            Table::read(ETHERS, |table, entry| {
                if let [address, name, ..] = entry
                    && let Some(address) = station(address)
                {
                    table.entry((*name).to_owned()).or_insert(address);
                }
            })
        });
        table.get(name)
    }
}

/// What a file says of names, or why it says nothing.
#[derive(Debug)]
struct Table<V> {
    path: &'static str,
    values: HashMap<String, V>,
    error: Option<io::Error>,
}

impl<V: Copy> Table<V> {
    fn read(path: &'static str, add: impl Fn(&mut HashMap<String, V>, &[&str])) -> Self {
        let mut values = HashMap::new();
        let error = etc::entries(path, |entry| add(&mut values, entry)).err();
        Self { path, values, error }
    }

    fn get(&self, name: &str) -> Result<V, String> {
        self.values.get(name).copied().ok_or_else(|| match &self.error {
            Some(error) => format!("{}: {error}", self.path),
            None => format!("it is not in {}", self.path),
        })
    }
}

/// Name and aliases of an entry whose second word is the value. The first entry of a name counts.
fn names<'e>(entry: &'e [&'e str]) -> impl Iterator<Item = &'e str> {
    let aliases = entry.get(2..).unwrap_or_default();
    entry.iter().take(1).chain(aliases).copied().filter(|name| !name.is_empty())
}

/// `http 80/tcp www`.
fn add_service(table: &mut HashMap<String, Service>, entry: &[&str]) {
    let Some((port, protocol)) = entry.get(1).and_then(|value| value.split_once('/')) else { return };
    let Ok(port) = port.parse::<u16>() else { return };
    for name in names(entry) {
        let ports = match protocol {
            "tcp" => &mut table.entry(name.to_owned()).or_default().tcp,
            "udp" => &mut table.entry(name.to_owned()).or_default().udp,
            _ => continue,
        };
        ports.get_or_insert(port);
    }
}

/// `tcp 6 TCP`, `loopback 127.0.0.0`.
fn add_number(number: impl Fn(&str) -> Option<u32>) -> impl Fn(&mut HashMap<String, u32>, &[&str]) {
    move |table, entry| {
        let Some(value) = entry.get(1).and_then(|value| number(value)) else { return };
        for name in names(entry) {
            table.entry(name.to_owned()).or_insert(value);
        }
    }
}

/// The number of a network as getnetbyname(3) has it: its parts, the last one in the lowest byte (inet(3),
/// `inet_network`).
fn network(text: &str) -> Option<u32> {
    let parts = text.split('.').map(|part| part.parse::<u8>().ok());
    parts
        .enumerate()
        .try_fold(0, |number, (index, part)| (index < 4).then_some(number << 8 | u32::from(part?)))
}

/// Six numbers in hexadecimal (ether_aton(3)).
fn station(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut address {
        *byte = parts.next().and_then(|part| u8::from_str_radix(part, 16).ok())?;
    }
    parts.next().is_none().then_some(address)
}

/// The resolver's own words.
fn why(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<V: Copy>(
        add: impl Fn(&mut HashMap<String, V>, &[&str]),
        text: &str,
    ) -> impl Fn(&str) -> Option<V> {
        let mut values = HashMap::new();
        etc::read(text.as_bytes(), |entry| add(&mut values, entry)).unwrap();
        move |name| values.get(name).copied()
    }

    #[test]
    fn services_have_a_port_for_each_protocol() {
        let service = table(
            add_service,
            "http 80/tcp www\ndomain 53/tcp\ndomain 53/udp\ntftp 69/udp\nhttp 81/tcp\nx 1/sctp\ny 70000/tcp\nz\n",
        );
        assert_eq!(service("http"), Some(Service { tcp: Some(80), udp: None }));
        assert_eq!(service("www"), service("http"));
        assert_eq!(service("domain"), Some(Service { tcp: Some(53), udp: Some(53) }));
        assert_eq!(service("tftp"), Some(Service { tcp: None, udp: Some(69) }));
        assert!(["x", "y", "z", "", "80/tcp"].into_iter().all(|name| service(name).is_none()));
    }

    #[test]
    fn protocols_and_networks_have_a_number() {
        let protocol = table(add_number(|number| number.parse().ok()), "ip 0 IP\ntcp 6 TCP # x\nbad x\n");
        assert_eq!([protocol("tcp"), protocol("TCP"), protocol("bad")], [Some(6), Some(6), None]);
        let network =
            table(add_number(network), "loopback 127.0.0.0\nshort 10\nlong 1.2.3.4.5\nlink 169.254.0.0 l\n");
        assert_eq!(network("loopback"), Some(0x7f00_0000));
        assert_eq!(network("l"), Some(0xa9fe_0000));
        assert_eq!([network("short"), network("long")], [Some(10), None]);
    }

    #[test]
    fn stations_have_six_bytes() {
        assert_eq!(station("02:0:a:FF:1:2"), Some([2, 0, 10, 255, 1, 2]));
        for text in ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:100", "02-00-00-00-00-00"]
        {
            assert_eq!(station(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_nowhere_says_where_it_was_looked_for() {
        let mut names = SystemNames::default();
        assert_eq!(names.service("no-such-service").unwrap_err(), "it is not in /etc/services");
        let missing = Table::<u32>::read("/nonexistent", |_, _| {});
        assert!(missing.get("x").unwrap_err().starts_with("/nonexistent: No such file"));
    }

    #[test]
    fn hosts_come_from_the_resolver() {
        let mut names = SystemNames::default();
        assert!(names.host("localhost").unwrap().contains(&IpAddr::from([127, 0, 0, 1])));
        assert!(!names.host("no-such-host.invalid").unwrap_err().is_empty());
    }
}
