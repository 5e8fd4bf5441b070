//! Places for connections: how many there may be, and how many of them one client may have.
//!
//! Nobody is known yet when a connection is accepted, so a client is an address. Not here: what
//! becomes of a connection that gets no place (`listener`).

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections: one for each of the 8,192 streams, and as many for everything else. With the
/// buffer for the largest head each (`listener`) that is 1.3 GiB, for as long as a head may take.
const MAX_CONNECTIONS: usize = 16_384;

/// One client may have this part of them: a quarter is thousands, enough for an office behind one
/// address, and leaves most of them to others.
const CLIENT_PART: usize = 4;

/// Connections without a place that are answered at once, so that a client hears why; those beyond
/// them are closed without an answer.
const MAX_TURNED_AWAY: usize = 16;

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// As many as there may be are open.
    #[error("The service has {0} open connections and takes no more")]
    All(usize),
    /// The client has as many as one may have.
    #[error("This address has {0} open connections and gets no more")]
    OfClient(usize),
}

/// How many connections each client has; an entry is one that has any.
type Taken = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Places for the connections of a listener.
pub struct Connections {
    most: usize,
    of_client: usize,
    /// They bring the connections of many clients.
    proxies: Vec<IpNet>,
    free: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    taken: Taken,
}

/// The place of one connection, until it is dropped.
pub struct ConnectionPlace {
    /// The client that it counts for, if it does.
    client: Option<(Taken, IpAddr)>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// As many as the process may have, all free; those from these proxies count for no client.
    pub fn new(proxies: Vec<IpNet>) -> Self {
        Self::with(max_connections(), proxies)
    }

    fn with(most: usize, proxies: Vec<IpNet>) -> Self {
        Self {
            most,
            of_client: (most / CLIENT_PART).max(1),
            proxies,
            free: Arc::new(Semaphore::new(most)),
            turned_away: Arc::new(Semaphore::new(MAX_TURNED_AWAY)),
            taken: Taken::default(),
        }
    }

    /// A place for a connection from an address.
    ///
    /// # Errors
    /// When all are taken, or all that the client may have.
    pub fn take(&self, peer: IpAddr) -> Result<ConnectionPlace, NoPlace> {
        let client = self.client(peer.to_canonical());
        let mut taken = locked(&self.taken);
        let has = client.and_then(|client| taken.get(&client)).copied().unwrap_or_default();
        if has >= self.of_client {
            return Err(NoPlace::OfClient(self.of_client));
        }
        let permit = Arc::clone(&self.free).try_acquire_owned();
        let permit = permit.map_err(|_| NoPlace::All(self.most))?;
        if let Some(client) = client {
            taken.insert(client, has + 1);
        }
        drop(taken);
        let client = client.map(|client| (Arc::clone(&self.taken), client));
        Ok(ConnectionPlace { client, _permit: permit })
    }

    /// A place for one that is only told that there is none, if there are not too many of these.
    pub fn turn_away(&self) -> Option<ConnectionPlace> {
        let permit = Arc::clone(&self.turned_away).try_acquire_owned().ok()?;
        Some(ConnectionPlace { client: None, _permit: permit })
    }

    /// Waits until all that have a place have ended.
    pub async fn ended(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        drop(self.free.acquire_many(all).await);
    }

    /// Whom a connection counts for: an IPv4 address or, because whoever has one IPv6 address has
    /// all of its /64, that network. Nobody on this machine's own address, which proxies and
    /// programs of the operator use, and nobody behind a trusted proxy.
    fn client(&self, peer: IpAddr) -> Option<IpAddr> {
        if self.proxies.iter().any(|proxy| proxy.contains(&peer)) {
            return None;
        }
        match peer {
            IpAddr::V4(address) => (address != Ipv4Addr::LOCALHOST).then_some(peer),
            IpAddr::V6(address) => (address != Ipv6Addr::LOCALHOST).then(|| {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }),
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let Some((taken, client)) = &self.client else { return };
        let mut taken = locked(taken);
        if let Some(has) = taken.get_mut(client) {
            *has -= 1;
            if *has == 0 {
                taken.remove(client);
            }
        }
    }
}

fn locked(taken: &Taken) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many connections there may be: half of the descriptors that are free now. The other half is
/// for what requests lead to: a connection to the engine, a key, a segment of the log; a followed
/// log keeps its own as long as its client does.
fn max_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (limit.saturating_sub(open) / 2).clamp(1, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(connections: &Connections, peer: &str) -> Result<ConnectionPlace, NoPlace> {
        connections.take(peer.parse().unwrap())
    }

    #[test]
    fn one_client_gets_its_share_and_the_others_the_rest() {
        let connections = Connections::with(8, vec![]);
        let held = ["192.0.2.1", "::ffff:192.0.2.1"].map(|peer| take(&connections, peer).unwrap());
        for peer in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(take(&connections, peer).err(), Some(NoPlace::OfClient(2)), "{peer}");
        }
        // All addresses of one network are one client's, those of the next are another's.
        let network = ["2001:db8::1", "2001:db8::f:0:0:1"];
        let network = network.map(|peer| take(&connections, peer).unwrap());
        assert_eq!(take(&connections, "2001:db8::2").err(), Some(NoPlace::OfClient(2)));
        let next = take(&connections, "2001:db8:0:1::1").unwrap();
        drop(held);
        take(&connections, "192.0.2.1").unwrap();
        drop((network, next));
        assert!(locked(&connections.taken).is_empty(), "clients that have none are forgotten");
    }

    #[test]
    fn this_machine_and_trusted_proxies_may_take_all() {
        let connections = Connections::with(4, vec!["198.51.100.0/24".parse().unwrap()]);
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "198.51.100.7"] {
            let held: Vec<_> = (0..4).map(|_| take(&connections, peer).unwrap()).collect();
            assert_eq!(take(&connections, peer).err(), Some(NoPlace::All(4)), "{peer}");
            assert_eq!(take(&connections, "192.0.2.1").err(), Some(NoPlace::All(4)));
            drop(held);
        }
        let turned_away: Vec<_> = (0..MAX_TURNED_AWAY).map(|_| connections.turn_away()).collect();
        assert!(turned_away.iter().all(Option::is_some) && connections.turn_away().is_none());
        take(&connections, "192.0.2.1").unwrap();
        assert_eq!(Connections::with(1, vec![]).of_client, 1);
    }
}
