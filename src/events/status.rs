//! How far an object's life is: what every noun with a status has (rule E6).
//!
//! Not here: the statuses themselves and how events change them (one file a noun).

use super::EventPayload;

/// The status of a noun's objects: one total function of status and event (rule E6), used by the
/// actor and by the read model.
pub trait Status: Copy + Default + PartialEq + Send + 'static {
    /// What can happen to such an object.
    type Event: EventPayload;

    /// The status after an event.
    #[must_use]
    fn after(self, event: &Self::Event) -> Self;

    /// Whether the object is being deleted: only the outcome of that changes the status.
    fn is_deleting(self) -> bool {
        false
    }

    /// Whether there is no such object: not yet, or no longer.
    fn is_gone(self) -> bool;
}

/// Declares the statuses of a noun, each with the word that it is recorded and shown as. The first
/// one is that of an object before its first event.
#[macro_export]
macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident {
        $(#[$first_doc:meta])* $first:ident = $first_word:literal;
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        #[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            #[serde(rename = $first_word)]
            $first,
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every status.
            pub const ALL: &'static [Self] = &[Self::$first, $(Self::$variant,)*];

            /// As it is recorded and shown.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}
