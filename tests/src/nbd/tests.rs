//! What the disk keeps and what it forgets.

use super::*;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};

const SIZE: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(5);
const FUA: u16 = 1;
const READ: u16 = 0;
const WRITE: u16 = 1;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const ZEROES: u16 = 6;

struct Bench {
    folder: PathBuf,
}

impl Bench {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("nbd-{}-{count}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        File::create(folder.join("image")).unwrap().set_len(SIZE).unwrap();
        Self { folder }
    }

    fn serve(&self) -> Server {
        Server::start(&self.folder.join("image"), &self.folder.join("socket")).unwrap()
    }

    fn client(&self) -> Client {
        Client::new(&self.folder.join("socket"))
    }

    fn image(&self, offset: usize, length: usize) -> Vec<u8> {
        std::fs::read(self.folder.join("image")).unwrap()[offset..offset + length].to_vec()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

struct Client(UnixStream);

impl Client {
    fn new(socket: &Path) -> Self {
        let mut client = Self(UnixStream::connect(socket).unwrap());
        assert_eq!(client.take(18)[16..], [0, 3]);
        client.0.write_all(&3_u32.to_be_bytes()).unwrap();
        client.option(7, &[0, 0, 0, 0, 0, 1, 0, 3]);
        assert_eq!(client.answer(7), (3, [&[0; 2], &SIZE.to_be_bytes()[..], &[0, 0x6d]].concat()));
        assert_eq!(client.answer(7).1.len(), 14);
        assert_eq!(client.answer(7), (1, vec![]));
        client
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn option(&mut self, option: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        let message = [b"IHAVEOPT", &option.to_be_bytes()[..], &length, data].concat();
        self.0.write_all(&message).unwrap();
    }

    fn answer(&mut self, option: u32) -> (u32, Vec<u8>) {
        let head = self.take(20);
        assert_eq!(
            head[..12],
            [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &option.to_be_bytes()].concat()
        );
        let number = |at: usize| u32::from_be_bytes(*head[at..].first_chunk().unwrap());
        (number(12), self.take(usize::try_from(number(16)).unwrap()))
    }

    fn send(&mut self, command: u16, flags: u16, offset: u64, length: u32, data: &[u8]) {
        let mut message = 0x2560_9513_u32.to_be_bytes().to_vec();
        message.extend(flags.to_be_bytes());
        message.extend(command.to_be_bytes());
        message.extend(0x0123_4567_89ab_cdef_u64.to_be_bytes());
        message.extend(offset.to_be_bytes());
        message.extend(length.to_be_bytes());
        message.extend(data);
        self.0.write_all(&message).unwrap();
    }

    fn ask(&mut self, command: u16, flags: u16, offset: u64, length: u32, data: &[u8]) -> u32 {
        self.send(command, flags, offset, length, data);
        let head = self.take(16);
        assert_eq!(head[8..], 0x0123_4567_89ab_cdef_u64.to_be_bytes());
        u32::from_be_bytes(*head[4..].first_chunk().unwrap())
    }

    fn write(&mut self, offset: u64, byte: u8, flags: u16) {
        assert_eq!(self.ask(WRITE, flags, offset, 4096, &[byte; 4096]), 0);
    }

    fn flush(&mut self) {
        assert_eq!(self.ask(FLUSH, 0, 0, 0, &[]), 0);
    }

    fn read(&mut self, offset: u64, length: u32) -> Vec<u8> {
        assert_eq!(self.ask(READ, 0, offset, length, &[]), 0);
        self.take(usize::try_from(length).unwrap())
    }

    fn is_gone(&mut self) -> bool {
        !matches!(self.0.read(&mut [0]), Ok(1..))
    }
}

#[test]
fn unflushed_writes_are_read_and_lost() {
    let bench = Bench::new();
    let server = bench.serve();
    let mut client = bench.client();
    client.write(0, 1, 0);
    client.flush();
    client.write(0, 2, 0);
    client.write(8192, 3, 0);
    assert_eq!(client.read(0, 4096), [2; 4096]);
    assert_eq!(server.cut().unwrap(), Outcome { whole: 0, torn: 0, lost: 2 });
    assert!(client.is_gone());
    assert!(UnixStream::connect(bench.folder.join("socket")).is_err());
    assert_eq!(bench.image(0, 4096), [1; 4096]);
    assert_eq!(bench.image(8192, 4096), [0; 4096]);
    // the path and the image are free at once, and dropping the first server harms neither
    let second = bench.serve();
    drop(server);
    assert_eq!(bench.client().read(0, 4096), [1; 4096]);
    assert_eq!(second.fault().unwrap(), None);
}

#[test]
fn fua_keeps_itself_alone_and_wins_over_what_lay_beneath() {
    let bench = Bench::new();
    let server = bench.serve();
    let mut client = bench.client();
    assert_eq!(client.ask(WRITE, 0, 0, 12288, &[1; 12288]), 0);
    client.write(4096, 2, FUA);
    let seen = [[1; 4096], [2; 4096], [1; 4096]].concat();
    assert_eq!(client.read(0, 12288), seen);
    assert_eq!(bench.image(0, 12288), [[0; 4096], [2; 4096], [0; 4096]].concat());
    client.flush();
    assert_eq!(bench.image(0, 12288), seen);
    client.write(4096, 3, 0);
    assert_eq!(client.ask(ZEROES, FUA, 4096, 512, &[]), 0);
    drop(server);
    assert_eq!(bench.image(4096, 1024), [[0; 512], [2; 512]].concat());
}

#[test]
fn a_trigger_cuts_on_its_side_of_the_request() {
    for (side, kept) in [(Side::Before, 0), (Side::After, 2)] {
        let bench = Bench::new();
        let server = bench.serve();
        let mut client = bench.client();
        client.flush();
        let mark = server.mark().unwrap();
        let survival = Survival::Nothing;
        let mut flushes = 0;
        let at = Box::new(move |request: &Record| {
            flushes += u32::from(request.kind == Kind::Flush);
            flushes == 2
        });
        server.cut_at(Trigger { at, side, survival }).unwrap();
        client.write(0, 1, 0);
        client.flush();
        client.write(4096, 2, 0);
        client.send(FLUSH, 0, 0, 0, &[]);
        assert!(client.is_gone());
        let outcome = server.wait_cut(LIMIT).unwrap();
        assert_eq!(outcome.lost, if side == Side::Before { 1 } else { 0 });
        assert_eq!(bench.image(0, 1), [1]);
        assert_eq!(bench.image(4096, 1), [kept]);
        let kinds: Vec<_> = server.since(mark).unwrap().iter().map(|one| one.kind).collect();
        let mut expected = vec![Kind::Write, Kind::Flush, Kind::Write, Kind::Flush, Kind::Cut];
        if side == Side::Before {
            expected.remove(3);
        }
        assert_eq!(kinds, expected);
    }
}

#[test]
fn chance_keeps_old_and_new_sectors_and_no_others() {
    let mut seen = [0; 3];
    for seed in 0..20 {
        let bench = Bench::new();
        let server = bench.serve();
        let mut client = bench.client();
        client.write(0, 1, 0);
        client.flush();
        for byte in 2..6 {
            client.write(0, byte, 0);
        }
        let outcome = server.cut_leaving(Survival::Chance { seed }).unwrap();
        assert_eq!(outcome.whole + outcome.torn + outcome.lost, 4);
        for (count, more) in seen.iter_mut().zip([outcome.whole, outcome.torn, outcome.lost]) {
            *count += more;
        }
        for sector in bench.image(0, 4096).chunks(512) {
            assert!((1..6).contains(&sector[0]) && sector.iter().all(|byte| *byte == sector[0]));
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn zeroes_and_trims_are_lost_like_writes_and_cost_no_memory() {
    let bench = Bench::new();
    let server = bench.serve();
    let mut client = bench.client();
    client.write(4096, 1, FUA);
    for command in [TRIM, ZEROES] {
        assert_eq!(client.ask(command, 0, 0, u32::try_from(SIZE).unwrap(), &[]), 0);
        assert_eq!(client.read(4096, 512), [0; 512]);
        assert_eq!(bench.image(4096, 512), [1; 512]);
    }
    assert_eq!(server.cut_leaving(Survival::Everything).unwrap().whole, 2);
    assert_eq!(bench.image(4096, 512), [0; 512]);
}

#[test]
fn what_is_wrong_is_refused_and_what_follows_is_served() {
    let bench = Bench::new();
    let server = bench.serve();
    let mut client = bench.client();
    assert_eq!(client.ask(WRITE, 0, SIZE, 512, &[1; 512]), 28);
    assert_eq!(client.ask(ZEROES, 0, u64::MAX - 511, 512, &[]), 28);
    assert_eq!(client.ask(READ, 0, SIZE, 512, &[]), 22);
    assert_eq!(client.ask(READ, 0, 1, 512, &[]), 22);
    assert_eq!(client.ask(WRITE, 2, 0, 512, &[1; 512]), 22);
    assert_eq!(client.ask(FLUSH, 0, 0, 512, &[]), 22);
    assert_eq!(client.ask(7, 0, 0, 512, &[]), 22);
    client.write(0, 1, 0);
    assert_eq!(server.fault().unwrap(), None);
    client.0.write_all(&[0; 28]).unwrap();
    assert!(client.is_gone());
    assert!(server.fault().unwrap().is_some());
    assert!(Server::start(&bench.folder.join("image"), &bench.folder.join("other")).is_err());
}

#[test]
fn options_are_answered_listed_and_refused() {
    let bench = Bench::new();
    let _server = bench.serve();
    let mut client = Client(UnixStream::connect(bench.folder.join("socket")).unwrap());
    client.take(18);
    client.0.write_all(&1_u32.to_be_bytes()).unwrap();
    for unknown in [5, 8, 9, 10, 11, 77] {
        client.option(unknown, b"data");
        assert_eq!(client.answer(unknown), (1 << 31 | 1, vec![]));
    }
    client.option(3, &[]);
    assert_eq!(client.answer(3), (2, vec![0; 4]));
    assert_eq!(client.answer(3), (1, vec![]));
    client.option(6, &[0, 0, 0, 1, b'x', 0, 0]);
    assert_eq!(client.answer(6), (1 << 31 | 6, vec![]));
    client.option(6, &[0, 0, 0, 9, 0, 0]);
    assert_eq!(client.answer(6), (1 << 31 | 3, vec![]));
    client.option(6, &[0; 6]);
    assert_eq!((client.answer(6).0, client.answer(6).0), (3, 1));
    client.option(1, &[]);
    assert_eq!(client.take(134)[..10], [&SIZE.to_be_bytes()[..], &[0, 0x6d]].concat());
    client.write(0, 1, 0);
    let mut client = Client(UnixStream::connect(bench.folder.join("socket")).unwrap());
    client.take(18);
    client.0.write_all(&3_u32.to_be_bytes()).unwrap();
    client.option(2, &[]);
    assert_eq!(client.answer(2), (1, vec![]));
    assert!(client.is_gone());
}
