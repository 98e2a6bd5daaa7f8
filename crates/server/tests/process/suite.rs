//! The suite of the bench against this very binary: cases of each kind do their work and leave their figures.

use serde_json::Value;

use crate::{run, text};

#[test]
fn the_suite_measures_and_keeps_what_it_found() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("results");
    let output = run(&[
        "bench",
        "suite",
        "--case",
        "connections,declares,restart,w4,w6,fairness,scale-queues,scale-bindings",
        "--rounds",
        "1",
        "--scale",
        "0.001",
        "--duration",
        "0.2",
        "--warm-up",
        "0.1",
        "--out",
        &out.display().to_string(),
    ]);
    // A debug build misses targets; what is asked is that nothing was left out.
    let printed = text(&output.stdout);
    let results = std::fs::read_to_string(out.join("results.json")).unwrap_or_else(|error| {
        panic!("{error}; it printed\n{printed}\n{}", text(&output.stderr));
    });
    let results: Value = serde_json::from_str(&results).unwrap();
    let run = |case: &str, broker: &str| {
        let measured = results["measured"].as_array().unwrap().iter();
        let mut found = measured.filter(|run| run["case"] == case && run["broker"] == broker);
        found
            .next()
            .unwrap_or_else(|| panic!("no {case} on {broker} in {results}"))
            .clone()
    };
    for (case, figure) in [
        ("connections", "open_seconds"),
        ("declares", "awaited_declares_per_second"),
        ("restart", "ready_seconds"),
        ("w4", "confirm_p50_us"),
        ("w6", "publish_cpu_us_per_message"),
        ("fairness", "rate_kept"),
        ("scale-queues", "confirm_p50_us"),
        ("scale-bindings", "topic_cpu_us_per_message"),
    ] {
        let run = run(case, "everack");
        assert!(run["figures"][figure].as_f64().is_some(), "{run}");
        assert_eq!(run["problems"], Value::Array(Vec::new()), "{run}");
    }
    assert!(run("w4", "machine")["figures"]["fdatasync_p50_us"].as_f64() > Some(0.0));
    assert!(
        std::fs::read_to_string(out.join("rate.svg"))
            .unwrap()
            .ends_with("</svg>\n")
    );
    let series = run("scale-queues", "everack")["series"].clone();
    let at = |point: &Value| point["at"].as_f64().unwrap();
    let at: Vec<f64> = series.as_array().unwrap().iter().map(at).collect();
    assert_eq!(
        at,
        [1.0, 10.0, 100.0],
        "a thousandth of the queues, and each point once"
    );
    let picture = std::fs::read_to_string(out.join("scale-queues.svg")).unwrap();
    assert!(picture.contains("<polyline"), "{picture}");
    assert!(
        printed.contains("| w4 | confirm_p50_us | <= 1.3 x fdatasync_p50_us"),
        "{printed}"
    );
}
