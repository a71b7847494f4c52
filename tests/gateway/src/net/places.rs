//! How many connections there may be at once, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::network;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `None`: as many as [`descriptors`](super::descriptors) says.
    pub all: Option<usize>,
    /// A fleet behind one router has one address.
    pub of_address: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { all: None, of_address: 12_000 }
    }
}

pub struct Places {
    all: usize,
    of_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Free again when it is dropped. An extension of every request, for what outlives it.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub fn new(all: usize, of_address: usize) -> Arc<Places> {
        Arc::new(Places { all, of_address, taken: Mutex::default() })
    }

    pub fn take(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut taken = self.taken.lock();
        let here = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= self.all || here >= self.of_address {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, here + 1);
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(3, 2);
        let [one, other]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()];
        let taken = [places.take(one).unwrap(), places.take(one).unwrap()];
        assert!(places.take(one).is_none(), "two of one address");
        let last = places.take(other).unwrap();
        assert!(places.take("192.0.2.2".parse().unwrap()).is_none(), "three in all");
        drop((taken, last));
        assert!(places.taken.lock().by_address.is_empty());
        assert!(places.take(one).is_some());
    }
}
