//! What is agreed with the kernel at the first request.

use std::time::Duration;

use fuser::{InitFlags, KernelConfig};

/// Largest write request: what 256 pages hold, the kernel's own limit unless it is raised.
const MAX_WRITE_BYTES: u32 = 1 << 20;
/// Requests the kernel may have under way in the background (readahead, write-back).
const MAX_BACKGROUND: u16 = 64;

/// Asks for what the filesystem is built for; `passthrough` stays set only when the kernel offers it.
pub(super) fn negotiate(config: &mut KernelConfig, passthrough: &mut bool) {
    let wanted = [
        InitFlags::FUSE_ATOMIC_O_TRUNC,
        InitFlags::FUSE_DONT_MASK,
        InitFlags::FUSE_AUTO_INVAL_DATA,
        InitFlags::FUSE_DO_READDIRPLUS,
        InitFlags::FUSE_READDIRPLUS_AUTO,
        InitFlags::FUSE_ASYNC_DIO,
        InitFlags::FUSE_PARALLEL_DIROPS,
        InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        InitFlags::FUSE_POSIX_ACL,
        InitFlags::FUSE_CACHE_SYMLINKS,
        InitFlags::FUSE_MAX_PAGES,
        InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    ];
    for flag in wanted {
        if let Err(missing) = config.add_capabilities(flag) {
            log::info!("the kernel does not offer {missing:?}");
        }
    }
    if *passthrough {
        *passthrough = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
    }
    let _ = config.set_max_write(MAX_WRITE_BYTES);
    let _ = config.set_max_background(MAX_BACKGROUND);
    let _ = config.set_time_granularity(Duration::from_nanos(1));
}
