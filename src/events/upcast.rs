//! Converts payloads recorded in older versions to the newest one.
//!
//! Each version keeps its own frozen struct and is read with that. `From` converts it by one
//! version, as often as necessary. The outward form stays in the recorded version.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::codec;
use super::schema::EventSchema;

/// The versions of a payload, the newest first: `(V3, (V2, (V1, ())))`, written by `versions!`.
pub trait Versions<Next> {
    /// How many there are, which is the number of the newest.
    const COUNT: u16;

    /// Reads bytes of a version and takes them up to `Next`; `None` if there is no such version.
    fn decode(version: u16, bytes: &[u8]) -> Option<Result<Next, String>>;

    /// Bytes of a version as JSON of that version; `None` if there is no such version.
    fn json(version: u16, bytes: &[u8]) -> Option<Result<Value, String>>;

    /// Adds the schemas of all versions of an event type, the oldest first.
    fn schemas(event_type: &'static str, schemas: &mut Vec<EventSchema>);
}

/// Before the first version.
impl<Next> Versions<Next> for () {
    const COUNT: u16 = 0;

    fn decode(_: u16, _: &[u8]) -> Option<Result<Next, String>> {
        None
    }

    fn json(_: u16, _: &[u8]) -> Option<Result<Value, String>> {
        None
    }

    fn schemas(_: &'static str, _: &mut Vec<EventSchema>) {}
}

impl<Next, Payload, Before> Versions<Next> for (Payload, Before)
where
    Payload: DeserializeOwned + Serialize + ToSchema + Into<Next>,
    Before: Versions<Payload>,
{
    const COUNT: u16 = Before::COUNT + 1;

    fn decode(version: u16, bytes: &[u8]) -> Option<Result<Next, String>> {
        let read = if version == Self::COUNT {
            Some(codec::decode::<Payload>(bytes))
        } else {
            Before::decode(version, bytes)
        };
        read.map(|read| read.map(Into::into))
    }

    fn json(version: u16, bytes: &[u8]) -> Option<Result<Value, String>> {
        if version != Self::COUNT {
            return Before::json(version, bytes);
        }
        let json = |payload| serde_json::to_value(payload).map_err(|error| error.to_string());
        Some(codec::decode::<Payload>(bytes).and_then(json))
    }

    fn schemas(event_type: &'static str, schemas: &mut Vec<EventSchema>) {
        Before::schemas(event_type, schemas);
        schemas.push(EventSchema::of::<Payload>(event_type, Self::COUNT));
    }
}

/// The type that lists versions for [`Versions`].
#[macro_export]
macro_rules! versions {
    () => { () };
    ($newest:ty $(, $older:ty)*) => { ($newest, $crate::versions!($($older),*)) };
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::events::{DecodeError, EventPayload};
    use crate::noun_events;

    /// A robot moved so many steps, north being 0.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
    pub struct MovedV1 {
        direction: u8,
        steps: u32,
    }

    /// The direction got a name.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
    pub struct MovedV2 {
        direction: String,
        steps: u32,
    }

    /// A reason was added.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
    pub struct MovedV3 {
        direction: String,
        steps: u32,
        reason: Option<String>,
    }

    impl From<MovedV1> for MovedV2 {
        fn from(MovedV1 { direction, steps }: MovedV1) -> Self {
            Self { direction: if direction == 0 { "north" } else { "east" }.to_owned(), steps }
        }
    }

    impl From<MovedV2> for MovedV3 {
        fn from(MovedV2 { direction, steps }: MovedV2) -> Self {
            Self { direction, steps, reason: None }
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
    pub struct StoppedV1 {}

    noun_events! {
        /// What happens to a robot.
        RobotEvent {
            /// It moved.
            Moved(MovedV3, MovedV2, MovedV1) = "robot.moved", 3, Changed;
            /// It stopped.
            Stopped(StoppedV1) = "robot.stopped", 1, Changed;
        }
    }

    #[test]
    fn each_version_is_read_with_its_own_struct_and_becomes_the_present_one() {
        let moved = |reason: Option<&str>| {
            let (direction, reason) = ("north".to_owned(), reason.map(str::to_owned));
            RobotEvent::Moved(MovedV3 { direction, steps: 7, reason })
        };
        let first = codec::encode(&MovedV1 { direction: 0, steps: 7 });
        let second = codec::encode(&MovedV2 { direction: "north".to_owned(), steps: 7 });
        let third = moved(Some("for a look"));
        assert_eq!(RobotEvent::decode("robot.moved", 1, &first).unwrap(), moved(None));
        assert_eq!(RobotEvent::decode("robot.moved", 2, &second).unwrap(), moved(None));
        assert_eq!(RobotEvent::decode("robot.moved", 3, &third.encode()).unwrap(), third);
        assert_eq!(third.version(), 3);
    }

    #[test]
    fn outward_an_event_stays_in_the_version_in_which_it_was_recorded() {
        let first = codec::encode(&MovedV1 { direction: 1, steps: 7 });
        let shown = RobotEvent::json("robot.moved", 1, &first).unwrap();
        assert_eq!(shown, json!({ "direction": 1, "steps": 7 }));
        let names: Vec<String> = RobotEvent::schemas().iter().map(EventSchema::file).collect();
        let moved = [1, 2, 3].map(|version| format!("robot.moved.v{version}.json"));
        assert_eq!(names[..3], moved);
        assert_eq!(names[3], "robot.stopped.v1.json");
    }

    #[test]
    fn what_a_newer_program_wrote_is_said_and_not_guessed() {
        for (event_type, version) in [("robot.moved", 4), ("robot.moved", 0), ("robot.flew", 1)] {
            let unknown = DecodeError::Unknown { event_type: event_type.to_owned(), version };
            assert!(unknown.to_string().contains("newer magnum; upgrade this one"), "{unknown}");
            let bytes = codec::encode(&MovedV1 { direction: 0, steps: 7 });
            assert_eq!(RobotEvent::decode(event_type, version, &bytes).unwrap_err(), unknown);
            assert_eq!(RobotEvent::json(event_type, version, &bytes).unwrap_err(), unknown);
        }
        let malformed = RobotEvent::decode("robot.moved", 2, &[1]).unwrap_err();
        assert!(matches!(malformed, DecodeError::Malformed { version: 2, .. }), "{malformed}");
    }
}
