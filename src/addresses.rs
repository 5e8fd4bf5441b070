//! Which addresses are of the public internet, and which only this host or its network reaches.
//!
//! Not here: names, and who may use which (`sources`, `http/input/manifest_url`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is not one of the public internet (the IANA registries of special-purpose
/// addresses), or is one where clouds tell a machine its secrets.
pub fn is_internal(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_internal_v4(address),
        IpAddr::V6(address) => is_internal_v6(address),
    }
}

/// Azure's own address for the services of a machine's host.
const AZURE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_internal_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // This host; private; loopback; link-local with what clouds say to a machine; multicast
        // and what comes after it, with the broadcast.
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] | [224..=255, ..] => true,
        // Private; behind a provider's NAT.
        [172, second, ..] if second & 0xf0 == 16 => true,
        [100, second, ..] if second & 0xc0 == 64 => true,
        // Protocols; 6to4 relays; benchmarks; documentation.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => true,
        [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => address == AZURE,
    }
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [.., high, low] = segments;
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_internal_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // ::, ::1, and IPv4 in a form that is not used any more.
        [0, 0, 0, 0, 0, 0, ..] => true,
        // IPv4 behind NAT64, and in 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // All else is public that is in 2000::/3, but for protocols with Teredo, and documentation.
        [0x2001, second, ..] => second < 0x200 || second == 0xdb8,
        [0x3fff, second, ..] => second < 0x1000,
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_public_internet_are_told_from_others() {
        for address in ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "172.15.0.1"] {
            assert!(!is_internal(address.parse().unwrap()), "{address}");
        }
        for address in ["2001:4860:4860::8888", "2a00::1", "64:ff9b::808:808", "2002:808:808::"] {
            assert!(!is_internal(address.parse().unwrap()), "{address}");
        }
        for address in [
            "198.18.0.1",
            "192.0.0.192",
            "240.0.0.1",
            "fc00::1",
            "ff02::1",
            "fec0::1",
            "2001::1",
            "2001:db8::1",
            "64:ff9b:1::a00:1",
            "2002:c0a8:101::",
            "100::1",
        ] {
            assert!(is_internal(address.parse().unwrap()), "{address}");
        }
    }
}
