//! The shape of the source tree: ranks, sizes, where `unsafe` and fuser may stand, what lies at the top.

use std::path::{Path, PathBuf};

/// Modules by rank; a module uses lower ranks only.
const RANKS: &[(&str, u32)] = &[
    ("event", 0),
    ("health", 0),
    ("disk", 0),
    ("event_log", 1),
    ("backing", 1),
    ("content", 1),
    ("client", 1),
    ("recorder", 2),
    ("detect", 3),
    ("control", 3),
    ("vfs", 4),
    ("fuse", 5),
    ("daemon", 6),
    ("cli", 7),
    ("main", 8),
];
/// The one use within a rank: the counters are kept by the words of the events.
const WITHIN_RANK: (&str, &str) = ("health", "event");
/// What may stand at the top of the tree; `target` and `.git` are not part of it.
const TOP: &[&str] = &[
    ".ci",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "mount",
    "scripts",
    "src",
    "tests",
];
/// Longest file, in lines before its unit tests.
const FILE_LINES_MAX: usize = 500;
/// The kernel adapter is one `impl` of one trait, which cannot be divided; its signatures alone are most of it.
const ADAPTER: (&str, usize) = ("src/fuse/adapter.rs", 600);
/// Longest function: a screen.
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    path: PathBuf,
    /// The lines before the unit tests, comments taken out.
    code: Vec<String>,
    all: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(folder)];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let all = std::fs::read_to_string(&path).expect("a source file");
                let code = all
                    .lines()
                    .take_while(|line| !line.starts_with("#[cfg(test)]"))
                    .map(|line| line.split("//").next().unwrap_or_default().to_owned())
                    .collect();
                let path = path
                    .strip_prefix(root())
                    .expect("below the root")
                    .to_path_buf();
                found.push(Source { path, code, all });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

/// The module a file of `src` belongs to; `None` for the crate root.
fn module_of(path: &Path) -> Option<String> {
    let name = path.components().nth(1)?.as_os_str().to_str()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (name != "lib").then(|| name.to_owned())
}

fn rank_of(module: &str) -> Option<u32> {
    RANKS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, rank)| *rank)
}

/// The words that follow `prefix` in `text`, `prefix{a, b::c}` giving each.
fn names_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |text: &'a str| {
        let end = text
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        &text[..end]
    };
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    names.push(word(&list[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn a_module_uses_lower_ranks_only() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some(own) = module_of(&source.path) else {
            continue;
        };
        let Some(own_rank) = rank_of(&own) else {
            wrong.push(format!(
                "{}: module {own} has no rank",
                source.path.display()
            ));
            continue;
        };
        let code = source.code.join("\n");
        let mut used = names_after(&code, "crate::");
        used.extend(names_after(&code, "hippofs::"));
        for name in used {
            // What is not a module is an item of the crate root, which has none; macros stand there.
            let Some(rank) = rank_of(name) else { continue };
            let allowed = name == own || (own.as_str(), name) == WITHIN_RANK;
            if !allowed && rank >= own_rank {
                wrong.push(format!("{}: {own} uses {name}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_and_functions_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let path = source.path.display();
        let most = if source.path == Path::new(ADAPTER.0) {
            ADAPTER.1
        } else {
            FILE_LINES_MAX
        };
        if source.code.len() > most {
            wrong.push(format!("{path}: {} lines", source.code.len()));
        }
        if !source.all.starts_with("//!") {
            wrong.push(format!("{path}: no header"));
        }
        for (name, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES_MAX {
                wrong.push(format!("{path}: {name}: {lines} lines"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each function with its length; formatted code closes a function at the column where it opened.
fn functions(code: &[String]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, line) in code.iter().enumerate() {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        let Some((before, after)) = text.split_once("fn ") else {
            continue;
        };
        let opens = before.split_whitespace().all(|word| {
            word.starts_with("pub")
                || word.contains("crate)")
                || matches!(word, "const" | "unsafe" | "async" | "super)")
        });
        if !opens || text.ends_with(';') {
            continue;
        }
        let close = format!("{indent}}}");
        let length = code[at..]
            .iter()
            .position(|l| l.trim_end() == close)
            .unwrap_or(0);
        found.push((
            after
                .split(['(', '<'])
                .next()
                .unwrap_or_default()
                .to_owned(),
            length,
        ));
    }
    found
}

#[test]
fn unsafe_stands_in_one_file() {
    let place = Path::new("src/backing/sys.rs");
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        if source.path == place || source.path.starts_with("tests/layout") {
            continue;
        }
        let marks = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
        for line in source
            .code
            .iter()
            .filter(|l| marks.iter().any(|m| l.contains(m)))
        {
            wrong.push(format!("{}: {line}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A line without what stands in quotes.
fn outside_strings(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

#[test]
fn only_the_kernel_adapter_names_fuser() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let own = module_of(&source.path);
        for line in source
            .code
            .iter()
            .filter(|l| outside_strings(l).contains("fuser::"))
        {
            if own.as_deref() != Some("fuse") {
                wrong.push(format!("{}: {line}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_top_holds_what_belongs_there() {
    let mut names: Vec<String> = std::fs::read_dir(root())
        .expect("the tree")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "target" && name != ".git")
        .collect();
    names.sort();
    assert_eq!(names, TOP);
}

#[test]
fn nothing_is_left_to_do_in_the_text() {
    let marks = ["TODO", "FIXME"];
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        if source.path.starts_with("tests/layout") {
            continue;
        }
        for mark in marks {
            if source.all.contains(mark) {
                wrong.push(format!("{}: {mark}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
