//! The axes that are a workload of the table, changed in one place.

use anyhow::Context;

use super::{Axis, Point};
use crate::peer::Peer;
use crate::suite::Figures;
use crate::suite::case::{self, Found, Setting};
use crate::suite::connections;
use crate::workload::Workload;

/// Body bytes that a producer may have unconfirmed, where messages are large.
const WINDOW_BYTES: u64 = 8 << 20;
/// The least confirm window.
const WINDOW_MIN: u64 = 8;

/// Measures the points one after the other on one broker.
pub(super) fn measure(
    axis: Axis,
    peer: &mut Peer,
    setting: &Setting<'_>,
    points: &[u64],
) -> anyhow::Result<Found> {
    let most = points.iter().copied().max().unwrap_or_default();
    match axis {
        Axis::Connections => {
            connections::raise_descriptors(most + connections::SPARE)?;
            peer.restart_with(&[&format!("amqp.connections_max={}", most + connections::SPARE)])?;
        }
        // One channel consumes from all of them.
        Axis::Queues => peer.restart_with(&[&format!("limits.consumers_max={most}")])?,
        _ => {}
    }
    let mut found = Found::default();
    for &at in points {
        let mut point = Point {
            at: at as f64,
            figures: Figures::new(),
        };
        for (prefix, workload) in workloads(axis, at)? {
            let measured =
                case::load(&workload, peer, setting).with_context(|| format!("{} {}", at, axis.label()))?;
            found.take(prefix, measured, &mut point.figures);
            if axis == Axis::Size {
                let rate = format!("{prefix}received_per_second");
                let bytes = point.figures.get(&rate).copied().unwrap_or_default() * at as f64;
                point
                    .figures
                    .insert(format!("{prefix}body_bytes_per_second"), bytes);
            }
        }
        found.series.push(point);
    }
    Ok(found)
}

/// What is measured at a point, each with what its figures' names begin with.
fn workloads(axis: Axis, at: u64) -> anyhow::Result<Vec<(&'static str, Workload)>> {
    let named = |name: &str| Workload::named(name).with_context(|| format!("there is no workload {name}"));
    Ok(match axis {
        Axis::Queues => vec![(
            "",
            Workload {
                queues: u32::try_from(at)?,
                ..named("w1c")?
            },
        )],
        Axis::Connections => {
            let pairs = u16::try_from(at / 2)?;
            vec![(
                "",
                Workload {
                    producers: pairs,
                    consumers: pairs,
                    queues: u32::from(pairs),
                    ..named("rate20k")?
                },
            )]
        }
        Axis::Backlog => vec![(
            "",
            Workload {
                backlog: at,
                ..named("w6")?
            },
        )],
        Axis::Size => {
            let sized = |name: &str| {
                anyhow::Ok(Workload {
                    sizes: vec![u32::try_from(at)?],
                    window: (WINDOW_BYTES / at).clamp(WINDOW_MIN, 1000) as u32,
                    ..named(name)?
                })
            };
            vec![("transient_", sized("w1c")?), ("durable_", sized("w2")?)]
        }
        Axis::Bindings | Axis::Cores => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_a_sound_workload() {
        for axis in [Axis::Queues, Axis::Connections, Axis::Backlog, Axis::Size] {
            for &at in axis.points() {
                let workloads = workloads(axis, at).expect("the points are within what a workload takes");
                assert!(!workloads.is_empty(), "{axis:?}");
                for (_, workload) in workloads {
                    assert_eq!(workload.validate(), Ok(()), "{axis:?} at {at}");
                }
            }
        }
    }
}
