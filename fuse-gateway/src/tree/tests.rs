use super::*;
use crate::buffer::{MAX_CLAIM, Overflow};

fn tree() -> Tree {
    let buffer = Arc::new(Buffer::new(1 << 21, Overflow::Discard).unwrap());
    Tree::new(
        buffer,
        Arc::new(|| r#"{"state":"serving"}"#.to_owned()),
        (1, 2),
        3_000_000,
    )
}

fn inode(tree: &Tree, path: &str) -> u64 {
    path.split('/').fold(ROOT, |at, name| {
        tree.lookup(at, name.as_bytes()).unwrap().inode
    })
}

/// One read that is delivered, as text.
fn read(
    tree: &Tree,
    inode: u64,
    handle: u64,
    offset: u64,
    want: usize,
) -> Result<Option<Vec<u8>>, TreeError> {
    let mut got = None;
    let mut desk = Desk::new().unwrap();
    tree.read(
        inode,
        handle,
        offset,
        (want, MAX_CLAIM),
        &mut desk,
        |pieces, len| {
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .collect();
            assert_eq!(bytes.len(), len);
            got = Some(bytes);
            true
        },
    )
    .map(|reading| {
        assert_eq!(got.is_none(), reading == Reading::Empty);
        got
    })
}

#[test]
fn the_table_is_in_order() {
    for (at, entry) in NODES.iter().enumerate() {
        assert_eq!(entry.inode, at as u64 + 1);
        assert!(nodes::by_inode(entry.parent).unwrap().is_directory());
    }
    let tree = tree();
    assert_eq!(tree.lookup(ROOT, b"."), Err(TreeError::NotFound));
    assert_eq!(tree.lookup(ROOT, b"nothing"), Err(TreeError::NotFound));
    for inode in [0, 14, u64::MAX] {
        assert_eq!(tree.entry(inode), Err(TreeError::NotFound));
    }
    assert_eq!(tree.entry(ROOT).unwrap().children().count(), 9);
    assert_eq!(tree.open(ROOT, false), Err(TreeError::IsDirectory));
}

#[test]
fn a_record_is_drawn_once_per_open_and_read_by_offset() {
    let tree = tree();
    let hex = inode(&tree, "hex");
    let handle = tree.open(hex, false).unwrap();
    assert_eq!(read(&tree, hex, handle, 0, 100), Ok(None), "no bytes yet");
    assert_eq!(tree.ready(hex, handle), Ok(false));
    tree.buffer().push(&[0xab; 31]);
    assert_eq!(
        read(&tree, hex, handle, 0, 100),
        Ok(None),
        "a record takes 32 bytes or none"
    );
    tree.buffer().push(&[0xab; 33]);
    assert_eq!(tree.ready(hex, handle), Ok(true));
    let line = [b"ab".repeat(32), b"\n".to_vec()].concat();
    assert_eq!(read(&tree, hex, handle, 63, 5), Ok(Some(b"b\n".to_vec())));
    assert_eq!(read(&tree, hex, handle, 0, 100), Ok(Some(line.clone())));
    let bytewise: Vec<u8> = (0..65)
        .flat_map(|at| read(&tree, hex, handle, at, 1).unwrap().unwrap())
        .collect();
    assert_eq!(bytewise, line);
    for end in [65, 66, u64::MAX] {
        assert_eq!(read(&tree, hex, handle, end, 9), Ok(Some(Vec::new())));
    }
    assert_eq!(tree.buffer().counts().served, 32);
    let second = tree.open(hex, false).unwrap();
    read(&tree, hex, second, 0, 65).unwrap().unwrap();
    assert_eq!(
        (tree.buffer().counts().served, tree.buffer().fill()),
        (64, 0)
    );
    tree.release(handle);
    assert_eq!(read(&tree, hex, handle, 0, 1), Err(TreeError::BadHandle));
}

#[test]
fn a_record_that_reached_nobody_is_destroyed() {
    let tree = tree();
    let uuid = inode(&tree, "uuid");
    let handle = tree.open(uuid, false).unwrap();
    tree.buffer().push(&[1; 16]);
    tree.buffer().push(&[2; 16]);
    let mut desk = Desk::new().unwrap();
    tree.read(uuid, handle, 0, (37, MAX_CLAIM), &mut desk, |_, _| false)
        .unwrap();
    assert_eq!(tree.buffer().counts().destroyed, 16);
    let line = read(&tree, uuid, handle, 0, 37).unwrap().unwrap();
    assert_eq!(line, b"02020202-0202-4202-8202-020202020202\n");
}

#[test]
fn streams_go_on_where_the_last_read_ended() {
    let tree = tree();
    for (path, bytes, line) in [
        ("stream/hex", 32, 65),
        ("stream/base64", 32, 45),
        ("stream/uuid", 16, 37),
    ] {
        let inode = inode(&tree, path);
        let handle = tree.open(inode, false).unwrap();
        tree.buffer().push(&vec![9; 10 * bytes + bytes - 1]);
        let mut text = Vec::new();
        for want in [1, 64, 65, 7, 300, 10_000] {
            text.extend(
                read(&tree, inode, handle, 12345, want)
                    .unwrap()
                    .unwrap_or_default(),
            );
        }
        assert_eq!(text.len(), 10 * line, "{path}");
        assert!(
            text.chunks(line)
                .all(|l| l == &text[..line] && l.ends_with(b"\n"))
        );
        assert_eq!(read(&tree, inode, handle, 0, 9), Ok(None));
        let mut desk = Desk::new().unwrap();
        tree.buffer().claim(bytes, &mut desk.space);
    }
}

#[test]
fn a_whole_mebibyte_of_text_comes_in_one_read() {
    let tree = tree();
    let hex = inode(&tree, "stream/hex");
    let handle = tree.open(hex, false).unwrap();
    tree.buffer().push(&vec![3; 1 << 20]);
    for _ in 0..2 {
        let text = read(&tree, hex, handle, 0, MAX_CLAIM).unwrap().unwrap();
        assert_eq!(
            text.len(),
            if tree.buffer().fill() > 0 {
                MAX_CLAIM
            } else {
                32_768 * 65 - MAX_CLAIM
            }
        );
    }
}

#[test]
fn a_failed_supply_is_an_error_only_when_empty() {
    let tree = tree();
    let raw = inode(&tree, "raw");
    tree.buffer().push(&[4; 10]);
    tree.set_stalled(true);
    assert_eq!(read(&tree, raw, 0, 0, 100), Ok(Some(vec![4; 10])));
    assert_eq!(read(&tree, raw, 0, 0, 100), Err(TreeError::Stalled));
    assert_eq!(tree.ready(raw, 0), Ok(true));
    tree.set_stalled(false);
    assert_eq!(read(&tree, raw, 0, 0, 100), Ok(None));
    assert_eq!(tree.ready(raw, 0), Ok(false));
}

#[test]
fn status_is_a_document_of_its_open() {
    let tree = tree();
    let status = inode(&tree, "status");
    let handle = tree.open(status, false).unwrap();
    let text = read(&tree, status, handle, 0, 4096).unwrap().unwrap();
    assert_eq!(text, b"{\"state\":\"serving\"}\n");
    assert_eq!(
        tree.attributes(tree.entry(status).unwrap()).size,
        text.len() as u64
    );
    assert_eq!(
        read(&tree, status, handle, text.len() as u64, 10),
        Ok(Some(Vec::new()))
    );
}

#[test]
fn opens_are_bounded() {
    let tree = tree();
    let hex = inode(&tree, "hex");
    let first = tree.open(hex, false).unwrap();
    while tree.open(hex, false).is_ok() {}
    assert_eq!(tree.open(hex, false), Err(TreeError::TooManyOpen));
    tree.release(first);
    assert!(tree.open(hex, false).is_ok());
}

#[test]
fn urandom_waits_for_a_seed_goes_on_without_and_starts_anew_after_a_latch() {
    let tree = tree();
    let urandom = inode(&tree, "urandom");
    let (plain, fresh) = (tree.open(urandom, false), tree.open(urandom, true));
    let (plain, fresh) = (plain.unwrap(), fresh.unwrap());
    tree.buffer().push(&[5; MATERIAL_LEN - 1]);
    assert_eq!(tree.need(urandom, plain), Ok(MATERIAL_LEN));
    assert_eq!(read(&tree, urandom, plain, 0, 10), Ok(None));
    tree.buffer().push(&[5; 1]);
    // The test's helper has a new desk for each read, as if each were another thread's.
    let one = read(&tree, urandom, plain, 0, 32).unwrap().unwrap();
    let two = read(&tree, urandom, plain, 0, 32).unwrap().unwrap();
    assert_ne!(one, two);
    assert_eq!(
        (tree.buffer().counts().seeding, tree.buffer().fill()),
        (96, 0)
    );
    assert_eq!(tree.need(urandom, plain), Ok(0));
    assert_eq!(tree.need(urandom, fresh), Ok(MATERIAL_LEN));
    assert_eq!(read(&tree, urandom, fresh, 0, 10), Ok(None));
    assert_eq!(tree.ready(urandom, fresh), Ok(false));
    tree.buffer().latch();
    assert_eq!(read(&tree, urandom, plain, 0, 1), Err(TreeError::Latched));
    assert_eq!(tree.fails(urandom), Ok(true));
    let readme = inode(&tree, "README");
    assert_eq!(tree.fails(readme), Ok(false));
    assert!(read(&tree, readme, 0, 0, 10_000).unwrap().unwrap() == README.as_bytes());
    tree.buffer().unlatch();
    assert_eq!(read(&tree, urandom, plain, 0, 1), Ok(None));
    tree.release(fresh);
}

#[test]
fn random_is_never_the_raw_bytes_themselves() {
    let tree = tree();
    let random = inode(&tree, "random");
    assert_eq!(read(&tree, random, 0, 0, 10), Ok(None));
    tree.buffer().push(&vec![0; 200_000]);
    let one = read(&tree, random, 0, 0, 100_000).unwrap().unwrap();
    let two = read(&tree, random, 0, 0, MAX_CLAIM).unwrap().unwrap();
    assert_eq!((one.len(), two.len()), (100_000, 100_000));
    assert!(one != two);
    assert_eq!(tree.buffer().counts().served, 200_000);
}

/// Handles below the time of the start are those of an earlier run, whose readers go on with this one.
#[test]
fn files_of_an_earlier_run_go_on_where_nothing_can_be_mixed_up() {
    let tree = tree();
    tree.buffer().push(&[0xab; 4096]);
    let earlier = 2_000_000;
    let (hex, uuid, status) = (
        inode(&tree, "hex"),
        inode(&tree, "uuid"),
        inode(&tree, "status"),
    );
    // A record that had been begun is no longer known; one that had not is drawn now, once.
    assert_eq!(read(&tree, hex, earlier, 3, 65), Err(TreeError::LeftOver));
    assert_eq!(tree.need(hex, earlier), Ok(32));
    let record = read(&tree, hex, earlier, 0, 65).unwrap().unwrap();
    assert_eq!(record.len(), 65);
    assert_eq!(
        read(&tree, hex, earlier, 60, 65).unwrap().unwrap(),
        record[60..]
    );
    assert_eq!(
        read(&tree, uuid, earlier + 1, 37, 10),
        Err(TreeError::LeftOver)
    );
    assert_eq!(
        read(&tree, status, earlier + 2, 5, 10),
        Err(TreeError::LeftOver)
    );
    assert!(read(&tree, status, earlier + 3, 0, 100).unwrap().is_some());
    // A line of a stream that had been begun is ended.
    let lines = inode(&tree, "stream/uuid");
    let rest = read(&tree, lines, earlier + 4, 37 + 30, 20)
        .unwrap()
        .unwrap();
    assert_eq!(rest.iter().position(|&b| b == b'\n'), Some(6));
    let after = read(&tree, lines, earlier + 4, 37 + 50, 37)
        .unwrap()
        .unwrap();
    assert_eq!(after.iter().position(|&b| b == b'\n'), Some(37 - 13 - 1));
    // What this run never gave out stays unknown, and its own handles are never taken for earlier ones.
    assert_eq!(
        read(&tree, hex, 3_000_001, 0, 65),
        Err(TreeError::BadHandle)
    );
    let own = tree.open(hex, false).unwrap();
    assert!(own > 3_000_000);
    tree.release(own);
    assert_eq!(read(&tree, hex, own, 0, 65), Err(TreeError::BadHandle));
}
