//! Writes the seeds of every corpus: inputs made by the real encoders, from which a fuzzer goes on.
//!
//! `cargo run -p everack-fuzz-checks --bin fuzz-seeds` from the root of the repository. Files that are there stay; a seed's name is
//! the checksum of its bytes, so that writing twice changes nothing.

mod conversations;
mod files;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let seeds = [
        ("checkpoints", files::checkpoints()),
        ("connection", conversations::connection()),
        ("cuts", conversations::cuts()),
        ("frames", conversations::frames()),
        ("methods", conversations::methods()),
        ("records", files::records()),
        ("segments", files::segments()),
        ("tables", conversations::tables()),
    ];
    for (target, seeds) in seeds {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for seed in &seeds {
            let name = format!("seed-{:08x}", crc32fast::hash(seed));
            std::fs::write(folder.join(name), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}
