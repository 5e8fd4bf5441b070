//! What happens to the engine and the clock while clients are at work.

use std::sync::Arc;
use std::time::Duration;

use magnum::clock;
use magnum::ids::ObjectId;

use crate::client::Clients;
use crate::world::{World, locked};

/// Makes weather until everything is to settle.
pub async fn blow(world: Arc<World>, clients: Arc<Clients>) {
    while !world.is_calm() {
        world.pause(15_000).await;
        if world.is_calm() {
            return;
        }
        let life = world.life.borrow().clone();
        match world.below(7) {
            0 if world.weather.engine_outages => {
                world.note(|| "the engine goes away".to_owned());
                world.engine.go_away();
                world.pause(40_000).await;
                world.note(|| "the engine is back".to_owned());
                world.engine.come_back();
            }
            1 if world.weather.engine_crashes => {
                world.note(|| "the engine dies".to_owned());
                world.engine.crash();
                world.pause(40_000).await;
                world.note(|| "the engine starts".to_owned());
                world.engine.start_up();
            }
            2 if world.weather.jumps => {
                let by = i64::try_from(world.below(1_200_000)).unwrap_or(0) - 600_000;
                world.note(|| format!("the clock jumps by {by} ms"));
                clock::jump_ms(by);
            }
            3 if world.weather.crash_every.is_some() => {
                if let Some(life) = life {
                    world.note(|| "the server is killed".to_owned());
                    life.fence.kill();
                }
            }
            4 if world.weather.agent_crash_every.is_some() => {
                if life.is_some_and(|life| life.fence.kill_agent()) {
                    world.note(|| "the agent is killed".to_owned());
                }
            }
            5 if world.weather.stops => {
                if let Some(life) = life {
                    life.order_stop();
                }
            }
            _ if world.weather.meddling => meddle(&world, &clients),
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Somebody uses the engine directly.
fn meddle(world: &World, clients: &Clients) {
    let some = |of: &[String]| {
        let place = world.below(of.len() as u64) as usize;
        of.get(place).and_then(|id| id.parse::<ObjectId>().ok())
    };
    let (container, bay) = (some(&locked(&clients.containers)), some(&locked(&clients.bays)));
    let (Some(container), Some(bay)) = (container, bay) else { return };
    let engine = &world.engine;
    let what = world.below(10);
    world.note(|| format!("somebody does {what} to container {container} or bay {bay}"));
    match what {
        0 => engine.exit(container, 3),
        1 => engine.oom_kill(container),
        2 => engine.end_unseen(container, 1, false),
        3 => drop(engine.start_behind(container)),
        4 => engine.stop_behind(container),
        5 => engine.pause_behind(container),
        6 => engine.unpause_behind(container),
        7 => engine.rename_behind(container, &format!("renamed-{container}")),
        8 => engine.remove_behind(container),
        _ => engine.remove_network_behind(bay),
    }
    locked(&world.meddled).extend(match what {
        9 => vec![bay],
        _ => vec![container],
    });
}
