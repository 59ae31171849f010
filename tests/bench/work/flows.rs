//! The workloads: what each step does with the files of one session.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RawDir};
use uuid::Uuid;

use super::Step;

const BODY_BYTES: usize = 2000;
const MEGABYTE: usize = 1 << 20;
/// Bytes of the file that is read at random.
const RANDOM_FILE_BYTES: usize = 32 * MEGABYTE;
/// What the C library takes from the kernel at once.
const LISTING_BYTES: usize = 32 * 1024;
/// Names that are asked for in turn where there is nothing.
const MISSING_NAMES: usize = 100;

/// The steps of a workload for one session; what they need is made here, untimed.
///
/// # Errors
/// The workload is unknown, or its files cannot be made.
pub(super) fn steps(
    workload: &str,
    dir: PathBuf,
    session: usize,
    count: usize,
) -> io::Result<Vec<Step>> {
    match workload {
        "cycle" => Ok(cycle(&dir, count)),
        "small" => small(&dir, session, count),
        "seq" => seq(&dir, session, count),
        "rand" => random(&dir, session, count),
        "stat" => stat(&dir, count),
        "list" => Ok(list(dir)),
        "open" => open(&dir, session, count),
        "rename" => rename(&dir, session, count),
        "missing" => Ok(missing(&dir, count)),
        "fsync" => fsync(&dir, session, count),
        _ => Err(io::Error::other("unknown workload")),
    }
}

fn step(name: &'static str, deed: impl FnMut() -> io::Result<u64> + 'static) -> Step {
    (name, Box::new(deed))
}

/// The same deed for each of `things`.
fn each<T: 'static>(
    name: &'static str,
    things: Vec<T>,
    mut deed: impl FnMut(&T) -> io::Result<()> + 'static,
) -> Step {
    step(name, move || {
        things.iter().try_for_each(&mut deed)?;
        Ok(things.len() as u64)
    })
}

/// The life of documents: written beside and renamed, edited in place, read twice, deleted.
fn cycle(dir: &Path, count: usize) -> Vec<Step> {
    let names: Vec<(PathBuf, PathBuf)> = (0..count)
        .map(|_| {
            let name = Uuid::new_v4();
            (
                dir.join(format!(".{name}.tmp")),
                dir.join(format!("{name}.json")),
            )
        })
        .collect();
    let body: Vec<u8> = (0..BODY_BYTES).map(|at| b'a' + (at % 26) as u8).collect();
    let paths = || {
        names
            .iter()
            .map(|(_, path)| path.clone())
            .collect::<Vec<_>>()
    };
    let read = |path: &PathBuf| {
        let mut buffer = [0; 16 * 1024];
        File::open(path)?.read(&mut buffer).map(drop)
    };
    vec![
        each("create", names.clone(), move |(temporary, path)| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(temporary)?;
            // Each document is its own content, so that nothing can be kept only once.
            let mut content = body.clone();
            content[..36].copy_from_slice(
                &path.as_os_str().as_encoded_bytes()[path.as_os_str().len() - 41..][..36],
            );
            file.write_all(&content)?;
            drop(file);
            fs::rename(temporary, path)
        }),
        each("edit", paths(), |path| {
            let file = OpenOptions::new().write(true).open(path)?;
            file.write_all_at(&[b'e'; 64], 64)
        }),
        each("read", paths(), read),
        each("reread", paths(), read),
        each("unlink", paths(), |path| fs::remove_file(path)),
    ]
}

fn fresh(dir: &Path, kind: &str, session: usize) -> io::Result<(PathBuf, File)> {
    let path = dir.join(format!("{kind}-{session}"));
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    Ok((path, file))
}

fn small(dir: &Path, session: usize, count: usize) -> io::Result<Vec<Step>> {
    let writes = |name, bytes: usize, mut file: File| {
        step(name, move || {
            let piece = vec![b'w'; bytes];
            (0..count).try_for_each(|_| file.write_all(&piece))?;
            Ok(count as u64)
        })
    };
    let (path, one) = fresh(dir, "small", session)?;
    let (other, two) = fresh(dir, "larger", session)?;
    Ok(vec![
        writes("write-128", 128, one),
        writes("write-4k", 4096, two),
        step("end", move || {
            fs::remove_file(&path)?;
            fs::remove_file(&other).map(|()| 0)
        }),
    ])
}

/// `count` MiB in pieces of 1 MiB, written and read.
fn seq(dir: &Path, session: usize, count: usize) -> io::Result<Vec<Step>> {
    let (path, mut file) = fresh(dir, "seq", session)?;
    let read = path.clone();
    let megabytes = (count * MEGABYTE) as u64 / 1_000_000;
    Ok(vec![
        step("write-1m", move || {
            let piece = vec![b's'; MEGABYTE];
            (0..count).try_for_each(|_| file.write_all(&piece))?;
            Ok(megabytes)
        }),
        step("read-1m", move || {
            let mut file = File::open(&read)?;
            let mut piece = vec![0; MEGABYTE];
            while file.read(&mut piece)? > 0 {}
            Ok(megabytes)
        }),
        step("end", move || fs::remove_file(&path).map(|()| 0)),
    ])
}

fn random(dir: &Path, session: usize, count: usize) -> io::Result<Vec<Step>> {
    let (path, mut file) = fresh(dir, "random", session)?;
    file.write_all(&vec![b'r'; RANDOM_FILE_BYTES])?;
    drop(file);
    let file = File::open(&path)?;
    let mut piece = vec![0; MEGABYTE];
    for at in 0..RANDOM_FILE_BYTES / MEGABYTE {
        file.read_exact_at(&mut piece, (at * MEGABYTE) as u64)?;
    }
    Ok(vec![
        step("read-4k", move || {
            let (mut piece, mut seed) = ([0; 4096], 1_u64);
            for _ in 0..count {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let page = (seed >> 33) % (RANDOM_FILE_BYTES / 4096) as u64;
                file.read_exact_at(&mut piece, page * 4096)?;
            }
            Ok(count as u64)
        }),
        step("end", move || fs::remove_file(&path).map(|()| 0)),
    ])
}

/// Of the files that stand in `dir`, whose names are numbers: each once, and each again.
fn stat(dir: &Path, count: usize) -> io::Result<Vec<Step>> {
    // The names are known and not listed: a listing would warm them.
    let paths: Vec<PathBuf> = (0..count)
        .map(|number| dir.join(format!("{number:06}.json")))
        .collect();
    let ask = |path: &PathBuf| rustix::fs::stat(path).map(drop).map_err(io::Error::from);
    Ok(vec![
        each("stat-cold", paths.clone(), ask),
        each("stat-warm", paths, ask),
    ])
}

fn list(dir: PathBuf) -> Vec<Step> {
    let listing = |dir: &Path| -> io::Result<u64> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); LISTING_BYTES];
        let mut names = RawDir::new(fd, &mut buffer);
        let mut count = 0;
        while let Some(name) = names.next() {
            name?;
            count += 1;
        }
        Ok(count)
    };
    let again = dir.clone();
    vec![
        step("list-cold", move || listing(&dir)),
        step("list-warm", move || {
            (0..3).try_fold(0, |sum, _| Ok(sum + listing(&again)?))
        }),
    ]
}

fn open(dir: &Path, session: usize, count: usize) -> io::Result<Vec<Step>> {
    let path = fresh(dir, "open", session)?.0;
    let end = path.clone();
    Ok(vec![
        step("open", move || {
            (0..count).try_for_each(|_| File::open(&path).map(drop))?;
            Ok(count as u64)
        }),
        step("end", move || fs::remove_file(&end).map(|()| 0)),
    ])
}

fn rename(dir: &Path, session: usize, count: usize) -> io::Result<Vec<Step>> {
    let (path, _) = fresh(dir, "rename", session)?;
    let other = dir.join(format!("renamed-{session}"));
    let end = path.clone();
    let count = count.next_multiple_of(2);
    Ok(vec![
        step("rename", move || {
            for _ in 0..count / 2 {
                fs::rename(&path, &other)?;
                fs::rename(&other, &path)?;
            }
            Ok(count as u64)
        }),
        step("end", move || fs::remove_file(&end).map(|()| 0)),
    ])
}

fn missing(dir: &Path, count: usize) -> Vec<Step> {
    let paths: Vec<PathBuf> = (0..MISSING_NAMES)
        .map(|number| dir.join(format!("missing-{number}")))
        .collect();
    vec![step("missing", move || {
        for path in paths.iter().cycle().take(count) {
            match rustix::fs::stat(path) {
                Err(rustix::io::Errno::NOENT) => {}
                other => return Err(io::Error::other(format!("{other:?} of a missing name"))),
            }
        }
        Ok(count as u64)
    })]
}

fn fsync(dir: &Path, session: usize, count: usize) -> io::Result<Vec<Step>> {
    let (path, file) = fresh(dir, "fsync", session)?;
    Ok(vec![
        step("fsync", move || {
            for _ in 0..count {
                file.write_all_at(&[b'f'; BODY_BYTES], 0)?;
                file.sync_all()?;
            }
            Ok(count as u64)
        }),
        step("end", move || fs::remove_file(&path).map(|()| 0)),
    ])
}
