//! An ordered index in memory: key to a group of members. Groups of unique values have a single
//! member and need no set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Bound::{Excluded, Unbounded};

/// Groups by key, the members of each in order.
pub(super) struct GroupIndex<K, M>(BTreeMap<K, Group<M>>);

enum Group<M> {
    One(M),
    Many(BTreeSet<M>),
}

impl<K, M> Default for GroupIndex<K, M> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<K, M> GroupIndex<K, M> {
    pub const EMPTY: Self = Self(BTreeMap::new());

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<M: Copy + Ord> Group<M> {
    /// Members between two bounds, both exclusive.
    fn between<'a>(
        &'a self,
        after: Option<&M>,
        before: Option<&M>,
    ) -> impl DoubleEndedIterator<Item = &'a M> {
        let is_within = |member: &M| {
            after.is_none_or(|after| member > after) && before.is_none_or(|before| member < before)
        };
        let (one, many) = match self {
            Self::One(member) => (Some(member).filter(|member| is_within(member)), None),
            Self::Many(members) => (None, Some(members)),
        };
        let bounds = (after.map_or(Unbounded, Excluded), before.map_or(Unbounded, Excluded));
        one.into_iter().chain(many.into_iter().flat_map(move |many| many.range(bounds)))
    }
}

impl<K: Ord + Clone, M: Copy + Ord> GroupIndex<K, M> {
    pub fn insert(&mut self, key: K, member: M) {
        match self.0.get_mut(&key) {
            None => drop(self.0.insert(key, Group::One(member))),
            Some(Group::Many(members)) => drop(members.insert(member)),
            Some(group @ Group::One(_)) => {
                let both = group.between(None, None).copied().chain([member]).collect();
                *group = Group::Many(both);
            }
        }
    }

    pub fn remove(&mut self, key: &K, member: M) {
        let is_over = match self.0.get_mut(key) {
            None => false,
            Some(Group::One(one)) => *one == member,
            Some(Group::Many(members)) => {
                members.remove(&member);
                members.is_empty()
            }
        };
        if is_over {
            self.0.remove(key);
        }
    }

    /// The size of a group.
    pub fn count(&self, key: &K) -> u64 {
        match self.0.get(key) {
            None => 0,
            Some(Group::One(_)) => 1,
            Some(Group::Many(members)) => members.len() as u64,
        }
    }

    pub fn contains(&self, key: &K, member: M) -> bool {
        match self.0.get(key) {
            None => false,
            Some(Group::One(one)) => *one == member,
            Some(Group::Many(members)) => members.contains(&member),
        }
    }

    /// Members of one group after a given member.
    pub fn of<'a>(
        &'a self,
        key: &K,
        after: Option<&'a M>,
    ) -> impl Iterator<Item = M> + use<'a, K, M> {
        let group = self.0.get(key).into_iter();
        group.flat_map(move |group| group.between(after, None)).copied()
    }

    /// All members of all groups in one direction, after a key and a member, neither of which needs
    /// to exist.
    pub fn walk<'a>(
        &'a self,
        place: Option<&'a (K, M)>,
        descending: bool,
    ) -> Box<dyn Iterator<Item = (&'a K, M)> + 'a> {
        let (here, rest) = match place {
            None => (None, (Unbounded, Unbounded)),
            Some((key, _)) if descending => (self.0.get_key_value(key), (Unbounded, Excluded(key))),
            Some((key, _)) => (self.0.get_key_value(key), (Excluded(key), Unbounded)),
        };
        let member = place.map(|(_, member)| member);
        let rest = self.0.range(rest);
        let each = |(key, group): (&'a K, &'a Group<M>), after, before| {
            group.between(after, before).map(move |member| (key, *member))
        };
        let here = here.into_iter();
        if descending {
            let here = here.flat_map(move |it| each(it, None, member).rev());
            Box::new(here.chain(rest.rev().flat_map(move |it| each(it, None, None).rev())))
        } else {
            let here = here.flat_map(move |it| each(it, member, None));
            Box::new(here.chain(rest.flat_map(move |it| each(it, None, None))))
        }
    }
}

impl<K: Ord + Hash, M: Copy + Ord> FromIterator<(K, M)> for GroupIndex<K, M> {
    /// Several times as fast as inserting one pair at a time: most fields have few values, and
    /// sorted input becomes a tree without searching.
    fn from_iter<I: IntoIterator<Item = (K, M)>>(pairs: I) -> Self {
        let mut groups: HashMap<K, Vec<M>> = HashMap::new();
        for (key, member) in pairs {
            groups.entry(key).or_default().push(member);
        }
        let group = |members: Vec<M>| match *members {
            [member] => Group::One(member),
            _ => Group::Many(members.into_iter().collect()),
        };
        Self(groups.into_iter().map(|(key, members)| (key, group(members))).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn groups_are_what_a_set_of_pairs_is(
            steps in prop::collection::vec((0..6_u8, 0..6_u64, any::<bool>()), 0..60),
            place in prop::option::of((0..7_u8, 0..7_u64)),
        ) {
            let (mut groups, mut pairs) = (GroupIndex::default(), BTreeSet::new());
            for (key, member, is_added) in steps {
                if is_added {
                    groups.insert(key, member);
                    pairs.insert((key, member));
                } else {
                    groups.remove(&key, member);
                    pairs.remove(&(key, member));
                }
            }
            prop_assert_eq!(groups.is_empty(), pairs.is_empty());
            let same: GroupIndex<_, _> = pairs.iter().rev().copied().collect();
            prop_assert!(same.walk(None, false).eq(groups.walk(None, false)));
            for key in 0..7 {
                let of_key = pairs.iter().filter(|pair| pair.0 == key).map(|pair| pair.1);
                let of_key: Vec<u64> = of_key.collect();
                prop_assert_eq!(groups.count(&key), of_key.len() as u64);
                prop_assert_eq!(groups.of(&key, None).collect::<Vec<_>>(), of_key);
                for member in 0..7 {
                    let is_there = pairs.contains(&(key, member));
                    prop_assert_eq!(groups.contains(&key, member), is_there);
                }
            }
            for descending in [false, true] {
                let walked: Vec<(u8, u64)> =
                    groups.walk(place.as_ref(), descending).map(|(k, m)| (*k, m)).collect();
                let mut wanted: Vec<(u8, u64)> = pairs.iter().copied().collect();
                wanted.retain(|pair| {
                    place.is_none_or(|place| if descending { *pair < place } else { *pair > place })
                });
                if descending {
                    wanted.reverse();
                }
                prop_assert_eq!(walked, wanted);
            }
        }
    }
}
