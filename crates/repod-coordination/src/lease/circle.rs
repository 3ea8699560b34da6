//! Sessions that wait for each other in a circle: found, and broken at the youngest.
//!
//! In line, an owner waits for the holder (to the end of its turn) and for all who are further ahead,
//! for they will hold the lease first. A lease that is closing frees itself; it is nobody's to wait for.

use super::{Effect, LeaseKey, Mode, OwnerId, RefusalKind, Table};
use std::collections::BTreeMap;

type Graph = BTreeMap<OwnerId, Vec<(OwnerId, LeaseKey)>>;

impl Table {
    /// Refuses waiting calls until nobody waits in a circle.
    pub(super) fn break_circles(&mut self, now: u64, out: &mut Vec<Effect>) {
        while let Some(circle) = self.find_circle() {
            let born = |id: &OwnerId| self.owners.get(id).map_or(0, |owner| owner.born);
            let Some(at) = (0..circle.len()).max_by_key(|at| born(&circle[*at].0)) else { return };
            let titles: Vec<String> = (0..circle.len())
                .filter_map(|n| self.owners.get(&circle[(at + n) % circle.len()].0))
                .map(|owner| owner.party.title.clone())
                .collect();
            let (youngest, key) = &circle[at];
            let waiting: Vec<u64> = self
                .calls_of(youngest, key)
                .filter(|(_, call)| call.waits_for_lease())
                .map(|(number, _)| number)
                .collect();
            if waiting.is_empty() {
                return;
            }
            for number in waiting {
                self.refuse(number, RefusalKind::Deadlock(titles.clone()), now, out);
            }
        }
    }

    /// Each with the branch it waits for, in the order of waiting.
    fn find_circle(&self) -> Option<Vec<(OwnerId, LeaseKey)>> {
        let mut graph = self.who_waits_for_whom();
        // Who waits only for those that wait for nobody is in no circle.
        loop {
            let before = graph.len();
            let waiting: Vec<OwnerId> = graph.keys().cloned().collect();
            let waits = |id: &OwnerId| waiting.binary_search(id).is_ok();
            for edges in graph.values_mut() {
                edges.retain(|(to, _)| waits(to));
            }
            graph.retain(|_, edges| !edges.is_empty());
            if graph.len() == before {
                break;
            }
        }
        // Everybody left waits for somebody left: whoever is followed comes round.
        let mut path: Vec<(OwnerId, LeaseKey)> = Vec::new();
        let mut at = graph.keys().next()?.clone();
        loop {
            if let Some(start) = path.iter().position(|(id, _)| *id == at) {
                return Some(path.split_off(start));
            }
            let (to, key) = graph.get(&at)?.first()?.clone();
            path.push((at, key));
            at = to;
        }
    }

    fn who_waits_for_whom(&self) -> Graph {
        let mut graph = Graph::new();
        for (key, lane) in &self.lanes {
            for (place, waiter) in lane.line.iter().enumerate() {
                let edges = graph.entry(waiter.owner.clone()).or_default();
                let ahead = lane.line.iter().take(place).map(|other| other.owner.clone());
                let holder = lane
                    .held
                    .iter()
                    .filter(|held| held.mode != Mode::Closing && held.owner != waiter.owner);
                let holder = holder.map(|held| held.owner.clone());
                edges.extend(holder.chain(ahead).map(|to| (to, key.clone())));
            }
        }
        graph
    }
}
