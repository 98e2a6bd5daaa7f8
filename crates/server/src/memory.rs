//! What the process takes of the machine's memory besides what it asks for.

/// Has the system give this process pages of the usual size only, from here on and whatever the machine's setting is.
///
/// Huge ones (2 MiB) are given where some of them is used, and kept where little of them still is: ten of the 25 MiB of an idle broker,
/// and 25 to 70 of one at work were never touched. No workload of the bench was measurably faster with them (docs/decisions/0035).
pub(crate) fn take_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as the machine has them");
    }
}

/// Takes code and constants, the program's and its libraries', out of the process's memory. What is needed again is found again in the
/// system's cache of files, where all of it stays: some hundred faults of a microsecond each.
///
/// A start comes by much that nothing comes by again, and the system maps sixteen pages around each one that is touched.
pub(crate) fn forget_code() {
    #[cfg(target_os = "linux")]
    match std::fs::read_to_string("/proc/self/maps") {
        Ok(maps) => maps.lines().filter_map(code).for_each(forget),
        Err(error) => tracing::debug!(%error, "the code stays in memory"),
    }
}

/// Where a line of `/proc/self/maps` says that code lies, or what lies before the code in its file: names, relocations, mostly constants.
/// None of it is ever written; tables that the loader has relocated lie behind the code.
#[cfg(target_os = "linux")]
fn code(line: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (place, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let from_file = fields.nth(2).is_some_and(|path| path.starts_with('/'));
    let begins_file = offset.bytes().all(|digit| digit == b'0');
    let (begin, end) = place.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let unwritten = access == "r-xp" || (access == "r--p" && begins_file);
    (from_file && unwritten).then_some(address(begin)?..address(end)?)
}

#[cfg(target_os = "linux")]
fn forget(pages: std::ops::Range<usize>) {
    use rustix::mm::{Advice, madvise};
    let begin = std::ptr::without_provenance_mut::<std::ffi::c_void>(pages.start);
    // SAFETY: the pages are mapped from a file, were never written and cannot be: whoever looks at one of them next finds it in the file
    // as it was.
    let advised = unsafe { madvise(begin, pages.len(), Advice::LinuxDontNeed) };
    if let Err(error) = advised {
        tracing::debug!(%error, "the code stays in memory");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_mapped_from_a_file_and_never_written() {
        let check = |access: &str, offset: &str, path: &str, expected: bool| {
            let line = format!("7f00-8f00 {access} {offset} fe:00 1234    {path}");
            assert_eq!(code(&line), expected.then_some(0x7f00..0x8f00), "{line}");
        };
        check("r-xp", "006b1000", "/usr/bin/everack", true);
        check("r--p", "00000000", "/usr/bin/everack", true);
        check("r--p", "01c0a000", "/usr/bin/everack", false);
        check("rw-p", "00000000", "/usr/bin/everack", false);
        check("r-xp", "00000000", "[vdso]", false);
        check("r--s", "00000000", "/var/cache/nscd/passwd", false);
        check("r--p", "00000000", "", false);
        assert_eq!(code("no line"), None);
    }

    #[test]
    fn code_that_was_forgotten_runs_on() {
        forget_code();
        assert_eq!(format!("{:?}", [1.5, 2.5]), "[1.5, 2.5]");
    }
}
