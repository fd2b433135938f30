//! The memory of the C library's allocator.

/// Limits the pools of memory that threads allocate from to one for each two processors. glibc makes up to eight for each
/// processor (`M_ARENA_MAX` in mallopt(3)), and each thread that has scanned a tree leaves one behind that is mostly empty: with
/// 150,000 directories on two processors they take a fifth of the daemon's memory.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn limit_pools() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let pools = (processors / 2).clamp(1, 64) as i32;
    // SAFETY: it sets a number that the allocator reads under its own lock.
    unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, pools) };
}

/// Other C libraries have one pool.
#[cfg(not(target_env = "gnu"))]
pub fn limit_pools() {}
