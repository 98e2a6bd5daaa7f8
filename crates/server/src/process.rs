//! The process as the system sees it: what it may have open, and has.

/// Open files, sockets included; none if the system does not tell.
pub(crate) fn descriptors_used() -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(open.count() as u64)
}

/// Most open files; none is no limit.
pub(crate) fn descriptors_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}
