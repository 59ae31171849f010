//! One random operation, chosen without regard to the state: that most of them can fail is part of the test.

use crate::support::random::Random;

/// Open files a session has at most.
pub(super) const SLOTS: usize = 4;
const DIRECTORIES: &[&str] = &["d0", "d1", "d2"];
const FILES: &[&str] = &["a", "b", "c", "e"];
const NAMES: &[&str] = &["a", "b", "c", "e", "d0", "d1", "d2"];
const ATTRIBUTES: &[&str] = &["user.one", "user.two"];

/// How a rename treats what is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Onto {
    Replace,
    Keep,
    Exchange,
}

/// What an allocation does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allocate {
    Extend,
    KeepSize,
    Punch,
    Zero,
}

/// Paths are relative; slots are places for open files.
#[derive(Debug)]
pub(super) enum Action {
    Open {
        slot: usize,
        path: String,
        exclusive: bool,
        truncate: bool,
        append: bool,
    },
    OpenToRead {
        slot: usize,
        path: String,
    },
    Write {
        slot: usize,
        offset: u64,
        length: usize,
        byte: u8,
    },
    Read {
        slot: usize,
        offset: u64,
        length: usize,
    },
    SetLength {
        slot: usize,
        length: u64,
    },
    Allocate {
        slot: usize,
        how: Allocate,
        offset: u64,
        length: u64,
    },
    Copy {
        from: usize,
        to: usize,
        offset: u64,
        place: u64,
        length: usize,
    },
    Find {
        slot: usize,
        offset: u64,
        hole: bool,
    },
    Sync {
        slot: usize,
    },
    Close {
        slot: usize,
    },
    MakeDirectory {
        path: String,
    },
    MakeFifo {
        path: String,
    },
    MakeLink {
        from: String,
        to: String,
    },
    MakeSymlink {
        path: String,
    },
    Unlink {
        path: String,
    },
    RemoveDirectory {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        onto: Onto,
    },
    SetMode {
        path: String,
        mode: u32,
    },
    SetOwner {
        path: String,
        uid: u32,
        gid: u32,
    },
    SetTimes {
        path: String,
        seconds: i64,
    },
    SetAttribute {
        path: String,
        name: &'static str,
        value: Vec<u8>,
    },
    RemoveAttribute {
        path: String,
        name: &'static str,
    },
    List {
        path: String,
    },
    Look {
        path: String,
    },
}

fn path(random: &mut Random, leaves: &[&str]) -> String {
    let mut path = String::new();
    for _ in 0..random.of(&[0, 0, 1, 1, 2]) {
        path += random.of(DIRECTORIES);
        path.push('/');
    }
    path + random.of(leaves)
}

fn place(random: &mut Random) -> u64 {
    // Around page borders, where things go wrong.
    let base = random.of(&[0, 0, 4096, 8192, 20_000]);
    base + random.below(50)
}

impl Action {
    pub(super) fn random(random: &mut Random) -> Action {
        let which = random.below(100);
        if which < 45 {
            Action::on_open_file(random, which)
        } else {
            Action::on_names(random, which)
        }
    }

    fn on_open_file(random: &mut Random, which: u64) -> Action {
        let slots = [0, 1, 2, SLOTS - 1];
        let slot = random.of(&slots);
        match which {
            0..9 => Action::Open {
                slot,
                path: path(random, FILES),
                exclusive: random.below(4) == 0,
                truncate: random.below(3) == 0,
                append: random.below(4) == 0,
            },
            9..11 => Action::OpenToRead {
                slot,
                path: path(random, FILES),
            },
            11..22 => Action::Write {
                slot,
                offset: place(random),
                length: random.of(&[1, 7, 100, 4096, 9000]),
                byte: random.of(&[1, 2, 3, 4, 5]),
            },
            22..27 => Action::Read {
                slot,
                offset: place(random),
                length: random.of(&[1, 100, 30_000]),
            },
            27..30 => Action::SetLength {
                slot,
                length: place(random),
            },
            30..33 => Action::Allocate {
                slot,
                how: random.of(&[
                    Allocate::Extend,
                    Allocate::KeepSize,
                    Allocate::Punch,
                    Allocate::Zero,
                ]),
                offset: place(random),
                length: random.of(&[0, 1, 4096, 10_000]),
            },
            33..36 => Action::Copy {
                from: slot,
                to: random.of(&slots),
                offset: place(random),
                place: place(random),
                length: random.of(&[1, 5000]),
            },
            36..38 => Action::Find {
                slot,
                offset: place(random),
                hole: random.below(2) == 0,
            },
            38 => Action::Sync { slot },
            _ => Action::Close { slot },
        }
    }

    fn on_names(random: &mut Random, which: u64) -> Action {
        match which {
            45..52 => Action::MakeDirectory {
                path: path(random, DIRECTORIES),
            },
            52..54 => Action::MakeFifo {
                path: path(random, FILES),
            },
            54..58 => Action::MakeLink {
                from: path(random, FILES),
                to: path(random, FILES),
            },
            58..60 => Action::MakeSymlink {
                path: path(random, FILES),
            },
            60..66 => Action::Unlink {
                path: path(random, NAMES),
            },
            66..70 => Action::RemoveDirectory {
                path: path(random, NAMES),
            },
            70..82 => {
                let leaves = random.of(&[FILES, FILES, DIRECTORIES]);
                Action::Rename {
                    from: path(random, leaves),
                    to: path(random, leaves),
                    onto: random.of(&[Onto::Replace, Onto::Replace, Onto::Keep, Onto::Exchange]),
                }
            }
            82..84 => Action::SetMode {
                path: path(random, NAMES),
                mode: random.of(&[0o600, 0o755, 0o4711, 0o1777]),
            },
            84..86 => Action::SetOwner {
                path: path(random, NAMES),
                uid: random.of(&[0, 1234]),
                gid: random.of(&[0, 55]),
            },
            86..88 => Action::SetTimes {
                path: path(random, NAMES),
                seconds: random.of(&[-5, 0, 1_000_000_000]),
            },
            88..91 => Action::SetAttribute {
                path: path(random, NAMES),
                name: random.of(ATTRIBUTES),
                value: vec![b'v'; random.of(&[0, 1, 200])],
            },
            91..93 => Action::RemoveAttribute {
                path: path(random, NAMES),
                name: random.of(ATTRIBUTES),
            },
            93..96 => Action::List {
                path: path(random, DIRECTORIES),
            },
            _ => Action::Look {
                path: path(random, NAMES),
            },
        }
    }
}
