//! Subnets for networks that do not fit the engine's own pools: which ones, and in what order.
//!
//! By default the pools hold 31 networks (172.17.0.0/16 to 172.31.0.0/16, and 192.168.0.0/16
//! by /20), including the engine's own `bridge`.
//! Not here: the calls to the engine (`network.rs`).

use std::fmt;
use std::net::Ipv4Addr;

use crate::ids::ObjectId;

/// Some addresses of IPv4 that a mask tells from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    address: u32,
    mask: u32,
}

/// Where our subnets are: in the private 10.0.0.0/8 (RFC 1918), above what others there take unless
/// told otherwise: Docker's swarm from 10.0 up, k3s 10.42 and 10.43, Kubernetes 10.96.0.0/12 for
/// services, OpenShift 10.128.0.0/14; and below flannel's 10.244.0.0/16.
pub(super) const RANGE: Subnet =
    Subnet { address: u32::from_be_bytes([10, 192, 0, 0]), mask: u32::MAX << 20 };

/// The size of one, a /24: 253 containers and the gateway, and 4096 of them in the range.
const BITS: u32 = 8;
const COUNT: u32 = 1 << (20 - BITS);

/// How many subnets the engine is asked for. Where the routes tell what is taken, the first one
/// does. Where they do not (the engine has other routes than this process), and half of the range
/// is taken, one bay of 65536 finds none.
pub(super) const ATTEMPTS: usize = 16;

/// Routes for more addresses than a /8 lead to everywhere (`0.0.0.0/0`, or that in two halves, as
/// VPNs do) and claim nothing.
const WIDEST_CLAIM: u32 = u32::MAX << 24;

/// The engine's words for a subnet that another network has a part of.
const TAKEN: &[&str] = &["Pool overlaps with other one", "networks have overlapping IPv4"];

/// Every subnet of the range that no route claims, in an order of the bay's own: the same each
/// time, so that what is done again is done alike, and another than that of other bays.
pub(super) fn candidates(bay_id: ObjectId, routes: &[Subnet]) -> impl Iterator<Item = Subnet> {
    // The last 32 bits of every kind of uuid that we mint are random.
    let seed = bay_id.0.as_u128() as u32;
    // An odd step meets all of a power of two.
    let (first, step) = (seed % COUNT, (seed / COUNT) | 1);
    (0..COUNT)
        .map(move |nth| first.wrapping_add(nth.wrapping_mul(step)) % COUNT)
        .map(|place| Subnet { address: RANGE.address | (place << BITS), mask: u32::MAX << BITS })
        .filter(|subnet| !routes.iter().any(|route| route.overlaps(*subnet)))
}

/// What the routes of this machine claim; nothing where they cannot be read.
pub(super) async fn routed() -> Vec<Subnet> {
    let table = tokio::fs::read_to_string("/proc/net/route").await.unwrap_or_default();
    table.lines().filter_map(claimed_by).collect()
}

/// Whether the engine says that a part of a subnet has a network.
pub(super) fn is_taken(words: &str) -> bool {
    TAKEN.iter().any(|phrase| words.contains(phrase))
}

/// What a line of `/proc/net/route` claims: its destination and its mask, columns 2 and 8.
fn claimed_by(line: &str) -> Option<Subnet> {
    let mut columns = line.split_whitespace();
    // The kernel prints the bytes of the network as a number of this machine.
    let number = |column| u32::from_str_radix(column, 16).ok().map(u32::from_be);
    let address = number(columns.nth(1)?)?;
    let mask = number(columns.nth(5)?)?;
    (mask >= WIDEST_CLAIM).then_some(Subnet { address, mask })
}

impl Subnet {
    const fn overlaps(self, other: Self) -> bool {
        (self.address ^ other.address) & self.mask & other.mask == 0
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.address), self.mask.count_ones())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn bay(seed: u32) -> ObjectId {
        ObjectId(uuid::Uuid::from_u128(0x7000_0000_0000_0000_0000_0000 << 32 | u128::from(seed)))
    }

    fn texts(seed: u32, routes: &[Subnet]) -> Vec<String> {
        candidates(bay(seed), routes).map(|subnet| subnet.to_string()).collect()
    }

    #[test]
    fn a_bay_has_each_subnet_of_the_range_in_its_own_order() {
        assert_eq!(RANGE.to_string(), "10.192.0.0/12");
        assert_eq!(texts(0, &[])[..2], ["10.192.0.0/24", "10.192.1.0/24"]);
        assert_eq!(texts(0x2fff, &[])[..2], ["10.207.255.0/24", "10.192.2.0/24"]);
        for seed in [0, 0x2fff, u32::MAX, 0x1234_5678] {
            let all = texts(seed, &[]);
            assert_eq!(all, texts(seed, &[]));
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4096);
            assert!(candidates(bay(seed), &[]).all(|subnet| subnet.overlaps(RANGE)));
        }
        assert_ne!(texts(0x1234_5678, &[])[..4], texts(0x1235_5678, &[])[..4]);
    }

    #[test]
    fn what_a_route_claims_is_left_alone() {
        // As the kernel prints it on a machine with the lower byte first.
        let line = |destination: &str, mask: &str| {
            let number = |text: &str| text.parse::<Ipv4Addr>().unwrap().to_bits().to_be();
            let (destination, mask) = (number(destination), number(mask));
            format!("br0\t{destination:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0   ")
        };
        let left = |lines: &[String]| {
            let routes: Vec<_> = lines.iter().filter_map(|line| claimed_by(line)).collect();
            texts(0, &routes)
        };
        let heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU";
        let everywhere = [
            heading.to_owned(),
            line("0.0.0.0", "0.0.0.0"),
            line("0.0.0.0", "128.0.0.0"),
            line("172.17.0.0", "255.255.0.0"),
        ];
        assert_eq!(left(&everywhere).len(), 4096);
        assert_eq!(left(&[line("10.192.0.0", "255.255.255.0")])[0], "10.192.1.0/24");
        // A single address in one, and one that holds several.
        assert_eq!(left(&[line("10.192.0.9", "255.255.255.255")])[0], "10.192.1.0/24");
        assert_eq!(left(&[line("10.192.0.0", "255.255.0.0")])[0], "10.193.0.0/24");
        assert!(left(&[line("10.0.0.0", "255.0.0.0")]).is_empty());
    }
}
