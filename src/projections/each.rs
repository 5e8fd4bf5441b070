//! A value per noun, of a type that depends on the noun's view: `HashMap<ObjectId, V>` of each.
//!
//! Not here: which nouns there are (`nouns`).

use super::View;

/// Chooses the type of the values of an [`Each`].
pub trait PerNoun {
    /// The value for the noun of a view.
    type Of<V: View>: Default;
}

/// Finds the value of a noun by its view.
pub trait InEach: Sized {
    /// The value of this view's noun.
    fn of<P: PerNoun>(each: &Each<P>) -> &P::Of<Self>
    where
        Self: View;
    /// The same, to be changed.
    fn of_mut<P: PerNoun>(each: &mut Each<P>) -> &mut P::Of<Self>
    where
        Self: View;
}

/// Makes the struct out of the table of nouns.
macro_rules! each {
    ([] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        /// A value per noun.
        pub struct Each<P: PerNoun> {
            $($module: P::Of<$View>,)*
        }

        impl<P: PerNoun> Default for Each<P> {
            fn default() -> Self {
                Self { $($module: Default::default(),)* }
            }
        }

        $(impl InEach for $View {
            fn of<P: PerNoun>(each: &Each<P>) -> &P::Of<Self> {
                &each.$module
            }

            fn of_mut<P: PerNoun>(each: &mut Each<P>) -> &mut P::Of<Self> {
                &mut each.$module
            }
        })*
    };
}
crate::for_each_noun!(each []);

impl<P: PerNoun> Each<P> {
    /// The value of a noun.
    pub fn of<V: View>(&self) -> &P::Of<V> {
        V::of(self)
    }

    /// The value of a noun, to be changed.
    pub fn of_mut<V: View>(&mut self) -> &mut P::Of<V> {
        V::of_mut(self)
    }

    /// Moves the value of a noun out.
    pub fn take<V: View>(&mut self) -> P::Of<V> {
        std::mem::take(self.of_mut::<V>())
    }
}
