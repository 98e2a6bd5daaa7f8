//! The story, played short, as users play it: `everack demo`, with the binary that was built beside these tests.

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn manual_ack_keeps_what_auto_ack_loses() {
    let everack = PathBuf::from(env!("CARGO_BIN_EXE_shop-demo")).with_file_name("everack");
    if !everack.exists() {
        let missing = format!(
            "{} is not built: cargo build -p everack-server",
            everack.display()
        );
        assert!(std::env::var("CI").is_err(), "{missing}");
        eprintln!("SKIPPED, {missing}");
        return;
    }
    let short = [
        "--orders",
        "300",
        "--work-ms",
        "100",
        "--rate",
        "120",
        "--prefetch",
        "5",
        "--json",
    ];
    let played = Command::new(&everack)
        .arg("demo")
        .args(short)
        .output()
        .expect("the demo runs");
    let told = String::from_utf8_lossy(&played.stdout);
    let complaint = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}\n{complaint}");

    let last = told.lines().last().expect("a last line");
    let verdict: Value = serde_json::from_str(last).expect("the last line is JSON");
    check(&verdict["manual_ack"], 300, true);
    check(&verdict["auto_ack"], 300, false);
}

fn check(act: &Value, orders: i64, kept: bool) {
    let number = |key: &str| {
        act[key]
            .as_i64()
            .unwrap_or_else(|| panic!("{key} is missing in {act}"))
    };
    assert_eq!(number("orders"), orders);
    assert_eq!(number("shipped") + number("lost"), orders);
    assert_eq!(number("lost") == 0, kept, "{act}");
    assert_eq!(number("shipped_twice"), 0);
    assert!(number("warehouse_kills") >= 2, "{act}");
    assert_eq!(number("broker_kills"), 1);
    assert!(!kept || number("redelivered") > 0, "{act}");
}
