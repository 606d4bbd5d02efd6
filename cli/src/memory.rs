//! Keeps memory use low: the memory of what a backup has sent is given back to the system.
//!
//! glibc raises its threshold for blocks of their own up to 32 MiB when such blocks are freed; segments of 8 and 16 MiB
//! then come from its heaps, which keep them. A fixed threshold turns that off.

/// From here on a block is mapped by itself and unmapped when it is freed. Frames of 1 MiB stay below.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES: i32 = 4 << 20;

/// Sets the threshold.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn give_back_large_blocks() {
    // SAFETY: `mallopt` takes two integers and sets a parameter of the allocator, under the allocator's own lock.
    // It fails by returning 0, which leaves the default.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES) };
}

/// Other allocators have no such threshold.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_large_blocks() {}
