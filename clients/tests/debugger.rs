//! What debuggers are told of described code, read by decoders of others: the names, the unwind tables and the lines.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::collections::BTreeMap;
use std::ptr;

use execbuf::tools::Tools;
use execbuf::{ExecBuffer, ExecPool, Info, Line, Unwind};
use gimli::{BaseAddresses, EhFrame, EndianSlice, LittleEndian, UnwindContext, UnwindSection};
use object::{Object, ObjectSection, ObjectSymbol};

/// The list of objects, as gdb's manual has it ("JIT Interface").
#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *const Entry,
    first: *const Entry,
}

#[repr(C)]
struct Entry {
    next: *const Self,
    previous: *const Self,
    file: *const u8,
    size: u64,
}

/// Finds the list by its name in the symbol table of this program, as a debugger does.
fn descriptor() -> *const Descriptor {
    let program = std::fs::read("/proc/self/exe").unwrap();
    let program = object::File::parse(&*program).unwrap();
    let address = |name| program.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().address() as usize;
    let known = execbuf::ffi::execbuf_version_number as *const () as usize;
    ptr::with_exposed_provenance(known - address("execbuf_version_number") + address("__jit_debug_descriptor"))
}

/// The lines from each offset on, as (file, line).
type Lines = BTreeMap<u64, (String, u64)>;

/// What a debugger knows of a function.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    length: u64,
    name: String,
    lines: Lines,
    /// The offset of the stack pointer's value at the call from the frame pointer, at the end of the function's body.
    frame: Option<i64>,
}

/// Reads the program of lines of a unit.
fn lines_of<'a>(
    dwarf: &gimli::Dwarf<EndianSlice<'a, LittleEndian>>,
    unit: gimli::Unit<EndianSlice<'a, LittleEndian>>,
) -> Lines {
    let start = unit.low_pc;
    let mut lines = Lines::new();
    let mut rows = unit.line_program.clone().unwrap().rows();
    while let Some((header, row)) = rows.next_row().unwrap() {
        let file = row.file(header).map(|file| dwarf.attr_string(&unit, file.path_name()).unwrap());
        let file = file.map(|file| file.to_string_lossy().into_owned());
        let line = row.line().map_or(0, |line| line.get());
        let entry = if row.end_sequence() { ("end".to_owned(), 0) } else { (file.unwrap(), line) };
        lines.insert(row.address() - start, entry); // of several with the same address, the last one counts
    }
    lines
}

/// Reads all objects.
fn read_all() -> BTreeMap<u64, Known> {
    let mut all = BTreeMap::new();
    // SAFETY: The list is that of this program, and no other thread changes it now.
    let (version, mut entry) = unsafe { ((*descriptor()).version, (*descriptor()).first) };
    assert_eq!(version, 1);
    while !entry.is_null() {
        // SAFETY: As above; an entry has a file of its size.
        let (bytes, next) =
            unsafe { (std::slice::from_raw_parts((*entry).file, (*entry).size as usize), (*entry).next) };
        read_object(bytes, &mut all);
        entry = next;
    }
    all
}

fn read_object(bytes: &[u8], all: &mut BTreeMap<u64, Known>) {
    let file = object::File::parse(bytes).unwrap();
    for symbol in file.symbols() {
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        let known = Known {
            length: symbol.size(),
            name: symbol.name().unwrap().to_owned(),
            lines: Lines::new(),
            frame: None,
        };
        assert_eq!(section.size(), symbol.size());
        assert!(all.insert(section.address() + symbol.address(), known).is_none());
    }
    let section = |name: &str| file.section_by_name(name).map_or(&[][..], |section| section.data().unwrap());
    let dwarf = gimli::Dwarf::load(|id| Ok::<_, gimli::Error>(EndianSlice::new(section(id.name()), LittleEndian)))
        .unwrap();
    let mut units = dwarf.units();
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let start = unit.low_pc;
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            let known = all.get(&start).unwrap();
            let value = |name| entry.attr_value(name).unwrap();
            assert_eq!(value(gimli::DW_AT_high_pc).udata_value(), Some(known.length));
            if entry.tag() == gimli::DW_TAG_subprogram {
                let name = dwarf.attr_string(&unit, value(gimli::DW_AT_name)).unwrap();
                assert_eq!(name.to_string().unwrap(), known.name);
            }
        }
        all.get_mut(&start).unwrap().lines = lines_of(&dwarf, unit);
    }
    read_frames(&file, all);
}

/// Reads the unwind tables.
fn read_frames(file: &object::File<'_>, all: &mut BTreeMap<u64, Known>) {
    let section = file.section_by_name(".eh_frame").unwrap();
    let frames = EhFrame::new(section.data().unwrap(), LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(section.address());
    let mut entries = frames.entries(&bases);
    while let Some(entry) = entries.next().unwrap() {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
        let known = all.get_mut(&fde.initial_address()).unwrap();
        assert_eq!(fde.len(), known.length);
        let mut context = UnwindContext::new();
        let body = fde.initial_address() + 4; // behind push rbp; mov rbp, rsp
        let row = fde.unwind_info_for_address(&frames, &bases, &mut context, body).unwrap();
        let gimli::CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { panic!("no register") };
        assert_eq!(register, gimli::X86_64::RBP);
        known.frame = Some(offset);
    }
}

/// Random numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A function that is described.
struct Function {
    code: Vec<u8>,
    name: String,
    lines: Vec<(usize, usize, u32)>,
    has_frame: bool,
}

fn random_function(random: &mut Random, number: usize, files: usize) -> Function {
    let mut code = vec![0x55, 0x48, 0x89, 0xe5]; // push rbp; mov rbp, rsp
    code.resize(4 + random.below(300) as usize, 0x90); // nop
    code.extend([0x5d, 0xc3]); // pop rbp; ret
    let mut offset = 0;
    let mut lines = Vec::new();
    for _ in 0..random.below(40) {
        offset += random.below(9) as usize;
        if offset < code.len() {
            let line = [0, 1, 2, 127, 128, 70000, u32::MAX][random.below(7) as usize];
            lines.push((offset, random.below(files as u64) as usize, line));
        }
    }
    Function { code, name: format!("function\t{number}"), lines, has_frame: random.below(2) == 0 }
}

fn expected(function: &Function, files: &[&str]) -> Known {
    let mut lines: Lines = function
        .lines
        .iter()
        .map(|&(offset, file, line)| (offset as u64, (files[file].replace('\n', "\\x0a"), u64::from(line))))
        .collect();
    if !lines.is_empty() {
        lines.insert(function.code.len() as u64, ("end".to_owned(), 0));
    }
    Known {
        length: function.code.len() as u64,
        name: function.name.replace('\t', "\\x09"),
        lines,
        frame: function.has_frame.then_some(16),
    }
}

#[test]
fn decoders_of_others_read_what_debuggers_are_told() {
    const FILES: [&str; 12] = [
        "a",
        "dir/b.src",
        "ä ö",
        "line\nfeed",
        "e",
        "f",
        "g",
        "h",
        "/absolute/i",
        "j",
        "k",
        "a longer name of a file",
    ];
    Tools::new().gdb().enable().unwrap();
    let mut random = Random(42);
    let pool = ExecPool::new().unwrap();
    let mut published: BTreeMap<u64, (ExecBuffer, Known)> = BTreeMap::new();
    for number in 0..300 {
        let function = random_function(&mut random, number, FILES.len());
        let lines: Vec<_> =
            function.lines.iter().map(|&(at, file, line)| Line::new(at, FILES[file], line)).collect();
        let unwind = if function.has_frame { Unwind::FramePointer } else { Unwind::Unknown };
        let info = Info::new().name(&function.name).unwind(unwind).lines(&lines);
        let count = if number % 3 == 0 { 20 } else { 1 };
        let codes = vec![(&function.code[..], info); count];
        for buffer in pool.publish_batch_with(&codes).unwrap() {
            published.insert(buffer.as_ptr() as u64, (buffer, expected(&function, &FILES)));
        }
        while random.below(3) == 0 && published.len() > 1 {
            let nth = random.below(published.len() as u64) as usize;
            let address = *published.keys().nth(nth).unwrap();
            published.remove(&address);
        }
        if number % 10 == 0 || number > 290 {
            let found = read_all();
            assert_eq!(found.len(), published.len());
            for (address, known) in &found {
                assert_eq!(*known, published[address].1);
            }
        }
    }
    Tools::new().gdb().disable();
    drop(published); // debuggers learn of the end all the same
    assert!(read_all().is_empty());
}
