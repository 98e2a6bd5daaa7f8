//! The program from outside: what it prints and how it exits. The brokers are fake ones, each a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_everack-bench");

/// A fake broker; it ends with the test.
struct Broker {
    child: Child,
    url: String,
}

impl Broker {
    fn start() -> Self {
        let mut child = Command::new(PROGRAM)
            .arg("echo")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fake broker starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it has an output");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it listens");
        let url = line.split_whitespace().next().expect("an address").to_owned();
        Self { child, url }
    }

    fn peer(&self, name: &str) -> String {
        format!("--peer={name}={},pid={}", self.url, self.child.id())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const QUICK: [&str; 4] = ["--duration", "0.3", "--warm-up", "0.1"];

fn bench(arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .output()
        .expect("the program runs")
}

/// Runs the program and looks for texts in what it prints on both outputs.
fn check(arguments: &[&str], exit: i32, texts: &[&str]) {
    let output = bench(arguments);
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{arguments:?} printed:\n{printed}"
    );
    for text in texts {
        assert!(
            printed.contains(text),
            "{arguments:?} does not say {text:?}:\n{printed}"
        );
    }
}

#[test]
fn the_suite_lists_its_cases_and_refuses_what_it_does_not_know() {
    check(
        &["suite", "--case", "list"],
        0,
        &["restart", "w2-real", "window100"],
    );
    check(&["suite", "--case", "w99"], 1, &["there is no case w99"]);
    check(
        &["suite", "--scale", "2"],
        1,
        &["--scale takes a part: above 0, 1 at most"],
    );
}

#[test]
fn one_run_ends_with_a_line_of_json() {
    let broker = Broker::start();
    let mut arguments = vec![
        "--url",
        &broker.url,
        "--workload",
        "w1c",
        "--size",
        "32,64",
        "--json",
    ];
    arguments.extend(QUICK);
    let output = bench(&arguments);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().expect("it prints something");
    let report: serde_json::Value = serde_json::from_str(last).expect("the last line is JSON");
    assert_eq!(report["workload"]["sizes"], serde_json::json!([32, 64]));
    assert_eq!(report["workload"]["window"], 1000);
    assert_eq!(report["balance"]["ending"], "drained");
}

#[test]
fn floors_decide_how_a_comparison_exits() {
    let (one, other) = (Broker::start(), Broker::start());
    let peers = [one.peer("one"), other.peer("other")];
    let compare = |floor: &str, exit, texts: &[&str]| {
        let mut arguments = vec![
            "compare",
            &peers[0],
            &peers[1],
            "--workload",
            "w1c",
            "--rounds",
            "2",
        ];
        arguments.extend(["--baseline", "other", "--floor", floor]);
        arguments.extend(QUICK);
        check(&arguments, exit, texts);
    };
    compare(
        "w1c=0.001,0.001",
        0,
        &["| w1c | one |", "| w1c | other |", ": met |"],
    );
    compare("w1c=1000,0.001", 1, &[": MISSED |"]);
    compare("w1c=0.001,1000", 1, &[": MISSED |"]);
}

#[test]
fn mistakes_are_told() {
    check(
        &["--workload", "w99"],
        1,
        &["there is no workload w99; there are w1a, w1b"],
    );
    check(&["--url", "http://x"], 2, &["an address begins with amqp://"]);
    check(&["--ack", "some"], 2, &["none, each, or how many deliveries"]);
    check(&["--consumers", "0", "--backlog", "5"], 1, &["needs consumers"]);
    check(
        &["compare", "--floor", "w8=1,1"],
        1,
        &["a floor for w8, which is not run"],
    );
    check(&["compare"], 1, &["name at least one broker"]);
    check(
        &["compare", "--peer", "a=amqp://127.0.0.1:1", "--workload", "w1a"],
        1,
        &["cannot connect"],
    );
    check(
        &["--duration", "100000"],
        1,
        &["--duration takes 0 to 86400 seconds"],
    );
    check(&["workloads"], 0, &["w1a", "rate20k"]);
}
