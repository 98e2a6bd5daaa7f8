//! Log-ins that are nobody's: garbage in every field, and passwords by the hundred.

use anyhow::ensure;
use everack_compat::raw::{self, Ending, Fields, Raw};
use std::time::{Duration, Instant};

use crate::scene::{Scene, told};
use crate::{Case, case, ours};

pub(crate) const CASES: &[Case] = &[
    case("PLAIN with nothing", 32, |scene| refused(scene, "PLAIN", b"")),
    case("PLAIN with one NUL, and with a thousand", 32, |scene| {
        refused(scene, "PLAIN", b"\0")?;
        refused(scene, "PLAIN", &[0; 1000])
    }),
    case("PLAIN without a password", 32, |scene| {
        refused(scene, "PLAIN", b"\0guest")
    }),
    case("PLAIN with bytes that are no text", 32, |scene| {
        refused(scene, "PLAIN", b"\0\xff\xfe\0\xc3\x28")
    }),
    case("PLAIN with a password of 12,000 bytes", 64, |scene| {
        let response = [b"\0guest\0".to_vec(), vec![b'p'; 12_000]].concat();
        refused(scene, "PLAIN", &response)
    }),
    case("a mechanism that nobody has heard of", 8, |scene| {
        refused(scene, &"M".repeat(255), b"\0guest\0guest")
    }),
    case("a mechanism without a name", 8, |scene| {
        refused(scene, "", b"\0guest\0guest")
    }),
    case("a mechanism with NULs in its name", 8, |scene| {
        refused(scene, "PLAIN\0", b"\0guest\0guest")
    }),
    case("EXTERNAL without a certificate", 8, |scene| {
        refused(scene, "EXTERNAL", b"guest")
    }),
    case("AMQPLAIN with numbers for names", 32, |scene| {
        let table = [
            Fields::default().name("LOGIN").octet(b'I').long(1).0,
            Fields::default().name("PASSWORD").octet(b't').octet(1).0,
        ];
        refused(scene, "AMQPLAIN", &table.concat())
    }),
    case("AMQPLAIN with a table for a password", 32, |scene| {
        let table = [
            Fields::default().name("LOGIN").octet(b'S').bytes(b"guest").0,
            Fields::default().name("PASSWORD").octet(b'F').bytes(b"\x01kV").0,
        ];
        refused(scene, "AMQPLAIN", &table.concat())
    }),
    case("AMQPLAIN that breaks off", 32, |scene| {
        refused(scene, "AMQPLAIN", b"\x05LOGINS\x7f\xff\xff\xffguest")
    }),
    case("AMQPLAIN with two log-ins", 32, |scene| {
        let entry = |name: &str, value: &[u8]| Fields::default().name(name).octet(b'S').bytes(value).0;
        let table = [
            entry("LOGIN", b"nobody"),
            entry("LOGIN", b"guest"),
            entry("PASSWORD", b"wrong"),
            entry("PASSWORD", b"guest"),
        ];
        refused(scene, "AMQPLAIN", &table.concat())
    }),
    ours("200 wrong passwords at once, while others log in", 160, guessing),
];

/// Refused in one of the two ways that there are: a close with 403, or no word at all to who does not understand that.
fn refused(scene: &Scene, mechanism: &str, response: &[u8]) -> anyhow::Result<String> {
    let mut silent = scene.greeted()?;
    silent.send(&raw::start_ok(&[], mechanism, response).on(0))?;
    ensure!(
        !matches!(silent.ending()?, Ending::Channel(..)),
        "it was treated as if it were logged in"
    );
    let mut told_why = scene.greeted()?;
    let able = raw::capability("authentication_failure_close");
    told_why.send(&raw::start_ok(&able, mechanism, response).on(0))?;
    let ending = told_why.ending()?;
    ensure!(
        matches!(ending, Ending::Connection(..) | Ending::Cut),
        "the ending was {ending:?}"
    );
    told_why.is_cut()?;
    Ok(told(&ending))
}

/// Checking a password costs 19 MiB and some 20 ms of a core on purpose; whoever has logged in before is served all the same.
fn guessing(scene: &Scene) -> anyhow::Result<String> {
    let mut guesses: Vec<Raw> = Vec::new();
    for number in 0..200 {
        let mut raw = scene.greeted()?;
        let response = format!("\0bomber\0guess{number}");
        raw.send(&raw::start_ok(&[], "PLAIN", response.as_bytes()).on(0))?;
        guesses.push(raw);
    }
    let start = Instant::now();
    scene
        .login()?
        .round_trip("known", b"guest has logged in before")?;
    let took = start.elapsed();
    ensure!(
        took < Duration::from_secs(5),
        "a user that is known waited {took:?} for its log-in"
    );
    guesses.into_iter().for_each(Raw::reset);
    Ok(format!(
        "none; `guest` logged in within {} ms meanwhile",
        took.as_millis()
    ))
}
