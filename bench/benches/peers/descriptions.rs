//! What a description costs, with each tool.

use std::{fs, process};

use execbuf::tools::{self, Tools};
use execbuf::{ExecBuffer, ExecPool, Info, Unwind};

use crate::Result;
use crate::libraries::Library;
use crate::memory::Snapshot;
use crate::paired::{Contender, Effort, Sample, measure, turns};
use crate::report::{Report, thousands};
use crate::speed::repeat;

/// A function with a frame pointer, and `nop`s up to 64 bytes.
const CODE: [u8; 64] = {
    let mut code = [0x90; 64]; //                                     nop, repeated
    [code[0], code[1], code[2], code[3]] = [0x55, 0x48, 0x89, 0xe5]; // push rbp; mov rbp, rsp
    [code[62], code[63]] = [0x5d, 0xc3]; //                             pop rbp; ret
    code
};

const ROW: &str = "publish and release 64 bytes";

/// Switches tools on for each sample, and off after it.
fn start(effort: Effort, info: Option<Info<'static>>, tools: Tools<'static>) -> Result<Sample> {
    let pool = ExecPool::new()?;
    let publish = move || -> Result<ExecBuffer> {
        Ok(match &info {
            None => pool.publish(&CODE)?,
            Some(info) => pool.publish_with(&CODE, info)?,
        })
    };
    let is_on = tools != Tools::new();
    turns(effort, move |turns| {
        if is_on {
            tools.enable()?;
        }
        let time = repeat(turns, &publish);
        tools.disable();
        match tools::failures().next() {
            Some((_, error)) => Err(error.into()),
            None => time,
        }
    })
}

fn observed(effort: Effort, info: Info<'static>) -> Result<Sample> {
    let pool = ExecPool::new()?;
    turns(effort, move |turns| {
        let observer = tools::observe(|event| {
            std::hint::black_box(event);
        })?;
        let time = repeat(turns, || Ok(pool.publish_with(&CODE, &info)?));
        drop(observer);
        time
    })
}

/// Measures times and memory, and removes the files of the tools.
pub(crate) fn all(report: &mut Report, effort: Effort, count: usize) -> Result<()> {
    let directory = format!("{}/dump-{}", env!("CARGO_TARGET_TMPDIR"), process::id());
    let directory: &'static str = Box::leak(directory.into_boxed_str());
    fs::create_dir_all(directory)?;
    let (none, named) = (Tools::new(), Info::new().name("a function of this benchmark"));
    let framed = named.unwind(Unwind::FramePointer);
    let rows = [
        ("", start(effort, None, none)),
        (", with a name", start(effort, Some(named), none)),
        (", with a name and a frame", start(effort, Some(framed), none)),
        (", the same, with an observer", observed(effort, framed)),
        (", the same, with the tool gdb", start(effort, Some(framed), none.gdb())),
        (", the same, with the tool perf", start(effort, Some(framed), none.perf_map())),
        (", the same, with the tool jitdump", start(effort, Some(framed), none.jitdump(directory))),
    ];
    let contender = |(row, sample)| Contender { row: format!("{ROW}{row}"), library: ExecPool::NAME, sample };
    measure(report, effort, rows.into_iter().map(contender).collect());
    fs::remove_dir_all(directory)?;
    let _ = fs::remove_file(format!("/tmp/perf-{}.map", process::id()));

    for (row, info) in [("a name", named), ("a name and a frame", framed)] {
        let bytes = memory(count, info)?;
        let row = format!("additional memory for {row} of 28 bytes, {} live", thousands(count));
        report.set(&row, ExecPool::NAME, Ok(format!("{bytes:.0} bytes")));
    }
    Ok(())
}

/// Returns how many bytes more the process takes for each described function.
fn memory(count: usize, info: Info<'_>) -> Result<f64> {
    let grown = |info: Option<Info<'_>>| -> Result<f64> {
        let mut buffers = vec![ExecBuffer::new(&CODE)?];
        buffers.reserve_exact(count);
        let pool = ExecPool::new()?;
        let before = Snapshot::take()?.memory;
        for _ in 0..count {
            buffers.push(match info {
                None => pool.publish(&CODE)?,
                Some(info) => pool.publish_with(&CODE, &info)?,
            });
        }
        Ok(Snapshot::take()?.memory.saturating_sub(before) as f64)
    };
    let undescribed = grown(None)?;
    Ok((grown(Some(info))? - undescribed) / count as f64)
}
