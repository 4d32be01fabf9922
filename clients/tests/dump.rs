//! The unwind tables in the dump for perf, read by a decoder of others.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::collections::BTreeMap;
use std::path::Path;

use execbuf::tools::{self, Tools};
use execbuf::{ExecPool, Info, Unwind};
use gimli::{BaseAddresses, CfaRule, EhFrame, EhFrameHdr, LittleEndian, UnwindContext, UnwindSection, X86_64};

/// A table, with the code that follows it in the dump.
struct Dumped {
    code: u64,
    length: u64,
    table: Vec<u8>,
    header: usize,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn read_dump(path: &Path) -> Vec<Dumped> {
    let dump = std::fs::read(path).unwrap();
    let mut rest = &dump[40..];
    let mut table = None;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let kind = u32::from_le_bytes(rest[..4].try_into().unwrap());
        let (record, next) = rest.split_at(u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize);
        if kind == 4 {
            assert_eq!(number(record, 16), record.len() as u64 - 40);
            assert_eq!(number(record, 16), number(record, 32));
            table = Some((record[40..].to_vec(), number(record, 24) as usize));
        } else {
            assert_eq!(kind, 0);
            let (table, header) = table.take().unwrap();
            all.push(Dumped { code: number(record, 24), length: number(record, 40), table, header });
        }
        rest = next;
    }
    all
}

/// From the stack pointer, or the frame pointer, to its value at the call, and whether rbp is on the stack: at each byte.
type Rows = Vec<(gimli::Register, i64, bool)>;

/// Reads a table at the address where perf takes it to be, by its index.
fn rows_of(dumped: &Dumped) -> Rows {
    let address = dumped.code + dumped.length.next_multiple_of(8);
    let (records, header) = dumped.table.split_at(dumped.table.len() - dumped.header);
    let bases = BaseAddresses::default().set_eh_frame(address).set_eh_frame_hdr(address + records.len() as u64);
    let header = EhFrameHdr::new(header, LittleEndian).parse(&bases, 8).unwrap();
    assert_eq!(header.eh_frame_ptr(), gimli::Pointer::Direct(address));
    let frames = EhFrame::new(records, LittleEndian);
    let table = header.table().unwrap();
    let mut rows = Rows::new();
    for at in dumped.code..dumped.code + dumped.length {
        let fde = table.fde_for_address(&frames, &bases, at, EhFrame::cie_from_offset).unwrap();
        assert_eq!((fde.initial_address(), fde.len()), (dumped.code, dumped.length));
        assert!(fde.lsda().is_none() && fde.personality().is_none());
        let mut context = UnwindContext::new();
        let row = fde.unwind_info_for_address(&frames, &bases, &mut context, at).unwrap();
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { panic!("no register") };
        let saves = matches!(row.register(X86_64::RBP), Some(gimli::RegisterRule::Offset(-16)));
        assert_eq!(row.register(X86_64::RA), Some(gimli::RegisterRule::Offset(-8)));
        rows.push((register, offset, saves));
    }
    rows
}

/// Code of a frame, and what its rows should be.
fn sample(number: usize) -> (Vec<u8>, Unwind<'static>, Rows) {
    let rsp = (X86_64::RSP, 8, false);
    let nops = vec![0x90; number % 61];
    match number % 3 {
        0 => {
            let code = [&[0x55, 0x48, 0x89, 0xe5][..], &nops, &[0x5d, 0xc3]].concat(); // push rbp; mov rbp, rsp; …; pop; ret
            let mut rows = vec![(X86_64::RBP, 16, true); code.len()];
            rows[0] = rsp;
            rows[1..4].fill((X86_64::RSP, 16, true));
            *rows.last_mut().unwrap() = rsp;
            (code, Unwind::FramePointer, rows)
        }
        1 => {
            let code = [&nops[..], &[0xc3]].concat();
            let rows = vec![rsp; code.len()];
            (code, Unwind::NoFrame, rows)
        }
        _ => {
            let code = [&[0x48, 0x83, 0xec, 0x28][..], &nops, &[0x48, 0x83, 0xc4, 0x28, 0xc3]].concat(); // sub; …; add; ret
            let mut rows = vec![(X86_64::RSP, 48, false); code.len()];
            rows[..4].fill(rsp);
            *rows.last_mut().unwrap() = rsp;
            (code, Unwind::Fixed { size: 40, prologue: 4, epilogue: 1 }, rows)
        }
    }
}

#[test]
fn a_decoder_of_others_reads_the_tables_in_the_dump() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dump-{}", std::process::id()));
    std::fs::create_dir(&place).unwrap();
    Tools::new().jitdump(place.to_str().unwrap()).enable().unwrap();
    let pool = ExecPool::new().unwrap();
    let mut expected = BTreeMap::new();
    let mut kept = Vec::new();
    for number in 0..300 {
        let (code, unwind, rows) = sample(number);
        let buffer = pool.publish_with(&code, &Info::new().unwind(unwind)).unwrap();
        expected.insert(buffer.as_ptr() as u64, rows);
        kept.push(buffer);
    }
    let inner = std::fs::read_dir(&place).unwrap().next().unwrap().unwrap().path();
    let all = read_dump(&inner.join(format!("jit-{}.dump", std::process::id())));
    assert_eq!((all.len(), tools::failures().count()), (300, 0));
    for dumped in &all {
        assert_eq!(rows_of(dumped), expected[&dumped.code]);
    }
    std::fs::remove_dir_all(&place).unwrap();
}
