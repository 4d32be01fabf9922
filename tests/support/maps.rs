//! Inspects the mappings of the process.

/// The number and size of the mappings, except those that grow by themselves. Tests compare two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    pub mappings: usize,
    pub bytes: usize,
    pub executable_bytes: usize,
}

/// One mapping.
#[allow(clippy::struct_excessive_bools, reason = "the flags of a mapping are independent")]
#[derive(Debug, Clone, Copy)]
pub struct Mapping {
    pub start: usize,
    pub end: usize,
    pub writable: bool,
    pub executable: bool,
    /// The same memory may be mapped elsewhere, too.
    pub shared: bool,
    /// The mapping grows and shrinks by itself: the heap, the stack.
    pub elastic: bool,
}

/// Reads the mappings, and checks that no mapping is writable and executable.
pub fn look() -> Snapshot {
    let mut snapshot = Snapshot { mappings: 0, bytes: 0, executable_bytes: 0 };
    for mapping in all() {
        let size = mapping.end - mapping.start;
        assert!(!(mapping.writable && mapping.executable), "writable and executable: {mapping:x?}");
        snapshot.mappings += usize::from(!mapping.elastic);
        snapshot.bytes += if mapping.elastic { 0 } else { size };
        snapshot.executable_bytes += if mapping.executable { size } else { 0 };
    }
    snapshot
}

/// Counts the open descriptors below 256 without opening one. Returns 0 on Windows.
pub fn descriptors() -> usize {
    #[cfg(unix)]
    // SAFETY: F_GETFD only reads flags.
    return (0..256).filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1).count();
    #[cfg(windows)]
    0
}

/// Returns the mapping that contains an address.
pub fn at(address: *const u8) -> Option<Mapping> {
    all().into_iter().find(|mapping| (mapping.start..mapping.end).contains(&address.addr()))
}

#[cfg(target_os = "linux")]
pub use linux::{all, keep_open, name_at, of};

#[cfg(target_os = "linux")]
mod linux {
    use super::Mapping;
    use std::sync::atomic::{AtomicI32, Ordering};

    static KEPT: AtomicI32 = AtomicI32::new(-1);

    /// Opens the list of mappings and keeps it open, for tests in which no file can be opened. Returns whether it shows
    /// later changes: qemu-user provides a copy made when the file is opened.
    pub fn keep_open() -> bool {
        let kept = open();
        let before = text(kept);
        // SAFETY: A new mapping affects no other mapping.
        let page = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), 1 << 20, libc::PROT_READ, flags, -1, 0)
        };
        let live = page != libc::MAP_FAILED && text(kept) != before;
        // SAFETY: This function made the mapping and the descriptor.
        unsafe {
            libc::munmap(page, 1 << 20);
            if live {
                KEPT.store(kept, Ordering::Relaxed);
            } else {
                libc::close(kept);
            }
        }
        live
    }

    /// Reads the current list of mappings.
    fn current() -> String {
        let kept = KEPT.load(Ordering::Relaxed);
        if kept >= 0 {
            return text(kept);
        }
        let fd = open();
        let text = text(fd);
        // SAFETY: This function opened `fd`.
        unsafe { libc::close(fd) };
        text
    }

    fn open() -> i32 {
        // SAFETY: The path ends with a zero byte.
        let fd = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        assert!(fd >= 0, "/proc/self/maps: {}", std::io::Error::last_os_error());
        fd
    }

    pub fn all() -> Vec<Mapping> {
        current().lines().map(parse).collect()
    }

    /// Returns the file name of the mapping that contains an address, which is empty for private anonymous memory.
    pub fn name_at(address: *const u8) -> String {
        let text = current();
        let line = text.lines().find(|line| {
            let mapping = parse(line);
            (mapping.start..mapping.end).contains(&address.addr())
        });
        line.expect("the address is mapped").splitn(6, ' ').nth(5).unwrap_or_default().trim().to_owned()
    }

    /// Returns the mappings of a file.
    pub fn of(name: &str) -> Vec<Mapping> {
        let of_it = |line: &&str| line.splitn(6, ' ').nth(5).unwrap_or_default().trim() == name;
        current().lines().filter(of_it).map(parse).collect()
    }

    fn text(fd: i32) -> String {
        // The buffer is so small that malloc does not map it, which would change the list.
        let mut text = vec![0_u8; 1 << 16];
        let mut length = 0;
        loop {
            let rest = &mut text[length..];
            let offset = length.try_into().expect("the list is short");
            // SAFETY: `rest` is writable for its length.
            let got = unsafe { libc::pread(fd, rest.as_mut_ptr().cast(), rest.len(), offset) };
            assert!(got >= 0, "/proc/self/maps: {}", std::io::Error::last_os_error());
            if got == 0 && length < text.len() {
                break;
            }
            length += got.unsigned_abs();
            if length == text.len() {
                // Start again, because allocating more memory may change the list.
                text = vec![0; 4 * text.len()];
                length = 0;
            }
        }
        text.truncate(length);
        String::from_utf8(text).expect("the kernel writes ASCII here")
    }

    /// Parses a line such as "7f12-7f34 r-xp …".
    fn parse(line: &str) -> Mapping {
        let (range, rest) = line.split_once(' ').expect("a range, then a space");
        let (start, end) = range.split_once('-').expect("two addresses");
        let number = |text| usize::from_str_radix(text, 16).expect("a hexadecimal address");
        let flags = rest.as_bytes();
        Mapping {
            start: number(start),
            end: number(end),
            writable: flags[1] == b'w',
            executable: flags[2] == b'x',
            shared: flags[3] == b's',
            elastic: line.ends_with("[heap]") || line.ends_with("[stack]"),
        }
    }
}

/// Whether the tests can list the mappings of this system. If not, every list is empty.
pub const LISTED: bool = cfg!(any(target_os = "linux", windows));

#[cfg(not(any(target_os = "linux", windows)))]
pub fn all() -> Vec<Mapping> {
    Vec::new()
}

#[cfg(windows)]
pub fn all() -> Vec<Mapping> {
    use std::ffi::c_void;

    /// MEMORY_BASIC_INFORMATION for 64-bit processes.
    #[repr(C)]
    #[derive(Default)]
    struct Information {
        base: usize,
        allocation_base: usize,
        allocation_protect: u32,
        partition_id: u16,
        region_size: usize,
        state: u32,
        protect: u32,
        kind: u32,
    }
    const MEM_COMMIT: u32 = 0x1000;
    const MEM_PRIVATE: u32 = 0x2_0000;
    const MEM_MAPPED: u32 = 0x4_0000;
    unsafe extern "system" {
        fn VirtualQuery(address: *const c_void, info: *mut Information, length: usize) -> usize;
    }

    let mut mappings = Vec::new();
    let mut address = 0_usize;
    loop {
        let mut info = Information::default();
        // SAFETY: `info` is writable for the given size. Any address may be queried.
        let got = unsafe { VirtualQuery(address as *const c_void, &raw mut info, size_of::<Information>()) };
        if got == 0 {
            return mappings;
        }
        // Ignore what the loader maps (MEM_IMAGE).
        if info.state == MEM_COMMIT && (info.kind == MEM_PRIVATE || info.kind == MEM_MAPPED) {
            mappings.push(Mapping {
                start: info.base,
                end: info.base + info.region_size,
                writable: info.protect & 0xcc != 0, // READWRITE, WRITECOPY, EXECUTE_READWRITE, EXECUTE_WRITECOPY
                executable: info.protect & 0xf0 != 0, // EXECUTE, EXECUTE_READ, EXECUTE_READWRITE, EXECUTE_WRITECOPY
                shared: info.kind == MEM_MAPPED,
                elastic: false,
            });
        }
        address = info.base + info.region_size;
    }
}
