//! Names that objects hold: what an append takes and gives up of them (rule L9).
//!
//! The log compares names and knows no noun. Not here: which events take a name (`actors/naming`),
//! who holds which (`log`).

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{Kind, ObjectId, ProjectId, StreamId};
use crate::text::composed;

/// A name, and among which objects it is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name {
    /// `bays/p1`, or `containers/p1/` and the uuid of a bay.
    pub scope: String,
    /// The name itself, in the form in which names are compared.
    pub text: String,
}

/// A name in few bytes, as indexes hold it. Whoever finds two names with the same digest only keeps
/// himself from using both.
pub type NameDigest = [u8; 16];

/// Names with their holders.
pub type HeldNames = BTreeSet<(NameDigest, StreamId)>;

impl Name {
    /// The name of an object of a noun: one of its project, or of what it is in.
    pub fn new(kind: Kind, project: &ProjectId, within: Option<ObjectId>, text: &str) -> Self {
        let collection = kind.collection();
        let scope = match within {
            Some(id) => format!("{collection}/{project}/{id}"),
            None => format!("{collection}/{project}"),
        };
        Self { scope, text: composed(text).into_owned() }
    }

    /// The name in few bytes.
    pub fn digest(&self) -> NameDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.scope.len() as u64).to_le_bytes());
        hasher.update(self.scope.as_bytes());
        hasher.update(self.text.as_bytes());
        hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// What an append means for a name of its object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The object holds it from now on; refused while another one does.
    Take(Name),
    /// The object holds it from now on, whoever else does.
    Share(Name),
    /// The object no longer holds it.
    Release(Name),
}

/// What an append means for names; where nothing is said of it, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(pub Vec<Claim>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|claims| Self(claims.unwrap_or_default()))
    }
}

impl Claim {
    /// The name.
    pub const fn name(&self) -> &Name {
        match self {
            Self::Take(name) | Self::Share(name) | Self::Release(name) => name,
        }
    }

    /// Whether the object holds the name afterwards.
    pub const fn holds(&self) -> bool {
        !matches!(self, Self::Release(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_its_noun_its_project_and_what_it_is_in() {
        let id = |number| ObjectId(uuid::Uuid::from_u128(number));
        let (one, other) = (id(1), id(2));
        let name = |kind, project: &str, within, text| {
            Name::new(kind, &ProjectId(project.to_owned()), within, text)
        };
        let container = |project, bay, text| name(Kind::Container, project, Some(bay), text);
        let first = container("p", one, "web");
        assert_eq!(first, container("p", one, "web"));
        assert_eq!(container("p", one, "cafe\u{301}"), container("p", one, "caf\u{e9}"));
        let others = [
            container("p", other, "web"),
            container("q", one, "web"),
            container("p", one, "Web"),
            name(Kind::Bay, "p", None, "web"),
            name(Kind::Baymodel, "p", None, "web"),
        ];
        for other in others {
            assert_ne!(other.digest(), first.digest(), "{other:?}");
        }
        let split = |scope: &str, text: &str| Name { scope: scope.into(), text: text.into() };
        assert_ne!(split("a", "bc").digest(), split("ab", "c").digest());
    }
}
