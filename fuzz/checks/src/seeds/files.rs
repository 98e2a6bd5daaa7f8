//! Seeds of what lies on the disk: records of every kind, and one change of each kind to the files that hold them.

use everack_fuzz_checks::records::samples;

/// Which changes of a segment need which bytes: file, what, and what that needs.
pub(crate) fn segments() -> Vec<Vec<u8>> {
    let offset = |at: u32| at.to_le_bytes().to_vec();
    let rot = [
        [&[0][..], &offset(4100), &block(b"rotten")].concat(),
        vec![2, 0, 20, 1],
        vec![3, 0, 20],
        vec![4, 0, 16, 0, 1],
        vec![5],
    ];
    let forged = [
        [&[3][..], &4128u16.to_le_bytes(), &block(b"forged"), &[0, 0]].concat(),
        [
            &[4, 2, 0][..],
            &(3u64 << 32 | 6000).to_le_bytes(),
            &[64, 0, 0, 0, 1, 0, 0, 0],
        ]
        .concat(),
        [
            &[5, 4, 0][..],
            &(2u64 << 32 | 6000).to_le_bytes(),
            &[0, 18, 0, 0, 1],
        ]
        .concat(),
        [
            &[6, 1][..],
            &(1u64 << 32 | 5000).to_le_bytes(),
            &8192u64.to_le_bytes(),
        ]
        .concat(),
        [&[7, 9, 0, 0, 0][..], &[0; 16], &block(b"foreign")].concat(),
    ];
    let mut seeds = vec![Vec::new()];
    for file in 0..5u8 {
        seeds.extend(rot.iter().map(|change| [&[file, 0][..], change].concat()));
        seeds.extend(forged.iter().map(|change| [&[file][..], change].concat()));
    }
    seeds
}

pub(crate) fn checkpoints() -> Vec<Vec<u8>> {
    let contents: Vec<u8> = samples::checkpoint()
        .iter()
        .flat_map(|record| block(record))
        .collect();
    let mut seeds = vec![vec![0], [&[1][..], &contents].concat()];
    for record in samples::checkpoint() {
        seeds.push([&[1][..], &block(&record)].concat());
    }
    let changes = [
        [&[0, 0][..], &44u32.to_le_bytes(), &block(b"rotten")].concat(),
        vec![0, 3, 60, 0],
        vec![0, 5],
        [&[2, 1][..], &1u32.to_le_bytes(), &[0; 8]].concat(),
        [
            &[3][..],
            &40u16.to_le_bytes(),
            &1u32.to_le_bytes(),
            &block(b"\x05\0\0\0forge"),
        ]
        .concat(),
        [&[4][..], &40u16.to_le_bytes(), &[0; 20]].concat(),
        [&[5][..], &7u32.to_le_bytes(), &[0; 8], &block(b"nothing")].concat(),
    ];
    for file in 0..2u8 {
        seeds.extend(changes.iter().map(|change| [&[0, file][..], change].concat()));
    }
    seeds
}

pub(crate) fn records() -> Vec<Vec<u8>> {
    let all: Vec<u8> = samples::all().iter().flat_map(|record| block(record)).collect();
    let mut seeds = vec![vec![1], [&[1][..], &all].concat(), [&[0][..], &all].concat()];
    for record in samples::all() {
        seeds.push([&[1][..], &block(&record)].concat());
    }
    seeds.push([&[0][..], &block(&samples::topology())].concat());
    let checkpoint: Vec<u8> = samples::checkpoint()
        .iter()
        .flat_map(|record| block(record))
        .collect();
    seeds.push([&[2][..], &checkpoint, &all].concat());
    seeds
}

/// Bytes behind their length, as a script reads them.
fn block(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes()[..], bytes].concat()
}
