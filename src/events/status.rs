//! How far an object's life is: what every noun with a status has (rule E6).
//!
//! Not here: the statuses themselves and how events change them (one file a noun).

use super::EventPayload;

/// The status of a noun's objects: one total function of status and event (rule E6), used by the
/// actor and by the read model.
pub trait Status: Stage + Default + PartialEq + Send + 'static {
    /// What can happen to such an object.
    type Event: EventPayload;

    /// The status after an event.
    #[must_use]
    fn after(self, event: &Self::Event) -> Self;
}

/// What the list of a noun's statuses says of each ([`crate::statuses`]).
pub trait Stage: Copy + 'static {
    /// Every status.
    fn all() -> &'static [Self];

    /// As it is recorded and shown.
    fn name(self) -> &'static str;

    /// Whether the object is being deleted: only the outcome of that changes the status.
    fn is_deleting(self) -> bool;

    /// Whether there is no such object: not yet, or no longer.
    fn is_gone(self) -> bool;
}

/// Declares the statuses of a noun, each with the word that it is recorded and shown as, and with
/// `gone` or `deleting` where [`Stage`] has it so. The first one is that of an object before its
/// first event.
#[macro_export]
macro_rules! statuses {
    (@ $asked:ident) => { false };
    (@ gone gone) => { true };
    (@ deleting deleting) => { true };
    (@ $asked:ident $other:ident) => { false };
    ($(#[$doc:meta])* $name:ident {
        $(#[$first_doc:meta])* $first:ident = $first_word:literal, gone;
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(, $stage:ident)?;)*
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

            /// Whether the object is being deleted.
            pub const fn is_deleting(self) -> bool {
                match self {
                    Self::$first => false,
                    $(Self::$variant => $crate::statuses!(@ deleting $($stage)?),)*
                }
            }

            /// Whether there is no such object: not yet, or no longer.
            pub const fn is_gone(self) -> bool {
                match self {
                    Self::$first => true,
                    $(Self::$variant => $crate::statuses!(@ gone $($stage)?),)*
                }
            }
        }

        impl $crate::events::status::Stage for $name {
            fn all() -> &'static [Self] {
                Self::ALL
            }

            fn name(self) -> &'static str {
                self.name()
            }

            fn is_deleting(self) -> bool {
                self.is_deleting()
            }

            fn is_gone(self) -> bool {
                self.is_gone()
            }
        }
    };
}
