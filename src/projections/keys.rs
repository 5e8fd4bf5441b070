//! Keys of the read models in their one sled tree.
//!
//! ```text
//! 00                                                    which generation is read (store)
//! 01 generation 'c'                                     checkpoint
//! 01 generation 'v' kind uuid                           view
//! 01 generation 'i' project kind field value created    uuid: order and filters of lists
//! 01 generation 'n' project kind field value            how many objects have that value
//! 01 generation 'k' kind                                how many objects there are
//! 01 generation 'p' kind uuid                           parked stream
//! 01 generation 'o' kind uuid                           object that waits for work
//! 01 generation 'm' bay uuid                            member of a bay
//! ```
//!
//! Everything compares as bytes in the order that people expect: numbers are big-endian, texts
//! end in `00 00`, nothing comes before something. So one walk over `i` is a sorted page.

use super::View;
use crate::ids::{Kind, ObjectId, Position, ProjectId, StreamId};

/// Where it says which generation is read.
pub(super) const ROOT: [u8; 1] = [0];

/// What a record is.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Tag {
    Checkpoint = b'c',
    View = b'v',
    Index = b'i',
    Count = b'n',
    KindCount = b'k',
    Parked = b'p',
    Outstanding = b'o',
    Member = b'm',
}

/// A field of a list. The order of creation and the last change come before the noun's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field(u8);

impl Field {
    pub const CREATED: Self = Self(0);
    pub const UPDATED: Self = Self(1);
    /// Every noun's first own field; as good as its own count.
    const UUID: Self = Self(2);

    /// A noun's own field, by which lists filter and sort.
    pub fn named<V: View>(name: &str) -> Option<Self> {
        let index = V::FIELDS.iter().position(|field| *field == name)?;
        u8::try_from(index).ok()?.checked_add(Self::UUID.0).map(Self)
    }

    /// A field by which lists sort.
    pub fn sort<V: View>(name: &str) -> Option<Self> {
        match name {
            "id" | "created_at" => Some(Self::CREATED),
            "updated_at" => Some(Self::UPDATED),
            own => Self::named::<V>(own),
        }
    }

    /// Every field of a noun.
    pub fn all<V: View>() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self).take(V::FIELDS.len() + usize::from(Self::UUID.0))
    }

    /// Whether it is known how many objects have each value. Not worth it where each has its own.
    pub const fn is_counted(self) -> bool {
        self.0 != Self::UPDATED.0 && self.0 != Self::UUID.0
    }

    fn name<V: View>(self) -> &'static str {
        let own = self.0.checked_sub(Self::UUID.0).map(usize::from);
        own.and_then(|own| V::FIELDS.get(own)).copied().unwrap_or_default()
    }

    /// The value that a view has here, encoded.
    pub fn of<V: View>(self, view: &V) -> Vec<u8> {
        match self {
            Self::CREATED => Vec::new(),
            Self::UPDATED => match view.head().updated_at {
                // The sign bit flipped, negative times come first.
                Some(time) => {
                    let [a, b, c, d, e, f, g, h] = time.0.to_be_bytes();
                    vec![1, a ^ 0x80, b, c, d, e, f, g, h]
                }
                None => vec![0],
            },
            own => match view.field(own.name::<V>()) {
                Some(text) => own.value::<V>(&text).unwrap_or_else(|| vec![0]),
                None => vec![0],
            },
        }
    }

    /// A value that is asked for, encoded; none where no object can have it.
    pub fn value<V: View>(self, text: &str) -> Option<Vec<u8>> {
        let mut out = vec![1];
        if V::NUMBERS.contains(&self.name::<V>()) {
            out.extend(text.parse::<u64>().ok()?.to_be_bytes());
        } else {
            put_text(&mut out, text);
        }
        Some(out)
    }
}

/// Texts longer than this sort by so many bytes: keys stay small, as sled wants them.
const MAX_TEXT: usize = 128;

fn put_text(out: &mut Vec<u8>, text: &str) {
    let (head, long) = match text.as_bytes().get(..MAX_TEXT) {
        Some(head) => (head, text.len() > MAX_TEXT),
        None => (text.as_bytes(), false),
    };
    for byte in head {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    if long {
        out.extend([0, 1]);
        out.extend(blake3::hash(text.as_bytes()).as_bytes());
    } else {
        out.extend([0, 0]);
    }
}

/// Makes the keys of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub generation: u32,
}

impl Keys {
    /// What every key of a generation begins with.
    pub fn prefix(self) -> Vec<u8> {
        let mut key = vec![1];
        key.extend(self.generation.to_be_bytes());
        key
    }

    /// What every key of a tag begins with.
    pub fn tag(self, tag: Tag) -> Vec<u8> {
        let mut key = self.prefix();
        key.push(tag as u8);
        key
    }

    /// A record of a stream.
    pub fn stream(self, tag: Tag, stream: StreamId) -> Vec<u8> {
        let mut key = self.tag(tag);
        key.extend(stream.to_bytes());
        key
    }

    /// What every view of a noun begins with.
    pub fn views(self, kind: Kind) -> Vec<u8> {
        let mut key = self.tag(Tag::View);
        key.push(kind as u8);
        key
    }

    /// How many objects there are of a noun.
    pub fn kind_count(self, kind: Kind) -> Vec<u8> {
        let mut key = self.tag(Tag::KindCount);
        key.push(kind as u8);
        key
    }

    /// What every member of a bay begins with.
    pub fn members(self, bay: ObjectId) -> Vec<u8> {
        let mut key = self.tag(Tag::Member);
        key.extend(bay.0.as_bytes());
        key
    }

    /// What the index keys of all values of a field begin with.
    pub fn field<V: View>(self, project: &ProjectId, field: Field) -> Vec<u8> {
        let mut key = self.tag(Tag::Index);
        put_text(&mut key, &project.0);
        key.extend([V::KIND as u8, field.0]);
        key
    }

    /// What the index keys of one value begin with.
    pub fn value<V: View>(self, project: &ProjectId, field: Field, value: &[u8]) -> Vec<u8> {
        let mut key = self.field::<V>(project, field);
        key.extend(value);
        key
    }

    /// The index key of a view in a field.
    pub fn entry<V: View>(self, view: &V, field: Field) -> Vec<u8> {
        let head = view.head();
        let prefix = self.value::<V>(&head.project, field, &field.of(view));
        at(&prefix, head.created_position)
    }
}

/// The index key of an object under a value.
pub(super) fn at(value: &[u8], created: Position) -> Vec<u8> {
    let mut key = Vec::with_capacity(value.len() + 8);
    key.extend(value);
    key.extend(created.0.to_be_bytes());
    key
}

/// The reverse of [`at`].
pub(super) fn split(key: &[u8]) -> Option<(&[u8], Position)> {
    let (value, created) = key.split_last_chunk::<8>()?;
    Some((value, Position(u64::from_be_bytes(*created))))
}

/// The count of the value that an index key is under.
pub(super) fn count_of(value: &[u8]) -> Vec<u8> {
    let mut key = value.to_vec();
    if let Some(tag) = key.get_mut(TAG_AT) {
        *tag = Tag::Count as u8;
    }
    key
}

/// Where the tag is in a key: after the first byte and the generation.
const TAG_AT: usize = 5;

/// The generation that a key belongs to.
pub(super) fn generation_of(key: &[u8]) -> Option<u32> {
    let (_, rest) = key.split_first()?;
    rest.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The first key after all that begin with a prefix.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_text(&mut out, text);
        out
    }

    proptest! {
        #[test]
        fn texts_compare_as_their_bytes_do(
            a in ".{0,20}", b in "[\0a\u{ff}]{0,8}", c in ".{0,20}"
        ) {
            for (x, y) in [(&a, &b), (&a, &c), (&b, &c)] {
                prop_assert_eq!(encoded(x).cmp(&encoded(y)), x.as_bytes().cmp(y.as_bytes()));
            }
        }

        #[test]
        fn no_text_begins_another(a in "[\0ab]{0,200}", b in "[\0ab]{0,200}") {
            prop_assume!(a != b);
            prop_assert!(!encoded(&a).starts_with(&encoded(&b)));
        }
    }

    #[test]
    fn long_texts_stay_apart_and_sort_by_their_beginning() {
        let long = "x".repeat(500);
        let other = format!("{}y", "x".repeat(499));
        assert_ne!(encoded(&long), encoded(&other));
        assert!(encoded("w") < encoded(&long) && encoded(&long) < encoded("y"));
        assert!(encoded(&long).len() < 200);
    }

    #[test]
    fn the_end_of_a_prefix_is_after_all_of_it() {
        assert_eq!(end_of(&[1, 2]), [1, 3]);
        assert_eq!(end_of(&[1, 0xff, 0xff]), [2]);
        assert!(end_of(&[0xff]).is_empty());
    }
}
