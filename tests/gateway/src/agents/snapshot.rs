//! One `health_snapshot`: its text as the agent sent it, for REST, and its numbers, for history.

use serde_json::Value;
use serde_json::value::RawValue;

use super::health::{Health, Troubles};
use crate::clock::Moment;

/// An agent may send 1 MiB. What is kept of each instance is less.
const LIMIT: usize = 256 * 1024;
/// What is left out of a larger one, in this order.
const LARGE_MEMBERS: [&str; 2] = ["containers", "container_health"];

#[derive(Debug)]
pub struct Snapshot {
    /// When it came, by the gateway's clock.
    pub at: Moment,
    pub text: Box<RawValue>,
    pub point: Point,
    /// What is wrong, found once: a page looks at all instances.
    pub troubles: Troubles,
}

/// What history keeps of a snapshot: tenths of a per cent, and whole containers. `None` is what the
/// agent could not read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Point {
    pub values: [Option<u16>; Point::NAMES.len()],
}

impl Point {
    pub const NAMES: [&str; 4] = ["cpu_pct", "mem_pct", "disk_pct", "container_count"];
    /// How many of a stored unit make one of what is told.
    pub const SCALES: [f64; 4] = [10.0, 10.0, 10.0, 1.0];
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Snapshot) -> bool {
        self.at == other.at && self.text.get() == other.text.get()
    }
}

impl Snapshot {
    /// The error says what is no good about it.
    pub fn read(mut params: Value, at: Moment) -> Result<Snapshot, String> {
        let point = point(&params)?;
        let troubles = Health::read(&params).troubles(collected_at(&params).unwrap_or(at));
        let mut text = params.to_string();
        for name in LARGE_MEMBERS {
            if text.len() > LIMIT
                && let Some(members) = params.as_object_mut()
            {
                members.remove(name);
                text = params.to_string();
            }
        }
        if text.len() > LIMIT {
            return Err(format!("a snapshot of {} bytes", text.len()));
        }
        let text = RawValue::from_string(text).map_err(|error| error.to_string())?;
        Ok(Snapshot { at, text, point, troubles })
    }

    /// What the store has kept.
    pub fn restore(text: String, at: Moment) -> Option<Snapshot> {
        Snapshot::read(serde_json::from_str(&text).ok()?, at).ok()
    }
}

/// By the agent's clock, as all times in it are.
pub fn collected_at(params: &Value) -> Option<Moment> {
    params["collected_at"].as_str().and_then(Moment::parse)
}

fn point(params: &Value) -> Result<Point, String> {
    if !params.is_object() {
        return Err("a snapshot that is not an object".to_owned());
    }
    let mut point = Point::default();
    let scales = Point::NAMES.iter().zip(Point::SCALES).zip(&mut point.values);
    for ((name, scale), value) in scales {
        *value = match &params[*name] {
            Value::Null => None,
            told => Some(stored(told, scale).ok_or_else(|| format!("{name} is {told}"))?),
        };
    }
    Ok(point)
}

/// Per cents go to 100; a count that does not fit is taken as the highest.
fn stored(told: &Value, scale: f64) -> Option<u16> {
    let highest = if scale > 1.0 { 100.0 * scale } else { f64::from(u16::MAX - 1) };
    let number = told.as_f64().filter(|number| *number >= 0.0)? * scale;
    let fits = scale == 1.0 || number.round() <= highest;
    fits.then(|| number.round().min(highest) as u16)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_in_tenths() {
        let told = json!({"cpu_pct": 12.5, "mem_pct": null, "disk_pct": 100, "container_count": 3});
        let snapshot = Snapshot::read(told, Moment::from_secs(1)).unwrap();
        assert_eq!(snapshot.point.values, [Some(125), None, Some(1000), Some(3)]);
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for told in [
            json!([]),
            json!({"cpu_pct": -1}),
            json!({"mem_pct": 100.1}),
            json!({"disk_pct": "63"}),
            json!({"container_count": -3}),
        ] {
            assert!(Snapshot::read(told.clone(), Moment::from_secs(1)).is_err(), "{told}");
        }
        let endless = json!({"cpu_pct": 1, "unknown": "x".repeat(LIMIT)});
        assert!(Snapshot::read(endless, Moment::from_secs(1)).is_err());
    }

    #[test]
    fn of_a_large_one_the_containers_are_left_out() {
        let told = json!({"cpu_pct": 1, "containers": ["x".repeat(LIMIT)], "host": {}});
        let snapshot = Snapshot::read(told, Moment::from_secs(1)).unwrap();
        assert_eq!(snapshot.text.get(), r#"{"cpu_pct":1,"host":{}}"#);
    }
}
