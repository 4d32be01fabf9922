//! What tools are told of described code, in Rust. Tools are switched on for the process, so these tests run one by one.

#[path = "support/mod.rs"]
mod support;

use execbuf::tools::{self, EventKind, Tool, Tools};
use execbuf::{ErrorKind, ExecBuffer, ExecPool, Info, Line};
use std::sync::{Arc, Mutex};
use support::{alone, returning};

type Noted = (EventKind, usize, String, Option<Vec<u8>>);

/// Observes code whose names begin with a prefix: other tests of this process describe code, too.
fn note(prefix: &'static str) -> (tools::Observer, Arc<Mutex<Vec<Noted>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&events);
    let observer = tools::observe(move |event| {
        let name = String::from_utf8_lossy(event.name()).into_owned();
        if name.starts_with(prefix) {
            noted.lock().unwrap().push((event.kind(), event.address(), name, event.code().map(<[u8]>::to_vec)));
        }
    });
    (observer.unwrap(), events)
}

#[test]
fn observers_are_told_of_described_code_until_they_are_dropped() {
    let _alone = alone();
    let (observer, events) = note("seen");
    let pool = ExecPool::new().unwrap();
    let code = returning(1);
    let buffer = pool.publish_with(&code, &Info::new().name("seen")).unwrap();
    let mut dedicated = ExecBuffer::new(&code).unwrap();
    dedicated.describe(&Info::new().name("seen too")).unwrap();
    let addresses = [buffer.as_ptr() as usize, dedicated.as_ptr() as usize];
    drop(buffer);
    drop(observer);
    assert_eq!(Arc::strong_count(&events), 1, "the callback is dropped");
    drop(dedicated);
    let expected = [
        (EventKind::Published, addresses[0], "seen".to_owned(), Some(code.clone())),
        (EventKind::Described, addresses[1], "seen too".to_owned(), Some(code.clone())),
        (EventKind::Ended, addresses[0], "seen".to_owned(), None),
    ];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[test]
fn observers_are_told_of_lines() {
    let _alone = alone();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&noted);
    let observer = tools::observe(move |event| {
        if event.name() == b"with lines" {
            let lines = event.lines().iter().map(|line| {
                (
                    line.offset(),
                    String::from_utf8_lossy(line.file()).into_owned(),
                    line.line(),
                    format!("{line:?}"),
                )
            });
            told.lock().unwrap().push((event.kind(), lines.collect::<Vec<_>>()));
        }
    });
    let lines = [Line::new(0, "ä.src", 1), Line::new(1, "", 0), Line::new(1, "ä.src", u32::MAX)];
    assert_eq!((lines[0], lines[1] == lines[2]), (Line::new(0, "ä.src", 1), false));
    let info = Info::new().name("with lines").lines(&lines);
    let buffer = ExecPool::new().unwrap().publish_with(&returning(1), &info).unwrap();
    drop((buffer, observer));
    let expected = vec![
        (0, "ä.src".to_owned(), 1, r#"Line { offset: 0, file: "\xc3\xa4.src", line: 1 }"#.to_owned()),
        (1, String::new(), 0, r#"Line { offset: 1, file: "", line: 0 }"#.to_owned()),
        (
            1,
            "ä.src".to_owned(),
            u32::MAX,
            r#"Line { offset: 1, file: "\xc3\xa4.src", line: 4294967295 }"#.to_owned(),
        ),
    ];
    let expected = vec![(EventKind::Published, expected.clone()), (EventKind::Ended, expected)];
    assert_eq!(*noted.lock().unwrap(), expected);
}

#[test]
fn an_event_is_shown_with_its_name() {
    let _alone = alone();
    let shown = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&shown);
    let observer = tools::observe(move |event| {
        if event.name() == b"a\nb" {
            *written.lock().unwrap() = format!("{event:?}");
        }
    });
    let buffer = ExecPool::new().unwrap().publish_with(&returning(1), &Info::new().name("a\nb")).unwrap();
    drop(observer);
    let expected = format!(
        "Event {{ kind: Published, address: {:?}, length: {}, name: \"a\\nb\" }}",
        buffer.as_ptr(),
        buffer.len()
    );
    assert_eq!(*shown.lock().unwrap(), expected);
}

#[test]
fn a_symbol_is_found_by_an_address() {
    let _alone = alone();
    let pool = ExecPool::new().unwrap();
    let described = pool.publish_with(&returning(1), &Info::new().name("häufig")).unwrap();
    let other = ExecBuffer::new(&returning(2)).unwrap();
    let mut space = [0; 8];
    let symbol = tools::symbol(described.as_ptr().wrapping_add(3), &mut space).unwrap();
    assert_eq!((symbol.name(), symbol.offset()), ("häufig", 3));
    assert_eq!((symbol.entry(), symbol.len()), (described.as_ptr(), described.len()));
    // Of the name, three bytes fit, then two, which end in a letter, then none.
    for (size, name) in [(4, "hä"), (3, "h"), (1, ""), (0, "")] {
        let symbol = tools::symbol(described.as_ptr(), &mut space[..size]).unwrap();
        assert_eq!((symbol.name(), symbol.offset()), (name, 0));
    }
    let symbol = tools::symbol(other.as_ptr(), &mut space).unwrap();
    assert_eq!((symbol.name(), symbol.entry(), symbol.len()), ("", other.as_ptr(), other.len()));
    assert_eq!(tools::symbol(other.as_ptr().wrapping_add(other.len()), &mut space), None);
    assert_eq!(tools::symbol(core::ptr::null(), &mut space), None);
}

#[test]
fn an_empty_set_of_tools_is_refused() {
    assert_eq!(Tools::new().enable().unwrap_err().kind(), ErrorKind::Unsupported);
    Tools::new().disable();
}

#[cfg(unix)]
#[test]
fn names_are_written_to_the_file_of_profilers_while_the_tool_is_on() {
    let _alone = alone();
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let pool = ExecPool::new().unwrap();
    Tools::new().perf_map().enable().unwrap();
    let on = pool.publish_with(&returning(1), &Info::new().name("while on")).unwrap();
    Tools::new().perf_map().disable();
    let _off = pool.publish_with(&returning(1), &Info::new().name("while off")).unwrap();
    let map = std::fs::read_to_string(&path).unwrap();
    assert!(map.contains(&format!("{:x} {:x} while on\n", on.as_ptr() as usize, on.len())), "{map}");
    assert!(!map.contains("while off"));

    // A tool that fails is off, and says why.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    Tools::new().perf_map().enable().unwrap();
    let _other = pool.publish_with(&returning(1), &Info::new().name("lost")).unwrap();
    std::fs::remove_dir(&path).unwrap();
    let failures: Vec<_> = tools::failures().collect();
    let [(Tool::PerfMap, error)] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((error.kind(), error.culprit()), (ErrorKind::Tool, Some("open")));
    assert!(tools::variable_failure().is_none());
}

#[test]
fn a_dump_has_the_name_and_the_bytes() {
    let _alone = alone();
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dump-{}", std::process::id()));
    let place = directory.to_str().unwrap();
    if !cfg!(target_os = "linux") {
        let error = Tools::new().jitdump(place).enable().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        return support::skip("the dump for perf: only on Linux");
    }
    std::fs::create_dir(&directory).unwrap();
    assert_eq!(Tools::new().jitdump("a\0b").enable().unwrap_err().kind(), ErrorKind::ZeroByte);
    Tools::new().jitdump(place).jitdump_limit(10).enable().unwrap();
    let buffer = ExecPool::new().unwrap().publish_with(&returning(7), &Info::new().name("dumped code")).unwrap();
    let failure = tools::failures().find(|(tool, _)| *tool == Tool::Jitdump).unwrap().1;
    assert_eq!((failure.kind(), failure.culprit()), (ErrorKind::Tool, Some("the limit of the dump")));
    Tools::new().jitdump(place).enable().unwrap();
    let again = ExecPool::new().unwrap().publish_with(&returning(7), &Info::new().name("dumped code")).unwrap();
    Tools::new().jitdump(place).disable();
    assert!(tools::failures().all(|(tool, _)| tool != Tool::Jitdump));
    let inner = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let dump = std::fs::read(inner.join(format!("jit-{}.dump", std::process::id()))).unwrap();
    let expected = [b"dumped code\0", &returning(7)[..]].concat();
    assert_eq!(dump.windows(expected.len()).filter(|part| *part == expected).count(), 1);
    drop((buffer, again));
    std::fs::remove_dir_all(&directory).unwrap();
}
