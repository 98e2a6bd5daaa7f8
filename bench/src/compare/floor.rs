//! What a broker must reach, measured against another one on the same work.

use std::str::FromStr;

use serde::Serialize;

/// Least throughput and most CPU a message, both as ratios to the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// Of which workload.
    pub workload: String,
    /// At least so many times the baseline's throughput.
    pub throughput_min: f64,
    /// At most one part in so many of the baseline's CPU a message.
    pub cpu_divisor_min: f64,
}

impl FromStr for Floor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "WORKLOAD=THROUGHPUT,CPU, such as w2=10,20";
        let (workload, ratios) = text.split_once('=').ok_or(FORM)?;
        let (throughput, cpu) = ratios.split_once(',').ok_or(FORM)?;
        let number = |text: &str| {
            text.parse::<f64>()
                .ok()
                .filter(|number| *number > 0.0)
                .ok_or(FORM)
        };
        Ok(Self {
            workload: workload.to_owned(),
            throughput_min: number(throughput)?,
            cpu_divisor_min: number(cpu)?,
        })
    }
}

/// What the project has promised against Debian's RabbitMQ: transient 16 B messages with and without confirms,
/// transient 1 KiB, and durable 1 KiB with confirms and manual ack.
pub fn promised() -> Vec<Floor> {
    let floor = |workload: &str, throughput_min, cpu_divisor_min| Floor {
        workload: workload.to_owned(),
        throughput_min,
        cpu_divisor_min,
    };
    vec![
        floor("w1a", 8.0, 25.0),
        floor("w1b", 5.0, 8.0),
        floor("w1c", 8.0, 25.0),
        floor("w2", 10.0, 20.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_read() {
        let floor = Floor {
            workload: "w2".to_owned(),
            throughput_min: 10.0,
            cpu_divisor_min: 20.0,
        };
        assert_eq!("w2=10,20".parse(), Ok(floor));
        for text in ["w2", "w2=10", "w2=10,0", "w2=x,1"] {
            assert!(text.parse::<Floor>().is_err(), "{text}");
        }
    }
}
