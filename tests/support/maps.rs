//! A look at the process's mappings.

/// The mappings and the bytes in them, but for those that grow by themselves, to be compared with those of another look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    pub mappings: usize,
    pub bytes: usize,
    pub executable_bytes: usize,
}

/// One mapping.
#[allow(clippy::struct_excessive_bools, reason = "so are the system's lists")]
#[derive(Debug, Clone, Copy)]
pub struct Mapping {
    pub start: usize,
    pub end: usize,
    pub writable: bool,
    pub executable: bool,
    /// Of the same memory there may be another mapping.
    pub shared: bool,
    /// Memory that grows and shrinks by itself: the heap, the stack.
    pub elastic: bool,
}

/// Looks, and checks that nothing is writable and executable at once.
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

/// How many of the first descriptors are open, found without opening one. 0 where there are none.
pub fn descriptors() -> usize {
    #[cfg(unix)]
    // SAFETY: Asks whether a descriptor is open.
    return (0..256).filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1).count();
    #[cfg(windows)]
    0
}

/// The mapping that an address is in.
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

    /// Opens the process's list of mappings, for the time when no file can be opened any more. Whether that is of use:
    /// qemu-user gives out a copy, made when it is opened.
    pub fn keep_open() -> bool {
        let kept = open();
        let before = text(kept);
        // SAFETY: A new mapping touches no other.
        let page = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), 1 << 20, libc::PROT_READ, flags, -1, 0)
        };
        let live = page != libc::MAP_FAILED && text(kept) != before;
        // SAFETY: The mapping and the descriptor are ours.
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

    /// The list of mappings as it is now.
    fn current() -> String {
        let kept = KEPT.load(Ordering::Relaxed);
        if kept >= 0 {
            return text(kept);
        }
        let fd = open();
        let text = text(fd);
        // SAFETY: `fd` is ours.
        unsafe { libc::close(fd) };
        text
    }

    fn open() -> i32 {
        // SAFETY: The path is a string that ends with a zero.
        let fd = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        assert!(fd >= 0, "/proc/self/maps: {}", std::io::Error::last_os_error());
        fd
    }

    pub fn all() -> Vec<Mapping> {
        current().lines().map(parse).collect()
    }

    /// The file that the mapping at an address is of; empty for private anonymous memory.
    pub fn name_at(address: *const u8) -> String {
        let text = current();
        let line = text.lines().find(|line| {
            let mapping = parse(line);
            (mapping.start..mapping.end).contains(&address.addr())
        });
        line.expect("the address is mapped").splitn(6, ' ').nth(5).unwrap_or_default().trim().to_owned()
    }

    /// The mappings of a file.
    pub fn of(name: &str) -> Vec<Mapping> {
        let of_it = |line: &&str| line.splitn(6, ' ').nth(5).unwrap_or_default().trim() == name;
        current().lines().filter(of_it).map(parse).collect()
    }

    fn text(fd: i32) -> String {
        // Not so much that malloc maps it, which would be in the list, unless the list is long.
        let mut text = vec![0_u8; 1 << 16];
        let mut length = 0;
        loop {
            let rest = &mut text[length..];
            let offset = length.try_into().expect("the list is short");
            // SAFETY: `rest` can be written for its length.
            let got = unsafe { libc::pread(fd, rest.as_mut_ptr().cast(), rest.len(), offset) };
            assert!(got >= 0, "/proc/self/maps: {}", std::io::Error::last_os_error());
            if got == 0 && length < text.len() {
                break;
            }
            length += got.unsigned_abs();
            if length == text.len() {
                // All over again: more memory may change the list.
                text = vec![0; 4 * text.len()];
                length = 0;
            }
        }
        text.truncate(length);
        String::from_utf8(text).expect("the kernel writes ASCII here")
    }

    /// "7f12-7f34 r-xp …"
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
        // SAFETY: `info` can be written for the size that is given; any address may be asked for.
        let got = unsafe { VirtualQuery(address as *const c_void, &raw mut info, size_of::<Information>()) };
        if got == 0 {
            return mappings;
        }
        // What the loader maps is not ours to judge.
        if info.state == MEM_COMMIT && (info.kind == MEM_PRIVATE || info.kind == MEM_MAPPED) {
            mappings.push(Mapping {
                start: info.base,
                end: info.base + info.region_size,
                writable: info.protect & 0xcc != 0, // READWRITE, WRITECOPY, EXECUTE_READWRITE, EXECUTE_WRITECOPY
                executable: info.protect & 0xf0 != 0, // EXECUTE and everything that begins with it
                shared: info.kind == MEM_MAPPED,
                elastic: false,
            });
        }
        address = info.base + info.region_size;
    }
}
